"""Estimated LUTs against the measured values, and widths and counts against loops over integers."""

import numpy as np
import pytest

from psahw.adder_graph.estimate import layer_luts, lut_per_weight, row_bits
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.network.summary import summarise


@pytest.mark.parametrize(
    ("fraction", "bits", "luts"),
    [
        *[(1, 8, 12.0), (1, 6, 8.5), (1, 5, 6.8), (1, 4, 5.1), (1, 3, 4.1)],
        *[(0.5, 8, 8.0), (0.5, 6, 6.0), (0.5, 5, 4.7), (0.5, 4, 3.6)],
    ],
)
def test_estimate_equals_the_measured_values(fraction, bits, luts):
    assert lut_per_weight(fraction, bits) == pytest.approx(luts)


def test_values_between_and_beyond_the_measured_ones():
    """The estimate for 7 bits lies half way between 6 and 8, and that for 2 as far below 3 as 3 below 4."""
    assert lut_per_weight(1, 7) == pytest.approx((8.5 + 12) / 2)
    assert lut_per_weight(1, 2) == pytest.approx(4.1 - 1.0)
    assert lut_per_weight(0.25, 8) == pytest.approx(20 * 0.25 - 8 * 0.25**2)  # the parabola by hand
    assert (lut_per_weight(0, np.arange(1, 9)) == 0).all()


def test_grows_with_weights_and_bits():
    fraction, bits = np.meshgrid(np.linspace(0, 1, 101), np.arange(1, 9))
    luts = lut_per_weight(fraction, bits)
    assert (np.diff(luts, axis=1) > 0).all() and (np.diff(luts[:, 1:], axis=0) > 0).all()


def _bits_by_trying(row):
    while any(row) and all(weight % 2 == 0 for weight in row):
        row = [weight // 2 for weight in row]
    return next(bits for bits in range(1, 9) if all(-(2 ** (bits - 1)) <= weight < 2 ** (bits - 1) for weight in row))


def test_row_bits_by_trying():
    rng = np.random.default_rng(0)
    rows = rng.integers(-128, 128, (300, 3)) >> rng.integers(0, 8, (300, 1)) << rng.integers(0, 8, (300, 1))
    rows = np.clip(rows, -128, 127)
    rows = np.concatenate([rows, [[0, 0, 0], [-128, 0, 0], [64, 0, 0], [127, -128, 1], [-64, 64, 0], [-1, 0, 0]]])
    assert row_bits(rows.astype(np.int8)).tolist() == [_bits_by_trying(row) for row in rows.tolist()]
    assert row_bits(rows.reshape(2, 3, -1, 3)).shape == (2, 3, len(rows) // 6)


def test_rows_count_at_their_own_width():
    """Half of the rows have 8 bits, half 4, and no weight is 0: the estimate is the mean of both."""
    weight = np.array([[127, -128, 3, 5], [7, -8, 3, 5]], np.int8)
    assert layer_luts(weight) == pytest.approx(4 * 12.0 + 4 * 5.1)
    assert layer_luts(weight, columns=8) == pytest.approx(8 * 8.0 + 8 * 3.6)  # the other four are zeros


def test_summary_counts_each_matrix_once():
    """A local mixing counts as one matrix for each group, whatever the number of channels."""
    stages = (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1, groups=3))
    network = random_network(np.random.default_rng(1), image=(16, 16), patch=Patch(4, 4), stages=stages)
    info = summarise(network)
    luts = {layer["name"]: layer["adder_luts"] for layer in info["layers"]}
    for name in ("stages.0.blocks.0.token_mixing.linear", "stages.1.blocks.0.token_mixing.linear"):
        _, layer, shape, _ = network.place(name)
        matrices = layer.dense(shape.grid)
        assert luts[name] == round(layer_luts(matrices.reshape(-1, matrices.shape[-1])))
    assert info["adder_luts"] == sum(luts.values()) > 0


def test_summary_counts_a_shared_kernel_once():
    stages = (StageShape(8, 6, 1, groups=2, kernel=3, shared=True),)
    network = random_network(np.random.default_rng(1), image=(16, 16), stages=stages)
    kernels = network.place("stages.0.blocks.0.token_mixing.linear").layer.weight
    assert summarise(network)["layers"][1]["adder_luts"] == round(layer_luts(kernels.reshape(2, 9)))
