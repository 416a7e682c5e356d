"""Proofs about memories, and about the components that reorder elements with them."""

from collections.abc import Iterator

import numpy as np

from psahw.architecture.codes import INT8, Codes
from psahw.architecture.geometry import SlidingWindow
from psahw.gateware.banks import Banks
from psahw.gateware.ring import VectorRing
from psahw.gateware.taps import DelayTaps
from psahw.gateware.transpose import Transpose
from psahw.gateware.windows import Windows

from ..benches import BanksBench, DelayTapsBench, RingBench
from ..contract import PADDING, Frames, Route, StreamBench
from .proof import SIGN, Proof, handshake, order

__all__ = ["proofs"]


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


def _transpose(rows, columns, i_lanes, o_lanes, period, bits=SIGN):
    def make(p):
        i_beats, o_beats = rows * columns // i_lanes, rows * columns // o_lanes
        sources = np.arange(rows * columns).reshape(rows, columns).T.reshape(o_beats, o_lanes)
        order = Route([[divmod(int(source), i_lanes) for source in beat] for beat in sources], bits)
        dut = Transpose(
            rows=rows, columns=columns, i_lanes=i_lanes, o_lanes=o_lanes, period=period, style="distributed"
        )
        return StreamBench(
            dut, p, frames=Frames((*[0] * (i_beats - 1), o_beats)), capacity=2 * o_beats + 3, patience=period + 3,
            interval=i_beats + period + 3, order=order,
        )  # fmt: skip

    return make


def _windows(height, width, size, stride, padding, i_lanes, o_lanes, period=1, bits=SIGN, code=0, codes=INT8):
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
        places = [[PADDING if n < 0 else divmod(int(n), i_lanes) for n in beat] for beat in sources]
        beats = size * size // o_lanes * columns  # of a row of windows
        last = [min(y * stride - padding + size, height) for y in range(rows)]
        due = [sum(beats for end in last if end * width <= (beat + 1) * i_lanes) for beat in range(i_beats)]
        dut = Windows(
            height=height, width=width, channels=1, size=size, stride=stride, padding=padding, i_lanes=i_lanes,
            o_lanes=o_lanes, period=period, style="distributed", code=code, codes=codes,
        )  # fmt: skip
        return StreamBench(
            dut, p, frames=Frames(tuple(due)), capacity=2 * len(sources) + 3, patience=period + 4,
            interval=i_beats + period + 4, order=Route(places, bits, padding=code),
        )  # fmt: skip

    return make


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    yield handshake("VectorRing", "2 steps, 2 passes, depth 3", _ring(1, 2, 2, 3))
    yield order("VectorRing", "2 steps, 2 passes, depth 3", _ring(1, 2, 2, 3))
    for parameters, make in {
        "4 elements, 1 to 1 lane": _banks(depth=4, i_lanes=1, o_lanes=1),
        "8 elements, 2 to 2 lanes at any address": _banks(depth=8, i_lanes=2, o_lanes=2),
        "8 elements, 2 to 2 lanes, step 3": _banks(depth=8, i_lanes=2, o_lanes=2, i_align=2, step=3),
    }.items():
        yield order("Banks", parameters, make)
    yield order("DelayTaps", "distance 1, 2 taps", _taps(2, 1, 2))
    yield order("DelayTaps", "distance 3, 2 taps", _taps(2, 3, 2))
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
    bit = Codes(1, signed=False)
    padded = _windows(2, 2, 2, 1, 1, 1, 2, bits=None, code=1, codes=bit)
    yield order("Windows", "2x2, size 2, stride 1, padding 1 with 1, 1 to 2 lanes, uint1", padded)
