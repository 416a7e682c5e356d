"""A residual connection: a branch, a bypass, and the adder that joins them."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .chain import Chain
from .check import check_int
from .stream import Fork, Queue, Skid, connect, vector_signature

__all__ = ["BRANCH", "BYPASS", "Add", "Residual"]

BRANCH, BYPASS = "branch", "bypass"
"""Names of the submodules of a `Residual` that hold its stages."""


class Add(wiring.Component):
    """Computes ``o = sat8(a + b)`` for each lane.

    Latency: one clock cycle after the later of the two beats. Throughput: one beat per clock cycle. Backpressure: the
    ``ready`` of each input depends combinationally on the other's ``valid`` and on ``o.ready``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.

    Raises
    ------
    TypeError
        If ``lanes`` is not an integer.
    ValueError
        If ``lanes`` is less than 1.

    Members
    -------
    a, b : In(stream of ``lanes`` int8)
        Summands.
    o : Out(stream of ``lanes`` int8)
        Their sum.
    """

    def __init__(self, *, lanes: int):
        check_int("lanes", lanes)
        self.lanes = lanes
        signature = vector_signature(lanes)
        super().__init__({"a": In(signature), "b": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        a, b, o = self.a, self.b, self.o
        en = ~o.valid | o.ready
        m.d.comb += [a.ready.eq(en & b.valid), b.ready.eq(en & a.valid)]
        with m.If(en):
            m.d.sync += o.valid.eq(a.valid & b.valid)
            for x, y, to in zip(a.payload, b.payload, o.payload, strict=True):
                total = x + y
                m.d.sync += to.eq(Mux(total > 127, 127, Mux(total < -128, -128, total)))
        return m


class Residual(wiring.Component):
    """Computes ``o = sat8(bypass(i) + branch(i))``, beat by beat.

    The bypass waits for the branch in a queue of ``depth`` beats. The component deadlocks if the queue is much
    shorter than the number of beats that the branch takes before its first output: a frame and more behind a
    transposition, a few tokens in channel mixing. `psahw.planner.schedule` calculates the depth that never delays
    anything.

    Latency: that of the branch and one clock cycle. Throughput: that of the slower path. Backpressure: skid buffers
    before and behind the branch cut the path of ``ready``, so that no stall reaches further back within a clock
    cycle.

    Parameters
    ----------
    lanes : int
        Elements of a beat of ``i`` and ``o``.
    branch : Chain
        Components that give as many beats as they take.
    bypass : Chain or None
        The same, or None for a wire.
    depth : int
        Beats that the `Queue` of the bypass holds.
    style : str
        Memory of the `Queue`.

    Raises
    ------
    TypeError
        If ``depth`` is not an integer; when it is elaborated, if streams disagree about their payload.
    ValueError
        If ``depth`` is less than 1, or the style is unknown.

    Members
    -------
    i : In(stream of ``lanes`` int8)
        Input of both paths.
    o : Out(stream of ``lanes`` int8)
        Sum of their outputs.
    """

    def __init__(self, *, lanes: int, branch: Chain, bypass: Chain | None, depth: int, style: str = "block"):
        signature = vector_signature(lanes)
        self.lanes, self.branch, self.bypass = lanes, branch, bypass
        self.queue = Queue(shape=signature.members["payload"].shape, depth=depth, style=style)
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = skid = Skid(shape=self.i.payload.shape())
        m.submodules.fork = fork = Fork(shape=self.i.payload.shape())
        m.submodules[BRANCH] = self.branch
        m.submodules.queue = self.queue
        m.submodules.add = add = Add(lanes=self.lanes)
        connect(m, wiring.flipped(self.i), skid.i)
        connect(m, skid.o, fork.i)
        connect(m, fork.o_a, self.branch.i)
        if self.bypass is None:
            connect(m, fork.o_b, self.queue.i)
        else:
            m.submodules[BYPASS] = self.bypass
            connect(m, fork.o_b, self.bypass.i)
            connect(m, self.bypass.o, self.queue.i)
        m.submodules.branch_skid = branch_skid = Skid(shape=self.i.payload.shape())
        connect(m, self.branch.o, branch_skid.i)
        connect(m, branch_skid.o, add.a)
        connect(m, self.queue.o, add.b)
        connect(m, add.o, wiring.flipped(self.o))
        return m
