"""Benches of the parts of the AXI kernel that read and write memory.

A memory answers whatever it was asked, in order and whenever it likes. Everything is counted from the reset on, which
suits proofs with a bound.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Cat, Const, Fragment, Mux, Signal, Value

from psahw.boards.axi import bursts, unpack
from psahw.boards.axi.reader import Reader
from psahw.boards.axi.writer import Writer

from .contract import Bench, between, popcount

__all__ = ["ReaderBench", "ShortReader", "ShortWriter", "WriterBench"]

COUNT = 8  # bits of all that is counted: more than a bound has clock cycles


class _ShortAddresses:
    """A component with addresses, and lengths of stretches, of ``bits`` bits instead of 64 and 48."""

    def __init__(self, *, bits: int, **parameters):
        self.bits = bits
        with self._patched():
            super().__init__(**parameters)

    def elaborate(self, platform):
        with self._patched():
            return Fragment.get(super().elaborate(platform), platform)

    @contextmanager
    def _patched(self):
        with ExitStack() as stack:
            for module, name in ((bursts, "ADDRESS_BITS"), (bursts, "STRETCH_BITS"), (unpack, "STRETCH_BITS")):
                stack.enter_context(patch.object(module, name, self.bits))
            yield


class ShortReader(_ShortAddresses, Reader):
    """A `Reader` with short addresses."""


class ShortWriter(_ShortAddresses, Writer):
    """A `Writer` with short addresses."""


class _MemoryBench(Bench):
    """A part that accesses stretches of memory.

    The model checker follows a byte: that at a place of a stretch that it chooses.
    """

    def jobs(self, m, fresh: Value, longest: int, *, transparent: bool = False):
        """Let jobs come, of at most ``longest`` bytes.

        If ``transparent``, a job counts from when it is offered, not from when it is taken.

        Returns
        -------
        bytes_, words
            Bytes and words of memory of all jobs so far.
        chosen, byte, word, lane
            Whether the stretch with the byte that is followed has come, how many bytes and words come before that
            byte, and its place in its word.
        """
        job, size = self.component.job, self.component.data_bytes
        waiting = self.source(m, job, fresh=fresh)
        comes = job.valid & (~waiting if transparent else job.ready)
        addr, length = job.payload.addr, job.payload.bytes
        offset = addr[: size.bit_length() - 1]
        bytes_, words, place = Signal(COUNT), Signal(COUNT), Signal(range(longest))
        chosen, byte, word, lane = Signal(), Signal(COUNT), Signal(COUNT), Signal(len(offset))
        m.d.comb += place.eq(AnyConst(len(place)))
        last = offset + length + size - 1
        with m.If(comes):
            m.d.sync += [bytes_.eq(bytes_ + length), words.eq(words + Mux(length == 0, 0, last // size))]
            with m.If(AnySeq(1) & ~chosen & (place < length)):
                m.d.sync += [
                    chosen.eq(1),
                    byte.eq(bytes_ + place),
                    word.eq(words + (offset + place) // size),
                    lane.eq(offset + place),
                ]
                self.address = Signal(self.component.bits)
                m.d.sync += self.address.eq((addr + place) // size * size)
        return bytes_, words, chosen, byte, word, lane

    def bursts(self, m, stream, words: Value, chosen: Value, word: Value) -> Value:
        """Require that bursts cover the words of all stretches, one after the other; return the words so far."""
        asked, length = Signal(COUNT), stream.payload.len + 1
        with m.If(stream.valid & stream.ready):
            m.d.sync += asked.eq(asked + length)
        self.require(m, "counts", ~stream.valid | (asked + length <= words))
        mine = stream.valid & chosen & (asked <= word) & (word < asked + length)
        address = stream.payload.addr + (word - asked) * self.component.data_bytes
        self.require(m, "order", ~mine | (address[: self.component.bits] == self.address))
        return asked


class ReaderBench(_MemoryBench):
    """A `ShortReader` reads the words of stretches of one to three beats, and their bytes leave in order."""

    component: ShortReader

    def build(self, m, internals):
        reader, ar, r, o = self.component, self.component.ar, self.component.r, self.component.o
        bus, size = reader.bus_bytes, reader.data_bytes
        fresh = Cat(AnySeq(self.component.bits), between(1, 3) * bus)
        bytes_, words, chosen, byte, word, lane = self.jobs(m, fresh, 3 * bus, transparent=True)
        self.sink(m, ar)
        self.sink(m, o)
        asked = self.bursts(m, ar, words, chosen, word)
        come, gone, kept = Signal(COUNT), Signal(COUNT), Signal(8)
        m.d.comb += [r.valid.eq(AnySeq(1) & (come != asked)), Value.cast(r.payload).eq(AnySeq(8 * size + 2))]
        with m.If(r.valid):
            m.d.sync += come.eq(come + 1)
            with m.If(chosen & (come == word)):
                m.d.sync += kept.eq(r.payload.data.word_select(lane, 8))
        with m.If(o.valid & o.ready):
            m.d.sync += gone.eq(gone + bus)
        self.require(m, "counts", ~r.valid | internals(reader).words.i.ready)
        self.require(m, "counts", ~o.valid | (gone + bus <= bytes_))
        mine = o.valid & chosen & (gone <= byte) & (byte < gone + bus)
        there = Value.cast(o.payload.bytes).word_select((byte - gone)[: (bus - 1).bit_length()], 8)
        self.require(m, "order", ~mine | ((come > word) & (there == kept)))
        answered = ar.ready & (r.valid | (come == asked))
        self.never_longer(m, "offers", (gone != bytes_) & answered & ~o.valid, 10)
        self.never_longer(m, "live", reader.job.valid & answered & ~o.valid, 11)
        first = Signal(COUNT)  # bytes of the first stretch
        with m.If((bytes_ != 0) & (first == 0)):
            m.d.sync += first.eq(bytes_)
        beyond = (first != 0) & (bytes_ != first) & (gone == bytes_ - bus)
        self.frames_leave(m, o.valid & o.ready & ((first == gone + bus) | beyond))


class WriterBench(_MemoryBench):
    """A `ShortWriter` writes records of two words to stretches of none to two records, and nothing else."""

    component: ShortWriter

    def build(self, m, internals):
        writer, i, aw, w, b, done = (
            self.component,
            *(getattr(self.component, name) for name in ("i", "aw", "w", "b", "done")),
        )
        record = 8
        records = between(0, 2)
        fresh = Cat(
            AnySeq(self.component.bits),
            Const(0, 64 - self.component.bits),
            (records * record)[:5],
            Const(0, 43),
            records,
        )
        bytes_, words, chosen, byte, word, lane = self.jobs(m, fresh, 2 * record)
        second = Signal()
        self.source(m, i, fresh=Cat(AnySeq(32), second))
        for output in (aw, w, done):
            self.sink(m, output)
        asked = self.bursts(m, aw, words, chosen, word)

        come, kept = Signal(COUNT), Signal(8)
        with m.If(i.valid & i.ready):
            m.d.sync += [come.eq(come + 1), second.eq(~second)]
            with m.If(chosen & (come == byte[2:])):
                m.d.sync += kept.eq(i.payload.data.word_select(byte[:2], 8))
        self.require(m, "counts", ~(i.valid & i.ready) | (come < bytes_[2:]))

        written, marked, unanswered = Signal(COUNT), Signal(COUNT), Signal(COUNT)
        moves = w.valid & w.ready
        with m.If(moves):
            m.d.sync += [written.eq(written + 1), marked.eq(marked + popcount(w.payload.strb))]
        self.require(m, "counts", ~w.valid | ((written < asked) & (w.payload.last == (written + 1 == asked))))
        mine = w.valid & chosen & (written == word)
        same = w.payload.strb.bit_select(lane, 1) & (w.payload.data.word_select(lane, 8) == kept)
        self.require(m, "order", ~mine | ((come > byte[2:]) & same))

        m.d.comb += [b.valid.eq(AnySeq(1) & (unanswered != 0)), b.payload.resp.eq(AnySeq(2))]
        m.d.sync += unanswered.eq(unanswered + (moves & w.payload.last) - b.valid)
        busy, failed = Signal(), Signal()
        with m.If(b.valid & b.payload.resp[1]):
            m.d.sync += failed.eq(1)
        with m.If(writer.job.valid & writer.job.ready):
            m.d.sync += [busy.eq(1), failed.eq(0)]
        with m.Elif(done.valid & done.ready):
            m.d.sync += busy.eq(0)
        everything = (asked == words) & (written == words) & (marked == bytes_) & (unanswered == 0)
        self.require(m, "counts", ~done.valid | (busy & everything))
        self.require(m, "order", ~done.valid | (done.payload == failed))
        answered = i.valid & aw.ready & w.ready & (b.valid | (unanswered == 0))
        nothing = ~aw.valid & ~w.valid & ~done.valid
        self.never_longer(m, "offers", busy & answered & nothing, 8)
        self.never_longer(m, "live", writer.job.valid & answered & nothing, 8)
        self.frames_leave(m, done.valid & done.ready)
