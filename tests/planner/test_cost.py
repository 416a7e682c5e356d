"""Estimates against Yosys' results for the same components, in ``calibration/components.json``."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from calibration import compare
from psahw.architecture import nodes
from psahw.architecture.device import Resources
from psahw.planner.cost import cost, node_cost
from psahw.planner.primitives import block_ram, reorder_style, rotation

DATA = json.loads((Path(__file__).parents[2] / "calibration" / "components.json").read_text())
NETWORKS = [(family, name) for family, networks in DATA.items() for name in networks]


@pytest.mark.parametrize(("family", "name"), NETWORKS, ids=lambda value: value)
def test_whole_accelerators(family, name):
    measured, estimate = compare.totals(DATA[family][name], family)
    assert (estimate.dsp, estimate.bram36) == (measured.dsp, measured.bram36)
    assert estimate.lut == pytest.approx(measured.lut, rel=0.15)
    assert estimate.ff == pytest.approx(measured.ff, rel=0.15)


@pytest.mark.parametrize(("family", "name"), NETWORKS, ids=lambda value: value)
def test_every_component_has_its_dsps_and_block_rams(family, name):
    for row in DATA[family][name]:
        measured, estimate = compare.amounts(row, family)
        assert (estimate.dsp, estimate.bram36) == (measured.dsp, measured.bram36), row.get("name", row["engine"])


# Measured one by one: a TableRom of 96 channels and of one, weights of 64 units, offsets.
@pytest.mark.parametrize(
    ("width", "depth", "amount"),
    [
        (8, 24_576, 5.5),
        (8, 256, 0.5),
        (36, 512, 0.5),
        (37, 512, 1.0),
        (72, 512, 1.0),
        (512, 144, 7.5),
        (18, 1024, 0.5),
    ],
)
def test_block_ram(width, depth, amount):
    assert block_ram(width, depth) == amount


def test_small_memories_are_in_luts():
    small = nodes.Transpose("t", rows=4, columns=8, i_lanes=1, o_lanes=1, period=8)
    large = dataclasses.replace(small, rows=64, columns=96)
    assert reorder_style(small) == "distributed"
    assert reorder_style(large) == "block"
    assert node_cost(dataclasses.replace(small, style="distributed"), "xc7").bram36 == 0
    assert node_cost(large, "xc7").bram36 == 3


def test_sum_of_a_pipeline():
    inner = nodes.TableRom("r.t", 8, 1)
    residual = nodes.Residual("r", 1, 1, (inner,), (), 8)
    whole = cost((residual,), "xc7")
    assert whole == node_cost(residual, "xc7") + node_cost(inner, "xc7")
    assert cost((residual,), "xc7", whole=True).ff > whole.ff


def test_resources_are_rounded_up():
    assert Resources(lut=1.2, ff=3, dsp=2, bram36=0.5).to_dict() == {"lut": 2, "ff": 3, "dsp": 2, "bram36": 0.5}
    assert np.isclose((Resources(bram36=0.5) * 3).bram36, 1.5)


def multiplexers(values, results, starts):
    """Count the multiplexers of a rotation: stages of two bits of the start, from the results back to the values."""
    wanted, total, distance = set(range(results)), 0, starts.step
    while distance < values:
        turns = range(min(4, values // distance))
        total += len(wanted)
        wanted = {(place + turn * distance) % values for place in wanted for turn in turns}
        distance *= 4
    return total


@pytest.mark.parametrize("values", [2, 8, 16, 64])
@pytest.mark.parametrize("step", [1, 2, 8])
@pytest.mark.parametrize("results", [1, 2, 7, 16, 64])
def test_rotation(values, step, results):
    """A multiplexer of up to four takes a LUT for each bit."""
    starts = range(0, values, step)
    if results <= values:
        assert rotation(values, results, starts) == multiplexers(values, results, starts)
