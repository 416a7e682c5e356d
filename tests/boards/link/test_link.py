# amaranth: UnusedElaboratable=no
"""The link without a physical layer, with a stand-in for the accelerator."""

import itertools
import struct
from collections import Counter

import pytest
from amaranth.hdl import ClockDomain, Fragment, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from psahw.boards.link.cobs import DECODED_BYTE, FRAME_BYTE
from psahw.boards.link.dispatcher import TICKET
from psahw.boards.link.link import Link
from psahw.boards.link.replier import Replier
from psahw.boards.link.uart_link import UartLink
from psahw.host.protocol import SEQUENCE_BYTES
from tests.boards.stub import CLASSES, Stub, answer, result_layout
from tests.wire import answers, frame, message, words

BUS, FRAME, WINDOW = 4, 12, 4
HELLO, IMAGE, COUNTER, CLEAR, RESET, OPEN, ERROR = 1, 2, 3, 4, 5, 6, 0x7F
RECEIVE, FRAMING, CHECKSUM, LENGTH, UNKNOWN, BUSY, LOST = range(1, 8)
SELF = b"who the device is, 32 bytes long"
BAD = object()  # a character that the receiver marks as malformed
ANSWERED = object()  # wait for one more answer

IMAGES = [bytes(range(k, k + FRAME)) for k in (0, 40, 240)]


def image(index, sequence=1, repeat=1):
    """Return the request to classify one of `IMAGES`."""
    return message(IMAGE, sequence, struct.pack("<H", repeat) + IMAGES[index])


def result(index, sequence=1):
    """Return the answer to `image`, without the times."""
    class_index, logits = answer(IMAGES[index])
    return "result", sequence, class_index, logits


def counter(value, sequence=0):
    """Return the answer to a request of a counter."""
    return COUNTER | 0x80, sequence, struct.pack("<I", value)


def error(fault, sequence=0):
    """Return the report of a fault."""
    return ERROR | 0x80, sequence, struct.pack("<I", fault)


def connected(link, stub):
    """Return a module with the link and the accelerator, connected as in `psahw.boards.core`."""
    m = Module()
    reset = Signal(init=1, reset_less=True)
    m.d.sync += reset.eq(link.reset)
    m.submodules.link, m.submodules.stub = link, ResetInserter(reset)(stub)
    wiring.connect(m, link.image, stub.i)
    wiring.connect(m, stub.o, link.result)
    wiring.connect(m, link.counters, stub.counters)
    return m


def plain(replies):
    """Yield the answers: those to images without their times, errors that name no request without their numbers."""
    for kind, sequence, payload in replies:
        if kind == IMAGE | 0x80:
            class_index, *_ = words(payload)
            yield "result", sequence, class_index, list(struct.unpack(f"<{CLASSES}i", payload[16:]))
        elif kind == ERROR | 0x80 and words(payload)[0] in (RECEIVE, FRAMING, CHECKSUM, LOST):
            yield kind, 0, payload
        else:
            yield kind, sequence, payload


def converse(
    events,
    *,
    bus=BUS,
    window=WINDOW,
    pause=0,
    latency=0,
    rest=0,
    gap=0,
    tx_stalls=(False,),
    settle=900,
    high=None,
    hello=SELF,
    length=FRAME,
):
    """Return the answers to ``events``.

    An event is bytes, BAD, ANSWERED, or a number of idle cycles. ``gap`` cycles pass between two bytes. The
    cycles in which an output is high are counted in the Counter ``high``.
    """
    stub = Stub(bus_bytes=bus, frame_bytes=length, pause=pause, latency=latency, rest=rest)
    link = Link(hello=hello, bus_bytes=bus, frame_bytes=length, result=result_layout(), window=window)
    received = bytearray()

    async def send(ctx, byte):
        ctx.set(link.rx.valid, 1)
        ctx.set(link.rx.payload, {"byte": 0x49, "error": 1} if byte is BAD else {"byte": byte, "error": 0})
        _, _, ready = await ctx.tick().sample(link.rx.ready)
        assert ready, "the link must never make its line wait"
        ctx.set(link.rx.valid, 0)
        if gap:
            await ctx.tick().repeat(gap)

    async def host(ctx):
        zeros = 0
        for event in events:
            if isinstance(event, int):
                await ctx.tick().repeat(max(event, 1))
            elif event is ANSWERED:
                zeros += 2
                for _ in range(settle):
                    if received.count(0) < zeros:
                        await ctx.tick()
            else:
                for byte in [event] if event is BAD else event:
                    await send(ctx, byte)
        await ctx.tick().repeat(settle)

    async def listener(ctx):
        held = None
        for stall in itertools.cycle(tx_stalls):
            ctx.set(link.tx.ready, not stall)
            _, _, valid, byte, *levels = await ctx.tick().sample(
                link.tx.valid, link.tx.payload, *(getattr(link, name) for name in high or ())
            )
            if high is not None:
                high.update(dict(zip(high, levels, strict=True)))
            assert held is None or (valid and byte == held), "an offered byte must not change"
            held = byte if valid and stall else None
            if valid and not stall:
                received.append(byte)

    simulator = Simulator(connected(link, stub))
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(listener, background=True)
    simulator.run()
    return answers(bytes(received))


