"""Benches of the responders of an Ethernet link, which answer some of the packets that come.

The bytes of requests and replies are written down here from the standards, with the addresses of
`psahw.tests.formal.senders.IDENTITY`.
"""

from unittest.mock import patch

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Cat, Mux, Signal, Value

from psahw.boards.ethernet import echo
from psahw.boards.ethernet.arp import ArpResponder
from psahw.boards.ethernet.layouts import ADDRESSES

from .contract import Bench
from .senders import ADDRESS, MAC, big_endian

__all__ = ["ArpResponderBench", "EchoResponderBench"]


class _ResponderBench(Bench):
    """A responder to packets whose bytes and ends come in any clock cycle, and are always taken."""

    def packets(self, m, most: int) -> tuple[Value, Value, Value]:
        """Let packets come.

        Returns
        -------
        byte, end, place
            Whether a byte or the end of a packet comes, and how many bytes have come before it, at most ``most``.
        """
        i = self.component.i
        m.d.comb += [i.valid.eq(AnySeq(1)), i.payload.as_value().eq(AnySeq(len(i.payload.as_value())))]
        place, byte, end = Signal(range(most + 1)), Signal(), Signal()
        m.d.comb += [byte.eq(i.valid & ~i.payload.end), end.eq(i.valid & i.payload.end)]
        with m.If(end):
            m.d.sync += place.eq(0)
        with m.Elif(byte & (place != most)):
            m.d.sync += place.eq(place + 1)
        return byte, end, place


class ArpResponderBench(_ResponderBench):
    """An `ArpResponder` replies (RFC 826) to requests for its address while no reply waits, and to nothing else."""

    component: ArpResponder

    def build(self, m, internals):
        i, o = self.component.i, self.component.o
        byte, end, place = self.packets(m, 42)
        self.sink(m, o)
        # A request: to, from, type, formats, operation; MAC and IPv4 addresses of the sender; those of the target
        fixed = dict(enumerate(bytes.fromhex("0806 0001 0800 06 04 0001"), 12)) | dict(enumerate(ADDRESS, 38))
        sender = [Signal(8, name=f"sender_{n}") for n in range(10)]
        right, to_us, to_all = (Signal(init=1, name=name) for name in ("right", "to_us", "to_all"))
        with m.If(byte):
            for n, value in fixed.items():
                with m.If((place == n) & (i.payload.byte != value)):
                    m.d.sync += right.eq(0)
            for register, address in ((to_us, MAC), (to_all, b"\xff" * 6)):
                for n, value in enumerate(address):
                    with m.If((place == n) & (i.payload.byte != value)):
                        m.d.sync += register.eq(0)
            for n, register in enumerate(sender):
                with m.If(place == 22 + n):
                    m.d.sync += register.eq(i.payload.byte)
        with m.If(end):
            m.d.sync += [right.eq(1), to_us.eq(1), to_all.eq(1)]

        waits, sent = Signal(), Signal(range(42))
        asked = Signal(ADDRESSES)
        request = end & i.payload.good & (place == 42) & right & (to_us | to_all)
        with m.If(~waits & request):
            m.d.sync += [waits.eq(1), asked.as_value().eq(Cat(reversed(sender)))]
        with m.If(o.valid & o.ready):
            m.d.sync += [sent.eq(Mux(sent == 41, 0, sent + 1)), waits.eq(sent != 41)]
        self.require(m, "counts", ~o.valid | waits)
        self.require(m, "counts", ~o.valid | (o.payload.last == (sent == 41)))
        self.require(m, "offers", ~waits | o.valid)
        mac, address = big_endian(asked.mac), big_endian(asked.address)
        reply = [*mac, *MAC, *bytes.fromhex("0806 0001 0800 06 04 0002"), *MAC, *ADDRESS, *mac, *address]
        self.require(m, "order", ~o.valid | (o.payload.byte == Array(reply)[sent]))

        inside = internals(self.component)
        self.invariant(m, (inside.position == place) & (inside.elsewhere == ~right))
        self.invariant(m, (inside.to_us == to_us) & (inside.to_all == to_all))
        for n in range(1, 11):  # the sender is shifted in, byte by byte
            come = (place == 22 + n) if n < 10 else (place >= 32)
            same = inside.sender.as_value()[: 8 * n] == Cat(reversed(sender[:n]))
            self.invariant(m, ~come | same)
        self.invariant(m, (o.valid == waits) & (internals(self.component, "_reply").sent == sent))
        self.invariant(m, (sent < len(reply)) & (waits | (sent == 0)))
        self.invariant(m, ~waits | (inside.asked.as_value() == asked.as_value()))


