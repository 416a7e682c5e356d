"""User datagrams (RFC 768): the bytes in those for our port, and datagrams to whom the last one came from."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .checksum import Checksum, fold
from .header import differs, keep, split
from .identity import Identity
from .ipv4 import HEADER_BYTES as IPV4_BYTES
from .ipv4 import MAX_PACKET, PACKET
from .layouts import ADDRESSES, ARRIVED

__all__ = ["HEADER_BYTES", "MAX_PAYLOAD", "PEER", "PROTOCOL", "UdpReceiver", "UdpSender"]

PROTOCOL = 17
HEADER_BYTES = 8
MAX_PAYLOAD = MAX_PACKET - IPV4_BYTES - HEADER_BYTES  # 1,472 bytes

PEER = data.StructLayout({"addresses": ADDRESSES, "port": 16})


class UdpReceiver(wiring.Component):
    """What datagrams for our port carry, to be kept or forgotten when they have ended.

    The length must be that of the IPv4 payload, the checksum right unless it is zero, which means that there is none.
    The verdict comes a cycle after the end.

    Members
    -------
    i, sender, protocol, length : from `Ipv4Receiver`
    byte, put, keep, forget : to `PacketBuffer`
    peer, known : whom the last datagram that was to be kept came from, if there was one
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {
                "i": In(stream.Signature(ARRIVED, always_ready=True)),
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
        differing = differs(m, position, i.payload.byte, {2: self.identity.port.to_bytes(2, "big")})
        ended, good, unchecked = Signal(), Signal(), Signal()
        total = Signal(20)  # six words at most
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
                keep(m, position, i.payload.byte, {0: port, 4: length, 6: sent_sum})
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
        """But for the length."""
        own = int(self.identity.address)
        return (self.sender.address[:16] + self.sender.address[16:]) + ((own >> 16) + (own & 0xFFFF) + PROTOCOL)


class UdpSender(wiring.Component):
    """Datagrams to the peer, without a checksum: on the one wire that they pass, the frame's own covers them.

    Without a peer they wait for one.

    Members
    -------
    lengths : stream of the datagrams' payloads' lengths, in bytes, not 0
    i : stream of the payloads' bytes, which must all be there when the length is
    peer, known : from `UdpReceiver`
    packet, o : to `Ipv4Sender`
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
        header = [*self.identity.port.to_bytes(2, "big"), *split(to.port), *split(length), 0, 0]
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
