# amaranth: UnusedElaboratable=no
"""The MAC array against NumPy, and its timing against psahw.architecture.timing."""

import itertools
import re

import numpy as np
import pytest
from amaranth.hdl import Fragment
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import INT8, Codes
from psahw.gateware.mac_array import MacArray
from psahw.network.reference import requantise
from tests.gateware.streams import run_stream

stalls = st.lists(st.booleans(), max_size=5).map(lambda pattern: [*pattern, False])


CODES = st.sampled_from([INT8, Codes(8, False), Codes(4), Codes(2, False), Codes(1, False)])
KINDS = ("random", "lowest", "ends", "sparse", "single", "small")


def random_layer(rng, sets, outputs, inputs, kind="random"):
    """Return weight, bias and shift of a layer.

    The kind "lowest" has every weight at -128 and "ends" at -128 or 127, "sparse" has rows of zeros, "single" has one
    weight per row, and "small" has weights of three bits.
    """
    weight = rng.integers(-128, 128, (sets, outputs, inputs)).astype(np.int8)
    if kind == "lowest":
        weight[:] = -128
    if kind == "sparse":
        weight[:, ::2] = 0
    if kind == "ends":
        weight = rng.choice(np.array([-128, 127], np.int8), weight.shape)
    if kind == "single":
        weight[np.arange(inputs) != rng.integers(0, inputs, (sets, outputs, 1))] = 0
    if kind == "small":
        weight //= 32
    bias = rng.integers(-(1 << 20), 1 << 20, (sets, outputs)).astype(np.int32) >> rng.integers(0, 20)
    return {"weight": weight, "bias": bias, "shift": rng.integers(0, 14, (sets, outputs)).astype(np.uint8)}


