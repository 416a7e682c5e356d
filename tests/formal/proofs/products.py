"""Proofs about products of vectors with constant matrices."""

from collections.abc import Iterator

import numpy as np
from amaranth.hdl import Mux

from calibration.constant_multipliers import ConstantMultipliers
from psahw.adder_graph import solve
from psahw.adder_graph.serial import DIGITS
from psahw.architecture.codes import INT8, Codes
from psahw.architecture.geometry import neighbours
from psahw.architecture.timing import requantise_latency
from psahw.gateware.adder_graph import AdderGraph
from psahw.gateware.digit_serial import DigitSerial
from psahw.gateware.graph_engine import GraphEngine
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray

from ..benches import SerialArithmetic, SerialControl, number, requantised
from ..contract import Frames, Model, StreamBench, popcount
from .proof import HANDSHAKE, ORDER, Proof, handshake, order

__all__ = ["proofs"]


def few(bits: int) -> str:
    """Return what to say about elements of few bits; sums of products of any bytes are too hard for the solver."""
    return f"elements of {bits} bit{'s' if bits > 1 else ''}"


def _mac_array(
    *, outputs, inputs, rows, columns, o_lanes, depth, sets=1, vectors=1, i_codes=INT8, o_codes=INT8, scaled=False,
    bits=None, seed=1,
):  # fmt: skip
    """Return a function that makes the bench of a `MacArray` with random weights, and multipliers if ``scaled``."""

    def make(p):
        rng = np.random.default_rng(seed)
        weight = rng.integers(-8, 8, (sets, outputs, inputs)).astype(np.int8)
        bias, shift = rng.integers(-100, 100, (sets, outputs)), rng.integers(0, 4, (sets, outputs))
        scale = rng.integers(1, 8, shift.shape) if scaled else np.ones_like(shift)
        dut = MacArray(
            weight=weight, bias=bias.astype(np.int32), shift=shift.astype(np.uint8), rows=rows, columns=columns,
            o_lanes=o_lanes, depth=depth, vectors=vectors, i_codes=i_codes, o_codes=o_codes,
            scale=scale.astype(np.uint32) if scaled else None,
        )  # fmt: skip
        steps, passes, groups = -(-inputs // columns), -(-outputs // rows), rows // o_lanes
        beats = outputs // o_lanes

        def model(x):
            results = []
            for vector in range(vectors):
                beats_ = x[vector * steps : (vector + 1) * steps]
                lanes = [number(element, i_codes) for beat in beats_ for element in beat][:inputs]
                set_ = vector * sets // vectors
                totals = [
                    sum((int(w) * lane for w, lane in zip(row, lanes, strict=True)), int(b))
                    for row, b in zip(weight[set_], bias[set_], strict=True)
                ]
                if scaled:
                    totals = [total * int(factor) for total, factor in zip(totals, scale[set_], strict=True)]
                values = [requantised(total, int(s), o_codes) for total, s in zip(totals, shift[set_], strict=True)]
                results += [values[n : n + o_lanes] for n in range(0, outputs, o_lanes)]
            return results

        def inside(internals, due):
            array = internals(dut)
            ring = internals(array.ring)
            waiting = ring.vectors.value * passes - ring.o_pass.value
            begun = ring.o_beat.value != 0
            emitting = Mux(array.emit, groups - array.group, 0)
            leaving = emitting + popcount(array.valid, array.queue.i.valid) + array.queue.level
            return [
                due == (waiting + popcount(array.last)) * groups + leaving,
                # What was let in, except for what has left.
                (begun + popcount(array.last)) * groups + leaving == array.held.value * groups - array.gone,
                array.gone < groups,
                ~array.queue.i.valid | array.queue.i.ready,
            ]

        pipeline = 8 + (columns - 1).bit_length() + requantise_latency(scaled)
        due = [vector * beats + n for vector in range(vectors) for n in (*[0] * (steps - 1), beats)]
        return StreamBench(
            dut, p, frames=Frames(tuple(due)), capacity=(depth // steps + 1) * beats + 3 * groups + pipeline,
            patience=steps + pipeline - 1, interval=2 * steps + pipeline, order=Model(model),
            invariants=inside if not outputs % rows and set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip

    return make


def _local_mixing(grid, kernel, channels, *, shared=False, i_codes=INT8, o_codes=INT8, bits=None, seed=1):
    def make(p):
        rng, tokens = np.random.default_rng(seed), grid[0] * grid[1]
        positions, entries = 1 if shared else tokens, kernel[0] * kernel[1]
        weight = rng.integers(-8, 8, (1, positions, entries)).astype(np.int8)
        near = neighbours(grid, kernel)
        if not shared:
            weight[:, near < 0] = 0
        bias, shift = rng.integers(-100, 100, (1, positions)), rng.integers(0, 4, (1, positions))
        dut = LocalMixing(
            weight=weight, bias=bias.astype(np.int32), shift=shift.astype(np.uint8), kernel=kernel, grid=grid,
            channels=channels, lanes=1, shared=shared, i_codes=i_codes, o_codes=o_codes,
        )  # fmt: skip
        beats, reach = tokens * channels, dut.reach * channels

        def model(x):
            results = []
            for token in range(tokens):
                n = 0 if shared else token
                for channel in range(channels):
                    terms = [
                        int(w) * number(x[other * channels + channel][0], i_codes)
                        for w, other in zip(weight[0, n], near[token], strict=True)
                        if other >= 0
                    ]
                    results.append([requantised(sum(terms, int(bias[0, n])), int(shift[0, n]), o_codes)])
            return results

        def inside(internals, due):
            mixing = internals(dut)
            leaving = popcount(mixing.valid, mixing.queue.i.valid) + mixing.queue.level
            fits = ~mixing.queue.i.valid | mixing.queue.i.ready
            queue = internals(mixing.queue)
            conditions = [
                mixing.held.value == leaving,
                mixing.held.room == (mixing.held.value != mixing.most),
                mixing.held.value <= mixing.most,
                fits,
                queue.held.value == queue.stored.value + mixing.queue.o.valid,
                queue.held.room == (queue.held.value != mixing.most),
                queue.stored.some == (queue.stored.value != 0),
            ]
            if not reach:
                return [*conditions, due == leaving]
            pushing = internals(dut, "_push")
            place, owed = pushing.place.value, pushing.owed
            return [
                *conditions,
                due == leaving + owed + Mux(pushing.padding, beats, 0),
                bench.place == Mux(pushing.padding, 0, place),
                pushing.owes == (owed != 0),
                pushing.between == (place == 0),
                pushing.completes == (pushing.owes | (place >= reach)),
                ~pushing.owes | (owed + place <= reach),
                owed <= min(beats, reach),
                place < max(beats, reach),
            ]

        latency = 7 + (entries - 1).bit_length() + 3
        due = (*(max(beat + 1 - reach, 0) for beat in range(beats - 1)), beats)
        bench = StreamBench(
            dut, p, frames=Frames(due), capacity=latency + 1 + max(reach, beats), interval=latency + reach,
            patience=latency - 1 + max(reach - beats + 1, 0),
            # Within a frame, beats of the one before may wait for its next pushes.
            waiting=[0, *(max(reach - place, 0) for place in range(1, beats))],
            order=Model(model), invariants=inside if set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip
        return bench

    return make


def _graph_engine(digit, o_lanes, bits=None, i_codes=INT8, o_codes=INT8):
    def make(p):
        weight, bias, shift = np.array([[3, -2], [-5, 7]]), (20, -9), (1, 3)
        graph = solve(weight, [(i_codes.low, i_codes.high)] * 2, workers=1)
        dut = GraphEngine(
            graph=graph, bias=bias, shift=shift, digit=digit, o_lanes=o_lanes, i_codes=i_codes, o_codes=o_codes
        )
        beats = 2 // o_lanes

        def model(x):
            return _rows(weight, bias, shift, x[0], o_lanes, i_codes, o_codes)

        def inside(internals, due):
            engine, core = internals(dut), internals(dut._core)
            if digit is None:
                working = popcount(core.valid, dut._core.o.valid)
            else:
                working = popcount(*core.pulse._line[1 : dut._core.latency], dut._core.o.valid)
            leaving = Mux(engine.active, beats - engine.place, 0) + engine.choose + engine.queue.level
            return [due == engine.held.value * beats - engine.beat.value, due == working * beats + leaving]

        return StreamBench(
            dut, p, frames=Frames((beats,)), capacity=dut.words * beats, patience=dut.latency - 1,
            interval=dut.latency + dut.interval, order=Model(model),
            invariants=inside if set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip

    return make


def _rows(weight, bias, shift, x, o_lanes, i_codes=INT8, o_codes=INT8):
    """Return the output beats of ``sat(rshift(weight·x + bias, shift))``."""
    lanes = [number(element, i_codes) for element in x]
    totals = [
        sum((int(w) * lane for w, lane in zip(row, lanes, strict=True)), b)
        for row, b in zip(weight, bias, strict=True)
    ]
    values = [requantised(total, s, o_codes) for total, s in zip(totals, shift, strict=True)]
    return [values[n : n + o_lanes] for n in range(0, len(values), o_lanes)]


def _vectors(kind, bits=None):
    """Return a function that makes the bench of a component that takes a vector in every clock cycle."""

    def make(p):
        weight, bias, shift = np.array([[3, -2], [-5, 7]]), (20, -9), (1, 3)
        if kind is AdderGraph:
            dut = AdderGraph(graph=solve(weight, workers=1), bias=bias, shift=shift)
        else:
            dut = ConstantMultipliers(weight=weight, bias=bias, shift=shift)

        def inside(internals, due):
            return [due == popcount(internals(dut).valid, dut.o.valid)]

        return StreamBench(
            dut, p, frames=Frames((1,)), capacity=dut.latency, patience=dut.latency - 1, interval=dut.latency,
            order=Model(lambda x: _rows(weight, bias, shift, x[0], 2)),
            invariants=inside if set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip

    return make


# Four rows of four weights for each width, among them the extremes.
WEIGHTS = {
    4: [[-8, 7, 1, 0], [3, -5, 6, -2], [7, 7, -8, 5], [-1, 4, -3, -6]],
    6: [[-32, 31, 9, 0], [13, -27, 22, -6], [31, 29, -32, 11], [-5, 18, -15, -25]],
    8: [[-128, 127, 37, 0], [53, -107, 90, -26], [127, 121, -128, 45], [-21, 74, -59, -99]],
}
BIAS, SHIFT = (300, -77, 5, -512), (3, 4, 0, 5)


def serial(digit: int, bits: int) -> DigitSerial:
    """Return a digit-serial adder graph for the matrix with weights of ``bits`` bits."""
    return DigitSerial(graph=solve(np.array(WEIGHTS[bits]), workers=1), bias=BIAS, shift=SHIFT, digit=digit)


def _serial_control(digit, bits):
    return lambda p: SerialControl(serial(digit, bits), p)


def _serial_arithmetic(digit, bits, rows, products):
    def make(p):
        return SerialArithmetic(
            serial(digit, bits),
            p,
            weight=np.array(WEIGHTS[bits]),
            bias=BIAS,
            shift=SHIFT,
            rows=rows,
            products=products,
        )

    return make


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    for parameters, depth, bits, arguments in (
        ("2x2, 2x1 units", 22, 2, dict(outputs=2, inputs=2, rows=2, columns=1, o_lanes=1, depth=2)),
        ("4x2, 2x1 units, 2 passes", 25, 2, dict(outputs=4, inputs=2, rows=2, columns=1, o_lanes=1, depth=3)),
        ("2x3, 2x2 units, 2 sets", 25, 1,
         dict(outputs=2, inputs=3, rows=2, columns=2, o_lanes=1, depth=3, sets=2, vectors=2)),
    ):  # fmt: skip
        yield handshake("MacArray", parameters, _mac_array(**arguments))
        yield order("MacArray", f"{parameters}, {few(bits)}", _mac_array(**arguments, bits=bits), depth)
    slow = _mac_array(
        outputs=4, inputs=3, rows=2, columns=1, o_lanes=1, depth=4
    )  # a pass takes longer than its output
    yield handshake("MacArray", "4x3, 2x1 units, 2 passes", slow)
    unsigned = dict(i_codes=Codes(2, signed=False), o_codes=Codes(3, signed=False))
    scaled = _mac_array(outputs=2, inputs=2, rows=2, columns=1, o_lanes=1, depth=2, scaled=True, **unsigned)
    yield order("MacArray", "2x2, 2x1 units, uint2 to uint3, multipliers", scaled, 24)

    shared = "2 channels, shared"
    for parameters, make in (
        ("2x1 tokens, 3x1", _local_mixing((2, 1), (3, 1), 1)),
        ("1x2 tokens, 1x3, shared", _local_mixing((1, 2), (1, 3), 1, shared=True)),
        (f"1x1 tokens, 1x3, {shared}", _local_mixing((1, 1), (1, 3), 2, shared=True)),
        ("1x2 tokens, 1x7, shared", _local_mixing((1, 2), (1, 7), 1, shared=True)),  # shorter than the reach
    ):
        yield Proof("LocalMixing", parameters, HANDSHAKE, "induction", make, 18, quick=True)
    # The second frames of larger ones leave too late.
    rows, columns = _local_mixing((2, 2), (3, 1), 1, bits=1), _local_mixing((1, 2), (1, 3), 2, shared=True, bits=2)
    yield order("LocalMixing", f"2x2 tokens, 3x1, {few(1)}", rows, 26)
    for grid, depth in (((2, 1), 23), ((1, 2), 26)):
        square = _local_mixing(grid, (3, 3), 1, shared=True, bits=1)
        yield order("LocalMixing", f"{grid[0]}x{grid[1]} tokens, 3x3, shared, {few(1)}", square, depth)
    yield order("LocalMixing", f"1x2 tokens, 1x3, {shared}, {few(2)}", columns, 28)
    yield order("LocalMixing", "1x3 tokens, 1x3, uint2 to uint3", _local_mixing((1, 3), (1, 3), 1, **unsigned), 24)

    for kind in (AdderGraph, ConstantMultipliers):
        yield handshake(kind.__name__, "2x2", _vectors(kind))
        yield order(kind.__name__, f"2x2, {few(2)}", _vectors(kind, 2), 14)
    for digit, lanes, depth in ((None, 1, 16), (None, 2, 14), (8, 1, 20)):
        parameters = f"2x2, {'parallel' if digit is None else f'digit {digit}'}, {lanes} lanes"
        yield handshake("GraphEngine", parameters, _graph_engine(digit, lanes))
        yield order("GraphEngine", f"{parameters}, {few(2)}", _graph_engine(digit, lanes, 2), depth)
        if lanes == 1:
            parameters += ", uint2 to uint3"
            yield order("GraphEngine", parameters, _graph_engine(digit, lanes, **unsigned), depth)
    for digit in DIGITS:
        for bits in WEIGHTS:
            parameters = f"4x4, {bits} bits, digit {digit}"
            yield Proof("DigitSerial", parameters, ("counts",), "pdr", _serial_control(digit, bits))
            make = _serial_arithmetic(digit, bits, range(4), False)
            yield Proof("DigitSerial", parameters, ORDER, "bmc", make, quick=bits == 4 and digit in (3, 8))
