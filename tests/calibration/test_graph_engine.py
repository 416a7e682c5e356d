"""Estimates of adder graphs beside what Yosys made of them (`calibration.graph_engine`)."""

import json

import pytest

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")

from calibration.graph_engine import CASES, DATA, NETWORK, SMALL, key, layer_of, rounded
from psahw.adder_graph import solve
from psahw.adder_graph.parallel import adder_graph_cost, pipeline
from psahw.adder_graph.serial import digit_serial, digit_serial_cost
from psahw.gateware.graph_engine import PARALLEL_GRAPH, SERIAL_GRAPH
from psahw.network.file import load
from psahw.synthesis import yosys

MEASURED = json.loads(DATA.read_text())
GRAPHS = [case for case in CASES if (case.layer, case.bits, case.lanes) == (SMALL, 5, 4)]


@pytest.fixture(scope="module")
def layer():
    """Return the graph of the smaller layer at 5 bits, and its biases and shifts."""
    weight, bias, shift = rounded(layer_of(load(NETWORK), SMALL), 5)
    return solve(weight), {"bias": bias, "shift": shift}


@pytest.mark.parametrize("case", GRAPHS, ids=key)
def test_the_estimate_is_within_a_tenth(case, layer):
    graph, rows = layer
    if case.digit is None:
        estimate, module = adder_graph_cost(pipeline(graph, **rows, depth=case.depth)), PARALLEL_GRAPH
    else:
        estimate, module = digit_serial_cost(digit_serial(graph, **rows, digit=case.digit)), SERIAL_GRAPH
    made = yosys.resources_of(MEASURED[key(case)][module])
    assert estimate.lut == pytest.approx(made.lut, rel=0.1)
    assert estimate.ff == pytest.approx(made.ff, rel=0.1)


def test_every_case_was_measured():
    assert {key(case) for case in CASES} <= MEASURED.keys()
