"""Receive Ethernet frames from a PHY."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import GMII, PACKET_BYTE

__all__ = ["FCS_BYTES", "MAX_FRAME", "MIN_FRAME", "PREAMBLE", "SFD", "MacReceiver"]

PREAMBLE, SFD = 0x55, 0xD5  # IEEE 802.3, 3.2.1 and 3.2.2, sent with the least significant bit first
FCS_BYTES = 4
MIN_FRAME, MAX_FRAME = 64, 1518  # bytes, destination address through check sequence (4A.2.9, untagged frames)


class MacReceiver(wiring.Component):
    """Receive frames (IEEE 802.3, clause 3), and remove the preamble and the frame check sequence.

    A frame is good if its check sequence is correct, the PHY reports no error, and its length is 64
    to 1,518 bytes. A byte leaves four cycles after it arrived, when it is certain that it does not
    belong to the check sequence. The end is offered in the cycle after RX_DV has fallen. A byte or
    an end that is not taken at once invalidates its frame, but no other. After a reset, no frame is
    received until the line has been idle.

    Members
    -------
    gmii : In(`psahw.boards.ethernet.layouts.GMII`)
        Data from the PHY, in every clock cycle.
    o : stream of `psahw.boards.ethernet.layouts.PACKET_BYTE`
        Frames from the destination address to the end of the payload. A frame of fewer than five
        bytes has only an end.
    """

    def __init__(self):
        super().__init__({"gmii": In(GMII), "o": Out(stream.Signature(PACKET_BYTE))})

    def elaborate(self, platform):
        m = Module()
        gmii, o = self.gmii, self.o
        m.submodules.crc = fcs = crc.catalog.CRC32_ETHERNET(8).create()
        held = Signal(data.ArrayLayout(unsigned(8), FCS_BYTES))
        count = Signal(range(MAX_FRAME + 2))  # bytes so far; stops one byte beyond the longest frame
        spoilt = Signal()
        m.d.comb += [
            fcs.data.eq(gmii.byte),
            o.payload.byte.eq(held[0]),
            o.payload.good.eq(fcs.match_detected & ~spoilt & (count >= MIN_FRAME) & (count <= MAX_FRAME)),
        ]
        with m.FSM():
            with m.State("SKIP"), m.If(~gmii.valid):
                m.next = "PREAMBLE"
            with m.State("PREAMBLE"):
                m.d.comb += fcs.start.eq(1)
                m.d.sync += [count.eq(0), spoilt.eq(0)]
                with m.If(gmii.valid):
                    with m.If(gmii.error | ((gmii.byte != PREAMBLE) & (gmii.byte != SFD))):
                        m.next = "SKIP"
                    with m.Elif(gmii.byte == SFD):
                        m.next = "FRAME"
            with m.State("FRAME"):
                with m.If(gmii.valid):
                    m.d.comb += [
                        fcs.valid.eq(1),
                        o.valid.eq((count >= FCS_BYTES) & (count <= MAX_FRAME)),
                    ]
                    m.d.sync += [
                        *(held[k].eq(x) for k, x in enumerate([held[1], held[2], held[3], gmii.byte])),
                        count.eq(Mux(count > MAX_FRAME, count, count + 1)),
                        spoilt.eq(spoilt | gmii.error | (o.valid & ~o.ready)),
                    ]
                with m.Else():
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [o.valid.eq(1), o.payload.end.eq(1)]
                with m.If(o.ready):
                    m.next = "PREAMBLE"
                    with m.If(gmii.valid):  # the beginning of the next frame may have been missed
                        m.next = "SKIP"
        return m
