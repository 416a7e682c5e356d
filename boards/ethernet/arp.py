"""Answers to those who ask which MAC address the board's IPv4 address has (RFC 826)."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..link.cobs import LAST
from .header import differs, keep, split
from .identity import Identity
from .layouts import ADDRESSES, ARRIVED

__all__ = ["ArpResponder"]

BROADCAST = 0xFFFF_FFFF_FFFF
ETHERTYPE = 0x0806
_PREFIX = bytes.fromhex("0001 0800 06 04")  # Ethernet, IPv4, and the lengths of their addresses
_REQUEST, _REPLY = 1, 2
_END = 42  # of a packet, counted from the frame's first byte


class ArpResponder(wiring.Component):
    """A reply to every request for our address that comes as a broadcast or to our MAC address.

    A request that comes while a reply waits to be sent is not answered: who asks asks again.

    Members
    -------
    i : stream of `ARRIVED`, Ethernet frames
    o : stream of `psahw.boards.link.cobs.LAST`, Ethernet frames
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__({"i": In(stream.Signature(ARRIVED, always_ready=True)), "o": Out(stream.Signature(LAST))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        mac, address = self.identity.mac.to_bytes(6, "big"), self.identity.address.packed
        position = Signal(range(_END + 1))
        elsewhere, to_us, to_all = Signal(), Signal(init=1), Signal(init=1)
        sender, asked = Signal(ADDRESSES), Signal(ADDRESSES)
        request = {12: ETHERTYPE.to_bytes(2, "big"), 14: _PREFIX, 20: _REQUEST.to_bytes(2, "big"), 38: address}
        wrong = differs(m, position, i.payload.byte, request)
        for_us = differs(m, position, i.payload.byte, {0: mac})
        for_all = differs(m, position, i.payload.byte, {0: BROADCAST.to_bytes(6, "big")})
        with m.If(i.valid):
            with m.If(i.payload.end):
                m.d.sync += [position.eq(0), elsewhere.eq(0), to_us.eq(1), to_all.eq(1)]
                answerable = i.payload.good & ~elsewhere & (to_us | to_all) & (position == _END)
                with m.If(answerable & ~o.valid):
                    m.d.sync += [asked.eq(sender), o.valid.eq(1)]
            with m.Else():
                keep(m, position, i.payload.byte, {22: sender})
                m.d.sync += [
                    position.eq(Mux(position == _END, position, position + 1)),
                    elsewhere.eq(elsewhere | wrong),
                    to_us.eq(to_us & ~for_us),
                    to_all.eq(to_all & ~for_all),
                ]
        self._reply(m, asked, [*mac], [*address])
        return m

    def _reply(self, m, asked, mac, address):
        o = self.o
        prefix = [*ETHERTYPE.to_bytes(2, "big"), *_PREFIX, *_REPLY.to_bytes(2, "big")]
        reply = [*split(asked.mac), *mac, *prefix, *mac, *address, *split(asked)]
        sent = Signal(range(len(reply)))
        m.d.comb += [o.payload.byte.eq(Array(reply)[sent]), o.payload.last.eq(sent == len(reply) - 1)]
        with m.If(o.valid & o.ready):
            m.d.sync += sent.eq(Mux(o.payload.last, 0, sent + 1))
            with m.If(o.payload.last):
                m.d.sync += o.valid.eq(0)
