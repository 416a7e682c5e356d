"""Benches of parts of the AXI kernel: bursts, pieces of words, frames with flags, and records."""

from collections.abc import Sequence
from types import SimpleNamespace

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Cat, Const, Mux, Signal, Value

from psahw.boards.axi.bursts import Bursts
from psahw.boards.axi.frames import FrameFlags
from psahw.boards.axi.pack import Pack
from psahw.boards.axi.records import Records
from psahw.boards.axi.unpack import Gearbox, Unpack

from .contract import Bench, Frames, Model

__all__ = [
    "BurstsBench", "FrameFlagsBench", "GearboxBench", "PackBench", "RecordsBench", "UnpackBench",
]  # fmt: skip


class BurstsBench(Bench):
    """The bursts of a `Bursts` cover the words of each stretch, one after the other, and no page is crossed.

    A stretch has 1 to ``longest`` bytes.
    """

    component: Bursts

    def __init__(self, component: Bursts, properties: Sequence[str], *, longest: int):
        super().__init__(component, properties)
        self.longest = longest

    def build(self, m, internals):
        bursts, i, o = self.component, self.component.i, self.component.o
        size, beats = bursts.data_bytes, bursts.beats
        offered, start, length = Signal(), Signal.like(i.payload.addr), Signal(range(self.longest + 1))
        number = AnySeq(len(length))
        any_length = Mux((number == 0) | (number > self.longest), 1, number)
        m.d.comb += [
            i.valid.eq(offered | AnySeq(1)),
            i.payload.addr.eq(Mux(offered, start, AnySeq(len(start)))),
            i.payload.bytes.eq(Mux(offered, length, any_length)),
        ]
        m.d.sync += [offered.eq(i.valid & ~i.ready), start.eq(i.payload.addr), length.eq(i.payload.bytes)]
        self.sink(m, o)
        # The words of the stretch that have not been covered; an address beyond the last word starts anew at 0.
        word, left = Signal(len(start) - (size.bit_length() - 1)), Signal(range(self.longest // size + 3))
        with m.If(i.valid & i.ready):
            self.require(m, "counts", left == 0)
            m.d.sync += [
                word.eq(i.payload.addr // size),
                left.eq((i.payload.addr % size + i.payload.bytes + size - 1) // size),
            ]
        count = o.payload.len + 1
        with m.If(o.valid & o.ready):
            m.d.sync += [word.eq(word + count), left.eq(left - count)]
        self.require(m, "counts", ~o.valid | ((count <= left) & (o.payload.last == (count == left))))
        self.require(m, "counts", ~o.valid | (word % beats + count <= beats))
        self.require(m, "counts", ~o.valid | (count == left) | (word % beats + count == beats))
        self.require(m, "order", ~o.valid | (o.payload.addr == word * size))
        self.never_longer(m, "offers", (left != 0) & ~o.valid, 1)
        self.never_longer(m, "live", i.valid & ~o.valid, 2)
        self.frames_leave(m, o.valid & o.ready & o.payload.last)


class GearboxBench(Bench):
    """The bytes of pieces leave a `Gearbox` in their order, and no others.

    A piece has at least one byte.
    """

    component: Gearbox

    def build(self, m, internals):
        gearbox, i, o = self.component, self.component.i, self.component.o
        size, bus, piece = gearbox.size, gearbox.bus_bytes, Value.cast(self.component.i.payload)
        fresh, waiting, kept = Signal(i.payload.shape()), Signal(), Signal(len(piece))
        skip, count = AnySeq(len(fresh.skip)), AnySeq(len(fresh.count))
        m.d.comb += [
            fresh.as_value().eq(AnySeq(len(piece))),
            fresh.skip.eq(Mux(skip < size, skip, 0)),
            fresh.count.eq(Mux((count != 0) & (count + fresh.skip <= size), count, 1)),
            i.valid.eq(waiting | AnySeq(1)),
            piece.eq(Mux(waiting, kept, fresh)),
        ]
        m.d.sync += [waiting.eq(i.valid & ~i.ready), kept.eq(piece)]
        self.sink(m, o)

        held = Signal(range(size + bus))  # bytes that have come and have not left
        taken, leaves = i.valid & i.ready, o.valid & o.ready
        stays = Signal.like(held)
        m.d.comb += stays.eq(held - Mux(leaves, bus, 0))
        m.d.sync += held.eq(stays + Mux(taken, i.payload.count, 0))
        self.require(m, "counts", ~o.valid | (held >= bus))
        self.require(m, "counts", ~taken | (stays + i.payload.count < size + bus))
        self.require(m, "offers", (held < bus) | o.valid)
        self.never_longer(m, "live", i.valid & ~o.valid, bus)
        self.frames_leave(m, leaves)

        chosen, done, ahead, byte, lane = Signal(), Signal(), Signal.like(held), Signal(8), Signal(range(size))
        m.d.comb += lane.eq(AnySeq(len(lane)))
        mine = (lane >= i.payload.skip) & (lane < i.payload.skip + i.payload.count)
        choose = AnySeq(1) & taken & mine & ~chosen & ~done
        with m.If(choose):
            m.d.sync += [chosen.eq(1), ahead.eq(stays + lane - i.payload.skip)]
            m.d.sync += byte.eq(i.payload.data.word_select(lane, 8))
        with m.If(chosen & leaves):
            m.d.sync += ahead.eq(ahead - bus)
            with m.If(ahead < bus):
                m.d.sync += [chosen.eq(0), done.eq(1)]
        shown = chosen & o.valid & (ahead < bus)
        there = Value.cast(o.payload.bytes).word_select(ahead[: bus.bit_length()], 8)
        self.require(m, "order", ~shown | (there == byte))


class FrameFlagsBench(Bench):
    """Beats pass a `FrameFlags` unchanged, and each frame's flags follow it, those of all its beats together."""

    component: FrameFlags

    def build(self, m, internals):
        part, i, o, flags = self.component, self.component.i, self.component.o, self.component.flags
        self.source(m, i)
        self.sink(m, o)
        self.sink(m, flags)
        moved = o.valid & o.ready
        self.require(m, "counts", moved == (i.valid & i.ready))
        self.require(m, "order", ~o.valid | (o.payload.as_value() == i.payload.bytes.as_value()))
        frame = self.flow(m, i, moved, part.beats)
        self.require(m, "counts", part.done == frame.ends)
        due, ends = Signal(range(part.frames + 2)), flags.valid & flags.ready
        m.d.sync += due.eq(due + frame.ends - ends)
        self.invariant(m, due <= part.frames + 1)
        self.require(m, "counts", ~flags.valid | (due != 0))
        self.never_longer(m, "offers", (due != 0) & ~flags.valid, 1)
        self.never_longer(m, "live", i.valid & flags.ready & ~o.valid, 2)

        chosen, done, reading, ahead = Signal(), Signal(), Signal(), Signal.like(due)
        together, before = (Signal.like(Value.cast(flags.payload), name=name) for name in ("together", "before"))
        choose = Signal()
        m.d.comb += [
            choose.eq(AnySeq(1) & frame.begins & ~chosen),
            together.eq(i.payload.flags.as_value() | Mux(choose, 0, before)),
        ]
        with m.If(choose):
            m.d.sync += [chosen.eq(1), ahead.eq(due - ends)]
        with m.Elif(chosen & ends & ~done):
            m.d.sync += [ahead.eq(ahead - 1), done.eq(ahead == 0)]
        m.d.sync += reading.eq((choose | reading) & ~frame.ends)
        with m.If((choose | reading) & moved):
            m.d.sync += before.eq(together)
        self.require(m, "order", ~(part.bad & (choose | reading)) | together.any())
        shown = chosen & ~done & ~reading & (ahead == 0) & flags.valid
        self.require(m, "order", ~shown | (flags.payload.as_value() == before))


class RecordsBench(Bench):
    """Each result leaves `Records` as a record, which begins with its class and its flags."""

    component: Records

    def build(self, m, internals):
        records, i, flags, o = self.component, self.component.i, self.component.flags, self.component.o
        self.source(m, i)
        self.source(m, flags)
        self.sink(m, o)
        m.d.comb += records.hold.eq(AnySeq(1))
        taken, words = i.valid & i.ready, 1 + records.classes
        self.require(m, "counts", taken == (flags.valid & flags.ready))
        both = Signal(len(Value.cast(i.payload)) + len(Value.cast(flags.payload)))
        m.d.comb += both.eq(Cat(i.payload, flags.payload))
        arrives = self.flow(m, SimpleNamespace(payload=both), taken, 1)
        leaves = self.flow(m, o, o.valid & o.ready, words)
        self.beats_due(m, arrives, leaves, Frames((words,)), capacity=words, patience=0, transparent=False)
        self.require(m, "counts", ~o.valid | (o.payload.last == (leaves.place == words - 1)))
        self.never_longer(m, "live", i.valid & flags.valid & ~records.hold & ~o.valid, 1)
        self.frames_leave(m, leaves.ends)

        def record(x):
            result, bits = i.payload.shape()(x[0][0][: len(Value.cast(i.payload))]), records.bits
            index = Cat(result.class_index, Const(0, 16))[:16]
            first = Cat(index, x[0][0][len(Value.cast(i.payload)) :], Const(0, 12))
            rows = [Cat(logit, logit[-1].replicate(32 - bits)) for logit in map(Value.cast, result.logits)]
            return [[Cat(word, Const(n == len(rows), 1))] for n, word in enumerate([first, *rows])]

        self.ordered(m, Model(record), arrives, leaves, 2)


class UnpackBench(Bench):
    """The bytes of a stretch of memory leave an `Unpack` in their order, and no others.

    A stretch begins at any byte of a word and has 1 to ``longest`` bytes.
    """

    component: Unpack

    def __init__(self, component: Unpack, properties: Sequence[str], *, longest: int):
        super().__init__(component, properties)
        self.longest = longest

    def build(self, m, internals):
        unpack, job, i, o = self.component, self.component.job, self.component.i, self.component.o
        word, size, longest = unpack.data_bytes, unpack.size, self.longest
        start, length, offered = Signal(range(word)), Signal(range(longest + 1)), Signal()
        new_start, number = AnySeq(len(start)), AnySeq(len(length))
        first, bytes_ = Signal.like(start), Signal.like(length)
        m.d.comb += [
            first.eq(Mux(offered, start, new_start)),
            bytes_.eq(Mux(offered, length, Mux((number == 0) | (number > longest), 1, number))),
            job.valid.eq(offered | AnySeq(1)),
            job.payload.addr.eq(first),
            job.payload.bytes.eq(bytes_),
        ]
        m.d.sync += [offered.eq(job.valid & ~job.ready), start.eq(first), length.eq(bytes_)]
        self.source(m, i)
        self.sink(m, o)

        # Of the job whose pieces leave: bytes that have not left, and the place of the next one from the job's first
        # word on. The next job may begin while the last piece is still offered.
        begins, leaves = job.valid & job.ready, o.valid & o.ready
        left, place, mine = Signal(range(longest + 1)), Signal(range(word + longest + 1)), Signal()
        next_left, next_place, next_mine, pending = Signal.like(left), Signal.like(place), Signal(), Signal()
        chosen, done, choose = Signal(), Signal(), Signal()
        count, skip = o.payload.count, o.payload.skip
        remains = Signal.like(left)
        m.d.comb += [remains.eq(Mux(leaves, left - count, left)), choose.eq(AnySeq(1) & begins & ~done)]
        m.d.sync += [left.eq(remains), done.eq(done | choose)]
        with m.If(leaves):
            m.d.sync += place.eq(place + count)
        with m.If(begins):
            m.d.sync += [next_left.eq(bytes_), next_place.eq(first), next_mine.eq(choose), chosen.eq(choose)]
            m.d.sync += pending.eq(remains != 0)
            with m.If(remains == 0):
                m.d.sync += [left.eq(bytes_), place.eq(first), mine.eq(choose)]
        with m.Elif(pending & (remains == 0)):
            m.d.sync += [left.eq(next_left), place.eq(next_place), mine.eq(next_mine), pending.eq(0)]
        self.require(m, "counts", ~begins | ~pending)
        self.require(m, "counts", ~o.valid | ((count != 0) & (count <= left)))
        self.require(m, "counts", ~o.valid | (skip == place % size))
        self.require(m, "counts", ~o.valid | (skip + count <= size))
        self.require(m, "counts", ~o.valid | (count == left) | (skip + count == size))
        self.never_longer(m, "live", job.valid & i.valid & ~o.valid, 2)

        # Follow the byte at a place of a job.
        words, followed, byte = (
            Signal(range(-(-(word + longest) // word) + 1)),
            Signal(range(word + longest)),
            Signal(8),
        )
        m.d.comb += followed.eq(AnyConst(len(followed)))
        with m.If(begins):
            m.d.sync += words.eq(0)
        with m.Elif(i.valid & i.ready):
            m.d.sync += words.eq(words + 1)
        with m.If(chosen & i.valid & (words == followed // word)):
            m.d.sync += byte.eq(i.payload.data.word_select(followed % word, 8))
        at = mine & o.valid & (place <= followed) & (followed < place + count)
        self.require(m, "order", ~at | (o.payload.data.word_select(followed % size, 8) == byte))


class PackBench(Bench):
    """The bytes of records leave a `Pack` in their order, at their addresses, and no others are written.

    A job begins at any byte and has one or two records of one or two words.
    """

    component: Pack

    def build(self, m, internals):
        pack, job, i, o = self.component, self.component.job, self.component.i, self.component.o
        size = pack.data_bytes
        start, two, offered = Signal(range(size)), Signal(), Signal()
        first, both = Signal.like(start), Signal()
        m.d.comb += [
            first.eq(Mux(offered, start, AnySeq(len(start)))),
            both.eq(Mux(offered, two, AnySeq(1))),
            job.valid.eq(offered | AnySeq(1)),
            job.payload.addr.eq(first),
            job.payload.records.eq(Mux(both, 2, 1)),
        ]
        m.d.sync += [offered.eq(job.valid & ~job.ready), start.eq(first), two.eq(both)]

        # A record has a second word, or not.
        waiting, kept, second = Signal(), Signal(33), Signal()
        last = Signal()
        m.d.comb += [
            last.eq(Mux(waiting, kept[32], second | AnySeq(1))),
            i.valid.eq(waiting | AnySeq(1)),
            i.payload.data.eq(Mux(waiting, kept[:32], AnySeq(32))),
            i.payload.last.eq(last),
        ]
        taken = i.valid & i.ready
        m.d.sync += [waiting.eq(i.valid & ~i.ready), kept.eq(Value.cast(i.payload))]
        with m.If(taken):
            m.d.sync += second.eq(~last)
        self.sink(m, o)

        # Bytes of the job that have come, and those that have left; addresses from the job's first word on.
        begins, leaves = job.valid & job.ready, o.valid & o.ready
        longest = size + 16
        come, gone, records = (Signal(range(longest + 1)), Signal(range(longest + size + 1)), Signal(range(3)))
        with m.If(begins):
            m.d.sync += [come.eq(first), records.eq(Mux(both, 2, 1))]
        with m.Elif(taken):
            m.d.sync += [come.eq(come + 4), records.eq(records - last)]
        self.require(m, "counts", ~taken | (records != 0))
        opened = Signal(range(size))
        with m.If(begins):
            m.d.sync += [gone.eq(0), opened.eq(first)]
            self.require(m, "counts", ~(o.valid & ~o.ready))
        with m.Elif(leaves):
            m.d.sync += gone.eq(gone + size)
        for lane in range(size):
            inside = (gone + lane >= opened) & (gone + lane < come)
            self.require(m, "counts", ~o.valid | (o.payload.strb[lane] == inside))
        whole = (records == 0) | (come >= gone + size)
        self.require(m, "counts", ~o.valid | (whole & (gone < come)))
        self.never_longer(m, "offers", whole & (gone < come) & ~o.valid & ~begins, 2)
        self.never_longer(m, "live", job.valid & i.valid & ~o.valid, 5)

        # Follow the byte at a place of a job.
        chosen, done = Signal(), Signal()
        followed, byte = Signal(range(longest)), Signal(8)
        m.d.comb += followed.eq(AnyConst(len(followed)))
        with m.If(begins):
            m.d.sync += [chosen.eq(~chosen & ~done & AnySeq(1)), done.eq(done | chosen)]
        with m.If(chosen & taken & (followed >= come) & (followed < come + 4)):
            m.d.sync += byte.eq(i.payload.data.word_select((followed - come)[:2], 8))
        at = (
            chosen
            & o.valid
            & (followed >= gone)
            & (followed < gone + size)
            & (followed >= opened)
            & (followed < come)
        )
        self.require(m, "order", ~at | (o.payload.data.word_select((followed - gone)[: len(start)], 8) == byte))
