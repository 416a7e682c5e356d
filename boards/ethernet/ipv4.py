"""Receive and send IPv4 packets (RFC 791) in Ethernet frames."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from ..link.cobs import FRAME_BYTE
from .checksum import Checksum, fold
from .header import field_bytes, gather, mismatch
from .identity import Identity
from .layouts import ADDRESSES, PACKET_BYTE
from .mac_receiver import FCS_BYTES, MAX_FRAME

__all__ = ["HEADER_BYTES", "MAX_PACKET", "PACKET", "Ipv4Receiver", "Ipv4Sender"]

ETHERTYPE = 0x0800
ETHERNET_BYTES = 14
HEADER_BYTES = 20
MAX_PACKET = MAX_FRAME - FCS_BYTES - ETHERNET_BYTES  # bytes, including the header
_VERSION_AND_LENGTH = 0x45  # version 4, header of five words: no options
_FRAGMENT = 0x3F  # in the byte with the flags: "more fragments", and the upper bits of the fragment offset
_DONT_FRAGMENT = 0x4000
_TIME_TO_LIVE = 64  # RFC 1700
_MULTICAST = 0xE0  # lowest first byte of an address that is not a single station's

PACKET = data.StructLayout({"to": ADDRESSES, "length": range(MAX_PACKET - HEADER_BYTES + 1)})
"""A packet to send.

``to`` holds the addresses of the receiver, and ``length`` is the length of the payload in bytes.
"""


class Ipv4Receiver(wiring.Component):
    """Pass on the payloads of IPv4 packets for the board's MAC address and IPv4 address, without latency.

    A packet must be whole (no fragment), without options, from a single station, and have a correct
    header checksum. This is known only at its end: the end of any other frame is not ``good``.

    Parameters
    ----------
    identity
        Addresses of the board.

    Members
    -------
    i : stream of `psahw.boards.ethernet.layouts.PACKET_BYTE`
        Received Ethernet frames; always ready.
    o : stream of `psahw.boards.ethernet.layouts.PACKET_BYTE`
        Payloads without the padding of their frames; must be always ready.
    sender : Out(`psahw.boards.ethernet.layouts.ADDRESSES`)
        Addresses of the sender.
    protocol : Out(8)
        Protocol number of the payload.
    length : Out(16)
        Length of the payload in bytes. Like ``sender`` and ``protocol``, it is valid from the first
        byte of the payload to its end.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        signature = stream.Signature(PACKET_BYTE, always_ready=True)
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
            21: bytes(1),  # lower bits of the fragment offset
            30: self.identity.address.packed,
        }
        fields = {6: self.sender.mac, 16: total, 23: self.protocol, 26: self.sender.address}
        differing = mismatch(m, position, i.payload.byte, fixed)
        unfit = (
            ((position == 6) & i.payload.byte[0])  # MAC address of a group
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
                gather(m, position, i.payload.byte, fields)
                m.d.sync += [
                    position.eq(Mux(position == MAX_FRAME, position, position + 1)),
                    wrong.eq(wrong | differing | unfit),
                ]
        return m


class Ipv4Sender(wiring.Component):
    """Send payloads of one protocol as IPv4 packets in Ethernet frames.

    A payload of n bytes becomes a frame of n + 34 bytes. The first byte of the frame is offered
    three cycles after the packet; the bytes of ``i`` are taken after the headers, as fast as those
    of ``o`` are.

    Parameters
    ----------
    identity
        Addresses of the board.
    protocol
        Protocol number in [0, 255].

    Raises
    ------
    TypeError
        If ``protocol`` is not an integer.
    ValueError
        If ``protocol`` is out of range.

    Members
    -------
    packet : stream of `PACKET`
        Packets to send. The next one is taken when the previous one has been sent.
    i : stream of bytes
        Payloads of the packets.
    o : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Ethernet frames.
    """

    def __init__(self, identity: Identity, *, protocol: int):
        check_int("protocol", protocol, 0, 0xFF)
        self.identity, self.protocol = identity, protocol
        super().__init__(
            {
                "packet": In(stream.Signature(PACKET)),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(FRAME_BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        to, total, checksum = Signal(ADDRESSES), Signal(16), Signal(16)
        added = Signal(20)  # sum of at most six words
        index = Signal(range(max(ETHERNET_BYTES + HEADER_BYTES, MAX_PACKET)))
        address = self.identity.address.packed
        before = [_VERSION_AND_LENGTH, 0, *field_bytes(total), 0, 0, *_DONT_FRAGMENT.to_bytes(2, "big")]
        before += [_TIME_TO_LIVE, self.protocol]
        header = [*field_bytes(to.mac), *self.identity.mac.to_bytes(6, "big"), *ETHERTYPE.to_bytes(2, "big")]
        header += [*before, *field_bytes(checksum), *address, *field_bytes(to.address)]
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
