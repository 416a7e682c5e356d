"""Receive and send UDP datagrams (RFC 768)."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .checksum import Checksum, fold
from .header import field_bytes, gather, mismatch
from .identity import Identity
from .ipv4 import HEADER_BYTES as IPV4_BYTES
from .ipv4 import MAX_PACKET, PACKET
from .layouts import ADDRESSES, PACKET_BYTE

__all__ = ["HEADER_BYTES", "MAX_PAYLOAD", "PEER", "PROTOCOL", "UdpReceiver", "UdpSender"]

PROTOCOL = 17
HEADER_BYTES = 8
MAX_PAYLOAD = MAX_PACKET - IPV4_BYTES - HEADER_BYTES  # 1,472 bytes

PEER = data.StructLayout({"addresses": ADDRESSES, "port": 16})
"""A station with which the board exchanges datagrams: its ``addresses`` and UDP ``port``."""


class UdpReceiver(wiring.Component):
    """Extract the payloads of datagrams for the board's port, and decide at their end whether to keep them.

    The length must be that of the IPv4 payload. The checksum must be correct, unless it is zero,
    which means that the sender did not compute one. ``keep`` or ``forget`` follows one cycle after
    the end.

    Parameters
    ----------
    identity
        Address and port of the board.

    Members
    -------
    i, sender, protocol, length
        Connect to ``o`` and the ports of the same names of
        `psahw.boards.ethernet.ipv4.Ipv4Receiver`.
    byte, put, keep, forget
        Connect to the ports of the same names of
        `psahw.boards.ethernet.packet_buffer.PacketBuffer`.
    peer : Out(`PEER`)
        Sender of the last datagram that was kept.
    known : Out(1)
        At least one datagram has been kept, so ``peer`` is valid.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {
                "i": In(stream.Signature(PACKET_BYTE, always_ready=True)),
                "sender": In(ADDRESSES),
                "protocol": In(8),
                "length": In(16),
                "byte": Out(8),
                "put": Out(1),
                "keep": Out(1),
                "forget": Out(1),
                "peer": Out(PEER),
                "known": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i
        m.submodules.checksum = checksum = Checksum()
        position = Signal(range(HEADER_BYTES + 1))
        port, length, sent_sum, wrong = Signal(16), Signal(16), Signal(16), Signal()
        differing = mismatch(m, position, i.payload.byte, {2: self.identity.port.to_bytes(2, "big")})
        ended, good, unchecked = Signal(), Signal(), Signal()
        total = Signal(20)  # sum of at most six words
        m.d.comb += [
            self.byte.eq(i.payload.byte),
            self.put.eq(i.valid & ~i.payload.end & (position == HEADER_BYTES) & ~wrong & (self.protocol == PROTOCOL)),
            checksum.byte.eq(i.payload.byte),
            checksum.valid.eq(i.valid & ~i.payload.end),
            checksum.start.eq(i.valid & i.payload.end),
        ]
        m.d.sync += ended.eq(i.valid & i.payload.end)
        with m.If(i.valid):
            with m.If(i.payload.end):
                m.d.sync += [
                    position.eq(0),
                    wrong.eq(0),
                    good.eq(
                        i.payload.good
                        & ~wrong
                        & (self.protocol == PROTOCOL)
                        & (position == HEADER_BYTES)
                        & (length == self.length)
                    ),
                    unchecked.eq(sent_sum == 0),
                    total.eq((checksum.sum + self._pseudo_header()) + length),
                ]
            with m.Else():
                gather(m, position, i.payload.byte, {0: port, 4: length, 6: sent_sum})
                m.d.sync += [
                    position.eq(Mux(position == HEADER_BYTES, position, position + 1)),
                    wrong.eq(wrong | differing),
                ]
        m.d.comb += [
            self.keep.eq(ended & good & (unchecked | (fold(total) == 0xFFFF))),
            self.forget.eq(ended & ~self.keep),
        ]
        with m.If(self.keep):
            m.d.sync += [self.peer.addresses.eq(self.sender), self.peer.port.eq(port), self.known.eq(1)]
        return m

    def _pseudo_header(self):
        """Return the sum of the pseudo header's words, without the length."""
        address = int(self.identity.address)
        return (self.sender.address[:16] + self.sender.address[16:]) + (
            (address >> 16) + (address & 0xFFFF) + PROTOCOL
        )


class UdpSender(wiring.Component):
    """Send datagrams to the peer, without a checksum.

    The frame check sequence already covers the only wire that they pass. While no peer is known,
    datagrams wait.

    Parameters
    ----------
    identity
        Address and port of the board.

    Members
    -------
    lengths : stream of ``range(MAX_PAYLOAD + 1)``
        Lengths of the payloads in bytes; not 0.
    i : stream of bytes
        Bytes of the payloads. When a length is offered, all bytes of its payload must be available.
    peer, known
        Connect to the ports of the same names of `UdpReceiver`.
    packet : stream of `psahw.boards.ethernet.ipv4.PACKET`
        Packets to send, for `psahw.boards.ethernet.ipv4.Ipv4Sender`.
    o : stream of bytes
        Datagrams, for ``i`` of `psahw.boards.ethernet.ipv4.Ipv4Sender`.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {
                "lengths": In(stream.Signature(range(MAX_PAYLOAD + 1))),
                "i": In(stream.Signature(8)),
                "peer": In(PEER),
                "known": In(1),
                "packet": Out(stream.Signature(PACKET)),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        to, length = Signal(PEER), Signal(16)
        header = [*self.identity.port.to_bytes(2, "big"), *field_bytes(to.port), *field_bytes(length), 0, 0]
        index = Signal(range(MAX_PAYLOAD + HEADER_BYTES))
        m.d.comb += [
            self.packet.payload.to.eq(to.addresses),
            self.packet.payload.length.eq(length),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.lengths.ready.eq(self.known)
                m.d.sync += [to.eq(self.peer), length.eq(self.lengths.payload + HEADER_BYTES), index.eq(0)]
                with m.If(self.lengths.valid & self.known):
                    m.next = "PACKET"
            with m.State("PACKET"):
                m.d.comb += self.packet.valid.eq(1)
                with m.If(self.packet.ready):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [o.valid.eq(1), o.payload.eq(Array(header)[index])]
                with m.If(o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == len(header) - 1):
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [o.valid.eq(i.valid), o.payload.eq(i.payload), i.ready.eq(o.ready)]
                with m.If(i.valid & o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == length - 1):
                        m.next = "IDLE"
        return m
