"""Internet datagrams (RFC 791) out of Ethernet frames, and back."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from ..link.cobs import LAST
from .checksum import Checksum, fold
from .header import differs, keep, split
from .identity import Identity
from .layouts import ADDRESSES, ARRIVED
from .mac_receiver import FCS_BYTES, MAX_FRAME

__all__ = ["HEADER_BYTES", "MAX_PACKET", "PACKET", "Ipv4Receiver", "Ipv4Sender"]

ETHERTYPE = 0x0800
ETHERNET_BYTES = 14
HEADER_BYTES = 20
MAX_PACKET = MAX_FRAME - FCS_BYTES - ETHERNET_BYTES  # with its header
_VERSION_AND_LENGTH = 0x45  # five words: no options
_FRAGMENT = 0x3F  # what must be zero in the byte with the flags: more fragments, and the offset's upper bits
_DONT_FRAGMENT = 0x4000
_TIME_TO_LIVE = 64  # RFC 1700
_MULTICAST = 0xE0  # the first byte of such an address, or above

PACKET = data.StructLayout({"to": ADDRESSES, "length": range(MAX_PACKET - HEADER_BYTES + 1)})
"""A datagram to send; ``length`` is that of its payload in bytes."""


class Ipv4Receiver(wiring.Component):
    """The payload of datagrams for our MAC address and our IPv4 address, without latency.

    They must be whole (no fragments), without options, from one station, and have a right header checksum. That is
    known at the end only; frames of any other kind have an end that is not good.

    Members
    -------
    i : stream of `ARRIVED`, Ethernet frames
    o : stream of `ARRIVED`, payloads without the frame's padding
    sender, protocol, length : of the datagram, from its payload's first byte to its end; the length is the payload's
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        signature = stream.Signature(ARRIVED, always_ready=True)
        super().__init__(
            {
                "i": In(signature),
                "o": Out(signature),
                "sender": Out(ADDRESSES),
                "protocol": Out(8),
                "length": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.submodules.checksum = checksum = Checksum()
        position = Signal(range(MAX_FRAME + 1))
        total, wrong = Signal(16), Signal()
        begin = ETHERNET_BYTES + HEADER_BYTES
        end = ETHERNET_BYTES + total
        fixed = {
            0: self.identity.mac.to_bytes(6, "big"),
            12: bytes([*ETHERTYPE.to_bytes(2, "big"), _VERSION_AND_LENGTH]),
            21: bytes(1),  # the rest of the fragment's offset
            30: self.identity.address.packed,
        }
        fields = {6: self.sender.mac, 16: total, 23: self.protocol, 26: self.sender.address}
        differing = differs(m, position, i.payload.byte, fixed)
        unfit = (
            ((position == 6) & i.payload.byte[0])  # a group's MAC address
            | ((position == 20) & ((i.payload.byte & _FRAGMENT) != 0))
            | ((position == 26) & (i.payload.byte >= _MULTICAST))
        )
        m.d.comb += [
            self.length.eq(total - HEADER_BYTES),
            checksum.byte.eq(i.payload.byte),
            checksum.valid.eq(i.valid & ~i.payload.end & (position >= ETHERNET_BYTES) & (position < begin)),
            checksum.start.eq(i.valid & i.payload.end),
            o.valid.eq(i.valid & (i.payload.end | ((position >= begin) & (position < end)))),
            o.payload.byte.eq(i.payload.byte),
            o.payload.end.eq(i.payload.end),
            o.payload.good.eq(
                i.payload.good & ~wrong & (checksum.sum == 0xFFFF) & (total >= HEADER_BYTES) & (position >= end)
            ),
        ]
        with m.If(i.valid):
            with m.If(i.payload.end):
                m.d.sync += [position.eq(0), wrong.eq(0)]
            with m.Else():
                keep(m, position, i.payload.byte, fields)
                m.d.sync += [
                    position.eq(Mux(position == MAX_FRAME, position, position + 1)),
                    wrong.eq(wrong | differing | unfit),
                ]
        return m


class Ipv4Sender(wiring.Component):
    """Puts the headers of Ethernet and IPv4 before payloads of one protocol.

    A payload of n bytes is a frame of n + 34, the first of which is offered three cycles after the packet; ``i`` is
    taken from then on as ``o`` is.

    Parameters
    ----------
    protocol : its number in [0, 255]

    Members
    -------
    packet : stream of `PACKET`; taken as soon as the one before has been sent
    i : stream of bytes, payloads
    o : stream of `psahw.boards.link.cobs.LAST`, Ethernet frames
    """

    def __init__(self, identity: Identity, *, protocol: int):
        check_int("protocol", protocol, 0, 0xFF)
        self.identity, self.protocol = identity, protocol
        super().__init__(
            {
                "packet": In(stream.Signature(PACKET)),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(LAST)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        to, total, checksum = Signal(ADDRESSES), Signal(16), Signal(16)
        added = Signal(20)  # six words at most
        index = Signal(range(max(ETHERNET_BYTES + HEADER_BYTES, MAX_PACKET)))
        address = self.identity.address.packed
        before = [_VERSION_AND_LENGTH, 0, *split(total), 0, 0, *_DONT_FRAGMENT.to_bytes(2, "big")]
        before += [_TIME_TO_LIVE, self.protocol]
        header = [*split(to.mac), *self.identity.mac.to_bytes(6, "big"), *ETHERTYPE.to_bytes(2, "big")]
        header += [*before, *split(checksum), *address, *split(to.address)]
        constant = _VERSION_AND_LENGTH << 8, _DONT_FRAGMENT, _TIME_TO_LIVE << 8 | self.protocol
        constant = sum(constant) + int.from_bytes(address[:2], "big") + int.from_bytes(address[2:], "big")
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.packet.ready.eq(1)
                m.d.sync += [
                    to.eq(self.packet.payload.to),
                    total.eq(self.packet.payload.length + HEADER_BYTES),
                    index.eq(0),
                ]
                with m.If(self.packet.valid):
                    m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += added.eq((total + constant) + (to.address[:16] + to.address[16:]))
                m.next = "FOLD"
            with m.State("FOLD"):
                m.d.sync += checksum.eq(~fold(added))
                m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [o.valid.eq(1), o.payload.byte.eq(Array(header)[index])]
                with m.If(o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == len(header) - 1):
                        m.d.sync += index.eq(HEADER_BYTES)
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    o.valid.eq(i.valid),
                    o.payload.byte.eq(i.payload),
                    o.payload.last.eq(index == total - 1),
                    i.ready.eq(o.ready),
                ]
                with m.If(i.valid & o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(o.payload.last):
                        m.next = "IDLE"
        return m
