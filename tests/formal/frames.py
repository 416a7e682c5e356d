"""Benches of the parts of a link that append checksums to frames, and check them."""

from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from amaranth.hdl import Array, Cat, Const, Mux, Signal, Value
from amaranth.lib.memory import Memory

from psahw.boards.link import cobs
from psahw.boards.link.frames import FrameReceiver, FrameSender
from psahw.host.protocol import Fault

from .contract import Bench

__all__ = ["FrameReceiverBench", "FrameSenderBench", "short_blocks"]

POLYNOMIAL, INITIAL = 0xEDB88320, 0xFFFFFFFF  # of the CRC-32 of IEEE 802.3, bit-reversed
RESIDUE = 0xDEBB20E3  # what the register holds behind a frame whose checksum is right


@contextmanager
def short_blocks(longest: int):
    """Elaborate parts of `psahw.boards.link.cobs` with blocks of at most ``longest`` bytes instead of 254.

    The memory of a block is as small as that, too.
    """
    depth = 1 << longest.bit_length()
    small = patch.object(cobs, "Memory", lambda **arguments: Memory(**{**arguments, "depth": depth}))
    with patch.object(cobs, "LONGEST", longest), small:
        yield


def crc_32(m, adds: Value, byte: Value, clears: Value) -> Signal:
    """Return the register of a CRC-32, to which bytes are added bit by bit, from the lowest one on."""
    register, value = Signal(32, init=INITIAL, name="crc_32"), None
    for bit in range(8):
        before, value = register if value is None else value, Signal(32, name=f"crc_32_{bit}")
        m.d.comb += value.eq((before >> 1) ^ Mux(before[0] ^ byte[bit], POLYNOMIAL, 0))
    with m.If(adds):
        m.d.sync += register.eq(value)
    with m.If(clears):
        m.d.sync += register.eq(INITIAL)
    return register


class FrameSenderBench(Bench):
    """The checksum of each body follows it into the encoder of a `FrameSender`, and nothing else does.

    Blocks have at most ``longest`` bytes. What the encoder makes of them is proven by `CobsBench`.
    """

    component: FrameSender

    def __init__(self, component, properties, *, longest: int):
        super().__init__(component, properties)
        self.longest = longest

    def elaborate(self, platform):
        with short_blocks(self.longest):
            return super().elaborate(platform)

    def build(self, m, internals):
        i, o = self.component.i, self.component.o
        self.source(m, i)
        self.sink(m, o)
        inside = internals(self.component)
        encoded = inside.encoder.i
        self.stable(m, encoded)
        left = Signal(range(5))  # bytes of the checksum that are due
        taken, moves = i.valid & i.ready, encoded.valid & encoded.ready
        with m.If(taken & i.payload.last):
            m.d.sync += left.eq(4)
        with m.Elif(moves & (left != 0)):
            m.d.sync += left.eq(left - 1)
        self.require(m, "counts", taken == (moves & (left == 0)))
        self.require(m, "counts", ~encoded.valid | (encoded.payload.last == (left == 1)))
        self.require(m, "offers", encoded.valid == (i.valid | (left != 0)))
        if "order" in self.properties:
            register = crc_32(m, taken, i.payload.byte, moves & (left == 1))
            self.invariant(m, inside.checksum.crc == ~register)
            checksum = Array((~register).word_select(n, 8) for n in (0, 3, 2, 1, 0))[left]
            wanted = Mux(left == 0, i.payload.byte, checksum)
            self.require(m, "order", ~encoded.valid | (encoded.payload.byte == wanted))
        self.never_longer(m, "live", encoded.valid & ~o.valid, self.longest + 1)

        encoder, state = internals(inside.encoder), partial(internals.state, inside.encoder)
        self.invariant(m, (inside.sum_due == (left != 0)) & (inside.part == (4 - left)[:2]))
        self.invariant(m, left <= 4)
        self.invariant(m, state("BEGIN", "GATHER", "CODE", "BYTES", "END"))
        self.invariant(m, (encoder.length <= self.longest) & (encoder.sent <= encoder.length))
        self.invariant(m, ~state("GATHER") | ((encoder.length < self.longest) & (encoder.sent == 0)))
        self.invariant(m, ~state("CODE") | (encoder.sent == 0))


class FrameReceiverBench(Bench):
    """Decoded frames leave a `FrameReceiver`, but for the last four bytes of each.

    After the end of a frame, nothing is offered in the next clock cycle, and no byte in four. The verdict on a frame
    is right.
    """

    component: FrameReceiver

    def build(self, m, internals):
        i, o = self.component.i, self.component.o
        self.source(m, i)
        self.sink(m, o)
        inside = internals(self.component)
        decoded = inside.decoder.o
        self.stable(m, decoded)
        moves, end = decoded.valid & decoded.ready, decoded.payload.end
        latest, come = [Signal(8, name=f"latest_{n}") for n in range(4)], Signal(range(5))
        with m.If(moves):
            m.d.sync += [
                register.eq(x) for register, x in zip(latest, [decoded.payload.byte, *latest[:3]], strict=True)
            ]
            m.d.sync += come.eq(Mux(end, 0, Mux(come == 4, 4, come + 1)))
        register = crc_32(m, moves & ~end, decoded.payload.byte, moves & end)
        due = decoded.valid & (end | (come == 4))
        self.require(m, "counts", ~o.valid | due)
        self.require(m, "counts", (o.valid & o.ready) == (due & moves))
        self.require(m, "offers", ~due | o.valid)
        self.require(m, "order", ~o.valid | (o.payload.end == end))
        self.require(m, "order", ~(o.valid & ~end) | (o.payload.byte == latest[3]))
        verdict = Mux(come != 4, Fault.FRAMING, Mux(register == RESIDUE, Const(0, 3), Fault.CHECKSUM))
        fault = Mux(decoded.payload.fault != 0, decoded.payload.fault, verdict)
        self.require(m, "order", ~(o.valid & end) | (o.payload.fault == fault))
        self.require(m, "live", ~i.valid | i.ready | o.valid)

        ended = Signal(4)
        m.d.sync += ended.eq(Cat(o.valid & o.ready & o.payload.end, ended))
        self.require(m, "counts", ~(o.valid & ended[0]))
        self.require(m, "counts", ~(o.valid & ~o.payload.end & ended.any()))
        self.invariant(m, (inside.count == come) & (inside.checksum.crc == ~register))
        self.invariant(m, ~ended[0] | ~internals(inside.decoder).begun)
        for n in range(4):
            self.invariant(m, ~ended[n] | (come <= n))
        for n, byte in enumerate(latest):
            self.invariant(m, inside.held[3 - n] == byte)