def talk(events, **options):
    """Return the answers to ``events``, without times."""
    return list(plain(converse(events, **options)))


def test_hello():
    assert talk([message(HELLO, 9)]) == [(HELLO | 0x80, 9, SELF)]


@pytest.mark.parametrize("words", [1, 15, 16])
def test_hello_of_any_length(words):
    """More words than an answer with a result has, up to the largest number that a counter of them holds."""
    greeting = bytes(range(4 * words))
    assert talk([message(HELLO, 9)], hello=greeting) == [(HELLO | 0x80, 9, greeting)]


def test_a_long_image_is_refused():
    """It has 32 bytes with its header: a counter of bytes that wraps there takes the rest for another request."""
    long = message(IMAGE, 1, struct.pack("<H", 1) + bytes(25))
    assert talk([long, message(COUNTER, 2, b"\x09")], length=24) == [error(LENGTH, 1), counter(9, 2)]


@pytest.mark.parametrize("tx_stalls", [(False,), (True, False, True, True)])
@pytest.mark.parametrize("pause", [0, 7])
def test_images_in_flight(pause, tx_stalls):
    events = [image(0, 7), image(1, 8), 5, image(2, 255), image(0, 0x0001_00FE)]
    expected = [result(0, 7), result(1, 8), result(2, 255), result(0, 0x0001_00FE)]
    assert talk(events, pause=pause, tx_stalls=tx_stalls) == expected


def test_pulses():
    """The lamps get one cycle for each result and each error, and the accelerator is reset for four cycles."""
    high = Counter(activity=0, error=0, reset=0)
    converse(
        [image(0, 1), image(1, 2), message(COUNTER, 3, b"\x09"), message(9, 4), 400, message(RESET, 5)], high=high
    )
    assert high == {"activity": 2, "error": 1, "reset": 4}


def test_bytes_with_gaps():
    assert talk([image(1, 3)], gap=9) == [result(1, 3)]


def test_more_images_than_the_window_holds():
    events = [*(image(k % 3, 1 + k) for k in range(WINDOW + 2)), 3000, image(1, 77)]
    expected = [
        *(result(k % 3, 1 + k) for k in range(WINDOW)),
        error(BUSY, WINDOW + 1),
        error(BUSY, WINDOW + 2),
        result(1, 77),
    ]
    assert talk(events, latency=400) == expected


@pytest.mark.parametrize("bus", [1, 12])
def test_a_full_ring_keeps_what_it_holds(bus):
    """The third image takes the place of the first, while the second is sent to the accelerator again and again."""
    events = [image(0, 1), image(1, 2, repeat=20), ANSWERED, image(2, 3)]
    assert talk(events, bus=bus, window=2) == [result(0, 1), result(1, 2), result(2, 3)]


@pytest.mark.parametrize(("bus", "window"), [(4, 4), (1, 1), (2, 3), (12, 2)])
def test_the_ring_of_images_wraps(bus, window):
    events = [event for k in range(1, 2 * window + 2) for event in (image(k % 3, k), 330)]
    assert talk(events, bus=bus, window=window) == [result(k % 3, k) for k in range(1, 2 * window + 2)]


@pytest.mark.parametrize(("pause", "repeat"), [(0, 3), (400, 1)])
def test_results_before_the_end_of_an_image(pause, repeat):
    """After an answer there is room for the next image, although the last two of three beats follow the result."""
    events = [event for k in range(4) for event in (image(k % 3, k + 1, repeat), ANSWERED)]
    expected = []
    for k in range(4):
        class_index, logits = answer(IMAGES[k % 3][:BUS])
        expected.append(("result", k + 1, class_index, logits))
    assert talk(events, window=1, pause=pause, rest=2, settle=2000) == expected


