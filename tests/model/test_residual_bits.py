"""Rounding of the residual stream alone, against the integers of the quantised network and against no rounding."""

import numpy as np
import pytest
import torch

from model.quant import QuantizedResMLP
from model.residual_bits import rounded, rounded_stream, scan
from model.train import predict
from psahw import samples
from tests.model.test_quant import SHAPES, _trained


def test_eight_bits_are_the_codes_of_the_network():
    x = torch.tensor([[-100.0, 0.24, 0.25, 0.74, 63.4, 64.0, 100.0]]).t()
    got = rounded(x, torch.tensor([0.5]), 8) / 0.5
    assert got.flatten().tolist() == [-128, 0, 1, 1, 127, 127, 127]


@pytest.mark.parametrize("bits", range(2, 10))
def test_each_bit_halves_the_step_and_keeps_the_range(bits):
    step = 0.5 * 2.0 ** (8 - bits)
    got = rounded(torch.arange(-70, 70, 0.125)[:, None], torch.tensor([0.5]), bits).unique()
    assert got.tolist() == [step * code for code in range(-(2 ** (bits - 1)), 2 ** (bits - 1))]


def test_many_bits_are_as_good_as_none_and_few_are_not():
    """In every stage, with merging, and the network is as it was afterwards."""
    images, _ = samples.load()
    model = _trained(SHAPES["pyramid"])
    plain = predict(model, images)
    scales = [stage.scales() for stage in QuantizedResMLP(model, images).stages]
    wide = [[16 * scale for scale in stage] for stage in scales]  # nothing saturates
    seen = {}
    for bits in (4, 8, 16):
        with rounded_stream(model, wide, bits):
            seen[bits] = np.abs(predict(model, images) - plain).mean() / np.abs(plain).mean()
    assert seen[16] < 0.01 < seen[8] < seen[4]
    np.testing.assert_array_equal(predict(model, images), plain)


def test_scan_names_what_it_measured():
    images, labels = samples.load()
    found = scan(_trained(SHAPES["local"]), [2, 8], images, images, labels)
    assert list(found) == ["float", "2", "8"] and all(0 <= percent <= 100 for percent in found.values())
