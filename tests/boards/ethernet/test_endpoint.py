"""Frames in and out of everything between MAC receiver and link, against frames made by hand."""

import itertools
import random
import struct

import pytest
from amaranth.sim import Simulator
from psahw.boards.ethernet.endpoint import BUFFER_BYTES, LONGEST, Endpoint

from tests.boards.ethernet.frames import (
    BOARD,
    BOARD_MAC,
    BOARD_PORT,
    HOST,
    HOST_MAC,
    HOST_PORT,
    ME,
    arp,
    echo,
    ethernet,
    found_datagram,
    ipv4,
    packed,
    received,
    udp,
)

RANDOM = random.Random(9)
GAP = 24  # cycles between frames at least: check sequence, gap, preamble


def datagram(data, **options):
    """A frame; options of `udp`, `ipv4` and `ethernet` together."""
    inner = {k: options.pop(k) for k in ("ports", "length", "summed") if k in options}
    inner |= {k: options[k] for k in ("source", "destination") if k in options}
    inner |= {"sum_off": options.pop("udp_off")} if "udp_off" in options else {}
    outer = {k: options.pop(k) for k in ("to", "source_mac", "ethertype") if k in options}
    outer |= {"source": outer.pop("source_mac")} if "source_mac" in outer else {}
    return ethernet(ipv4(udp(data, **inner), **options), **outer)


def converse(events, *, ready=lambda cycle: True, replies=(), settle=300):
    """What comes out: bytes of datagrams, frames, and the number of those dropped.

    ``events`` are good frames, (frame, False) for bad ones, or numbers of cycles; ``replies`` the bytes to send from
    the beginning on, None where there is none for a cycle.
    """
    dut, out, cycles, dropped = Endpoint(ME), bytearray(), [], 0

    async def phy(ctx):
        for event in events:
            if isinstance(event, int):
                await ctx.tick().repeat(event)
                continue
            frame, good = event if isinstance(event, tuple) else (event, True)
            ctx.set(dut.frames.valid, 1)
            for byte in frame:
                ctx.set(dut.frames.payload, {"byte": byte, "end": 0, "good": 0})
                await ctx.tick()
            ctx.set(dut.frames.payload, {"byte": 0, "end": 1, "good": good})
            await ctx.tick()
            ctx.set(dut.frames.valid, 0)
            await ctx.tick().repeat(GAP - 1)
        await ctx.tick().repeat(settle)

    async def sink(ctx):
        for cycle in itertools.count():
            ctx.set(dut.o.ready, ready(cycle))
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready(cycle):
                out.append(byte)

    async def source(ctx):
        for byte in replies:
            ctx.set(dut.i.valid, byte is not None)
            if byte is None:
                await ctx.tick()
            else:
                ctx.set(dut.i.payload, byte)
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        nonlocal dropped
        async for _, _, gmii, drop in ctx.tick().sample(dut.gmii, dut.dropped):
            cycles.append((gmii.byte, gmii.valid, gmii.error))
            dropped += drop

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(phy)
    for process in (sink, source, watch):
        simulator.add_testbench(process, background=True)
    simulator.run()
    return bytes(out), received(cycles), dropped


@pytest.mark.parametrize("length", [1, 2, 17, 18, 19, 1471, 1472])
@pytest.mark.parametrize("summed", [True, False])
def test_datagrams(length, summed):
    """Shorter ones are padded by their frame; the padding is none of theirs."""
    data = RANDOM.randbytes(length)
    assert converse([datagram(data, summed=summed), datagram(b"after")], settle=1600) == (data + b"after", [], 0)


def test_an_empty_datagram():
    assert converse([datagram(b""), datagram(b"after")]) == (b"after", [], 0)


def test_a_checksum_of_zero_is_sent_as_ones():
    """Data made so that the sum is 0xFFFF (RFC 768)."""
    free = struct.unpack(">H", udp(b"\0\0")[6:8])[0]
    frame = datagram(struct.pack(">H", free))
    assert frame[40:42] == b"\xff\xff"
    assert converse([frame]) == (struct.pack(">H", free), [], 0)


