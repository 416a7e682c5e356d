"""Rounding to integers in torch equals the integer model, and its gradients are those of the unrounded maps."""

import numpy as np
import pytest
import torch

from psahw.model.integers import BIAS_LIMIT, MAX_SHIFT, MAX_TERMS, Requantise, to_integers
from psahw.network import reference


def test_rounds_half_up_exactly():
    x = torch.arange(-700.0, 701.0)
    for shift in range(5):
        half = torch.tensor(2.0 ** (shift - 1) if shift else 0.0)
        codes = Requantise.apply(x, torch.tensor(3.0), torch.tensor(2.0**-shift), half, 8, True)
        expected = reference.requantise(x.numpy().astype(np.int32) + 3, shift)
        np.testing.assert_array_equal(codes.numpy(), expected)


def test_gradient_of_requantising():
    """It is that of the map without rounding, and zero where the result saturates."""
    x = torch.tensor([[-2000.0, -9.0, 5.0], [511.0, 100.0, 2000.0]], requires_grad=True)
    bias = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    codes = Requantise.apply(x, bias, torch.tensor(0.25), torch.tensor(2.0), 8, True)
    assert codes.tolist() == [[-128, -2, 2], [127, 26, 127]]
    codes.backward(torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]))
    assert x.grad.tolist() == [[0, 0.5, 1], [0, 4, 0]]  # 511 gave 128, which saturates to 127
    assert bias.grad.tolist() == [0, 4.5, 1]


def test_rows_use_all_eight_bits():
    torch.manual_seed(8)
    weight = torch.randn(50, 20) * torch.logspace(-6, 1, 50)[:, None]
    integers = to_integers(weight, torch.randn(50))
    largest = integers.weight.abs().amax(1)
    assert ((largest >= 63) | (integers.shift == MAX_SHIFT) | (integers.shift == 0)).all()
    assert integers.weight.min() >= -128 and integers.weight.max() <= 127
    assert torch.equal(integers.weight, integers.weight.round())


@pytest.mark.parametrize("weight", [0.0, 1e-6, 0.3, 3.0])
def test_bias_is_exact_whatever_the_weights(weight):
    """Small weights have room for a large shift, but the bias of their row may not have it."""
    bias = torch.tensor([0.0, 0.4, -1.7, 4.6, -100.0, 127.0])
    integers = to_integers(torch.full((6, 8), weight), bias)
    codes = integers.requantise(torch.zeros(1, 6))[0]
    assert (codes - bias).abs().max() <= 0.51
    assert integers.bias.abs().max() <= BIAS_LIMIT


def test_large_bias_has_a_small_shift():
    integers = to_integers(torch.zeros(3, 8), torch.tensor([100.0, 1e5, 1e9]))
    assert integers.shift.tolist() == [15, 5, 0]
    assert integers.bias.tolist() == [100 << 15, 100_000 << 5, BIAS_LIMIT]


@pytest.mark.parametrize("terms", [MAX_TERMS + 1, 1024])
def test_too_many_inputs(terms):
    to_integers(torch.zeros(1, MAX_TERMS), torch.zeros(1))
    message = f"^a linear map must have at most 703 inputs to be exact in float32, not {terms}$"
    with pytest.raises(ValueError, match=message):
        to_integers(torch.zeros(1, terms), torch.zeros(1))
