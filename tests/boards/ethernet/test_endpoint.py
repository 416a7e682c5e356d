"""Frames to and from everything between the MAC receiver and the link, compared with independent ones."""

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
    ipv4,
    packed,
    parse_datagram,
    received,
    udp,
)

RANDOM = random.Random(9)
GAP = 24  # minimum number of cycles between frames: check sequence, gap, preamble


def datagram(data, **options):
    """Return a frame with a datagram; the options are those of `udp`, `ipv4` and `ethernet`."""
    inner = {k: options.pop(k) for k in ("ports", "length", "summed") if k in options}
    inner |= {k: options[k] for k in ("source", "destination") if k in options}
    inner |= {"sum_off": options.pop("udp_off")} if "udp_off" in options else {}
    outer = {k: options.pop(k) for k in ("to", "source_mac", "ethertype") if k in options}
    outer |= {"source": outer.pop("source_mac")} if "source_mac" in outer else {}
    return ethernet(ipv4(udp(data, **inner), **options), **outer)


def converse(events, *, ready=lambda cycle: True, replies=(), settle=300):
    """Return the bytes of received datagrams, the sent frames, and the number of dropped datagrams.

    ``events`` are valid frames, (frame, False) for invalid ones, or numbers of idle cycles.
    ``replies`` are the bytes to send from the beginning on, with None for an idle cycle.
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
    """Frames pad short datagrams; the padding must not appear in the payload."""
    data = RANDOM.randbytes(length)
    assert converse([datagram(data, summed=summed), datagram(b"after")], settle=1600) == (data + b"after", [], 0)


def test_an_empty_datagram():
    assert converse([datagram(b""), datagram(b"after")]) == (b"after", [], 0)


def test_a_checksum_of_zero_is_sent_as_ones():
    """The data are chosen so that the sum is 0xFFFF (RFC 768)."""
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


@pytest.mark.parametrize("fault", WRONG)
def test_invalid_frames_are_ignored(fault):
    """Neither their bytes nor their sender are used, and the next datagram is not affected."""
    events = [datagram(b"before"), WRONG[fault], 100, datagram(b"after")]
    assert converse(events) == (b"beforeafter", [], 0)


def test_damage_to_any_byte_of_the_headers():
    """Damaged headers with a correct check sequence are detected by the checksums, unless they are harmless.

    Such damage may happen in a router's memory.
    """
    frame = datagram(b"data", ttl=64)
    harmless = {*range(6, 12)}  # the sender's MAC address, which no checksum covers
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


def test_frames_with_bytes_after_the_datagram():
    assert converse([datagram(b"data") + bytes(200)]) == (b"data", [], 0)


def test_receiving_at_full_rate():
    """Datagrams of maximum length arrive without a pause, while one byte per clock cycle is read."""
    data = [RANDOM.randbytes(1472) for _ in range(5)]
    assert converse([datagram(payload) for payload in data], settle=1600) == (b"".join(data), [], 0)


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
    """Return ``length`` random bytes as a frame of the host protocol."""
    return b"\0" + bytes(RANDOM.choices(range(1, 256), k=length)) + b"\0"


def sent_data(frames, to=HOST, mac=HOST_MAC, port=HOST_PORT):
    """Return the payloads of datagrams, which must all be for the given station."""
    datagrams = [parse_datagram(frame) for frame in frames]
    assert all(datagram[:3] == (mac, to, (BOARD_PORT, port)) for datagram in datagrams)
    return [data for *_, data in datagrams]


def test_answers_go_to_the_last_sender():
    answer = framed(40)
    other = bytes.fromhex("020304050607")
    ask = datagram(b"?", source="10.1.2.3", source_mac=other, ports=(999, BOARD_PORT))
    out, frames, _ = converse([datagram(b"!"), ask], replies=[*[None] * 250, *answer])
    assert out == b"!?"
    assert sent_data(frames, to="10.1.2.3", mac=other, port=999) == [answer]


def test_answers_wait_for_a_datagram():
    answer = framed(30)
    _, frames, _ = converse([500, (datagram(b"?"), False), 100, datagram(b"?")], replies=answer)
    assert sent_data(frames) == [answer]


def test_a_datagram_ends_with_a_frame_if_no_byte_is_offered():
    one, two, three = framed(10), framed(100), framed(1)
    pause = [None] * 300
    replies = [*pause, *one, *pause, *two, *three, *pause, *framed(0), *one]
    _, frames, _ = converse([datagram(b"?"), 1500], replies=replies)
    assert sent_data(frames) == [one, two + three, bytes(2) + one]


def test_a_pause_within_a_frame_does_not_end_a_datagram():
    """A zero byte ends a frame only if it follows other bytes."""
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
    assert [len(payload) for payload in data[:-1]] == [LONGEST] * ((len(answer) - 1) // LONGEST)


def test_sending_at_full_rate():
    """Bytes are taken as fast as the wire allows.

    1,024 bytes take 1,024 + 42 + 24 cycles, and one cycle passes between frames.
    """
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
def test_invalid_arp_requests(request_):
    assert converse([request_, arp()])[1] == converse([arp()])[1]


def test_arp_while_a_reply_is_being_sent():
    """Every reply is complete, and most requests are answered."""
    replies = converse([arp()] * 6)[1]
    assert set(replies) == {replies[0]} and 3 <= len(replies) <= 6


def ping(data, **options):
    """Return a frame with an echo request."""
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
    """Test sums of the request close to the values at which the reply's sum wraps."""
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
def test_invalid_echo_requests(request_):
    out, frames, _ = converse([request_, datagram(b"after")])
    assert (out, frames) == (b"after", [])


def test_all_at_once():
    """Requests of every kind, and answers to datagrams, interfere with each other."""
    answers = [framed(50) for _ in range(6)]
    replies = [byte for answer in answers for byte in (*answer, *[None] * 40)]
    events = [datagram(b"?"), *[arp(), ping(b"0123"), datagram(b"?")] * 4]
    out, frames, _ = converse(events, replies=[*[None] * 80, *replies], settle=900)
    assert out == b"?" * 5
    kinds = [frame[12:14] + frame[23:24] for frame in frames]
    datagrams = [frame for frame, kind in zip(frames, kinds, strict=True) if kind == b"\x08\0\x11"]
    assert b"".join(sent_data(datagrams)) == b"".join(answers)
    assert len(kinds) - len(datagrams) >= 4