def outputs_of(layer, x, vectors, codes=INT8):
    """Return the outputs for ``x`` of shape (n, inputs), where n is a multiple of ``vectors``."""
    sets = len(layer["weight"])
    used = np.resize(np.repeat(np.arange(sets), vectors // sets), len(x))
    total = np.einsum("voi,vi->vo", layer["weight"][used].astype(np.int64), x) + layer["bias"][used]
    if "scale" in layer:
        total *= layer["scale"][used]
    if "offset" in layer:
        total += layer["offset"][used]
    return requantise(total, layer["shift"][used], codes)


@st.composite
def shapes(draw):
    """Draw constructor arguments that fit together, and the shape of the weights; the last step may be short."""
    sets, columns, steps, o_lanes = (draw(st.integers(1, n)) for n in (3, 3, 5, 2))
    inputs = steps * columns - draw(st.integers(0, columns - 1)) * (steps > 1)
    rows = o_lanes * draw(st.integers(1, steps))
    outputs = o_lanes * draw(st.integers(1, 7))
    arguments = {"rows": rows, "columns": columns, "o_lanes": o_lanes}
    arguments["depth"] = steps + draw(st.integers(0, 2 * steps))
    arguments["vectors"] = sets * draw(st.integers(1, 3))
    arguments["operand_bits"] = draw(st.sampled_from([None, 25, 27]))
    arguments["weight_style"] = draw(st.sampled_from(["block", "distributed"]))
    return arguments, (sets, outputs, inputs)


def check(layer, arguments, *, frames=2, x=None, **options):
    columns, o_lanes = arguments["columns"], arguments["o_lanes"]
    _, outputs, inputs = layer["weight"].shape
    codes = arguments.get("i_codes", INT8)
    if x is None:
        x = np.random.default_rng(5).integers(codes.low, codes.high + 1, (frames * arguments["vectors"], inputs))
        x[0] = codes.low if codes.signed else codes.high
    # Lanes beyond the inputs must not matter.
    beats = np.pad(x, ((0, 0), (0, -inputs % columns)), constant_values=min(85, codes.high)).reshape(-1, columns)
    out, i_cycles, o_cycles = run_stream(
        MacArray(**layer, **arguments), beats, quiet=2 * beats.size * outputs + 60, **options
    )
    expected = outputs_of(layer, x, arguments["vectors"], arguments.get("o_codes", INT8))
    np.testing.assert_array_equal(out, expected.reshape(-1, o_lanes))
    if not any(options.get("o_stalls", ())):
        predicted, freed = timing.mac_array(
            i_cycles, inputs=inputs, outputs=outputs, rows=arguments["rows"], columns=columns, o_lanes=o_lanes,
            scaled="scale" in layer,
        )  # fmt: skip
        np.testing.assert_array_equal(o_cycles, predicted)
        assert timing.fifo_depth(i_cycles, freed) <= arguments["depth"]


@settings(max_examples=25, deadline=None)
@given(shapes(), st.integers(0, 1000), st.sampled_from(KINDS), stalls)
def test_outputs_and_timing(shape, seed, kind, i_stalls):
    arguments, size = shape
    check(random_layer(np.random.default_rng(seed), *size, kind), arguments, i_stalls=i_stalls)


@settings(max_examples=15, deadline=None)
@given(shapes(), st.integers(0, 1000), stalls, stalls)
def test_stalls_on_both_ends(shape, seed, i_stalls, o_stalls):
    arguments, size = shape
    check(random_layer(np.random.default_rng(seed), *size), arguments, i_stalls=i_stalls, o_stalls=o_stalls)


def test_wide_outputs_and_weights_in_luts():
    layer = random_layer(np.random.default_rng(0), 1, 6, 8)
    arguments = {"rows": 4, "columns": 2, "o_lanes": 1, "depth": 8, "vectors": 3}
    check(layer, arguments | {"o_codes": Codes(20), "weight_style": "distributed"})


@settings(max_examples=25, deadline=None)
@given(shapes(), st.integers(0, 1000), st.sampled_from(KINDS), st.booleans(), CODES, CODES, stalls)
def test_types_and_multipliers(shape, seed, kind, scaled, i_codes, o_codes, i_stalls):
    arguments, size = shape
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, *size, kind)
    if scaled:
        layer |= {"scale": rng.integers(0, 1 << 22, layer["bias"].shape).astype(np.uint32)}
        layer |= {"offset": rng.integers(-(1 << 22) + 1, 1 << 22, layer["bias"].shape).astype(np.int32)}
        layer["shift"] += 16
    check(layer, arguments | {"i_codes": i_codes, "o_codes": o_codes}, i_stalls=i_stalls)


def test_a_range_that_is_smaller_than_the_type():
    # Eight products of 127·128 exceed the 16 bits that a lower row has, eight of 127·60 do not.
    layer = random_layer(np.random.default_rng(0), 2, 6, 16, "ends")
    layer["weight"] = np.maximum(layer["weight"], -127)
    arguments = {"rows": 4, "columns": 2, "o_lanes": 1, "depth": 8, "vectors": 4, "operand_bits": 25}
    x = np.random.default_rng(1).integers(-20, 61, (8, 16))
    x[0], x[1] = -20, 60
    check(layer, arguments | {"i_range": (-20, 60)}, x=x)
    narrow = MacArray(**layer, **arguments | {"i_range": (-20, 60)})
    assert len(narrow.pairs) > len(MacArray(**layer, **arguments).pairs)


@pytest.mark.parametrize("operand_bits", [25, 27])
def test_every_row_shares_a_multiplier(operand_bits):
    """Long sums reach the limit of the lower rows, in several sets and passes."""
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 2, 12, 32)
    limit = 511 if operand_bits == 25 else 2047
    layer["weight"][:] = rng.choice((-127, 127, 1), layer["weight"].shape)
    for j in range(0, 12, 2):
        row = rng.permutation(np.r_[np.full(limit // 127, 127), limit % 127, np.zeros(31 - limit // 127)])
        layer["weight"][:, j] = row * rng.choice((-1, 1), 32)
    arguments = {"rows": 4, "columns": 1, "o_lanes": 2, "depth": 70, "vectors": 4, "operand_bits": operand_bits}
    assert len(MacArray(**layer, **arguments).pairs) == 2
    positive = layer["weight"].reshape(-1, 32)[:24:2] > 0
    check(layer, arguments, x=np.r_[np.where(positive, -128, 127), np.where(positive, 127, -128)])


@pytest.mark.parametrize(("multiplier", "registers"), [(None, 2), ("MULT18X18D", 3), ("DSP48E1", 1)])
def test_registers_in_front_of_the_accumulators(multiplier, registers):
    """The choice between a new sum and the old one has a register of its own in a DSP slice: that of OPMODE.

    The operands of a MULT18X18D come a clock cycle later.
    """
    layer = random_layer(np.random.default_rng(0), 1, 4, 4)
    dut = MacArray(**layer, rows=2, columns=1, o_lanes=1, depth=8, vectors=2, multiplier=multiplier)
    statements = Fragment.get(dut, None).statements["sync"]
    names = {signal.name for statement in statements for signal in statement._lhs_signals()}
    assert sum(name.startswith("first_") for name in names) == registers
    assert {name for name in names if name.startswith("begins_")} == {"begins_0"}  # for two multipliers


def test_full_throughput_without_gaps():
    layer = random_layer(np.random.default_rng(0), 2, 8, 8)
    dut = MacArray(**layer, rows=4, columns=2, o_lanes=1, depth=8, vectors=4)
    _, _, o_cycles = run_stream(dut, np.zeros((8 * 4, 2), int))
    np.testing.assert_array_equal(np.diff(o_cycles), 1)


def test_reset_in_mid_frame():
    layer = random_layer(np.random.default_rng(0), 2, 6, 4)
    arguments = {"rows": 2, "columns": 1, "o_lanes": 1, "depth": 9, "vectors": 4}
    for operand_bits, cycle in itertools.product((None, 25), (9, 26, 41)):
        check(layer, arguments | {"operand_bits": operand_bits}, reset_at=cycle)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"weight": [[[1]]]}, TypeError, "weight must be an array of int8, not list"),
        (
            {"weight": np.zeros((4, 4), np.int8)},
            ValueError,
            "weight must have shape (sets, outputs, inputs), not (4, 4)",
        ),
        ({"bias": np.zeros(6)}, ValueError, "bias must have shape (1, 6), not (6,)"),
        ({"shift": np.zeros((1, 5))}, ValueError, "shift must have shape (1, 6), not (1, 5)"),
        ({"rows": 2.0}, TypeError, "rows must be an integer, not 2.0"),
        ({"columns": 9}, ValueError, "columns must be in [1, 8], not 9"),
        ({"o_lanes": 4}, ValueError, "o_lanes must divide outputs = 6, not 4"),
        ({"rows": 3, "o_lanes": 2}, ValueError, "o_lanes must divide rows = 3, not 2"),
        ({"rows": 5}, ValueError, "rows must be in [1, 4], not 5"),
        ({"depth": 3}, ValueError, "depth must be at least 4, not 3"),
        ({"vectors": 0}, ValueError, "vectors must be at least 1, not 0"),
        ({"scale": np.ones((1, 3), np.uint32)}, ValueError, "scale must have shape (1, 6), not (1, 3)"),
        ({"offset": np.ones((1, 3), np.int32)}, ValueError, "offset must have shape (1, 6), not (1, 3)"),
        ({"weight_style": "auto"}, ValueError, "weight_style must be one of block, distributed, not 'auto'"),
        ({"operand_bits": 18}, ValueError, "operand_bits must be at least 25, not 18"),
        (
            {"multiplier": "DSP48A1"},
            ValueError,
            "multiplier must be 'DSP48E1', 'DSP48E2' or 'MULT18X18D', not 'DSP48A1'",
        ),
        (
            {"multiplier": "MULT18X18D", "operand_bits": 25},
            ValueError,
            "operand_bits must be None for a MULT18X18D, not 25",
        ),
        ({"multiplier": "DSP48E1", "operand_bits": 27}, ValueError, "operand_bits must be in [25, 25], not 27"),
    ],
)
def test_init_wrong(wrong, error, message):
    arguments = random_layer(np.random.default_rng(0), 1, 6, 8)
    arguments |= {"rows": 2, "columns": 2, "o_lanes": 1, "depth": 8, "vectors": 2}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        MacArray(**(arguments | wrong))


def test_init_wrong_vectors():
    layer = random_layer(np.random.default_rng(0), 2, 4, 4)
    with pytest.raises(ValueError, match=r"^sets must divide vectors = 3, not 2$"):
        MacArray(**layer, rows=2, columns=1, o_lanes=1, depth=8, vectors=3)
