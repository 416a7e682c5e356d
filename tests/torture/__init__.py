"""Torture tests of the link: a simulated board with a stand-in accelerator, and a line with all kinds of faults.

`by_hand` sends damaged frames. After each it sends a good one, whose right answer must come at once. `by_host` lets
`psahw.host.Accelerator` classify images while the bytes in both directions are damaged and the line itself glitches.
In both, all good frames of the device are watched, and none may contain a wrong answer.

Over UDP, the receiver of a damaged Ethernet frame drops it, so only what the host writes and reads is damaged here.
"""

import os
import random
import select
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from psahw import verilog
from psahw.boards import simulated
from psahw.boards.core import AcceleratorInterface
from psahw.boards.link.link import WINDOW
from psahw.boards.link.udp_link import UDP_WINDOW
from psahw.host import Accelerator
from psahw.host.protocol import Hello
from psahw.sim.board import Udp
from tests.boards.stub import CLASSES, Stub, answer
from tests.wire import message, split, unstuff, words

__all__ = ["FAULTS", "SHAPE", "by_hand", "by_host", "udp_line", "write_board", "write_udp_board"]

SHAPE = (2, 2, 3)  # of an image
BUS = 4  # bytes per beat
CLOCK_HZ = 100_000_000
IMAGE, ERROR = 2, 0x7F  # kinds of the host protocol
ANSWER = 0x80  # added to the kind of a request in its answer
REMEMBERED = 10_000  # requests
SECONDS = 60.0  # the device hangs if no byte comes for this long
FAULTS = ("flip", "truncate", "remove", "insert", "double", "swap", "noise", "merge", "pause")


def _stand_in(directory: Path, window: int) -> AcceleratorInterface:
    """Write the Verilog of the stand-in accelerator, and return its interface."""
    stub = Stub(bus_bytes=BUS, frame_bytes=int(np.prod(SHAPE)), pause=2, latency=30)
    verilog.emit(stub, "accelerator", directory)
    hello = Hello(window, *SHAPE, CLASSES, 20, 1, CLOCK_HZ, 40, 38, 0, "7e" * 32, "stand-in", "torture", "tests")
    return AcceleratorInterface("psahw_accelerator", stub.signature, hello.frame_bytes, hello.pack(), window)


def write_board(directory: Path) -> int:
    """Write the Verilog of a board with a UART for `psahw.sim.board`, and return its baud rate."""
    return simulated.write(_stand_in(directory, WINDOW), directory, clock_hz=CLOCK_HZ)


def write_udp_board(directory: Path) -> None:
    """Write the Verilog of a board with Ethernet for `psahw.sim.board`."""
    simulated.write_udp(_stand_in(directory, UDP_WINDOW), directory, clock_hz=CLOCK_HZ)


def udp_line(damage: int = 0) -> Udp:
    """Return the line to a board of `write_udp_board`, on which one Ethernet frame in ``damage`` is damaged."""
    identity = simulated.IDENTITY
    return Udp(CLOCK_HZ, identity.address, identity.port, damage=damage)


def damage(draw: random.Random, data: bytes, fault: str) -> list[bytes]:
    """Return ``data`` with a fault, in the pieces to send; the sender pauses between two pieces."""
    at = draw.randrange(len(data) + 1)
    inserted = bytes(draw.choice((0, 1, 255, draw.randrange(256))) for _ in range(draw.randint(1, 12)))
    match fault:
        case "flip":
            wrong = bytearray(data)
            for _ in range(draw.randint(1, 6)):
                wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
            return [bytes(wrong)]
        case "truncate":
            return [data[:at]]
        case "remove":
            return [data[:at] + data[at + draw.randint(1, 8) :]]
        case "insert":
            return [data[:at] + inserted + data[at:]]
        case "double":
            return [data, data]
        case "swap":
            a, b = sorted((at, draw.randrange(len(data) + 1)))
            c = draw.randrange(b, len(data) + 1)
            return [data[:a] + data[b:c] + data[a:b] + data[c:]]
        case "noise":
            return [draw.randbytes(draw.randint(1, 200))]
        case "merge":
            return [data[:-1] + data[1:]]
        case _:
            return [data[:at], data[at:]]


