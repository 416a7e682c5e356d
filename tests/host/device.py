"""A device in plain Python, behind a pseudo-terminal or a UDP socket, that can make all kinds of faults.

It is written from ``docs/reference/host-protocol.md`` alone, independently of `psahw.host`.
"""

import os
import socket
import struct
import threading
import tty
import zlib

from tests.wire import message, split, unstuff

__all__ = ["CLASSES", "DIGEST", "SHAPE", "Device", "UdpDevice", "hello", "logits"]

SHAPE = (2, 3, 3)
CLASSES = 3
DIGEST = "5a" * 32


def hello(
    version=2, window=4, shape=SHAPE, classes=CLASSES, bits=24, stages=2, digest=DIGEST, board="bench", name="adder",
    clock=100_000_000, interval=50, latency=120, settling=3,
):  # fmt: skip
    """Return the payload of the answer to a hello."""
    payload = struct.pack("<BBHHBHBB", version, window, *shape, classes, bits, stages)
    payload += struct.pack("<IIIH", clock, interval, latency, settling) + bytes.fromhex(digest)
    for text in (name, board, "by hand"):
        payload += bytes([len(text)]) + text.encode()
    return payload + bytes(-len(payload) % 4)


def logits(image: bytes) -> list[int]:
    """Return what the device computes unless it is given another function."""
    return [sum(image), image[0] - 200, -image[-1]]


class Device:
    """A device that answers on ``port`` until the ``with`` block ends.

    Parameters
    ----------
    greeting
        Payload of the answer to a hello.
    spoil
        ``spoil(kind, count)`` decides about the answer with this number, counted from 0. None sends it as it is.
        ``"drop"``, ``"garble"`` and ``"twice"`` do what they say, ``"busy"`` and ``"checksum"`` report a fault
        instead, and bytes are sent instead.
    unplug
        Number of answers after which the port disappears, or None.
    logits
        Function from the bytes of an image to its logits.

    Attributes
    ----------
    requests
        Kinds of the requests that it obeyed.
    ignored
        Number of requests that it ignored, because their sequence numbers do not follow the latest one.
    """

    def __init__(self, *, greeting=None, spoil=lambda kind, count: None, unplug=None, logits=logits):
        self.greeting, self.spoil, self.unplug, self.logits = greeting or hello(), spoil, unplug, logits
        self.requests, self.ignored, self._latest = [], 0, 0
        self._stamp = 0xFFFF_FF00  # so that it wraps soon
        self.port = self._open()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _open(self):
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        return os.ttyname(self._slave)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped = True
        if self.unplug is None:
            os.write(self._slave, b"\0")  # ends the thread's read
            self._thread.join(10)
            os.close(self._master)
        os.close(self._slave)

    _stopped = False

    def _serve(self):
        pending = b""
        while not self._stopped:
            pending += self._read()
            *frames, pending = pending.split(b"\0")
            for stuffed in filter(None, frames):
                try:
                    content = unstuff(stuffed)
                except AssertionError:
                    self._send(message(0xFF, 0, struct.pack("<I", 2)))
                    continue
                if struct.unpack("<I", content[-4:])[0] != zlib.crc32(content[:-4]):
                    self._send(message(0xFF, 0, struct.pack("<I", 3)))
                    continue
                self._take(*split(content[:-4]))
                if self.unplug is not None and len(self.requests) >= self.unplug:
                    os.close(self._master)
                    return

    def _read(self):
        return os.read(self._master, 4096)

    def _send(self, data):
        os.write(self._master, data)

    def _take(self, kind, sequence, payload):
        if kind not in (1, 5, 6) and not 1 <= (sequence - self._latest) % (1 << 32) <= 0xFFFF:
            self.ignored += 1
            return
        if kind not in (1, 5):
            self._latest = sequence
        self._obey(kind, sequence, payload)

    def _obey(self, kind, sequence, payload):
        count = len(self.requests)
        self.requests.append(kind)
        answer = message(kind | 0x80, sequence, self._answer(kind, payload))
        match self.spoil(kind, count):
            case None:
                self._send(answer)
            case "drop":
                pass
            case "garble":
                self._send(answer[:3] + bytes([answer[3] ^ 0x41]) + answer[4:])
            case "busy":
                self._send(message(0xFF, sequence, struct.pack("<I", 6)))
            case "checksum":
                self._send(message(0xFF, 0, struct.pack("<I", 3)))
            case "twice":
                self._send(answer + answer)
            case other:
                self._send(other)

    def _answer(self, kind, payload):
        match kind:
            case 1:
                return self.greeting
            case 2:
                (repeat,), image = struct.unpack_from("<H", payload), payload[2:]
                self._stamp = (self._stamp + 100) & 0xFFFF_FFFF
                values = self.logits(image)
                span = 50 * (repeat - 1) + min(repeat - 1, 3)  # the interval is steady after three results
                times = values.index(max(values)), 120, span, self._stamp
                return struct.pack(f"<4I{len(values)}i", *times, *values)
            case 3:
                return struct.pack("<I", {0: 7, 1: 1000, 2: 5, 3: 6, 255: 9}[payload[0]])
            case _:
                return b""


class UdpDevice(Device):
    """The same device on a UDP port of this computer.

    Parameters
    ----------
    lose
        ``lose(direction, count)`` returns whether the datagram with this number is lost; ``direction`` is "in" or
        "out", as seen from the device.
    longest
        Most bytes in a datagram that it sends.
    """

    def __init__(self, *, lose=lambda direction, count: False, longest=1024, **options):
        self._lose, self.longest = lose, longest
        self.lengths, self._counts, self._peer = [], {"in": 0, "out": 0}, None
        super().__init__(**options)

    def _open(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        return "udp://{}:{}".format(*self._socket.getsockname())

    def __exit__(self, *_):
        self._stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"\0", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _lost(self, direction):
        self._counts[direction] += 1
        return self._lose(direction, self._counts[direction] - 1)

    def _read(self):
        while True:
            data, peer = self._socket.recvfrom(4096)
            if self._stopped or not self._lost("in"):
                self._peer = peer
                self.lengths.append(len(data))
                return data

    def _send(self, data):
        for start in range(0, len(data), self.longest):
            if not self._lost("out"):
                self._socket.sendto(data[start : start + self.longest], self._peer)