def test_times():
    """A repeated image has one answer, with the times of the first and the last result.

    The expected times are those of the stand-in.
    """
    latency, beats = 21, FRAME // BUS
    replies = converse([image(1, 4), 400, image(1, 5, repeat=6), 400, image(0, 6)], pause=2, latency=latency)
    times = [words(payload)[1:4] for _, _, payload in replies]
    assert [row[0] for row in times] == [3 * (beats - 1) + latency + 1] * 3
    interval = 3 * (beats - 1) + latency + 2
    assert [row[1] for row in times] == [0, 5 * interval, 0]
    assert times[0][2] < times[1][2] < times[2][2]
    assert list(plain(replies)) == [result(1, 4), result(1, 5), result(0, 6)]


def test_counters_are_answered_in_order():
    events = [image(0), message(COUNTER, 2, b"\x00"), message(COUNTER, 3, b"\x85"), message(CLEAR, 4),
              message(COUNTER, 5, b"\x00")]  # fmt: skip
    expected = [result(0), counter(1, 2), counter(0x85, 3), (CLEAR | 0x80, 4, b""), counter(0, 5)]
    assert talk(events, latency=60) == expected


def test_losses_on_the_line_are_counted():
    """The counter at the last address is the link's own.

    It counts malformed characters until it is cleared.
    """
    events = [BAD, b"\0", message(COUNTER, 1, b"\xff"), 300, BAD, BAD, b"\0", message(COUNTER, 2, b"\xff"), 300,
              message(CLEAR, 3), message(COUNTER, 4, b"\xff"), image(1, 5), message(COUNTER, 6, b"\x00")]  # fmt: skip
    replies = [answer for answer in talk(events) if answer[0] != ERROR | 0x80]
    assert replies == [
        counter(1, 1),
        counter(3, 2),
        (CLEAR | 0x80, 3, b""),
        counter(0, 4),
        result(1, 5),
        counter(1, 6),
    ]


def test_reset_discards_images_in_progress():
    """A reset recovers from an accelerator that never answers, and discards everything behind it."""
    events = [image(0, 1), image(1, 2), message(COUNTER, 3, b"\x00"), 300, message(RESET, 4), 300, image(2, 5)]
    replies = talk(events, latency=(1 << 16) - 1)
    assert replies == [(RESET | 0x80, 4, b"")]
    replies = talk([*events[:-2], 300, message(COUNTER, 6, b"\x00")], latency=(1 << 16) - 1)
    assert replies == [(RESET | 0x80, 4, b""), counter(0, 6)]


def test_reset_at_any_time_mixes_no_answers():
    """A reset never damages the answers before and after it."""
    rounds = range(0, 400, 23)
    events = [
        event
        for at in rounds
        for event in (message(OPEN, 0), 400, image(0, 1), image(1, 2), at, message(RESET, 3), 500, image(2, 4), 200)
    ]
    replies = talk(events, tx_stalls=(False, True))
    for _ in rounds:
        assert replies.pop(0) == (OPEN | 0x80, 0, b"")
        reset = replies.index((RESET | 0x80, 3, b""))
        assert replies[:reset] == [result(0, 1), result(1, 2)][:reset]
        assert replies[reset + 1] == result(2, 4)
        del replies[: reset + 2]
    assert replies == []


def test_reset_while_an_image_arrives():
    """A reset may be executed while an image arrives.

    The frame of the reset is received before that of the image, but its execution waits until the
    current answer has been sent.
    """
    events = [message(HELLO, 1), message(RESET, 2), image(0, 3), 1500, image(1, 4)]
    replies = talk(events, tx_stalls=(True,) * 5 + (False,))
    assert replies[0] == (HELLO | 0x80, 1, SELF)
    assert replies[1] == (RESET | 0x80, 2, b"")
    assert replies[2:] in ([result(1, 4)], [error(BUSY, 3), result(1, 4)])


