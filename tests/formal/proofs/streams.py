"""Proofs about components that pass beats on: skid buffers, queues, forks, gathering, and what is made of them."""

from collections.abc import Iterator

import numpy as np
from amaranth.hdl import Array

from psahw.architecture.codes import Codes
from psahw.gateware.chain import Chain
from psahw.gateware.residual import Residual
from psahw.gateware.stream import Fork, Gather, Queue, Skid, vector_signature
from psahw.gateware.table import TableRom
from psahw.gateware.transpose import Transpose

from ..benches import ForkBench, requantised
from ..contract import ANY, Frames, Route, StreamBench
from .proof import BYTE, HANDSHAKE, Proof, copies, handshake, order
from .tables import CODES, MASKS

__all__ = ["proofs"]


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


def _queue(depth):
    def make(p):
        dut = Queue(shape=BYTE, depth=depth)

        def inside(internals, due):
            queue = internals(dut)  # see `psahw.gateware.ram`
            return [~(queue.put & queue.load & (queue.write.addr == queue.read.addr))]

        return StreamBench(
            dut, p, frames=Frames((1,)), capacity=depth, patience=1, interval=2, order=copies(1), invariants=inside
        )

    return make


def _gather(p):
    order = Route([[(lane // 2, lane % 2) for lane in range(6)]])
    dut = Gather(lanes=2, ratio=3)
    return StreamBench(dut, p, frames=Frames((0, 0, 1)), capacity=1, patience=0, interval=3, order=order)


def _gather_rest(p):
    order = Route([[(0, 0), (1, 0)], [(2, 0), (3, 0)], [(4, 0), ANY]])
    dut = Gather(lanes=1, ratio=2, beats=5)
    return StreamBench(dut, p, frames=Frames((0, 1, 1, 2, 3)), capacity=1, patience=0, interval=2, order=order)


def _chain(p):
    parts = {
        "first": Gather(lanes=1, ratio=2),
        "second": Queue(shape=vector_signature(2).members["payload"].shape, depth=2),
    }
    order = Route([[(0, 0), (1, 0)]])
    return StreamBench(Chain(parts=parts), p, frames=Frames((0, 1)), capacity=3, patience=2, interval=4, order=order)


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


def _unsigned_residual(p):
    codes = Codes(2, signed=False)
    table = TableRom(
        values=np.array([[3, 0, 2, 1]], np.uint8), lanes=1, style="distributed", i_codes=codes, o_codes=codes
    )
    dut = Residual(
        i_lanes=1, o_lanes=1, branch=Chain(parts={"table": table}), bypass=None, depth=1, style="distributed",
        i_codes=codes, o_codes=codes,
    )  # fmt: skip
    order = Route([[(0, 0)]], function=lambda beat, lane, value: Array([3, 1, 3, 3])[value])  # of 3, 1, 4 and 4
    return StreamBench(dut, p, frames=Frames((1,)), capacity=8, patience=8, interval=8, order=order, transparent=True)


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


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    yield Proof("Skid", "", (*HANDSHAKE, "order"), "pdr", _skid, quick=True)
    for depth in (1, 2, 3, 4):
        yield Proof("Queue", f"depth {depth}", (*HANDSHAKE, "order"), "pdr", _queue(depth), quick=depth == 3)
    for component, parameters, make in (
        ("Fork", "", lambda p: ForkBench(Fork(shape=BYTE), p)),
        ("Gather", "2 lanes, ratio 3", _gather),
        ("Gather", "ratio 2, 5 beats", _gather_rest),
        ("Chain", "gather, queue", _chain),
    ):
        yield handshake(component, parameters, make)
        yield order(component, parameters, make)
    for depth, bypass in ((1, False), (3, True)):
        parameters = f"table, {'table' if bypass else 'wire'}, depth {depth}"
        yield handshake("Residual", parameters, _residual(depth, bypass))
        yield order("Residual", parameters, _residual(depth, bypass))
    yield order("Residual", "table, wire, depth 1, uint2", _unsigned_residual)
    yield Proof("Residual", "two transpositions, depth 4", ("live",), "bmc", _residual_behind_transposes(4), 40)
