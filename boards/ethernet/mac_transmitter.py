"""Send Ethernet frames to a PHY."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.wiring import In, Out

from ..link.cobs import FRAME_BYTE
from .layouts import GMII
from .mac_receiver import FCS_BYTES, MIN_FRAME, PREAMBLE, SFD

__all__ = ["GAP_BYTES", "MacTransmitter"]

PREAMBLE_BYTES = 8  # including the start frame delimiter
GAP_BYTES = 12  # interPacketGap, 96 bits (IEEE 802.3, 4A.2.9)


class MacTransmitter(wiring.Component):
    """Add preamble, padding to 60 bytes, frame check sequence and gap to frames (IEEE 802.3, 3.2 and 4A.2.3.2).

    A frame of n bytes (n >= 60) takes n + 24 cycles. Its first byte reaches the PHY ten cycles
    after it was offered. ``i.valid`` must not fall within a frame. If it does, the transmitter
    signals an error to the PHY, and every receiver rejects the frame.

    Members
    -------
    i : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Frames from the destination address to the end of the payload.
    gmii : Out(`psahw.boards.ethernet.layouts.GMII`)
        Data to the PHY, driven by registers.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(FRAME_BYTE)), "gmii": Out(GMII)})

    def elaborate(self, platform):
        m = Module()
        i = self.i
        m.submodules.crc = fcs = crc.catalog.CRC32_ETHERNET(8).create()
        shortest = MIN_FRAME - FCS_BYTES
        count = Signal(range(shortest + 1))  # bytes of the preamble, the frame, the check sequence, or the gap
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
                    m.d.sync += count.eq(1)  # the IDLE state is a part of the gap
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += count.eq(count + 1)
                with m.If(count == GAP_BYTES - 1):
                    m.next = "IDLE"
        return m
