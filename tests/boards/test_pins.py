# amaranth: UnusedElaboratable=no
"""Tests of every board's whole top level at its pins, with models of the vendors' primitives.

The accelerator is a stand-in. The expectations come from the boards' documents.
"""

import struct
from itertools import pairwise
from statistics import mean
from typing import NamedTuple

import pytest

from psahw import boards, verilog
from psahw.boards import primitives
from psahw.boards.core import AcceleratorInterface
from psahw.boards.link.options import choose_link
from psahw.boards.tools.project import clock_for, files
from tests.boards.ethernet.frames import (
    HOST,
    HOST_MAC,
    arp,
    ethernet,
    ipv4,
    on_the_wire,
    parse_datagram,
    received,
    udp,
)
from tests.boards.link.test_link import HELLO, IMAGE, SELF, plain
from tests.boards.stub import Stub, answer
from tests.wire import answers, message

pytest.importorskip("cocotb", reason="needs the extra sim")
BUS, FRAME = 4, 12
IMAGES = [bytes(range(k, k + FRAME)) for k in (7, 60)]


class Expected(NamedTuple):
    """Expected properties of a board.

    Attributes
    ----------
    oscillator
        Port, complementary port or None, and period in ps.
    button
        Port of the reset button and its level when pressed, or None.
    bauds
        The board's default baud rate, and a faster one that its bridge supports.
    hz
        Frequency of the accelerator's clock, in Hz.
    vco
        Frequency range of the PLL's VCO in MHz, from the data sheet for the board's speed grade.
    lit
        Level of a pin whose LED is on.
    leds
        Number of LEDs.
    """

    oscillator: tuple
    button: tuple | None
    bauds: tuple[int, ...]
    hz: float
    vco: tuple[int, int]
    lit: int = 1
    leds: int = 3


BOARDS = {
    "kc705": Expected(("clk200_0__p", "clk200_0__n", 5000), ("cpu_reset_0__io", 1), (921_600,), 200e6, (600, 1440)),
    "genesys2": Expected(("clk_0__p", "clk_0__n", 5000), ("rst_0__io", 0), (3_000_000,), 200e6, (600, 1440)),
    "nereid": Expected(
        ("clk100_0__io", None, 10_000), ("cpu_reset_0__io", 1), (3_000_000, 12_000_000), 125e6, (600, 1200), lit=0
    ),
    "marble": Expected(
        ("clk125_0__p", "clk125_0__n", 8000), None, (3_000_000, 12_000_000), 143e6, (600, 1440), leds=2
    ),
    "alveo-u250": Expected(
        ("clk300_0__p", "clk300_0__n", 1e4 / 3), ("cpu_reset_0__io", 0), (3_000_000, 12_000_000), 300e6, (800, 1600)
    ),
    "ulx3s-85f": Expected(("clk25_0__io", None, 40_000), ("button_pwr_0__io", 0), (3_000_000,), 40e6, (400, 800)),
    "ecpix5-85f": Expected(
        ("clk100_0__io", None, 10_000), ("rst_0__io", 0), (3_000_000, 6_000_000), 50e6, (400, 800), lit=0
    ),
    "tangprimer20k": Expected(
        ("clk27_0__io", None, 1e6 / 27), ("button_0__io", 0), (1_000_000,), 54e6, (500, 1250), lit=0
    ),
    "tangnano9k": Expected(
        ("clk27_0__io", None, 1e6 / 27), ("button_0__io", 0), (1_000_000,), 27e6, (400, 1200), lit=0
    ),
}


@pytest.mark.parametrize("name", BOARDS)
def test_the_vco_keeps_to_the_data_sheet(name):
    """The models of the 7 series and of ECP5 support one speed grade each, so they cannot check all boards."""
    low, high = BOARDS[name].vco
    assert low * 1e6 <= clock_for(boards.get(name)).vco_hz <= high * 1e6


def quick(cases, *chosen):
    """Return test parameters in which all cases but the chosen ones are slow, since each builds a simulator."""
    return [pytest.param(*case, marks=() if case in chosen else pytest.mark.slow) for case in cases]


RATES = [(name, baud) for name, expected in BOARDS.items() for baud in expected.bauds]


def image(index, sequence):
    """Return the host's message with an image."""
    return message(IMAGE, sequence, struct.pack("<H", 1) + IMAGES[index])


def result(index, sequence):
    """Return the expected answer to `image`."""
    return ("result", sequence, *answer(IMAGES[index]))


def simulate(name, test, directory, link=None, **request):
    """Run a test of `psahw.sim.pins_testbench` on a board, and return its report."""
    from psahw.sim.cocotb_tests import run

    board, expected = boards.get(name), BOARDS[name]
    stub = Stub(bus_bytes=BUS, frame_bytes=FRAME)
    verilog.emit(stub, "accelerator", directory)
    link = link or choose_link(board, baud=request["baud"])
    accelerator = AcceleratorInterface("psahw_accelerator", stub.signature, FRAME, SELF, link.window)
    content = files(board, clock_for(board, link=link), accelerator, source="accelerator.v", link=link)
    (directory / "top.v").write_text(content["top.v"])
    request |= {
        "oscillator": expected.oscillator,
        "button": expected.button,
        "leds": [f"led_{k}__io" for k in range(expected.leds)],
    }
    sources = ["top.v", "accelerator.v", *primitives.models(board.device.family)]
    return run(directory, "top", sources, f"pins_testbench.{test}", request, arguments=("--timing",))


