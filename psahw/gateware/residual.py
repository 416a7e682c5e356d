"""A residual connection: a branch, a bypass, and the adder that joins them."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from .chain import Chain
from .check import check_int
from .stream import Fork, Queue, Skid, connect, vector_signature

__all__ = ["BRANCH", "BYPASS", "Add", "Residual"]

BRANCH, BYPASS = "branch", "bypass"
"""Names of the submodules of a `Residual` that hold its stages."""


class Add(wiring.Component):
    """Computes ``o = sat(rshift(a + b, shift))`` for each lane; ``rshift`` divides by 2^shift and rounds half up.

    The summands are registered, because one that comes out of a block RAM comes late.

    Latency: two clock cycles after the later of the two beats. Throughput: one beat per clock cycle. Backpressure:
    the ``ready`` of each input depends combinationally on the other's ``valid`` and on ``o.ready``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    a_codes, b_codes, o_codes : Codes
        Types of the summands and of their sum.
    shift : int
        Bits to shift the sum by.

    Raises
    ------
    TypeError
        If ``lanes`` or ``shift`` is not an integer.
    ValueError
        If ``lanes`` is less than 1, or ``shift`` less than 0.

    Members
    -------
    a, b : In(stream of ``lanes`` codes)
        Summands.
    o : Out(stream of ``lanes`` codes)
        Their sum.
    """

    def __init__(
        self, *, lanes: int, a_codes: Codes = INT8, b_codes: Codes = INT8, o_codes: Codes = INT8, shift: int = 0
    ):
        check_int("lanes", lanes)
        check_int("shift", shift, 0)
        self.lanes, self._codes, self._shift = lanes, o_codes, shift
        super().__init__(
            {
                "a": In(vector_signature(lanes, a_codes)),
                "b": In(vector_signature(lanes, b_codes)),
                "o": Out(vector_signature(lanes, o_codes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, b, o = self.a, self.b, self.o
        en = ~o.valid | o.ready
        m.d.comb += [a.ready.eq(en & b.valid), b.ready.eq(en & a.valid)]
        both = Signal()
        x_waiting, y_waiting = (Signal.like(s.payload, name=n, reset_less=True) for s, n in ((a, "x"), (b, "y")))
        with m.If(en):
            m.d.sync += [
                both.eq(a.valid & b.valid),
                o.valid.eq(both),
                x_waiting.eq(a.payload),
                y_waiting.eq(b.payload),
            ]
            for x, y, to in zip(x_waiting, y_waiting, o.payload, strict=True):
                total = (x + y + ((1 << self._shift) >> 1)) >> self._shift if self._shift else x + y
                low, high = self._codes.low, self._codes.high
                m.d.sync += to.eq(Mux(total > high, high, Mux(total < low, low, total)))
        return m


def _codes(shape: Shape) -> Codes:
    """Return the type of codes with the shape of a signal."""
    return Codes(shape.width, shape.signed)


class Residual(wiring.Component):
    """Computes ``o = sat(rshift(bypass(i) + branch(i), shift))``.

    The bypass waits for the branch in a queue of ``depth`` beats. The component deadlocks if the queue is much
    shorter than the number of beats that the branch takes before its first output: a frame and more behind a
    transposition, a few tokens in channel mixing. Where the bypass may be the later one, the branch waits for it in a
    queue of ``branch_depth`` beats. `psahw.planner.schedule` calculates the depths that never delay anything.

    Latency: that of the later path and two clock cycles, and two more for a path with a queue. Throughput: that of
    the slower path. Backpressure: buffers before and behind the branch cut the path of ``ready``, so that no stall
    reaches further back within a clock cycle.

    Parameters
    ----------
    i_lanes, o_lanes : int
        Elements of a beat of ``i`` and of ``o``.
    branch : Chain
        Components from ``i_lanes`` to ``o_lanes``.
    bypass : Chain or None
        Components that give as many beats as the branch, or None for a wire.
    depth, branch_depth : int
        Beats that the `Queue` of the bypass and that of the branch hold. Without a queue, 0, the branch has a skid
        buffer.
    i_codes, o_codes : Codes
        Types of an input and of an output.
    style, branch_style : str
        Memories of the queues.
    shift : int
        Bits to shift the sum by.

    Raises
    ------
    TypeError
        If a depth is not an integer; when it is elaborated, if streams disagree about their payload.
    ValueError
        If ``depth`` is less than 1 or ``branch_depth`` less than 0, a style is unknown, or ``i_lanes`` and
        ``o_lanes`` differ without a bypass.

    Members
    -------
    i : In(stream of ``i_lanes`` codes)
        Input of both paths.
    o : Out(stream of ``o_lanes`` codes)
        Sum of their outputs.
    """

    def __init__(
        self, *, i_lanes: int, o_lanes: int, branch: Chain, bypass: Chain | None, depth: int, style: str = "block",
        branch_depth: int = 0, branch_style: str = "block", i_codes: Codes = INT8, o_codes: Codes = INT8,
        shift: int = 0,
    ):  # fmt: skip
        check_int("branch_depth", branch_depth, 0)
        if bypass is None and i_lanes != o_lanes:
            raise ValueError(f"i_lanes must equal o_lanes if the bypass is a wire, not {i_lanes} and {o_lanes}")
        self.branch, self.bypass = branch, bypass
        self._o_codes, self._shift = o_codes, shift
        waiting = vector_signature(i_lanes, i_codes) if bypass is None else bypass.o.signature
        self.queue = Queue(shape=waiting.members["payload"].shape, depth=depth, style=style)
        end = branch.o.payload.shape()
        self.branch_queue = Queue(shape=end, depth=branch_depth, style=branch_style) if branch_depth else None
        super().__init__({"i": In(vector_signature(i_lanes, i_codes)), "o": Out(vector_signature(o_lanes, o_codes))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = skid = Skid(shape=self.i.payload.shape())
        m.submodules.fork = fork = Fork(shape=self.i.payload.shape())
        m.submodules[BRANCH] = self.branch
        m.submodules.queue = self.queue
        a, b = (_codes(stream.payload.shape().elem_shape) for stream in (self.branch.o, self.queue.o))
        m.submodules.add = add = Add(
            lanes=len(self.o.payload), a_codes=a, b_codes=b, o_codes=self._o_codes, shift=self._shift
        )
        connect(m, wiring.flipped(self.i), skid.i)
        connect(m, skid.o, fork.i)
        connect(m, fork.o_a, self.branch.i)
        if self.bypass is None:
            connect(m, fork.o_b, self.queue.i)
        else:
            m.submodules[BYPASS] = self.bypass
            connect(m, fork.o_b, self.bypass.i)
            connect(m, self.bypass.o, self.queue.i)
        if self.branch_queue is None:
            m.submodules.branch_skid = early = Skid(shape=self.branch.o.payload.shape())
        else:
            m.submodules.branch_queue = early = self.branch_queue
        connect(m, self.branch.o, early.i)
        connect(m, early.o, add.a)
        connect(m, self.queue.o, add.b)
        connect(m, add.o, wiring.flipped(self.o))
        return m