def test_truncated_frames():
    """A truncated frame is ended by the leading zero of the next one."""
    sent = range(1, FRAME + 11)
    replies = talk([event for n in sent for event in (image(0, n)[: 1 + n], 9, image(1, n), 200)])
    assert replies[1::2] == [result(1, n) for n in sent]
    assert all(fault in (error(FRAMING), error(CHECKSUM)) for fault in replies[::2])
    assert len(replies) == 2 * len(sent)


def test_malformed_characters():
    sent, places = image(0, 1), range(1, FRAME + 11)
    replies = talk([event for at in places for event in (sent[:at], BAD, sent[at:], image(1, at), 200)])
    assert replies == [answer for at in places for answer in (error(RECEIVE), result(1, at))]


def test_a_wrong_checksum_affects_no_other_image():
    wrong = bytearray(image(0, 2))
    wrong[8] ^= 0x10
    replies = talk([image(1, 1), bytes(wrong), image(2, 3)], latency=300)
    assert replies == [result(1, 1), error(CHECKSUM), result(2, 3)]


INVALID_REQUESTS = [
    (IMAGE, b"\1\0" + bytes(FRAME - 1), LENGTH),
    (IMAGE, b"\1\0" + bytes(FRAME + 1), LENGTH),
    (IMAGE, b"\1\0" + bytes(5 * FRAME), LENGTH),
    (IMAGE, b"\0\0" + bytes(FRAME), LENGTH),
    (IMAGE, b"", LENGTH),
    (COUNTER, b"", LENGTH),
    (COUNTER, b"\0\0", LENGTH),
    (HELLO, b"\0\0\0\0", LENGTH),
    (CLEAR, b"\1", LENGTH),
    (RESET, b"\0\0\0\0", LENGTH),
    (OPEN, b"\1", LENGTH),
    (0, b"", UNKNOWN),
    (7, b"", UNKNOWN),
    (ERROR, b"\0\0\0\0", UNKNOWN),
    (IMAGE | 0x80, b"\1\0" + bytes(FRAME), UNKNOWN),
]


def test_invalid_requests():
    events = [
        event
        for k, (kind, payload, _) in enumerate(INVALID_REQUESTS)
        for event in (message(kind, 2 * k + 1, payload), image(2, 2 * k + 2), 200)
    ]
    expected = [
        reply
        for k, (_, _, fault) in enumerate(INVALID_REQUESTS)
        for reply in (error(fault, 2 * k + 1), result(2, 2 * k + 2))
    ]
    assert talk(events) == expected


@pytest.mark.parametrize("body", [b"", b"\2", b"\2\7", b"\2\7\0\0", b"\1", b"\5", b"\6\7\0\0"])
def test_a_body_without_a_whole_header(body):
    """It must not be taken for a request of the previous kind."""
    replies = talk([message(CLEAR, 1), frame(body), image(1, 2)])
    assert [replies[0], replies[2]] == [(CLEAR | 0x80, 1, b""), result(1, 2)]
    assert replies[1] == error(FRAMING)


NUMBERS = [  # the number of an open; those of the requests after it; and those that are answered
    (4, [5, 5, 6, 6, 6], [5, 6]),
    (4, [5, 4, 6, 5, 7, 1], [5, 6, 7]),
    (0, [0x100, 0xFF, 0x101, 0x1FF, 0x100], [0x100, 0x101, 0x1FF]),
    (0, [0xFFFF, 0x1FFFF, 0x1FFFE, 0x11FFE], [0xFFFF, 0x1FFFE]),
    (0x0123_4566, [0x0123_4567, 0x0123_4566, 0x0023_4568, 0x0123_4600], [0x0123_4567, 0x0123_4600]),
    (0x0123_FFFF, [0x0124_FFFF, 0x0124_0000, 0x0123_FFFF, 0x8124_0001], [0x0124_0000]),
    (0xFFFF_FFFE, [0xFFFF_FFFF, 0xFFFF_FFFE, 0, 3, 0xFFFF_FFFF, 2, 4], [0xFFFF_FFFF, 0, 3, 4]),
    (0xFFFF_0002, [1, 2, 0xFFFF_0001, 0xFFFF_0002], [1, 2]),
]


