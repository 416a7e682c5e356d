# amaranth: UnusedElaboratable=no
import itertools
import struct

import pytest
from amaranth.hdl import ClockDomain, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.link import Link
from boards.uart_link import UartLink

from .stub import CLASSES, Stub, answer, result_layout

BUS, FRAME, TIMEOUT = 4, 12, 40
QUIET = [None] * (TIMEOUT + 5)  # cycles in which nothing comes
BAD = object()  # a byte that the physical link marks as malformed

IMAGES = [bytes(range(k, k + FRAME)) for k in (0, 40, 240)]


def image(index):
    return [ord("I"), *IMAGES[index]]


def result(index):
    class_index, logits = answer(IMAGES[index])
    return struct.pack(f"<cB{CLASSES}i", b"I", class_index, *logits)


def counter(value):
    return b"C" + struct.pack("<I", value)


def connected(link, stub):
    """Link and accelerator as `boards.shell` connects them."""
    m = Module()
    m.submodules.link, m.submodules.stub = link, ResetInserter(link.reset)(stub)
    wiring.connect(m, link.image, stub.i)
    wiring.connect(m, stub.o, link.result)
    wiring.connect(m, link.counters, stub.counters)
    return m


def talk(events, *, pause=0, tx_stalls=(False,), settle=2500):
    """What the device answers to ``events``: byte values, BAD, or None for a cycle without a byte."""
    stub = Stub(bus_bytes=BUS, frame_bytes=FRAME, pause=pause)
    link = Link(bus_bytes=BUS, frame_bytes=FRAME, result=result_layout(), timeout=TIMEOUT)
    answers = bytearray()

    async def host(ctx):
        for event in events:
            if event is None:
                await ctx.tick()
                continue
            ctx.set(link.rx.valid, 1)
            ctx.set(link.rx.payload, {"byte": 0x49, "error": 1} if event is BAD else {"byte": event, "error": 0})
            await ctx.tick().until(link.rx.ready)
            ctx.set(link.rx.valid, 0)
        await ctx.tick().repeat(settle)

    async def listener(ctx):
        held = None
        for stall in itertools.cycle(tx_stalls):
            ctx.set(link.tx.ready, not stall)
            _, _, valid, byte = await ctx.tick().sample(link.tx.valid, link.tx.payload)
            assert held is None or (valid and byte == held), "what is offered stays"
            held = byte if valid and stall else None
            if valid and not stall:
                answers.append(byte)

    simulator = Simulator(connected(link, stub))
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(listener, background=True)
    simulator.run()
    return bytes(answers)


@pytest.mark.parametrize("tx_stalls", [(False,), (True, False, True, True)])
@pytest.mark.parametrize("pause", [0, 7])
def test_images(pause, tx_stalls):
    events = [*image(0), *image(1), None, None, *image(2)]
    assert talk(events, pause=pause, tx_stalls=tx_stalls) == result(0) + result(1) + result(2)


def test_bytes_with_gaps():
    events = [event for byte in image(1) for event in (byte, *[None] * (TIMEOUT - 5))]
    assert talk(events) == result(1)


def test_a_waiting_accelerator_is_no_timeout():
    assert talk(image(2), pause=3 * TIMEOUT) == result(2)


def test_counters():
    events = [*image(0), *[None] * 100, *b"C\x00", *b"C\x85", *b"ZC\x00"]
    assert talk(events) == result(0) + counter(1) + counter(0x85) + b"Z" + counter(0)


def test_reset_clears_the_accelerator():
    events = [*image(0), *[None] * 100, *b"XC\x00", *image(1)]
    assert talk(events) == result(0) + b"X" + counter(0) + result(1)


def test_reset_after_image_bytes_that_look_like_commands():
    events = [ord("I"), *b"XXXXCCCCIIII", *[None] * 100, ord("X")]
    total = sum(b"XXXXCCCCIIII")
    expected = struct.pack(f"<cB{CLASSES}i", b"I", total % 4, *(total * (k - 2) for k in range(CLASSES)))
    assert talk(events) == expected + b"X"


@pytest.mark.parametrize("sent", range(FRAME))
def test_partial_image_times_out(sent):
    assert talk([*image(0)[: 1 + sent], *QUIET, *image(1)]) == b"E\x03" + result(1)


@pytest.mark.parametrize("sent", [0, 1, 4, FRAME - 1])
def test_bad_byte_in_image(sent):
    events = [*image(0)[: 1 + sent], BAD, *image(2), *QUIET, *image(1)]
    assert talk(events) == b"E\x02" + result(1)


def test_bad_byte_between_messages_spares_the_accelerator():
    events = [*image(0), *[None] * 100, BAD, *QUIET, *b"C\x00"]
    assert talk(events) == result(0) + b"E\x02" + counter(1)


def test_unknown_command():
    events = [ord("?"), *image(0), *QUIET, *image(1)]
    assert talk(events) == b"E\x01" + result(1)


@pytest.mark.parametrize(("last", "code"), [([], 3), ([BAD], 2)])
def test_counter_without_address(last, code):
    assert talk([ord("C"), *last, *QUIET, *image(1)]) == bytes([ord("E"), code]) + result(1)


def test_init_wrong_bus_bytes():
    with pytest.raises(ValueError, match=r"^bus_bytes must divide frame_bytes = 12, not 5$"):
        Link(bus_bytes=5, frame_bytes=12, result=result_layout(), timeout=9)


@pytest.mark.parametrize(
    ("bits", "classes", "message"),
    [
        (20, 257, "result must have at most 256 classes, not 257"),
        (33, 10, "result must have logits of at most 32 bits, not 33"),
    ],
)
def test_init_wrong_result(bits, classes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Link(bus_bytes=4, frame_bytes=12, result=result_layout(classes, bits), timeout=9)


@pytest.mark.parametrize("domain", ["sync", "uart"])
def test_uart_to_uart(domain):
    """Through pins and back, the UART in the accelerator's clock domain and in a slower one of its own."""
    cycles = 10
    stub = Stub(bus_bytes=BUS, frame_bytes=FRAME)
    link = UartLink(
        bus_bytes=BUS,
        frame_bytes=FRAME,
        result=result_layout(),
        clock_hz=cycles,
        baud=1,
        timeout=60 * cycles,
        domain=domain,
    )
    m = connected(link, stub)
    if domain != "sync":
        m.domains += ClockDomain(domain)
    line, answers = [], bytearray()

    async def host(ctx):
        for byte in [*b"C\x85", *image(1)]:
            for level in [0, *((byte >> k & 1) for k in range(8)), 1]:
                ctx.set(link.uart_rx, level)
                await ctx.tick(domain).repeat(cycles)
        await ctx.tick(domain).repeat(30 * 10 * cycles)

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
        answers.append(sum(level << k for k, level in enumerate(samples[1:9])))
        at = start + 9 * cycles + cycles // 2
    assert bytes(answers) == counter(0x85) + result(1)