OTHER_MAC = bytes.fromhex("0200c0a80133")
WRONG = {
    "check sequence": (datagram(b"x"), False),
    "MAC address": datagram(b"x", to=OTHER_MAC),
    "broadcast": datagram(b"x", to=b"\xff" * 6),
    "sender of many": datagram(b"x", source_mac=b"\x01" + HOST_MAC[1:]),
    "ethertype": datagram(b"x", ethertype=0x86DD),
    "VLAN tag": ethernet(struct.pack(">HH", 5, 0x0800) + ipv4(udp(b"x")), ethertype=0x8100),
    "version": datagram(b"x", version=0x65),
    "options": datagram(b"x", version=0x46),
    "fewer words": datagram(b"x", version=0x44),
    "more fragments": datagram(b"x", flags=0x2000),
    "offset": datagram(b"x", flags=0x0001),
    "far offset": datagram(b"x", flags=0x1000),
    "protocol": datagram(b"x", protocol=6),
    "header checksum": datagram(b"x", sum_off=1),
    "header checksum, upper half": datagram(b"x", sum_off=0x100),
    "address": datagram(b"x", destination="192.168.1.51"),
    "network": datagram(b"x", destination="193.168.1.50"),
    "source": datagram(b"x", source="224.0.0.1"),
    "port": datagram(b"x", ports=(HOST_PORT, BOARD_PORT + 1)),
    "port, upper half": datagram(b"x", ports=(HOST_PORT, BOARD_PORT ^ 0x100)),
    "UDP checksum": datagram(b"x", udp_off=1),
    "UDP length": datagram(b"x", length=10),
    "UDP length, too short": datagram(b"x" * 9, length=16),
    "UDP length, less than its header": datagram(b"", length=7),
    "total length beyond the frame": datagram(b"x" * 40, total=1000),
    "total length below a header": datagram(b"x", total=19),
    "total length of a header": datagram(b"x", total=20),
    "total length within UDP's header": datagram(b"x", total=27),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_for_us_leaves_nothing(what):
    """Neither its bytes nor its sender, and the next datagram is untouched."""
    events = [datagram(b"before"), WRONG[what], 100, datagram(b"after")]
    assert converse(events) == (b"beforeafter", [], 0)


def test_damage_to_any_byte_of_the_headers():
    """With a right check sequence, as if a router's memory had done it: checksums find it, or it is harmless."""
    frame = datagram(b"data", ttl=64)
    harmless = {*range(6, 12)}  # the sender's MAC address, in which no checksum is
    events = []
    for at in range(46):
        damaged = bytearray(frame)
        damaged[at] ^= 0x10
        events.append(bytes(damaged))
    out, sent, _ = converse(events)
    assert (out, sent) == (b"data" * len(harmless), [])


def test_truncated_frames():
    frame = datagram(RANDOM.randbytes(60))
    events = [frame[:length] for length in (*range(0, 45, 4), 33, 34, 41, 42, 43, len(frame) - 1)]
    assert converse([*events, frame]) == (frame[42:], [], 0)


def test_frames_with_more_behind_the_datagram():
    assert converse([datagram(b"data") + bytes(200)]) == (b"data", [], 0)


def test_back_to_back_at_full_rate():
    """Longest datagrams without a pause, read a byte a cycle."""
    data = [RANDOM.randbytes(1472) for _ in range(5)]
    assert converse([datagram(each) for each in data], settle=1600) == (b"".join(data), [], 0)


def test_without_room_whole_datagrams_are_dropped():
    data = [RANDOM.randbytes(1472) for _ in range(6)]
    events = [*map(datagram, data[:5]), 6000, datagram(data[5])]
    start = 5 * (1472 + 42 + GAP)
    out, _, dropped = converse(events, ready=lambda cycle: cycle > start, settle=1600)
    assert BUFFER_BYTES // 1472 == 2
    assert (out, dropped) == (b"".join([*data[:2], data[5]]), 3)


@pytest.mark.parametrize("every", [2, 3])
def test_slow_reader(every):
    data = [RANDOM.randbytes(100) for _ in range(3)]
    out, _, dropped = converse(map(datagram, data), ready=lambda cycle: cycle % every == 0, settle=900)
    assert (out, dropped) == (b"".join(data), 0)


def framed(length):
    return b"\0" + bytes(RANDOM.choices(range(1, 256), k=length)) + b"\0"


def sent_data(frames, to=HOST, mac=HOST_MAC, port=HOST_PORT):
    """The data of datagrams, all of them to the host."""
    found = [found_datagram(frame) for frame in frames]
    assert all(each[:3] == (mac, to, (BOARD_PORT, port)) for each in found)
    return [data for *_, data in found]


def test_answers_go_to_who_asked_last():
    answer = framed(40)
    other = bytes.fromhex("020304050607")
    ask = datagram(b"?", source="10.1.2.3", source_mac=other, ports=(999, BOARD_PORT))
    out, frames, _ = converse([datagram(b"!"), ask], replies=[*[None] * 250, *answer])
    assert out == b"!?"
    assert sent_data(frames, to="10.1.2.3", mac=other, port=999) == [answer]


def test_answers_wait_for_somebody_to_ask():
    answer = framed(30)
    _, frames, _ = converse([500, (datagram(b"?"), False), 100, datagram(b"?")], replies=answer)
    assert sent_data(frames) == [answer]


def test_a_datagram_ends_with_a_frame_when_nothing_waits():
    one, two, three = framed(10), framed(100), framed(1)
    pause = [None] * 300
    replies = [*pause, *one, *pause, *two, *three, *pause, *framed(0), *one]
    _, frames, _ = converse([datagram(b"?"), 1500], replies=replies)
    assert sent_data(frames) == [one, two + three, bytes(2) + one]


def test_a_pause_within_a_frame_ends_nothing():
    """Of the zero bytes only those behind other bytes end a frame."""
    answer = framed(20)
    pause = [None] * 50
    replies = [*pause, answer[0], *pause, *answer[1:9], *pause, *answer[9:]]
    _, frames, _ = converse([datagram(b"?"), 500], replies=replies)
    assert sent_data(frames) == [answer]


@pytest.mark.parametrize("length", [LONGEST - 3, LONGEST - 2, LONGEST - 1, LONGEST, 3 * LONGEST])
def test_full_datagrams(length):
    answer = framed(length)
    _, frames, _ = converse([datagram(b"?"), length + 3000], replies=[*[None] * 100, *answer])
    data = sent_data(frames)
    assert b"".join(data) == answer
    assert [len(each) for each in data[:-1]] == [LONGEST] * ((len(answer) - 1) // LONGEST)


def test_sending_at_full_rate():
    """Bytes are taken as fast as the wire allows: 1,024 of them in 1,024 + 42 + 24 cycles and one between frames."""
    count = 8
    replies = [*[None] * 100, *framed(count * LONGEST - 2)]
    dut_cycles = count * (LONGEST + 42 + 24 + 1)
    _, frames, _ = converse([datagram(b"?"), 1100 + dut_cycles], replies=replies, settle=1)
    assert b"".join(sent_data(frames)) == bytes(replies[100:])


@pytest.mark.parametrize("to", [b"\xff" * 6, BOARD_MAC])
def test_arp(to):
    (reply,) = converse([arp(to=to)])[1]
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + BOARD_MAC + packed(BOARD) + HOST_MAC + packed(HOST)
    assert reply == (HOST_MAC + BOARD_MAC + b"\x08\x06" + body).ljust(60, b"\0")


@pytest.mark.parametrize(
    "request_",
    [
        arp(target="192.168.1.51"),
        arp(operation=2),
        arp(to=OTHER_MAC),
        (arp(), False),
        arp()[:41],
        arp()[:14] + b"\0\2" + arp()[16:],
        arp()[:12] + b"\x08\0" + arp()[14:],
        arp()[:18] + b"\x08" + arp()[19:],
    ],
)
def test_what_is_no_request_for_our_address(request_):
    assert converse([request_, arp()])[1] == converse([arp()])[1]


def test_arp_while_a_reply_is_being_sent():
    """Sooner or later everybody is answered whole."""
    replies = converse([arp()] * 6)[1]
    assert set(replies) == {replies[0]} and 3 <= len(replies) <= 6


def ping(data, **options):
    return ethernet(ipv4(echo(data, **options), protocol=1))


@pytest.mark.parametrize("length", [1, 4, 5, 60, 127, 128])
def test_echo(length):
    data = RANDOM.randbytes(length)
    (reply,) = converse([ping(data)])[1]
    body = reply[14 : 14 + 24 + length]
    assert reply[:14] == HOST_MAC + BOARD_MAC + b"\x08\0"
    assert body[20:] == echo(data, kind=0)
    assert body[9] == 1 and body[12:20] == packed(BOARD) + packed(HOST)


def test_echo_whose_sum_carries():
    """Every sum of the request, near the places where the reply's wraps."""
    for target in (0xF7FE, 0xF7FF, 0xF800, 0xFFFE, 0xFFFF, 0):
        word = (struct.unpack(">H", echo(b"\0\0")[2:4])[0] - target) % 0xFFFF
        data = struct.pack(">H", word)
        (reply,) = converse([ping(data)])[1]
        ones = sum(struct.unpack(">3H", reply[34:40]))
        assert (ones & 0xFFFF) + (ones >> 16) == 0xFFFF


@pytest.mark.parametrize(
    "request_",
    [
        ping(b"data", kind=0),
        ping(b"data", code=1),
        ping(b"data", sum_off=1),
        (ping(b"data"), False),
        ping(bytes(129)),
        ethernet(ipv4(echo(b"data"), protocol=1, destination="192.168.1.51")),
    ],
)
def test_what_is_not_echoed(request_):
    out, frames, _ = converse([request_, datagram(b"after")])
    assert (out, frames) == (b"after", [])


def test_all_at_once():
    """Requests of every kind and answers to datagrams in one another's way."""
    answers = [framed(50) for _ in range(6)]
    replies = [each for answer in answers for each in (*answer, *[None] * 40)]
    events = [datagram(b"?"), *[arp(), ping(b"0123"), datagram(b"?")] * 4]
    out, frames, _ = converse(events, replies=[*[None] * 80, *replies], settle=900)
    assert out == b"?" * 5
    kinds = [frame[12:14] + frame[23:24] for frame in frames]
    datagrams = [frame for frame, kind in zip(frames, kinds, strict=True) if kind == b"\x08\0\x11"]
    assert b"".join(sent_data(datagrams)) == b"".join(answers)
    assert len(kinds) - len(datagrams) >= 4