class Watch:
    """Compares all good frames of the device with the requests of the same sequence numbers.

    Parameters
    ----------
    lossy
        Whether bytes from the device may be missing, so that broken frames are no error.
    """

    def __init__(self, *, lossy: bool = False):
        self.lossy = lossy
        self.requested = {}  # images by sequence number
        self.wrong, self.errors, self.answers = 0, Counter(), 0
        self._pending = b""

    def sent(self, sequence: int, image: bytes) -> None:
        """Record a request. The numbers do not recur, and those of long ago are forgotten."""
        self.requested[sequence] = image
        if len(self.requested) > REMEMBERED:
            del self.requested[next(iter(self.requested))]

    def see(self, data: bytes) -> list[int]:
        """Take bytes from the device, and return the sequence numbers of the right answers that are complete now."""
        *frames, self._pending = (self._pending + data).split(b"\0")
        answered = []
        for stuffed in filter(None, frames):
            try:
                content = unstuff(stuffed)
                assert zlib.crc32(content[:-4]) == words(content[-4:])[0]
            except AssertionError:
                if self.lossy:
                    continue
                raise
            kind, sequence, payload = split(content[:-4])
            if kind == ERROR | ANSWER:
                self.errors[words(payload)[0]] += 1
            elif kind == IMAGE | ANSWER:
                self.answers += 1
                right = sequence in self.requested and self._right(payload, self.requested[sequence])
                self.wrong += not right
                answered += [sequence] * right
        return answered

    @staticmethod
    def _right(payload: bytes, image: bytes) -> bool:
        index, logits = answer(image)
        return words(payload)[0] == index and payload[16:] == struct.pack(f"<{CLASSES}i", *logits)


def by_hand(port: str, frames: int, *, seed: int, progress=lambda steps: None) -> dict:
    """Send ``frames`` damaged frames through a serial port, each followed by a good one, and return the counts.

    Raises
    ------
    AssertionError
        If a good frame gets no answer.
    """
    draw, watch, kinds = random.Random(seed), Watch(), Counter()
    line = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        for n in range(frames):
            bad, good = draw.randbytes(12), draw.randbytes(12)
            fault = FAULTS[n % len(FAULTS)]
            kinds[fault] += 1
            a, b = 2 * n + 1, 2 * n + 2
            watch.sent(a, bad)
            watch.sent(b, good)
            for piece in damage(draw, message(IMAGE, a, b"\1\0" + bad), fault):
                os.write(line, piece)
                if fault == "pause":
                    time.sleep(draw.uniform(0, 0.003))
            os.write(line, message(IMAGE, b, b"\1\0" + good))
            while b not in watch.see(_read(line)):
                pass
            progress(1)
    finally:
        os.close(line)
    return {
        "frames": frames,
        "faults": dict(kinds),
        "wrong_answers": watch.wrong,
        "errors_reported": sum(watch.errors.values()),
        "answered_at_once": frames,
    }


def _read(line: int) -> bytes:
    """Return the next bytes from the device."""
    ready, _, _ = select.select([line], [], [], SECONDS)
    assert ready, "the device hangs: no answer to a good frame"
    return os.read(line, 4096)


class DamagedPort:
    """A wrapper of the host's port that damages a share of what is written and of what is read."""

    def __init__(self, port, watch: Watch, draw: random.Random, share: float):
        self._port, self._watch, self._draw, self._share = port, watch, draw, share
        self.damaged = 0
        self.name, self.settings, self.seconds, self.close = port.name, port.settings, port.seconds, port.close

    def _damage(self, data: bytes) -> list[bytes]:
        if self._draw.random() >= self._share or len(data) < 2:
            return [data]
        self.damaged += 1
        return damage(self._draw, data, self._draw.choice(FAULTS))

    def write(self, data: bytes) -> None:
        kind, sequence, payload = split(unstuff(data.strip(b"\0"))[:-4])
        if kind == IMAGE:
            self._watch.sent(sequence, payload[2:])
        for piece in self._damage(data):
            self._port.write(piece)
            if self._draw.random() < self._share / 4:
                time.sleep(self._draw.uniform(0, 0.003))

    def read(self, seconds: float) -> bytes:
        data = self._port.read(seconds)
        self._watch.see(data)
        return b"".join(self._damage(data))


def by_host(
    port: str, baud: int | None, images: int, *, seed: int, share: float, timeout: float, progress=None
) -> dict:
    """Classify random images while a share of all frames is damaged, and return the counts.

    Parameters
    ----------
    port, baud
        Name and baud rate of the port; the baud rate is None for UDP.
    images
        Number of images.
    seed
        Seed of the images and the faults.
    share
        Share of the damaged frames, 0 to 1.
    timeout
        Timeout of the host in seconds.
    progress
        Called with the number of new answers.
    """
    draw, watch = random.Random(seed), Watch(lossy=baud is None)
    pixels = np.random.default_rng(seed).integers(0, 256, (images, *SHAPE), np.uint8)
    expected = np.array([answer(image.tobytes())[1] for image in pixels])
    serial = {} if baud is None else {"baud": baud}
    with Accelerator(port, **serial, timeout=timeout, attempts=100) as device:
        damaged = DamagedPort(device._exchange.port, watch, draw, share)
        device._exchange.port = damaged
        start = time.monotonic()
        answers = device.run(pixels, progress=progress)
        seconds = time.monotonic() - start
        statistics = device.statistics
    return {
        "images": images,
        "damaged": damaged.damaged,
        "mismatched_logits": int((answers.logits != expected).sum()),
        "wrong_answers": watch.wrong,
        "errors_reported": sum(watch.errors.values()),
        "resent": statistics.resent,
        "timeouts": statistics.timeouts,
        "strays": statistics.strays,
        "broken_answers": statistics.broken,
        "seconds": round(seconds, 1),
    }
