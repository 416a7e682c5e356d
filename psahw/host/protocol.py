"""The host protocol, version 1: kinds of messages, faults, and what a device says of itself.

``docs/host-protocol.md`` specifies it. Both sides take their numbers from here: the host from this package, the
device from ``psahw.boards.link.link``. Numbers are little-endian; a frame's body is its kind, a sequence number, and a payload,
in answers one of 32-bit words.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "ANSWER", "HEADER", "LINK_LOSSES", "MAX_CLASSES", "MAX_REPEAT", "MAX_STAGES", "UDP_PAYLOAD", "UDP_PORT",
    "VERSION", "Fault", "Hello", "Kind", "ProtocolError", "Result", "image_payload", "longest_answer",
]  # fmt: skip

VERSION = 1
ANSWER = 0x80  # added to the kind of a request in its answer
MAX_REPEAT = 0xFFFF
MAX_CLASSES = 256
LINK_LOSSES = 0xFF  # address of the counter that is the link's own
MAX_STAGES = LINK_LOSSES - 2  # with a counter each, behind the accelerator's first two
MAX_TEXT = 63  # bytes
HEADER = 2  # kind and sequence number
UDP_PORT = 50_000  # of a device, unless it was given another one
UDP_PAYLOAD = 1472  # bytes: an Ethernet frame's 1,500 without the headers of IPv4 and UDP
_FIXED = struct.Struct("<BBHHBHBBIIIH32s")
_TIMES = struct.Struct("<4I")


class Kind(IntEnum):
    """A body's first byte; ``ERROR`` is an answer that no request asks for."""

    HELLO = 1
    IMAGE = 2
    COUNTER = 3
    CLEAR = 4
    RESET = 5
    ERROR = 0x7F


class Fault(IntEnum):
    """Why a frame was not obeyed. The first three leave open which frame it was, and ``LOST`` how many."""

    RECEIVE = 1  # a character was malformed, or lost
    FRAMING = 2  # the frame ended within a block, or had a body of less than the checksum
    CHECKSUM = 3
    LENGTH = 4  # the kind's length or argument is another
    UNKNOWN = 5  # kind
    BUSY = 6  # no room for another image
    LOST = 7  # more requests came than answers could be kept


class ProtocolError(Exception):
    """What was received is no answer of this version."""


@dataclass(frozen=True)
class Hello:
    """What a device is.

    ``window`` is the number of images that it holds, from the first byte sent to the result; ``clock_hz`` the clock
    of the cycles that it counts; ``frame_interval`` and ``latency`` are the plan's, in cycles, and
    ``settling_frames`` how many results come before the interval is steady; ``digest`` is the network's, in
    hexadecimal; ``stages`` have a counter of stalled cycles each; ``build`` says what made the circuit.
    """

    window: int
    height: int
    width: int
    colours: int
    classes: int
    logit_bits: int
    stages: int
    clock_hz: int
    frame_interval: int
    latency: int
    settling_frames: int
    digest: str
    network: str
    board: str
    build: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.colours

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * self.colours

    def pack(self) -> bytes:
        """The payload: whole 32-bit words. Texts longer than 63 bytes of UTF-8 are cut.

        Raises ValueError for a number that its field does not hold.
        """
        numbers = (
            self.window, self.height, self.width, self.colours, self.classes, self.logit_bits, self.stages,
            self.clock_hz, self.frame_interval, self.latency, self.settling_frames,
        )  # fmt: skip
        try:
            packed = _FIXED.pack(VERSION, *numbers, bytes.fromhex(self.digest))
        except struct.error as error:
            raise ValueError(f"hello must fit its fields, not {numbers}: {error}") from None
        for text in (self.network, self.board, self.build):
            cut = text.encode()[:MAX_TEXT].decode(errors="ignore").encode()
            packed += bytes([len(cut)]) + cut
        return packed + bytes(-len(packed) % 4)

    @classmethod
    def unpack(cls, payload: bytes) -> "Hello":
        """Raises ProtocolError for another version, and for what is not a hello."""
        if payload and payload[0] != VERSION:
            raise ProtocolError(f"it speaks version {payload[0]} of the host protocol, not {VERSION}")
        if len(payload) < _FIXED.size:
            raise ProtocolError(f"its hello has {len(payload)} bytes, not {_FIXED.size} or more")
        _, *numbers, digest = _FIXED.unpack_from(payload)
        texts, at = [], _FIXED.size
        for _ in range(3):
            length = payload[at] if at < len(payload) else MAX_TEXT + 1
            if length > MAX_TEXT or at + 1 + length > len(payload):
                raise ProtocolError("its hello is cut off")
            texts.append(payload[at + 1 : at + 1 + length].decode(errors="replace"))
            at += 1 + length
        hello = cls(*numbers, digest.hex(), *texts)
        counts = hello.frame_bytes, hello.window, hello.classes, hello.clock_hz
        if not all(counts) or hello.classes > MAX_CLASSES or hello.stages > MAX_STAGES:
            raise ProtocolError(f"its hello makes no sense: {hello}")
        return hello


@dataclass(frozen=True)
class Result:
    """Of one image: its class, its logits, and times in cycles of the device's clock.

    ``latency`` from the image's first beat into the accelerator to its (first) result, ``span`` from the first to the
    last result of a repeated image, ``stamp`` the cycle of the last one, modulo 2^32.
    """

    class_index: int
    latency: int
    span: int
    stamp: int
    logits: tuple[int, ...]

    @classmethod
    def unpack(cls, payload: bytes, classes: int) -> "Result":
        """Raises ProtocolError unless it is a result of so many classes."""
        if len(payload) != _TIMES.size + 4 * classes:
            raise ProtocolError(f"a result has {len(payload)} bytes, not {_TIMES.size + 4 * classes}")
        result = cls(*_TIMES.unpack_from(payload), struct.unpack_from(f"<{classes}i", payload, _TIMES.size))
        if result.class_index >= classes:
            raise ProtocolError(f"a result names class {result.class_index} of {classes}")
        return result


def image_payload(image: bytes, repeat: int = 1) -> bytes:
    """``repeat`` in [1, 65535]: how often the image goes through the accelerator, back to back."""
    if not 1 <= repeat <= MAX_REPEAT:
        raise ValueError(f"repeat must be in [1, {MAX_REPEAT}], not {repeat}")
    return struct.pack("<H", repeat) + image


def longest_answer(classes: int) -> int:
    """Bytes of the longest body that a device with so many classes sends."""
    hello = _FIXED.size + 3 * (1 + MAX_TEXT)
    return HEADER + max(hello + -hello % 4, _TIMES.size + 4 * classes)