def test_boards():
    assert list(BOARDS) == list(boards.BOARDS)
    for name, board in boards.BOARDS.items():
        assert board.baud == BOARDS[name].bauds[0]


@pytest.mark.parametrize(("name", "baud"), quick(RATES, ("ulx3s-85f", 3_000_000)))
def test_uart(name, baud, tmp_path):
    """The board answers at its baud rate and with its own clock, and the button resets it during a frame."""
    expected = BOARDS[name]
    dark, lit = 1 - expected.lit, expected.lit
    torn = message(HELLO, 3)[:-3]
    steps = [message(HELLO, 1).hex(), (image(0, 2) + image(1, 3)).hex()]
    if expected.button is not None:
        steps += [torn.hex(), "press"]
    steps.append(message(HELLO, 4).hex())
    report = simulate(name, "uart", tmp_path, rx="uart_0__rx__io", tx="uart_0__tx__io", baud=baud, steps=steps)
    replies = [list(plain(answers(bytes.fromhex(text)))) for text in report["received"]]
    assert replies[0] == [(HELLO | 0x80, 1, SELF)]
    assert replies[1] == [result(0, 2), result(1, 3)]
    assert replies[2:-1] == [[]] * (len(steps) - 3)
    assert replies[-1] == [(HELLO | 0x80, 4, SELF)]

    leds = [levels[1:] for levels in report["leds"]]
    assert leds[0] == [dark, dark][: expected.leds - 1] and leds[1] == [lit, dark][: expected.leds - 1]
    if expected.button is not None:
        assert leds[-1] == [dark, dark], "the reset turns the LEDs off"

    # Characters that follow each other immediately have one clock cycle between them.
    intervals = [after - before for before, after in pairwise(report["starts"])]
    shortest = [interval for interval in intervals if interval < min(intervals) + 5e11 / expected.hz]
    assert len(shortest) > 20
    cycles = round(10 * expected.hz / baud) + 1
    assert cycles / mean(shortest) * 1e12 == pytest.approx(expected.hz, rel=3e-4)  # periods are whole picoseconds


RGMII = {
    name: f"eth_rgmii_0__{name}__io" for name in ("rst", "rx_clk", "rx_ctl", "rx_data", "tx_clk", "tx_ctl", "tx_data")
}
TX_LAG = {"genesys2": 0, "marble": 2000}
"""Delay in ps that the PHY adds to the clock: Marble's 88E1512 does, Genesys 2's RTL8211E does not."""


def at_the_phy(name, rx_lag, directory):
    """Send the board an ARP request, a hello message and two images through its PHY, and return the report.

    ``rx_lag`` is the delay in ps of the received clock against its data.
    """
    cycles = [(0, 0, 0)] * 20 + on_the_wire(arp())
    for data in (message(HELLO, 1), image(0, 2) + image(1, 3)):
        cycles += on_the_wire(ethernet(ipv4(udp(data)))) + [(0, 0, 0)] * 1200
    link = choose_link(boards.get(name), "udp", "192.168.1.50")
    return simulate(
        name, "rgmii", directory, link=link, pins=RGMII, rx_lag=rx_lag, tx_lag=TX_LAG[name], cycles=cycles
    )


# The FPGA delays the data by 26 taps of 78.125 ps. Therefore the path of the clock, from its pin to the registers,
# may be 2,031 to 6,031 ps longer than the path of the data without the taps.
@pytest.mark.parametrize(
    ("name", "rx_lag"),
    quick([(name, lag) for name in TX_LAG for lag in (2100, 5950)], ("marble", 2100)),
)
def test_rgmii(name, rx_lag, tmp_path):
    report = at_the_phy(name, rx_lag, tmp_path)
    assert report["reset"] == 0, "the PHY's reset ends after 16.8 ms"
    replied, *frames = received(map(tuple, report["sent"]))
    assert replied[:6] == HOST_MAC and replied[12:14] == b"\x08\x06"
    datagrams = [parse_datagram(frame) for frame in frames]
    assert {datagram[:2] for datagram in datagrams} == {(HOST_MAC, HOST)}
    replies = list(plain(answers(b"".join(data for *_, data in datagrams))))
    assert replies == [(HELLO | 0x80, 1, SELF), result(0, 2), result(1, 3)]
    # A PHY that does not delay the clock gets its edges in the middle of the data.
    assert report["after"] == [2000 if TX_LAG[name] == 0 else 0]
    assert report["leds"][1] == 1


@pytest.mark.parametrize(
    ("name", "rx_lag"),
    quick([(name, lag) for name in TX_LAG for lag in (1950, 6100)], ("marble", 6100)),
)
def test_rgmii_with_a_clock_out_of_its_window(name, rx_lag, tmp_path):
    """Halves of different bytes are put together, so the board recognises no frame and stays idle."""
    report = at_the_phy(name, rx_lag, tmp_path)
    assert len(report["sent"]) > 2000
    assert not any(valid for _, valid, _ in report["sent"])
