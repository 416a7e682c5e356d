"""Address Resolution Protocol (RFC 826): tell other stations the board's MAC address."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..link.cobs import FRAME_BYTE
from .header import field_bytes, gather, mismatch
from .identity import Identity
from .layouts import ADDRESSES, PACKET_BYTE

__all__ = ["ArpResponder"]

BROADCAST = 0xFFFF_FFFF_FFFF
ETHERTYPE = 0x0806
_PREFIX = bytes.fromhex("0001 0800 06 04")  # hardware type Ethernet, protocol IPv4, and their address lengths
_REQUEST, _REPLY = 1, 2
_END = 42  # length of a request, from the first byte of the Ethernet frame


class ArpResponder(wiring.Component):
    """Reply to every request for the board's IPv4 address that is broadcast or sent to its MAC address.

    A request that arrives while a reply waits to be sent is ignored; the station that sent it will
    repeat it.

    Parameters
    ----------
    identity
        Addresses of the board.

    Members
    -------
    i : stream of `psahw.boards.ethernet.layouts.PACKET_BYTE`
        Received Ethernet frames; always ready.
    o : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Ethernet frames to send.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {"i": In(stream.Signature(PACKET_BYTE, always_ready=True)), "o": Out(stream.Signature(FRAME_BYTE))}
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        mac, address = self.identity.mac.to_bytes(6, "big"), self.identity.address.packed
        position = Signal(range(_END + 1))
        elsewhere, to_us, to_all = Signal(), Signal(init=1), Signal(init=1)
        sender, asked = Signal(ADDRESSES), Signal(ADDRESSES)
        request = {12: ETHERTYPE.to_bytes(2, "big"), 14: _PREFIX, 20: _REQUEST.to_bytes(2, "big"), 38: address}
        wrong = mismatch(m, position, i.payload.byte, request)
        for_us = mismatch(m, position, i.payload.byte, {0: mac})
        for_all = mismatch(m, position, i.payload.byte, {0: BROADCAST.to_bytes(6, "big")})
        with m.If(i.valid):
            with m.If(i.payload.end):
                m.d.sync += [position.eq(0), elsewhere.eq(0), to_us.eq(1), to_all.eq(1)]
                answerable = i.payload.good & ~elsewhere & (to_us | to_all) & (position == _END)
                with m.If(answerable & ~o.valid):
                    m.d.sync += [asked.eq(sender), o.valid.eq(1)]
            with m.Else():
                gather(m, position, i.payload.byte, {22: sender})
                m.d.sync += [
                    position.eq(Mux(position == _END, position, position + 1)),
                    elsewhere.eq(elsewhere | wrong),
                    to_us.eq(to_us & ~for_us),
                    to_all.eq(to_all & ~for_all),
                ]
        self._reply(m, asked, [*mac], [*address])
        return m

    def _reply(self, m, asked, mac, address):
        """Send a reply to the station ``asked`` while ``o.valid`` is high."""
        o = self.o
        prefix = [*ETHERTYPE.to_bytes(2, "big"), *_PREFIX, *_REPLY.to_bytes(2, "big")]
        reply = [*field_bytes(asked.mac), *mac, *prefix, *mac, *address, *field_bytes(asked)]
        sent = Signal(range(len(reply)))
        m.d.comb += [o.payload.byte.eq(Array(reply)[sent]), o.payload.last.eq(sent == len(reply) - 1)]
        with m.If(o.valid & o.ready):
            m.d.sync += sent.eq(Mux(o.payload.last, 0, sent + 1))
            with m.If(o.payload.last):
                m.d.sync += o.valid.eq(0)