def test_requests_that_come_twice_or_late():
    """A request is obeyed only if its number exceeds the latest one by 1 to 65,535, modulo 2^32."""
    events, expected = [], []
    for first, numbers, answered in NUMBERS:
        latest, followed = first, []
        for number in numbers:
            if 1 <= (number - latest) % (1 << 32) <= 0xFFFF:
                latest = number
                followed.append(number)
        assert followed == answered, "the test must say what it means"
        events += [message(OPEN, first), 200]
        events += [event for number in numbers for event in (message(COUNTER, number, b"\x09"), 100)]
        expected += [(OPEN | 0x80, first, b""), *(counter(9, number) for number in answered)]
    assert talk(events) == expected


def test_a_late_request_has_no_effect():
    """It neither occupies the buffer, nor clears counters, nor is it answered, if it is invalid, with an error."""
    late = [message(CLEAR, 1), *(image(1, 1),) * (WINDOW + 2), message(COUNTER, 1, b""), message(9, 1)]
    events = [image(0, 1), 300, *late, image(2, 2), 300, message(COUNTER, 3, b"\x00")]
    assert talk(events) == [result(0, 1), result(2, 2), counter(2, 3)]


@pytest.mark.parametrize("refusal", [message(COUNTER, 5, b""), message(0x33, 5)])
def test_a_request_that_was_refused_is_not_obeyed_later(refusal):
    events = [refusal, 200, message(COUNTER, 5, b"\x09"), 200, message(COUNTER, 6, b"\x09")]
    replies = talk(events)
    assert [(kind, sequence) for kind, sequence, _ in replies] == [(ERROR | 0x80, 5), (COUNTER | 0x80, 6)]


@pytest.mark.parametrize("number", [0, 7, 0x8000_0000, 0xFFFF_FFFF])
def test_open(number):
    """It has an effect like a reset, and determines which numbers follow."""
    after = (number + 1) % (1 << 32)
    events = [image(0, 0x4000), message(COUNTER, 0x4001, b"\0"), 300, message(OPEN, number), 200,
              message(COUNTER, number, b"\x09"), 200, image(2, after)]  # fmt: skip
    assert talk(events, latency=(1 << 16) - 1) == [(OPEN | 0x80, number, b"")]
    assert talk(events)[-2:] == [(OPEN | 0x80, number, b""), result(2, after)]


def test_reset_keeps_the_sequence_number():
    events = [message(COUNTER, 300, b"\x09"), 200, message(RESET, 2), 200, message(COUNTER, 300, b"\x09"), 200,
              message(COUNTER, 301, b"\x09")]  # fmt: skip
    assert talk(events) == [counter(9, 300), (RESET | 0x80, 2, b""), counter(9, 301)]


def test_only_the_last_of_several_resets_need_be_confirmed():
    """They come while an answer is being sent."""
    slow = (True,) * 5 + (False,)
    events = [
        message(HELLO, 1),
        message(OPEN, 5),
        message(RESET, 6),
        message(OPEN, 0x0102_0304),
        1500,
        image(1, 0x0102_0305),
    ]
    replies = talk(events, tx_stalls=slow)
    assert replies == [(HELLO | 0x80, 1, SELF), (OPEN | 0x80, 0x0102_0304, b""), result(1, 0x0102_0305)]


def test_a_host_of_version_1():
    """Hello and reset are answered in the form in which that version sends them, so that it reads the version."""
    events = [frame(b"\5\x21"), 200, frame(b"\1\x22")]
    assert talk(events) == [(RESET | 0x80, 0x21, b""), (HELLO | 0x80, 0x22, SELF)]


def test_more_requests_than_tickets_can_wait():
    """Requests without room are lost, which is reported once there is room again."""
    events = [image(0, 1), *(message(COUNTER, 2 + k, b"\x09") for k in range(40)), 6000, message(HELLO, 99)]
    replies = talk(events, latency=2000)
    assert replies[0] == result(0, 1)
    answered = len(replies) - 3
    assert replies[1:-2] == [counter(9, 2 + k) for k in range(answered)]
    assert replies[-2:] == [error(LOST), (HELLO | 0x80, 99, SELF)]
    assert 10 <= answered < 40


