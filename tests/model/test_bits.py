"""Tests of the choice of bits: rounding, LUTs and losses against NumPy and the integer model, the choice by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from psahw.errors import UserError
from psahw.model.bits import MIN_BITS, choose, layer_names, loss_by_bits, luts_by_bits
from psahw.model.export import to_network
from psahw.model.integers import BIAS_LIMIT, MAX_SHIFT, to_integers
from psahw.model.quant import QuantizedResMLP
from psahw.network import reference, samples
from psahw.network.summary import summarise, weight_bits
from tests.model.test_quant import CLASSES, SHAPES, _trained


@pytest.fixture(params=["local", "pyramid"])
def quantized(request):
    return QuantizedResMLP(_trained(SHAPES[request.param]), samples.load()[0])


def _squared_error(row, shift, bits):
    codes = np.clip(np.round(row * 2.0**shift), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return np.square(codes / 2.0**shift - row).sum()


@pytest.mark.parametrize("bits", range(2, 8))
def test_codes_are_the_nearest_of_their_shift(bits):
    """No other shift without clipping is nearer."""
    torch.manual_seed(bits)
    weight = torch.randn(40, 30) * torch.logspace(-3, 1, 40)[:, None]
    integers = to_integers(weight, torch.zeros(40), bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert low <= integers.weight.min() and integers.weight.max() <= high
    rows = zip(weight.double().numpy(), integers.weight.numpy(), integers.shift.numpy(), strict=True)
    for row, codes, shift in rows:
        np.testing.assert_array_equal(codes, np.clip(np.round(row * 2.0**shift), low, high))
        unclipped = [s for s in range(MAX_SHIFT + 1) if np.abs(row * 2.0**s).max() <= high + 0.5]
        errors = [_squared_error(row, s, bits) for s in unclipped]
        assert _squared_error(row, shift, bits) <= min(errors, default=math.inf) * (1 + 1e-5)


def test_bias_keeps_its_room_with_few_bits():
    """A larger shift, which would be nearer, is not taken if the bias does not fit."""
    weight = torch.tensor([[1.0, 0.1, 0.1, 0.1, -0.1, -0.1]]).expand(2, -1)
    integers = to_integers(weight, torch.tensor([0.0, BIAS_LIMIT / 1.5]), bits=2)
    assert integers.shift[1] == 0 and integers.bias[1] == round(BIAS_LIMIT / 1.5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_mean_input_has_the_sums_of_the_float_weights(shape, bits):
    """Rounding does not move the mean output of a layer into which a norm folds, so that its mean input is known."""
    quantized = QuantizedResMLP(_trained(SHAPES[shape]), samples.load()[0])
    with_mean = []
    for name, layer in quantized.layers().items():
        layer.rows.bits = bits
        weight, bias, *mean = (part.detach().double().numpy() for part in layer.folded())
        if mean:
            with_mean.append(name)
            integers = layer.integers()
            sums = integers.weight.detach().double().numpy() @ mean[0] + integers.bias.detach().double().numpy()
            expected = (weight @ mean[0] + bias) * 2.0 ** integers.shift.double().numpy()
            np.testing.assert_allclose(sums, expected, atol=0.6, rtol=1e-4)
    config = SHAPES[shape]
    assert "head" in with_mean and ("stages.1.merge" in with_mean) == (len(config.stages) > 1)
    assert any(name.endswith("linear1") for name in with_mean) == (config.activation != "psa_both")


def test_layers_have_the_names_of_the_file(quantized):
    network = to_network(quantized, "test", CLASSES)
    names = [name for name, _, *_ in network.linears()]
    assert names == list(quantized.layers()) == layer_names(quantized.config)


def test_equals_the_integer_model_with_any_bits(quantized):
    images = samples.load()[0]
    bits = {name: 2 + index % 7 for index, name in enumerate(quantized.layers())}
    for name, layer in quantized.layers().items():
        layer.rows.bits = bits[name]
    network = to_network(quantized, "test", CLASSES)
    codes = quantized.codes(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_array_equal(codes, reference.run(network, images))
    for name, layer, *_ in network.linears():
        assert weight_bits(layer.weight) <= bits[name], name


def test_luts_are_those_of_the_network_that_is_written(quantized):
    luts = luts_by_bits(quantized)
    assert all(sorted(of_layer) == list(range(MIN_BITS, 9)) for of_layer in luts.values())
    for bits in (8, 4):
        for layer in quantized.layers().values():
            layer.rows.bits = bits
        info = summarise(to_network(quantized, "test", CLASSES))
        assert {name: round(of_layer[bits]) for name, of_layer in luts.items()} == {
            layer["name"]: layer["adder_luts"] for layer in info["layers"]
        }


def test_loss_is_that_of_the_integer_model():
    quantized = QuantizedResMLP(_trained(SHAPES["local"]), samples.load()[0])
    images, labels = samples.load()

    def loss():
        logits = reference.run(to_network(quantized, "test", CLASSES), images) * float(quantized.logit_scale)
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        return -np.log(shifted[np.arange(100), labels] / shifted.sum(1)).mean()

    quantized.layers()["head"].rows.bits = 5
    increases = loss_by_bits(quantized, images, labels)
    assert [layer.rows.bits for layer in quantized.layers().values()] == [8] * 7 + [5]
    assert list(increases["head"]) == [5, 4, 3, 2] and increases["head"][5] == 0
    before = loss()
    name = "stages.0.blocks.1.channel_mixing.linear1"
    quantized.layers()[name].rows.bits = 3
    assert increases[name][3] == pytest.approx(loss() - before, abs=1e-5)


LOSS = {"a": {8: 0.0, 7: 1.0, 6: 8.0}, "b": {8: 0.0, 7: 9.0, 6: 4.0}}
LUTS = {"a": {8: 100.0, 7: 90.0, 6: 80.0}, "b": {8: 100.0, 7: 90.0, 6: 60.0}}


@pytest.mark.parametrize(
    ("budget", "bits"),
    [
        (200, {"a": 8, "b": 8}),
        (199, {"a": 7, "b": 8}),  # a by one bit, 1/10; b by two bits costs as much, 4/40, but its name comes later
        (189, {"a": 8, "b": 6}),  # b in one step of two bits, 4/40; then a fits with 8 bits again
        (159, {"a": 7, "b": 6}),
        (149, {"a": 6, "b": 6}),
        (140, {"a": 6, "b": 6}),
    ],
)
def test_choice_by_hand(budget, bits):
    assert choose(LOSS, LUTS, budget) == bits


def test_budget_that_cannot_be_met():
    with pytest.raises(UserError, match=r"^a budget of 139 LUTs is too small: 2 bits everywhere take 140$"):
        choose(LOSS, LUTS, 139)


def test_shared_kernel_counts_once():
    config = SHAPES["local"]
    stage = dataclasses.replace(config.stages[0], shared=True)
    quantized = QuantizedResMLP(_trained(dataclasses.replace(config, stages=(stage,))), samples.load()[0])
    info = summarise(to_network(quantized, "test", CLASSES))
    luts = {name: round(of_layer[8]) for name, of_layer in luts_by_bits(quantized).items()}
    assert luts == {layer["name"]: layer["adder_luts"] for layer in info["layers"]}
