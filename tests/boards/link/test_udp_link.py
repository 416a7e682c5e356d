# amaranth: UnusedElaboratable=no
"""The whole link over UDP, from the PHY to a stand-in for the accelerator and back."""

import struct

import pytest
from amaranth.hdl import ClockDomain
from amaranth.sim import Simulator

from psahw.boards.link.udp_link import UDP_WINDOW, UdpLink
from tests.boards.ethernet.frames import (
    BOARD_MAC,
    BOARD_PORT,
    HOST,
    HOST_MAC,
    HOST_PORT,
    ME,
    arp,
    ethernet,
    ipv4,
    on_the_wire,
    parse_datagram,
    received,
    udp,
)
from tests.boards.link.test_link import (
    BUS,
    COUNTER,
    FRAME,
    HELLO,
    IMAGE,
    SELF,
    connected,
    counter,
    image,
    plain,
    result,
)
from tests.boards.stub import Stub, result_layout
from tests.wire import answers, message, words

IDLE = [(0, 0, 0)]


def wire(data, **options):
    """Return the PHY's cycles while a datagram with ``data`` arrives."""
    return on_the_wire(ethernet(ipv4(udp(data))), **options)


def converse(cycles, *, sync_period=7e-9, frame_bytes=FRAME, latency=0):
    """Return the answers of the host protocol, the frames sent, and the number of pulses of ``error``.

    ``cycles`` arrive from the PHY.
    """
    stub = Stub(bus_bytes=BUS, frame_bytes=frame_bytes, latency=latency)
    link = UdpLink(hello=SELF, bus_bytes=BUS, frame_bytes=frame_bytes, result=result_layout(), identity=ME)
    m = connected(link, stub)
    m.domains += [ClockDomain("ethernet"), ClockDomain("ethernet_rx")]
    out, errors = [], 0

    async def phy(ctx):
        for byte, valid, error in [*IDLE * 4, *cycles]:
            ctx.set(link.gmii_rx, {"byte": byte, "valid": valid, "error": error})
            await ctx.tick("ethernet_rx")

    async def watch(ctx):
        async for _, _, gmii in ctx.tick("ethernet").sample(link.gmii_tx):
            out.append((gmii.byte, gmii.valid, gmii.error))

    async def count(ctx):
        nonlocal errors
        async for _, _, error in ctx.tick().sample(link.error):
            errors += error

    simulator = Simulator(m)
    simulator.add_clock(sync_period)
    simulator.add_clock(8e-9, domain="ethernet")
    simulator.add_clock(8e-9 * (1 + 1e-4), phase=3e-9, domain="ethernet_rx")
    simulator.add_testbench(phy)
    simulator.add_testbench(watch, background=True)
    simulator.add_testbench(count, background=True)
    simulator.run()
    frames = received(out)
    datagrams = [parse_datagram(frame) for frame in frames if frame[12:14] == b"\x08\0"]
    assert all(datagram[:3] == (HOST_MAC, HOST, (BOARD_PORT, HOST_PORT)) for datagram in datagrams)
    return answers(b"".join(data for *_, data in datagrams)), frames, errors


@pytest.mark.parametrize("sync_period", [5e-9, 7e-9, 8e-9, 11e-9])
def test_hello_images_and_counters(sync_period):
    cycles = wire(message(HELLO, 1)) + wire(image(0, 2) + image(1, 3)) + IDLE * 700
    cycles += wire(image(2, 4)) + wire(message(COUNTER, 5, b"\x85")) + IDLE * 700
    replies, _, errors = converse(cycles, sync_period=sync_period)
    assert list(plain(replies)) == [
        (HELLO | 0x80, 1, SELF),
        result(0, 2),
        result(1, 3),
        result(2, 4),
        counter(0x85, 5),
    ]
    assert errors == 0


def test_an_image_in_several_datagrams():
    """An image can be cut anywhere, with ARP frames in between."""
    sent = image(1, 7)
    for cut in (1, 9, len(sent) - 1):
        cycles = wire(sent[:cut]) + on_the_wire(arp()) + wire(sent[cut:]) + IDLE * 500
        replies, frames, _ = converse(cycles)
        assert list(plain(replies)) == [result(1, 7)]
        assert [frame[12:14] for frame in frames] == [b"\x08\x06", b"\x08\0"]
        assert frames[0][22:32] == BOARD_MAC + bytes([192, 168, 1, 50])


def test_lost_and_damaged_datagrams_affect_only_their_own_images():
    """Missing bytes are reported, and what follows them is answered."""
    first, damaged = image(0, 1), wire(image(1, 2))
    damaged[70] = (damaged[70][0] ^ 4, 1, 0)
    replies, _, _ = converse([*wire(first[:9]), *damaged, *wire(image(2, 3)), *IDLE * 700])
    kinds = [kind for kind, *_ in plain(replies)]
    assert kinds == [0xFF, "result"]
    assert list(plain(replies))[1] == result(2, 3)


@pytest.mark.slow  # tests/host/test_command.py does the same in Verilator
def test_a_full_window_of_real_images():
    """A full window of images of 3,072 bytes arrives without a pause.

    None is refused or dropped.
    """
    size = 3072
    numbers = range(1, 1 + UDP_WINDOW)
    sent = b"".join(message(IMAGE, k, struct.pack("<H", 1) + bytes([k]) * size) for k in numbers)
    cycles = [cycle for start in range(0, len(sent), 1472) for cycle in wire(sent[start : start + 1472])]
    replies, _, errors = converse(cycles + IDLE * 2500, frame_bytes=size)
    assert [(kind, sequence) for kind, sequence, _ in replies] == [(IMAGE | 0x80, k) for k in numbers]
    assert errors == 0
    assert UDP_WINDOW * 125e6 / len(cycles) > 30_000, "images per second on the wire"


@pytest.mark.slow  # no board is built with such a clock
def test_datagrams_without_room_are_counted():
    """With a clock of a fifth of the wire's rate, datagrams without a pause overrun the buffer, and are counted.

    A datagram takes 1,538 cycles of the wire, in which 307 bytes leave the buffer of 4,096 bytes,
    so the fourth to the sixth datagram find no room. The others form one frame that ends within a
    block.
    """
    full = [cycle for k in range(6) for cycle in wire(bytes([k + 1]) * 1472)]
    asked = wire(b"\0" + message(COUNTER, 9, b"\xff"))
    replies, _, errors = converse([*full, *IDLE * 30_000, *asked, *IDLE * 3000], sync_period=40e-9)
    (dropped,) = [words(payload)[0] for kind, sequence, payload in replies if (kind, sequence) == (COUNTER | 0x80, 9)]
    assert dropped == 3
    assert errors == dropped + 1
