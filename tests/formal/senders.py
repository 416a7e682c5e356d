"""Benches of the senders of an Ethernet link, which put headers in front of payloads.

The bytes of the headers are written down here from the standards, with the addresses of `IDENTITY`.
"""

from collections.abc import Sequence
from functools import partial

from amaranth.asserts import AnySeq
from amaranth.hdl import Cat, Signal, Value

from psahw.boards.ethernet.checksum import fold
from psahw.boards.ethernet.identity import Identity
from psahw.boards.ethernet.ipv4 import Ipv4Sender
from psahw.boards.ethernet.layouts import ADDRESSES
from psahw.boards.ethernet.udp import PEER, UdpSender

from .contract import Bench, between

__all__ = ["IDENTITY", "Ipv4SenderBench", "UdpSenderBench", "big_endian"]

IDENTITY = Identity.parse("192.168.1.50:4660")
MAC, ADDRESS, PORT = (bytes.fromhex(text) for text in ("02 00 c0 a8 01 32", "c0 a8 01 32", "12 34"))


def big_endian(value: Value) -> list[Value]:
    """Return the bytes of a value, the most significant one first."""
    return [value.word_select(n, 8) for n in reversed(range(len(value) // 8))]


class _SenderBench(Bench):
    """A sender: each job becomes a header and as many bytes of payload as the job says, 1 to ``longest``."""

    def __init__(self, component, properties: Sequence[str], *, longest: int):
        super().__init__(component, properties)
        self.longest = longest

    def message(self, m, begins: Value, length: Value, header: list[Value | int], byte: Value) -> tuple[Value, Value]:
        """Require that the message has the right bytes, and no others.

        ``begins`` is high in the clock cycle in which a job is taken, ``length`` the number of bytes of its payload
        from the next one on, and ``byte`` the byte that the output offers. An integer in the header must be there; a
        None may be anything.

        Returns
        -------
        busy, place
            Whether a job has been taken whose message has not left, and the place of its next byte.
        """
        i, o, size = self.component.i, self.component.o, len(header)
        busy, place = Signal(), Signal(range(size + self.longest))
        leaves = o.valid & o.ready
        last = place == length + size - 1
        with m.If(begins):
            m.d.sync += [busy.eq(1), place.eq(0)]
        with m.Elif(leaves):
            m.d.sync += [busy.eq(~last), place.eq(place + 1)]
        self.invariant(m, ~busy | ((place < length + size) & (length > 0) & (length <= self.longest)))
        payload = place >= size
        self.require(m, "counts", ~begins | ~busy)
        self.require(m, "counts", ~o.valid | busy)
        self.require(m, "counts", (i.valid & i.ready) == (leaves & payload))
        self.require(m, "offers", ~(busy & payload & i.valid) | o.valid)
        for n, wanted in enumerate(header):
            if wanted is not None:
                self.require(m, "order", ~(o.valid & (place == n)) | (byte == wanted))
        self.require(m, "order", ~(o.valid & payload) | (byte == i.payload))
        return busy, place


class Ipv4SenderBench(_SenderBench):
    """Each packet of an `Ipv4Sender` becomes a frame with the headers of Ethernet and IPv4 (RFC 791)."""

    component: Ipv4Sender

    def build(self, m, internals):
        packet, i, o = self.component.packet, self.component.i, self.component.o
        length = packet.payload.length
        self.source(m, packet, fresh=Cat(AnySeq(len(packet.payload.to.as_value())), between(1, self.longest)))
        self.source(m, i)
        self.sink(m, o)
        self.invariant(m, ~packet.valid | ((length > 0) & (length <= self.longest)))
        to, size = Signal(ADDRESSES), Signal(16)
        begins = packet.valid & packet.ready
        with m.If(begins):
            m.d.sync += [to.eq(packet.payload.to), size.eq(length)]
        total = Signal(16)
        m.d.comb += total.eq(size + 20)
        header = [
            *big_endian(to.mac), *MAC, 0x08, 0x00,
            0x45, 0, *big_endian(total), 0, 0, 0x40, 0, 64, self.component.protocol, None, None,
            *ADDRESS, *big_endian(to.address),
        ]  # fmt: skip
        busy, place = self.message(m, begins, size, header, o.payload.byte)
        self.require(m, "counts", ~o.valid | (o.payload.last == (place == size + len(header) - 1)))
        self.never_longer(m, "offers", busy & (place < len(header)) & ~o.valid, 2)
        self.never_longer(m, "live", packet.valid & i.valid & ~o.valid, 3)
        self._checksum(m, total, to, place, internals)

        inside, state = internals(self.component), partial(internals.state, self.component)
        same = Cat(inside.to.as_value() == to.as_value(), inside.total == total).all()
        self.invariant(m, state("IDLE", "ADD", "FOLD", "HEADER", "PAYLOAD") & (busy == ~state("IDLE")))
        self.invariant(m, ~busy | same)
        self.invariant(m, ~state("ADD", "FOLD") | ((place == 0) & (inside.index == 0)))
        self.invariant(m, ~state("HEADER") | ((place < len(header)) & (inside.index == place)))
        self.invariant(m, ~state("PAYLOAD") | ((place >= len(header)) & (inside.index == place - 14)))

    def _checksum(self, m, total, to, place, internals):
        """Require that the sum of the header's words, with the checksum, is all ones in one's complement."""
        o, upper = self.component.o, Signal(8)
        with m.If(o.valid & o.ready):
            m.d.sync += upper.eq(o.payload.byte)
        words = [0x4500, total, 0x4000, 64 << 8 | self.component.protocol, 0xC0A8, 0x0132]
        words += [to.address[16:], to.address[:16]]
        others, once, twice = Signal(20), Signal(20), Signal(17)
        m.d.comb += [
            others.eq(sum(words[1:], words[0])),
            once.eq(others + Cat(o.payload.byte, upper)),
            twice.eq(once[:16] + once[16:]),
        ]
        right = (twice[:16] + twice[16]) == 0xFFFF
        self.require(m, "order", ~(o.valid & (place == 25)) | right)

        inside, state = internals(self.component), partial(internals.state, self.component)
        self.invariant(m, ~state("FOLD", "HEADER") | (inside.added == others))
        self.invariant(m, ~state("HEADER") | (inside.checksum == ~fold(inside.added)))
        self.invariant(m, (place != 25) | (upper == inside.checksum[8:]))


class UdpSenderBench(_SenderBench):
    """Each length of a `UdpSender` becomes a packet and a datagram (RFC 768), for the peer of this clock cycle."""

    component: UdpSender

    def build(self, m, internals):
        sender, lengths, i, o = self.component, self.component.lengths, self.component.i, self.component.o
        packet = sender.packet
        self.source(m, lengths, fresh=between(1, self.longest))
        self.source(m, i)
        self.sink(m, packet)
        self.sink(m, o)
        m.d.comb += [sender.peer.as_value().eq(AnySeq(len(sender.peer.as_value()))), sender.known.eq(AnySeq(1))]
        self.invariant(m, ~lengths.valid | ((lengths.payload > 0) & (lengths.payload <= self.longest)))
        to, size, total = Signal(PEER), Signal(16), Signal(16)
        begins = lengths.valid & lengths.ready
        with m.If(begins):
            m.d.sync += [to.eq(sender.peer), size.eq(lengths.payload)]
        m.d.comb += total.eq(size + 8)
        header = [*PORT, *big_endian(to.port), *big_endian(total), 0, 0]
        busy, place = self.message(m, begins, size, header, o.payload)
        announced = Signal()
        with m.If(begins):
            m.d.sync += announced.eq(0)
        with m.Elif(packet.valid & packet.ready):
            m.d.sync += announced.eq(1)
        self.require(m, "counts", ~begins | sender.known)
        self.require(m, "counts", ~packet.valid | (busy & ~announced))
        self.require(m, "counts", ~o.valid | announced)
        self.require(m, "order", ~packet.valid | (packet.payload.to.as_value() == to.addresses.as_value()))
        self.require(m, "order", ~packet.valid | (packet.payload.length == total))
        self.require(m, "offers", ~(busy & ~announced) | packet.valid)
        self.require(m, "offers", ~(busy & announced & (place < len(header))) | o.valid)
        inside, state = internals(sender), partial(internals.state, sender)
        same = Cat(inside.to.as_value() == to.as_value(), inside.length == total).all()
        self.invariant(m, state("IDLE", "PACKET", "HEADER", "PAYLOAD") & (busy == ~state("IDLE")))
        self.invariant(m, ~busy | (same & (inside.index == place) & (announced == ~state("PACKET"))))
        self.invariant(m, ~state("PACKET") | (place == 0))
        self.invariant(m, ~state("HEADER") | (place < len(header)))
        self.invariant(m, ~state("PAYLOAD") | (place >= len(header)))
        everything = lengths.valid & sender.known & i.valid & packet.ready
        self.never_longer(m, "live", everything & ~o.valid, 2)
