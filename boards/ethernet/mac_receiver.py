"""From bytes at the PHY to frames that are known to be good or not when they end."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import ARRIVED, GMII

__all__ = ["FCS_BYTES", "MAX_FRAME", "MIN_FRAME", "PREAMBLE", "SFD", "MacReceiver"]

PREAMBLE, SFD = 0x55, 0xD5  # IEEE 802.3, 3.2.1 and 3.2.2, least significant bit first
FCS_BYTES = 4
MIN_FRAME, MAX_FRAME = 64, 1518  # bytes from the destination address to the frame check sequence (4A.2.9, untagged)


class MacReceiver(wiring.Component):
    """Frames of IEEE 802.3, clause 3, without preamble and frame check sequence.

    A frame is good if its check sequence is right, the PHY found no error in it, and it has 64 to 1,518 bytes. Bytes
    leave four cycles after they came, when it is certain that they are none of the check sequence; the end leaves the
    cycle after RX_DV fell. What is not taken at once spoils its frame and nothing else. After a reset nothing is
    believed until the line has been idle.

    Members
    -------
    gmii : from the PHY, in every cycle
    o : stream of `ARRIVED`; a frame shorter than five bytes has an end alone
    """

    def __init__(self):
        super().__init__({"gmii": In(GMII), "o": Out(stream.Signature(ARRIVED))})

    def elaborate(self, platform):
        m = Module()
        gmii, o = self.gmii, self.o
        m.submodules.crc = fcs = crc.catalog.CRC32_ETHERNET(8).create()
        held = Signal(data.ArrayLayout(unsigned(8), FCS_BYTES))
        count = Signal(range(MAX_FRAME + 2))  # of one that is too long, one byte too many
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
                    with m.If(gmii.valid):  # its beginning may be missing
                        m.next = "SKIP"
        return m
