"""The link under torture: a Verilated board with a stand-in accelerator, and a line that does everything wrong.

Over UDP, what comes damaged from the wire is dropped by whoever receives it, and the host's alone.

`by_hand` sends one damaged frame after another, each followed by a good one, whose answer must come, and be right, at
once. `by_host` is `psahw.host.Accelerator` at work while both directions are damaged and the line itself glitches.
All good frames that the device sends are watched, and none may hold an answer that is wrong.
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
from psahw.boards import simulated
from psahw.boards.core import AcceleratorInterface
from psahw.boards.link.link import WINDOW
from psahw.boards.link.udp_link import UDP_WINDOW
from psahw.sim.board import Udp

from psahw import verilog
from psahw.host import Accelerator
from psahw.host.protocol import Hello
from tests.boards.stub import CLASSES, Stub, answer
from tests.wire import message, unstuff, words

__all__ = ["FAULTS", "SHAPE", "by_hand", "by_host", "udp_line", "write_board", "write_udp_board"]

SHAPE = (2, 2, 3)
BUS = 4
CLOCK_HZ = 100_000_000
IMAGE, ERROR = 2, 0x7F
ANSWER = 0x80
SECONDS = 60.0  # without a byte: a hang
FAULTS = ("flip", "truncate", "remove", "insert", "double", "swap", "noise", "merge", "pause")


def _stand_in(directory: Path, window: int) -> AcceleratorInterface:
    """Writes its Verilog."""
    stub = Stub(bus_bytes=BUS, frame_bytes=int(np.prod(SHAPE)), pause=2, latency=30)
    verilog.emit(stub, "accelerator", directory)
    hello = Hello(window, *SHAPE, CLASSES, 20, 1, CLOCK_HZ, 40, 38, 0, "7e" * 32, "stand-in", "torture", "tests")
    return AcceleratorInterface("psahw_accelerator", stub.signature, hello.frame_bytes, hello.pack(), window)


def write_board(directory: Path) -> int:
    """Verilog for `psahw.sim.board`; returns the baud rate."""
    return simulated.write(_stand_in(directory, WINDOW), directory, clock_hz=CLOCK_HZ)


def write_udp_board(directory: Path) -> None:
    """The same with Ethernet."""
    simulated.write_udp(_stand_in(directory, UDP_WINDOW), directory, clock_hz=CLOCK_HZ)


def udp_line(damage: int = 0) -> Udp:
    """What `write_udp_board` has made it for."""
    me = simulated.IDENTITY
    return Udp(CLOCK_HZ, me.address, me.port, damage=damage)


def damage(draw: random.Random, data: bytes, fault: str) -> list[bytes]:
    """``data`` in the pieces to send; between two of them there is a pause."""
    at = draw.randrange(len(data) + 1)
    some = bytes(draw.choice((0, 1, 255, draw.randrange(256))) for _ in range(draw.randint(1, 12)))
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
            return [data[:at] + some + data[at:]]
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
    """All good frames of the device, compared with what was asked for under their numbers. ``lossy``: what comes may
    lack pieces."""

    def __init__(self, *, lossy: bool = False):
        self.lossy = lossy
        self.asked = {}  # images by sequence number
        self.wrong, self.errors, self.answers = 0, Counter(), 0
        self._pending = b""

    def sent(self, sequence: int, image: bytes) -> None:
        self.asked.setdefault(sequence, []).append(image)
        del self.asked[sequence][:-3]  # numbers come round again

    def see(self, data: bytes) -> list[int]:
        """The sequence numbers of right answers in it."""
        *frames, self._pending = (self._pending + data).split(b"\0")
        found = []
        for stuffed in filter(None, frames):
            try:
                content = unstuff(stuffed)
                assert zlib.crc32(content[:-4]) == words(content[-4:])[0]
            except AssertionError:
                if self.lossy:
                    continue
                raise
            kind, sequence, payload = content[0], content[1], content[2:-4]
            if kind == ERROR | ANSWER:
                self.errors[words(payload)[0]] += 1
            elif kind == IMAGE | ANSWER:
                self.answers += 1
                right = any(self._right(payload, image) for image in self.asked.get(sequence, ()))
                self.wrong += not right
                found += [sequence] * right
        return found

    @staticmethod
    def _right(payload: bytes, image: bytes) -> bool:
        index, logits = answer(image)
        return words(payload)[0] == index and payload[16:] == struct.pack(f"<{CLASSES}i", *logits)


def by_hand(port: str, frames: int, *, seed: int, progress=lambda steps: None) -> dict:
    """``frames`` damaged frames. Raises AssertionError for a good frame without its answer."""
    draw, watch, kinds = random.Random(seed), Watch(), Counter()
    line = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        for n in range(frames):
            bad, good = draw.randbytes(12), draw.randbytes(12)
            fault = FAULTS[n % len(FAULTS)]
            kinds[fault] += 1
            a, b = 2 * n % 256, (2 * n + 1) % 256
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
    ready, _, _ = select.select([line], [], [], SECONDS)
    assert ready, "the device hangs: no answer to a good frame"
    return os.read(line, 4096)


class DamagedPort:
    """Around the host's port: a share of what is written and of what is read is damaged."""

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
        content = unstuff(data.strip(b"\0"))
        if content[0] == IMAGE:
            self._watch.sent(content[1], content[4:-4])
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
    """``images`` through the host, with ``share`` of all frames damaged. Raises AssertionError for a wrong logit."""
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
        found = device.statistics
    return {
        "images": images,
        "damaged": damaged.damaged,
        "mismatched_logits": int((answers.logits != expected).sum()),
        "wrong_answers": watch.wrong,
        "errors_reported": sum(watch.errors.values()),
        "resent": found.resent,
        "timeouts": found.timeouts,
        "strays": found.strays,
        "broken_answers": found.broken,
        "seconds": round(seconds, 1),
    }