def test_an_image_without_room_for_its_ticket():
    """It is not kept, or its result would be taken for that of the next image."""
    counters = (message(COUNTER, 2 + k, b"\x09") for k in range(40))
    events = [image(0, 1), *counters, image(1, 50), 2500, image(2, 51)]
    replies = talk(events, latency=800, settle=1200)
    assert replies[0] == result(0, 1)
    assert replies[-2:] == [error(LOST), result(2, 51)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(bus_bytes=5), "bus_bytes must divide frame_bytes = 12, not 5"),
        (dict(hello=b"odd"), "hello must be whole 32-bit words, not 3 bytes"),
        (dict(hello=b""), "hello must be whole 32-bit words, not 0 bytes"),
        (dict(window=0), "window must be at least 1, not 0"),
        (dict(result=result_layout(257, 20)), "result must have at most 256 classes, not 257"),
        (dict(result=result_layout(10, 33)), "result must have logits of at most 32 bits, not 33"),
    ],
)
def test_init_wrong(changes, message):
    arguments = dict(hello=SELF, bus_bytes=4, frame_bytes=12, result=result_layout()) | changes
    with pytest.raises(ValueError, match=f"^{message}$"):
        Link(**arguments)


def elaborated():
    """Return a link that is elaborated, so that Amaranth does not complain that it is not."""
    link = Link(hello=SELF, bus_bytes=4, frame_bytes=12, result=result_layout())
    Fragment.get(link, None)
    return link


PORTS = {
    ("dispatcher", "buffer"): ("byte", "put", "restart", "free", "keep", "repeat"),
    ("dispatcher", "replier"): ("flush", "reset"),
    ("buffer", "replier"): ("sent",),
    ("buffer", "stopwatch"): ("begin",),
    ("replier", "stopwatch"): ("latency", "span", "stamp", "offered", "next_image"),
}


@pytest.mark.parametrize("pair", PORTS, ids="-".join)
def test_ports_of_the_same_name_fit_each_other(pair):
    """They are connected one by one, so that nothing else compares their widths."""
    link = elaborated()
    for name in PORTS[pair]:
        one, other = (getattr(link, f"_{part}").signature.members[name] for part in pair)
        assert one.shape == other.shape and one.flow != other.flow


def test_fields_fit_each_other():
    """A ticket has what comes and goes in frames and beside them, and so do the ports of the whole link."""
    link = elaborated()
    buffer, replier = link._buffer.signature.members, link._replier.signature.members
    for byte in (DECODED_BYTE["byte"], TICKET["kind"]):
        assert byte.shape == FRAME_BYTE["byte"].shape
    assert TICKET["argument"].shape == buffer["repeat"].shape
    assert TICKET["sequence"].width == 8 * SEQUENCE_BYTES
    assert buffer["release"].shape == replier["next_image"].shape
    for name in ("activity", "error"):
        assert replier[name] == link.signature.members[name]


def test_the_largest_result():
    """A class index has one byte, and a logit is a word."""
    replier = Replier(hello=SELF, result=result_layout(256, 32))
    Fragment.get(replier, None)
    assert replier.classes == 256


@pytest.mark.parametrize("domain", ["sync", "uart"])
def test_uart_to_uart(domain):
    """The link behind pins, with the UART in the accelerator's clock domain, or in a slower one of its own."""
    cycles = 8
    stub = Stub(bus_bytes=BUS, frame_bytes=FRAME)
    link = UartLink(
        hello=SELF,
        bus_bytes=BUS,
        frame_bytes=FRAME,
        result=result_layout(),
        clock_hz=cycles,
        baud=1,
        domain=domain,
    )
    m = connected(link, stub)
    if domain != "sync":
        m.domains += ClockDomain(domain)
    line, received = [], bytearray()

    async def host(ctx):
        for byte in message(COUNTER, 6, b"\x85") + image(1, 7):
            for level in [0, *((byte >> k & 1) for k in range(8)), 1]:
                ctx.set(link.uart_rx, level)
                await ctx.tick(domain).repeat(cycles)
        await ctx.tick(domain).repeat(55 * 10 * cycles)

    async def listener(ctx):
        while True:
            line.append(ctx.get(link.uart_tx))
            await ctx.tick(domain)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    if domain != "sync":
        simulator.add_clock(1.3e-6, domain=domain)
    simulator.add_testbench(host)
    simulator.add_testbench(listener, background=True)
    simulator.run()

    at = 0
    while 0 in line[at:]:
        start = line.index(0, at)
        samples = [line[start + k * cycles + cycles // 2] for k in range(10)]
        assert (samples[0], samples[9]) == (0, 1)
        received.append(sum(level << k for k, level in enumerate(samples[1:9])))
        at = start + 9 * cycles + cycles // 2
    assert list(plain(answers(bytes(received)))) == [counter(0x85, 6), result(1, 7)]
