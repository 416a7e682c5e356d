"""Proofs about sums, extrema and counts of elements."""

from collections.abc import Iterator

from amaranth.hdl import Cat, Mux

from psahw.architecture.codes import INT8, Codes
from psahw.gateware.argmax import Argmax
from psahw.gateware.counters import Counters
from psahw.gateware.max_pool import MaxPool
from psahw.gateware.pool import MeanPool
from psahw.gateware.residual import Add

from ..benches import AddBench, CountersBench, number, requantised
from ..contract import Frames, Model, StreamBench
from .proof import Proof, handshake, order

__all__ = ["proofs"]

INT3, UINT3 = Codes(3), Codes(3, signed=False)


def _add(**codes):
    return lambda p: AddBench(Add(lanes=1, **codes), p, **codes)


def _mean_pool(codes, multiplier=1, shift=1):
    def make(p):
        def mean(x, channel):
            a, b = (number(x[beat][0], codes) for beat in (channel, channel + 2))
            return requantised((a + b) * multiplier if multiplier != 1 else a + b, shift, codes)

        dut = MeanPool(tokens=2, channels=2, lanes=1, shift=shift, codes=codes, multiplier=multiplier)
        patience = 3 if multiplier == 1 else 5
        return StreamBench(
            dut, p, frames=Frames((0, 0, 1, 2)), capacity=patience + 1, patience=patience, interval=patience + 3,
            order=Model(lambda x: [[mean(x, channel)] for channel in range(2)]),
        )  # fmt: skip

    return make


def _max_pool(codes):
    def make(p):
        def greatest(x, channel):
            a, b, c = (number(x[beat][0], codes) for beat in range(channel, 6, 2))
            return Mux((a >= b) & (a >= c), a, Mux(b >= c, b, c))

        return StreamBench(
            MaxPool(tokens=3, channels=2, lanes=1, codes=codes), p,
            frames=Frames((0, 0, 0, 0, 1, 2)), capacity=1, patience=0, interval=5,
            order=Model(lambda x: [[greatest(x, channel)] for channel in range(2)]),
        )  # fmt: skip

    return make


def _argmax(codes, lanes=1):
    """Return a function that makes the bench of an `Argmax` of three classes, or of four if a beat has two."""

    def make(p):
        classes = 2 + lanes
        beats, levels = classes // lanes, (lanes - 1).bit_length()

        def model(x):
            logits = [number(element, codes) for beat in x for element in beat]
            index = classes - 1
            for n in reversed(range(classes - 1)):
                best = logits[n] >= logits[n + 1]
                for other in logits[n + 2 :]:
                    best &= logits[n] >= other
                index = Mux(best, n, index)
            wide = [Cat(logit, 0) if not codes.signed else logit for logit in logits]
            return [[Cat(*wide, index[:2])]]

        return StreamBench(
            Argmax(classes=classes, codes=codes, lanes=lanes), p, frames=Frames((*[0] * (beats - 1), 1)),
            capacity=1 + levels, patience=levels, interval=beats + levels, order=Model(model),
        )  # fmt: skip

    return make


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    for stages in (2, 7):
        yield Proof(
            "Counters", f"{stages} stages", ("counts",), "induction",
            lambda p, stages=stages: CountersBench(Counters(stages=stages), p), 3,
        )  # fmt: skip
    yield handshake("Add", "1 lane", _add())
    yield order("Add", "1 lane", _add(), 12)
    yield order("Add", "uint3 and int3 to uint3", _add(a_codes=UINT3, b_codes=INT3, o_codes=UINT3))
    for parameters, codes, lanes in (
        ("3 classes", INT3, 1),
        ("3 classes, uint3", UINT3, 1),
        ("4 classes, 2 lanes", INT3, 2),
    ):
        yield handshake("Argmax", parameters, _argmax(codes, lanes))
        yield order("Argmax", parameters, _argmax(codes, lanes))
    pool = "2 tokens, 2 channels"
    yield handshake("MeanPool", pool, _mean_pool(INT8))
    yield order("MeanPool", pool, _mean_pool(INT8), 16)
    yield order("MeanPool", f"{pool}, uint2, multiplier 3", _mean_pool(Codes(2, signed=False), 3, 2), 18)
    pool = "3 tokens, 2 channels"
    yield handshake("MaxPool", pool, _max_pool(INT8))
    yield order("MaxPool", pool, _max_pool(INT8), 16)
    for codes in (INT3, UINT3):
        yield order("MaxPool", f"{pool}, {codes}", _max_pool(codes))
