"""The table of proofs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Elaboratable, Mux

from calibration.constant_multipliers import ConstantMultipliers
from psahw.adder_graph import solve
from psahw.architecture.codes import Codes
from psahw.architecture.geometry import SlidingWindow, neighbours
from psahw.boards.axi.pack import Pack
from psahw.boards.axi.unpack import Unpack
from psahw.boards.link.dispatcher import Dispatcher
from psahw.boards.link.image_buffer import ImageBuffer
from psahw.boards.link.replier import Replier
from psahw.gateware.adder_graph import AdderGraph
from psahw.gateware.argmax import Argmax, result_layout
from psahw.gateware.banks import Banks
from psahw.gateware.chain import Chain
from psahw.gateware.counters import Counters
from psahw.gateware.digit_serial import DigitSerial
from psahw.gateware.graph_engine import GraphEngine
from psahw.gateware.input_table import InputTable
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from psahw.gateware.pool import MeanPool
from psahw.gateware.residual import Add, Residual
from psahw.gateware.ring import VectorRing
from psahw.gateware.slices import Slices
from psahw.gateware.stream import Fork, Gather, Queue, Skid, vector_signature
from psahw.gateware.table import TableRom
from psahw.gateware.taps import DelayTaps
from psahw.gateware.transpose import Transpose
from psahw.gateware.windows import Windows

from .benches import (
    AddBench,
    BanksBench,
    CountersBench,
    DelayTapsBench,
    ForkBench,
    RingBench,
    SerialArithmetic,
    SerialControl,
    requantised,
)
from .contract import ANY, ZERO, Bench, Frames, Model, Route, StreamBench, popcount
from .link import (
    CobsBench,
    CobsRoundTrip,
    DispatcherBench,
    ImageBufferBench,
    PackBench,
    ReplierBench,
    UnpackBench,
)

__all__ = ["PROOFS", "Proof"]

HANDSHAKE = ("stable", "offers", "counts", "live")
ORDER = ("order",)
SIGN = slice(7, 8)
BYTE = vector_signature(1).members["payload"].shape


@dataclass(frozen=True)
class Proof:
    """Properties of a component with certain parameters, and how to prove them.

    ``quick`` proofs are part of the test suite. ``depth`` is the number of clock cycles that engine ``bmc`` looks at,
    and k for ``induction``; ``skip`` that of the first ones in which nothing can fail. A proof by ``bmc`` without a
    depth looks at as many clock cycles as its bench demands, and holds for all time, see `Bench.cycles`.
    """

    component: str
    parameters: str
    properties: tuple[str, ...]
    engine: str
    make: Callable[[Sequence[str]], Bench]
    depth: int = 0
    skip: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """A name that is unique, from small letters, digits, dashes and slashes."""
        parts = (self.component, self.parameters, "-".join(self.properties))
        return "/".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts if part)

    @property
    def bound(self) -> int | None:
        """Clock cycles, that of the reset included, for which the properties are shown; None for all time."""
        return (self.depth or None) if self.engine == "bmc" else None

    def bench(self) -> Bench:
        """Return a new bench."""
        return self.make(self.properties)

    def component_alone(self) -> Elaboratable:
        """Return a new component, without a bench."""
        bench = self.make(())
        bench._MustUse__silence = True  # Amaranth warns of what is never elaborated
        return bench.component


def copies(lanes: int) -> Route:
    """Return the order in which beats leave as they came."""
    return Route([[(0, lane) for lane in range(lanes)]])


def _queue(depth):
    return lambda p: StreamBench(
        Queue(shape=BYTE, depth=depth),
        p,
        frames=Frames((1,)),
        capacity=depth,
        patience=1,
        interval=2,
        order=copies(1),
    )


def _skid(p):
    return StreamBench(
        Skid(shape=BYTE),
        p,
        frames=Frames((1,)),
        capacity=2,
        patience=0,
        interval=0,
        order=copies(1),
        transparent=True,
    )


def _gather(p):
    order = Route([[(lane // 2, lane % 2) for lane in range(6)]])
    dut = Gather(lanes=2, ratio=3)
    return StreamBench(dut, p, frames=Frames((0, 0, 1)), capacity=1, patience=0, interval=3, order=order)


def _gather_rest(p):
    order = Route([[(0, 0), (1, 0)], [(2, 0), (3, 0)], [(4, 0), ANY]])
    dut = Gather(lanes=1, ratio=2, beats=5)
    return StreamBench(dut, p, frames=Frames((0, 1, 1, 2, 3)), capacity=1, patience=0, interval=2, order=order)


# Two functions of one byte: exclusive or with a constant has as many different values as any table.
MASKS = (0x03, 0x40)
CODES = np.arange(-128, 128)[None] ^ np.array(MASKS)[:, None]


def _looked_up(flip):
    """Return the order of a table with a function for each of two beats; arguments come with the bits of ``flip``."""
    return Route([[(0, 0)], [(1, 0)]], function=lambda beat, lane, value: value ^ (MASKS[beat] ^ flip))


def _table(style):
    return lambda p: StreamBench(
        TableRom(values=CODES.astype(np.int8), lanes=1, style=style),
        p, frames=Frames((1, 2)), capacity=2, patience=1, interval=2, order=_looked_up(0),
    )  # fmt: skip


def _input_table(p):
    dut = InputTable(table=CODES.astype(np.int8), lanes=1)
    return StreamBench(dut, p, frames=Frames((1, 2)), capacity=2, patience=1, interval=2, order=_looked_up(0x80))


def _slices(p):
    parts = [TableRom(values=CODES[n : n + 1].astype(np.int8), lanes=1, style="distributed") for n in range(2)]
    order = Route([[(0, 0), (0, 1)]], function=lambda beat, lane, value: value ^ MASKS[lane])
    return StreamBench(Slices(parts=parts), p, frames=Frames((1,)), capacity=2, patience=1, interval=2, order=order)


def _chain(p):
    parts = {
        "first": Gather(lanes=1, ratio=2),
        "second": Queue(shape=vector_signature(2).members["payload"].shape, depth=2),
    }
    order = Route([[(0, 0), (1, 0)]])
    return StreamBench(Chain(parts=parts), p, frames=Frames((0, 1)), capacity=3, patience=2, interval=4, order=order)


def _transpose(rows, columns, i_lanes, o_lanes, period, bits=SIGN):
    def make(p):
        i_beats, o_beats = rows * columns // i_lanes, rows * columns // o_lanes
        sources = np.arange(rows * columns).reshape(rows, columns).T.reshape(o_beats, o_lanes)
        order = Route([[divmod(int(source), i_lanes) for source in beat] for beat in sources], bits)
        dut = Transpose(
            rows=rows, columns=columns, i_lanes=i_lanes, o_lanes=o_lanes, period=period, style="distributed"
        )
        return StreamBench(
            dut, p, frames=Frames((*[0] * (i_beats - 1), o_beats)), capacity=2 * o_beats + 2, patience=period + 2,
            interval=i_beats + period + 2, order=order,
        )  # fmt: skip

    return make


def _windows(height, width, size, stride, padding, i_lanes, o_lanes, period=1, bits=SIGN):
    """Return a function that makes the bench of a `Windows` over a grid with one channel."""

    def make(p):
        grid, i_beats = SlidingWindow(height, width, size, stride, padding), height * width // i_lanes
        numbers = np.pad(np.arange(height * width).reshape(height, width), padding, constant_values=-1)
        rows, columns = grid.grid
        windows = [
            numbers[y * stride : y * stride + size, x * stride : x * stride + size]
            for y in range(rows)
            for x in range(columns)
        ]
        sources = np.array(windows).reshape(-1, o_lanes)
        order = Route([[ZERO if n < 0 else divmod(int(n), i_lanes) for n in beat] for beat in sources], bits)
        beats = size * size // o_lanes * columns  # of a row of windows
        last = [min(y * stride - padding + size, height) for y in range(rows)]
        due = [sum(beats for end in last if end * width <= (beat + 1) * i_lanes) for beat in range(i_beats)]
        dut = Windows(
            height=height, width=width, channels=1, size=size, stride=stride, padding=padding, i_lanes=i_lanes,
            o_lanes=o_lanes, period=period, style="distributed",
        )  # fmt: skip
        return StreamBench(
            dut, p, frames=Frames(tuple(due)), capacity=2 * len(sources) + 2, patience=period + 3,
            interval=i_beats + period + 3, order=order,
        )  # fmt: skip

    return make


def _mac_array(*, outputs, inputs, rows, columns, o_lanes, depth, sets=1, vectors=1, bits=None, seed=1):
    def make(p):
        rng = np.random.default_rng(seed)
        weight = rng.integers(-8, 8, (sets, outputs, inputs)).astype(np.int8)
        bias, shift = rng.integers(-100, 100, (sets, outputs)), rng.integers(0, 4, (sets, outputs))
        dut = MacArray(
            weight=weight, bias=bias.astype(np.int32), shift=shift.astype(np.uint8), rows=rows, columns=columns,
            o_lanes=o_lanes, depth=depth, vectors=vectors,
        )  # fmt: skip
        steps, passes, groups = -(-inputs // columns), -(-outputs // rows), rows // o_lanes
        beats = outputs // o_lanes

        def model(x):
            results = []
            for vector in range(vectors):
                lanes = [x_.as_signed() for beat in x[vector * steps : (vector + 1) * steps] for x_ in beat][:inputs]
                set_ = vector * sets // vectors
                totals = [
                    sum((int(w) * lane for w, lane in zip(row, lanes, strict=True)), int(b))
                    for row, b in zip(weight[set_], bias[set_], strict=True)
                ]
                values = [requantised(total, int(s)) for total, s in zip(totals, shift[set_], strict=True)]
                results += [values[n : n + o_lanes] for n in range(0, outputs, o_lanes)]
            return results

        def inside(internals, due):
            array = internals(dut)
            ring = internals(array.ring)
            passes_left = ring.vectors.value * passes - ring.o_pass.value + popcount(array.last)
            emitting = Mux(array.emit, groups - array.group, 0)
            return [due == passes_left * groups + emitting + popcount(array.valid, dut.o.valid)]

        pipeline = 6 + (columns - 1).bit_length() + 3
        due = [vector * beats + n for vector in range(vectors) for n in (*[0] * (steps - 1), beats)]
        return StreamBench(
            dut, p, frames=Frames(tuple(due)), capacity=(depth // steps + 1) * beats + 3 * groups + pipeline,
            patience=steps + pipeline - 1, interval=2 * steps + pipeline, order=Model(model),
            invariants=inside if not outputs % rows and set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip

    return make


def _local_mixing(grid, kernel, channels, *, shared=False, bits=None, seed=1):
    def make(p):
        rng, tokens = np.random.default_rng(seed), grid[0] * grid[1]
        positions = 1 if shared else tokens
        weight = rng.integers(-8, 8, (1, positions, kernel**2)).astype(np.int8)
        near = neighbours(grid, kernel)
        if not shared:
            weight[:, near < 0] = 0
        bias, shift = rng.integers(-100, 100, (1, positions)), rng.integers(0, 4, (1, positions))
        dut = LocalMixing(
            weight=weight, bias=bias.astype(np.int32), shift=shift.astype(np.uint8), kernel=kernel, grid=grid,
            channels=channels, lanes=1, shared=shared,
        )  # fmt: skip
        beats, reach = tokens * channels, dut.reach * channels

        def model(x):
            results = []
            for token in range(tokens):
                n = 0 if shared else token
                for channel in range(channels):
                    terms = [
                        int(w) * x[other * channels + channel][0].as_signed()
                        for w, other in zip(weight[0, n], near[token], strict=True)
                        if other >= 0
                    ]
                    results.append([requantised(sum(terms, int(bias[0, n])), int(shift[0, n]))])
            return results

        def inside(internals, due):
            mixing = internals(dut)
            pushed = mixing.token.value * channels + mixing.phase.value * dut._repeat + mixing._.value
            flush = Mux(mixing.flushing, beats + reach - pushed, 0)
            return [due == popcount(mixing.valid, dut.o.valid) + flush]

        latency = 5 + (kernel**2 - 1).bit_length() + 3
        due = (*(max(beat + 1 - reach, 0) for beat in range(beats - 1)), beats)
        return StreamBench(
            dut, p, frames=Frames(due), capacity=latency + reach, patience=latency - 1, interval=latency + reach,
            order=Model(model), invariants=inside if set(p) & set(HANDSHAKE) else None, bits=bits,
        )  # fmt: skip

    return make


# Four rows of four weights for each width, among them the extremes.
WEIGHTS = {
    4: [[-8, 7, 1, 0], [3, -5, 6, -2], [7, 7, -8, 5], [-1, 4, -3, -6]],
    6: [[-32, 31, 9, 0], [13, -27, 22, -6], [31, 29, -32, 11], [-5, 18, -15, -25]],
    8: [[-128, 127, 37, 0], [53, -107, 90, -26], [127, 121, -128, 45], [-21, 74, -59, -99]],
}
BIAS, SHIFT = (300, -77, 5, -512), (3, 4, 0, 5)


def _graph_engine(digit, o_lanes, bits=None):
    def make(p):
        weight, bias, shift = np.array([[3, -2], [-5, 7]]), (20, -9), (1, 3)
        dut = GraphEngine(graph=solve(weight, workers=1), bias=bias, shift=shift, digit=digit, o_lanes=o_lanes)
        beats = 2 // o_lanes

        def model(x):
            return _rows(weight, bias, shift, x[0], o_lanes)

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


def _rows(weight, bias, shift, x, o_lanes):
    """Return the output beats of ``sat(rshift(weight·x + bias, shift))``."""
    lanes = [element.as_signed() for element in x]
    totals = [
        sum((int(w) * lane for w, lane in zip(row, lanes, strict=True)), b)
        for row, b in zip(weight, bias, strict=True)
    ]
    values = [requantised(total, s) for total, s in zip(totals, shift, strict=True)]
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


def _mean_pool(p):
    def model(x):
        return [[requantised(x[beat][0].as_signed() + x[beat + 2][0].as_signed(), 1)] for beat in range(2)]

    dut = MeanPool(tokens=2, channels=2, lanes=1, shift=1)
    return StreamBench(dut, p, frames=Frames((0, 0, 1, 2)), capacity=4, patience=3, interval=6, order=Model(model))


def _argmax(p):
    def model(x):
        logits = [beat[0].as_signed() for beat in x]
        first = (logits[0] >= logits[1]) & (logits[0] >= logits[2])
        index = Mux(first, 0, Mux(logits[1] >= logits[2], 1, 2))
        return [[Cat(*logits, index[:2])]]

    dut = Argmax(classes=3, codes=Codes(3))
    return StreamBench(dut, p, frames=Frames((0, 0, 1)), capacity=1, patience=0, interval=3, order=Model(model))


def _residual(depth, bypass):
    def make(p):
        branch, other = (
            Chain(parts={"table": TableRom(values=CODES[n : n + 1].astype(np.int8), lanes=1, style="distributed")})
            if n == 0 or bypass
            else None
            for n in range(2)
        )
        dut = Residual(i_lanes=1, o_lanes=1, branch=branch, bypass=other, depth=depth, style="distributed")

        def total(beat, lane, value):
            other = value ^ MASKS[1] if bypass else value
            return requantised((value ^ MASKS[0]).as_signed() + other.as_signed(), 0)[:8]

        order = Route([[(0, 0)]], function=total)
        return StreamBench(
            dut, p, frames=Frames((1,)), capacity=8, patience=8, interval=8, order=order, transparent=True
        )

    return make


def _residual_behind_transposes(depth):
    """Return a function that makes the bench of a residual whose branch needs a whole frame before its first beat."""

    def make(p):
        parts = {
            name: Transpose(rows=2, columns=2, i_lanes=1, o_lanes=1, period=1, style="distributed") for name in "ab"
        }
        dut = Residual(i_lanes=1, o_lanes=1, branch=Chain(parts=parts), bypass=None, depth=depth, style="distributed")
        return StreamBench(
            dut, p, frames=Frames((0, 0, 0, 4)), capacity=16, patience=12, interval=16, transparent=True
        )

    return make


def _banks(**parameters):
    return lambda p: BanksBench(Banks(style="distributed", **parameters), p)


def _ring(lanes, steps, passes, depth):
    return lambda p: RingBench(
        VectorRing(lanes=lanes, steps=steps, passes=passes, depth=depth), p, steps=steps, passes=passes, depth=depth
    )


def _taps(width, distance, taps):
    return lambda p: DelayTapsBench(
        DelayTaps(width=width, distance=distance, taps=taps, style="distributed"),
        p, width=width, distance=distance, taps=taps,
    )  # fmt: skip


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


def _image_buffer(bus_bytes):
    return lambda p: ImageBufferBench(ImageBuffer(slots=2, frame_bytes=2, bus_bytes=bus_bytes), p)


def _replier(p):
    return ReplierBench(Replier(hello=b"psahw---", result=result_layout(2, 8)), p)


def _unpack(data_bytes, size):
    return lambda p: UnpackBench(Unpack(data_bytes=data_bytes, size=size), p, longest=6)


def _pack(data_bytes):
    return lambda p: PackBench(Pack(data_bytes=data_bytes), p)


def _proofs():
    """Yield the proofs, those of small components first."""

    def handshake(component, parameters, make):
        return Proof(component, parameters, HANDSHAKE, "pdr", make)

    def order(component, parameters, make, engine="pdr", depth=0):
        return Proof(component, parameters, ORDER, engine, make, depth)

    yield Proof("Skid", "", (*HANDSHAKE, "order"), "pdr", _skid, quick=True)
    for depth in (1, 2, 3, 4):
        yield Proof("Queue", f"depth {depth}", (*HANDSHAKE, "order"), "pdr", _queue(depth), quick=depth == 3)
    small = {
        ("Fork", ""): lambda p: ForkBench(Fork(shape=BYTE), p),
        ("Add", "1 lane"): lambda p: AddBench(Add(lanes=1), p),
        ("Gather", "2 lanes, ratio 3"): _gather,
        ("Gather", "ratio 2, 5 beats"): _gather_rest,
        ("TableRom", "2 channels, distributed"): _table("distributed"),
        ("TableRom", "2 channels, block"): _table("block"),
        ("InputTable", "2 colours"): _input_table,
        ("Argmax", "3 classes"): _argmax,
        ("Slices", "2 tables"): _slices,
        ("Chain", "gather, queue"): _chain,
        ("VectorRing", "2 steps, 2 passes, depth 3"): _ring(1, 2, 2, 3),
    }
    for (component, parameters), make in small.items():
        yield handshake(component, parameters, make)
        yield order(component, parameters, make, *(("bmc", 12) if component == "Add" else ("pdr",)))
    for parameters, make in {
        "4 elements, 1 to 1 lane": _banks(depth=4, i_lanes=1, o_lanes=1),
        "8 elements, 2 to 2 lanes at any address": _banks(depth=8, i_lanes=2, o_lanes=2),
        "8 elements, 2 to 2 lanes, step 3": _banks(depth=8, i_lanes=2, o_lanes=2, i_align=2, step=3),
    }.items():
        yield order("Banks", parameters, make)
    yield order("DelayTaps", "distance 1, 2 taps", _taps(2, 1, 2))
    yield order("DelayTaps", "distance 3, 2 taps", _taps(2, 3, 2))
    yield Proof("Counters", "2 stages", ("counts",), "induction", lambda p: CountersBench(Counters(stages=2), p), 2)

    for parameters, make in {
        "2x2, 1 to 1 lane": _transpose(2, 2, 1, 1, 1),
        "2x2, 2 to 2 lanes, period 2": _transpose(2, 2, 2, 2, 2),
        "2x3, 1 to 2 lanes": _transpose(2, 3, 1, 2, 1),
    }.items():
        yield handshake("Transpose", parameters, make)
        yield order("Transpose", f"{parameters}, bit 7", make)
    for parameters, make in {
        "3x2, size 2, stride 1": _windows(3, 2, 2, 1, 0, 1, 1),
        "2x2, size 2, stride 1, padding 1, 1 to 2 lanes": _windows(2, 2, 2, 1, 1, 1, 2),
        "4x2, size 2, stride 2, 2 to 4 lanes, period 3": _windows(4, 2, 2, 2, 0, 2, 4, 3),
        "3x2, size 2, stride 2, last row unused": _windows(3, 2, 2, 2, 0, 2, 2),
    }.items():
        yield handshake("Windows", parameters, make)
        yield order("Windows", f"{parameters}, bit 7", make)

    pool = "2 tokens, 2 channels"
    yield handshake("MeanPool", pool, _mean_pool)
    yield order("MeanPool", pool, _mean_pool, "bmc", 20)
    # Sums of products of any bytes are too hard for the solvers: the order is shown for elements of a few bits.
    few, bits = "elements of 2 bits", 2
    for parameters, depth, arguments in (
        ("2x2, 2x1 units", 18, dict(outputs=2, inputs=2, rows=2, columns=1, o_lanes=1, depth=2)),
        ("4x2, 2x1 units, 2 passes", 20, dict(outputs=4, inputs=2, rows=2, columns=1, o_lanes=1, depth=3)),
        ("2x3, 2x2 units, 2 sets", 20,
         dict(outputs=2, inputs=3, rows=2, columns=2, o_lanes=1, depth=3, sets=2, vectors=2)),
    ):  # fmt: skip
        yield handshake("MacArray", parameters, _mac_array(**arguments))
        yield order("MacArray", f"{parameters}, {few}", _mac_array(**arguments, bits=bits), "bmc", depth)
    for parameters, depth, arguments in (
        ("2x2 tokens, 3x3", 20, dict(grid=(2, 2), kernel=3, channels=1)),
        ("1x3 tokens, 3x3, 2 channels, shared", 24, dict(grid=(1, 3), kernel=3, channels=2, shared=True)),
    ):
        yield handshake("LocalMixing", parameters, _local_mixing(**arguments))
        yield order("LocalMixing", f"{parameters}, {few}", _local_mixing(**arguments, bits=bits), "bmc", depth)
    for kind in (AdderGraph, ConstantMultipliers):
        yield handshake(kind.__name__, "2x2", _vectors(kind))
        yield order(kind.__name__, f"2x2, {few}", _vectors(kind, bits))
    for digit, lanes, depth in ((None, 1, 16), (None, 2, 14), (8, 1, 20)):
        parameters = f"2x2, {'parallel' if digit is None else f'digit {digit}'}, {lanes} lanes"
        yield handshake("GraphEngine", parameters, _graph_engine(digit, lanes))
        yield order("GraphEngine", f"{parameters}, {few}", _graph_engine(digit, lanes, bits), "bmc", depth)
    for depth, bypass in ((1, False), (3, True)):
        parameters = f"table, {'table' if bypass else 'wire'}, depth {depth}"
        yield handshake("Residual", parameters, _residual(depth, bypass))
        yield order("Residual", parameters, _residual(depth, bypass))
    yield Proof("Residual", "two transpositions, depth 4", ("live",), "pdr", _residual_behind_transposes(4))

    for digit in (1, 2, 4, 8):
        for bits in WEIGHTS:
            parameters = f"4x4, {bits} bits, digit {digit}"
            yield Proof("DigitSerial", parameters, ("counts",), "pdr", _serial_control(digit, bits))
            make = _serial_arithmetic(digit, bits, range(4), False)
            yield Proof("DigitSerial", parameters, ORDER, "bmc", make, quick=(digit, bits) == (8, 4))

    cobs = "round trip, blocks of 3 bytes"
    cobs_bench = lambda p: CobsBench(CobsRoundTrip(longest=3), p)  # noqa: E731
    yield Proof("Cobs", cobs, HANDSHAKE, "pdr", cobs_bench)
    yield Proof("Cobs", cobs, ORDER, "bmc", cobs_bench, 24)
    for bus in (1, 2):
        make = _image_buffer(bus)
        yield Proof("ImageBuffer", f"2 slots of 2 bytes, {bus} per beat", HANDSHAKE[:3], "pdr", make)
        yield Proof("ImageBuffer", f"2 slots of 2 bytes, {bus} per beat", ORDER, "pdr", make)
    yield Proof("Dispatcher", "2 bytes", ("counts",), "pdr", lambda p: DispatcherBench(Dispatcher(frame_bytes=2), p))
    yield Proof("Replier", "2 classes", HANDSHAKE, "pdr", _replier)
    yield Proof("Replier", "2 classes", ORDER, "pdr", _replier)
    for data_bytes, size in ((4, 2), (4, 4)):
        make = _unpack(data_bytes, size)
        yield Proof("Unpack", f"{data_bytes} to {size} bytes", ("stable", "counts", "live"), "pdr", make)
        yield Proof("Unpack", f"{data_bytes} to {size} bytes", ORDER, "pdr", make)
    for data_bytes in (4, 8):
        make = _pack(data_bytes)
        yield Proof("Pack", f"{data_bytes} bytes", HANDSHAKE, "pdr", make)
        yield Proof("Pack", f"{data_bytes} bytes", ORDER, "pdr", make)


PROOFS = {proof.name: proof for proof in _proofs()}
"""All proofs by name."""
