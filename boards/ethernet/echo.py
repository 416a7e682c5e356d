"""Answer ``ping`` (ICMP echo, RFC 792), so that users can check whether the board is reachable."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .checksum import Checksum, fold
from .header import field_bytes, gather, mismatch
from .ipv4 import PACKET
from .layouts import ADDRESSES, PACKET_BYTE

__all__ = ["MAX_MESSAGE", "PROTOCOL", "EchoResponder"]

PROTOCOL = 1
_REQUEST, _REPLY = 8, 0  # types of ICMP messages
_FIXED = 4  # bytes that differ in the reply: type, code, checksum
MAX_MESSAGE = 128 + _FIXED  # bytes; ping sends 64 by default


class EchoResponder(wiring.Component):
    """Reply to every echo request of at most 132 bytes, including the ICMP header, whose checksum is correct.

    A request that arrives while a reply waits to be sent is ignored.

    Members
    -------
    i, sender, protocol, length
        Connect to ``o`` and the ports of the same names of
        `psahw.boards.ethernet.ipv4.Ipv4Receiver`.
    packet : stream of `psahw.boards.ethernet.ipv4.PACKET`
        Replies to send, for `psahw.boards.ethernet.ipv4.Ipv4Sender`.
    o : stream of bytes
        Messages of the replies, for ``i`` of `psahw.boards.ethernet.ipv4.Ipv4Sender`.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(PACKET_BYTE, always_ready=True)),
                "sender": In(ADDRESSES),
                "protocol": In(8),
                "length": In(16),
                "packet": Out(stream.Signature(PACKET)),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i
        m.submodules.checksum = checksum = Checksum()
        m.submodules.memory = memory = Memory(shape=8, depth=MAX_MESSAGE - _FIXED, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        position = Signal(range(MAX_MESSAGE + 2))
        sent_sum, wrong, waiting = Signal(16), Signal(), Signal()
        differing = mismatch(m, position, i.payload.byte, {0: bytes([_REQUEST, 0])})
        byte = i.valid & ~i.payload.end
        m.d.comb += [
            write.addr.eq(position - _FIXED),
            write.data.eq(i.payload.byte),
            write.en.eq(byte & (position >= _FIXED) & (position < MAX_MESSAGE) & ~waiting),
            checksum.byte.eq(i.payload.byte),
            checksum.valid.eq(byte),
            checksum.start.eq(i.valid & i.payload.end),
        ]
        with m.If(byte & ~waiting):
            gather(m, position, i.payload.byte, {2: sent_sum})
        with m.If(byte):
            m.d.sync += [
                position.eq(Mux(position > MAX_MESSAGE, position, position + 1)),
                wrong.eq(wrong | differing | waiting),
            ]
        with m.If(i.valid & i.payload.end):
            m.d.sync += [position.eq(0), wrong.eq(0)]
            fits = (position > _FIXED) & (position <= MAX_MESSAGE)
            request = i.payload.good & ~wrong & (self.protocol == PROTOCOL) & fits & (checksum.sum == 0xFFFF)
            with m.If(request & ~waiting):
                m.d.sync += [
                    waiting.eq(1),
                    self.packet.valid.eq(1),
                    self.packet.payload.to.eq(self.sender),
                    self.packet.payload.length.eq(self.length),
                ]
        self._reply(m, sent_sum, waiting, read)
        return m

    def _reply(self, m, request_sum, waiting, read):
        """Send the request with another type, and with its checksum corrected for that (RFC 1624)."""
        o, packet = self.o, self.packet
        new_sum = Signal(16)
        header = [_REPLY, 0, *field_bytes(new_sum)]
        index = Signal(range(MAX_MESSAGE))
        m.d.comb += [
            read.addr.eq(index - _FIXED),
            o.payload.eq(Mux(index < _FIXED, Array(header)[index[:2]], read.data)),
        ]
        with m.If(packet.valid):
            m.d.sync += new_sum.eq(fold(request_sum + ((_REQUEST - _REPLY) << 8)))
            with m.If(packet.ready):
                m.d.sync += [packet.valid.eq(0), o.valid.eq(1), index.eq(0)]
        with m.If(o.valid & o.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(index == packet.payload.length - 1):
                m.d.sync += [o.valid.eq(0), waiting.eq(0)]