class EchoResponderBench(_ResponderBench):
    """An `EchoResponder` replies (RFC 792) to echo requests while no reply waits, and to nothing else.

    A message has at most ``longest`` bytes. Of the bytes that are returned, one is followed.
    """

    component: echo.EchoResponder

    def __init__(self, component, properties, *, longest: int):
        super().__init__(component, properties)
        self.longest = longest

    def elaborate(self, platform):
        with patch.object(echo, "MAX_MESSAGE", self.longest):
            return super().elaborate(platform)

    def build(self, m, internals):
        responder, longest = self.component, self.longest
        i, o, packet = responder.i, responder.o, responder.packet
        byte, end, place = self.packets(m, longest + 1)
        self.sink(m, packet)
        self.sink(m, o)
        m.d.comb += [
            responder.sender.as_value().eq(AnySeq(len(responder.sender.as_value()))),
            responder.protocol.eq(AnySeq(8)),
            responder.length.eq(Mux(place <= longest, place, AnySeq(16))),  # that of the packet
        ]
        waits, announced, sent = Signal(), Signal(), Signal(range(longest))
        to, size = Signal(ADDRESSES), Signal(range(longest + 1))

        # What a request consists of: type 8, code 0, a checksum, and other bytes
        right, total, odd = Signal(init=1), Signal(16), Signal()
        upper, lower = Signal(8), Signal(8)
        followed, kept = Signal(range(4, longest)), Signal(8)
        m.d.comb += followed.eq(AnyConst(len(followed)) % (longest - 4) + 4)
        with m.If(byte):
            added = Signal(17)
            m.d.comb += added.eq(total + Mux(odd, i.payload.byte, i.payload.byte << 8))
            m.d.sync += [total.eq(added[:16] + added[16]), odd.eq(~odd)]
            wrong = ((place == 0) & (i.payload.byte != 8)) | ((place == 1) & (i.payload.byte != 0))
            with m.If(wrong | waits):
                m.d.sync += right.eq(0)
            with m.If(~waits):
                for n, register in ((2, upper), (3, lower), (followed, kept)):
                    with m.If(place == n):
                        m.d.sync += register.eq(i.payload.byte)
        with m.If(end):
            m.d.sync += [right.eq(1), total.eq(0), odd.eq(0)]
        request = Signal()
        m.d.comb += request.eq(
            end & i.payload.good & right & (total == 0xFFFF) & (place > 4) & (place <= longest)
            & (responder.protocol == 1) & ~waits
        )  # fmt: skip
        with m.If(request):
            m.d.sync += [waits.eq(1), announced.eq(0), sent.eq(0), to.eq(responder.sender), size.eq(place)]
        with m.If(packet.valid & packet.ready):
            m.d.sync += announced.eq(1)
        last = sent == size - 1
        with m.If(o.valid & o.ready):
            m.d.sync += [sent.eq(sent + 1), waits.eq(~last)]
        self.require(m, "counts", ~packet.valid | (waits & ~announced))
        self.require(m, "counts", ~o.valid | (waits & announced))
        self.require(m, "offers", ~(waits & ~announced) | packet.valid)
        self.require(m, "offers", ~(waits & announced) | o.valid)

        # The sum of all words stays the same if the checksum grows by what the type loses.
        grown, checksum = Signal(17), Signal(16)
        m.d.comb += [grown.eq(Cat(lower, upper) + 0x0800), checksum.eq(grown[:16] + grown[16])]
        self.require(m, "order", ~packet.valid | (packet.payload.to.as_value() == to.as_value()))
        self.require(m, "order", ~packet.valid | (packet.payload.length == size))
        for n, value in enumerate((0, 0, *big_endian(checksum))):
            self.require(m, "order", ~(o.valid & (sent == n)) | (o.payload == value))
        bit = 7
        self.require(m, "order", ~(o.valid & (sent == followed)) | (o.payload[bit] == kept[bit]))

        inside, reply = internals(responder), internals(responder, "_reply")
        self.invariant(m, (inside.position == place) & (inside.wrong == ~right) & (inside.waiting == waits))
        self.invariant(m, inside.checksum.sum == total)
        self.invariant(m, internals(inside.checksum).lower == odd)
        self.invariant(m, (packet.valid == (waits & ~announced)) & (o.valid == (waits & announced)))
        self.invariant(m, ~waits | ((size > 4) & (size <= longest)))
        self.invariant(m, ~o.valid | ((sent < size) & (reply.index == sent)))
        self.invariant(m, ~waits | (packet.payload.length == size))
        self.invariant(m, ~waits | (inside.sent_sum == Cat(lower, upper)))
        self.invariant(m, ~o.valid | (reply.new_sum == checksum))
        gathers = right & ~waits
        self.invariant(m, ~gathers | (place < 3) | (inside.sent_sum[:8] == Mux(place == 3, upper, lower)))
        self.invariant(m, ~gathers | (place < 4) | (inside.sent_sum[8:] == upper))
