"""From frames to bytes at the PHY."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.wiring import In, Out

from ..link.cobs import LAST
from .layouts import GMII
from .mac_receiver import FCS_BYTES, MIN_FRAME, PREAMBLE, SFD

__all__ = ["GAP_BYTES", "MacTransmitter"]

PREAMBLE_BYTES = 8  # with the delimiter
GAP_BYTES = 12  # IEEE 802.3, 4A.2.9: interPacketGap, 96 bits


class MacTransmitter(wiring.Component):
    """Adds preamble, zeros up to 60 bytes, frame check sequence and gap (IEEE 802.3, 3.2, and 4A.2.3.2).

    A frame of n bytes, n at least 60, takes n + 24 cycles; its first byte is at the PHY ten cycles after it was
    offered. ``i.valid`` must not fall within a frame: if it does, the PHY is told of an error, and no receiver
    believes the frame.

    Members
    -------
    i : stream of `psahw.boards.link.cobs.LAST`: frames from the destination address to the end of the payload
    gmii : to the PHY, from registers
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(LAST)), "gmii": Out(GMII)})

    def elaborate(self, platform):
        m = Module()
        i = self.i
        m.submodules.crc = fcs = crc.catalog.CRC32_ETHERNET(8).create()
        shortest = MIN_FRAME - FCS_BYTES
        count = Signal(range(shortest + 1))  # bytes of the preamble, the frame, the check sequence, the gap
        byte, valid, error = Signal(8), Signal(), Signal()
        m.d.sync += [self.gmii.byte.eq(byte), self.gmii.valid.eq(valid), self.gmii.error.eq(error)]
        m.d.comb += fcs.data.eq(byte)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += fcs.start.eq(1)
                m.d.sync += count.eq(0)
                with m.If(i.valid):
                    m.next = "PREAMBLE"
            with m.State("PREAMBLE"):
                last = count == PREAMBLE_BYTES - 1
                m.d.comb += [valid.eq(1), byte.eq(Mux(last, SFD, PREAMBLE))]
                m.d.sync += count.eq(Mux(last, 0, count + 1))
                with m.If(last):
                    m.next = "FRAME"
            with m.State("FRAME"):
                m.d.comb += [
                    valid.eq(1),
                    byte.eq(i.payload.byte),
                    error.eq(~i.valid),
                    i.ready.eq(1),
                    fcs.valid.eq(i.valid),
                ]
                with m.If(i.valid):
                    m.d.sync += count.eq(Mux(count == shortest, count, count + 1))
                    with m.If(i.payload.last):
                        m.next = "PAD"
                        with m.If(count >= shortest - 1):
                            m.d.sync += count.eq(0)
                            m.next = "FCS"
            with m.State("PAD"):
                m.d.comb += [valid.eq(1), fcs.valid.eq(1)]
                m.d.sync += count.eq(count + 1)
                with m.If(count == shortest - 1):
                    m.d.sync += count.eq(0)
                    m.next = "FCS"
            with m.State("FCS"):
                m.d.comb += [valid.eq(1), byte.eq(fcs.crc.word_select(count[:2], 8))]
                m.d.sync += count.eq(count + 1)
                with m.If(count == FCS_BYTES - 1):
                    m.d.sync += count.eq(1)  # IDLE is a part of the gap
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += count.eq(count + 1)
                with m.If(count == GAP_BYTES - 1):
                    m.next = "IDLE"
        return m
