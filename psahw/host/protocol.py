"""The host protocol, version 2: kinds of messages, faults, and the contents of answers.

``docs/reference/host-protocol.md`` specifies the protocol. Host and device both take its constants from this module.
The body of a frame is a kind (one byte), a sequence number (four bytes, or one in a hello and a reset, whose form is
the same in all versions) and a payload; the payload of an answer consists of 32-bit words. Numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ..quoting import printable

__all__ = [
    "AHEAD_BYTES", "ANSWER", "FIRST_STALLS", "HEADER", "LINK_LOSSES", "MAX_AHEAD", "MAX_CLASSES", "MAX_REPEAT",
    "MAX_SETTLING", "MAX_STAGES", "SEQUENCES", "SEQUENCE_BYTES", "SHORT_HEADER", "SHORT_KINDS", "UDP_PAYLOAD",
    "UDP_PORT", "VERSION", "Answer", "Fault", "Hello", "Kind", "ProtocolError", "Result", "body", "image_payload",
    "longest_answer", "parse",
]  # fmt: skip

VERSION = 2
ANSWER = 0x80  # the bit that an answer sets in the kind of its request
MAX_REPEAT = 0xFFFF  # times that one request can send an image through the accelerator
MAX_CLASSES = 256
FIRST_STALLS = 2  # address of the first stage's counter; counter 0 counts frames, counter 1 clock cycles
LINK_LOSSES = 0xFF  # address of the link's own counter
MAX_STAGES = LINK_LOSSES - FIRST_STALLS  # of an accelerator, with one counter each
MAX_SETTLING = 4096  # results before the frame interval is steady; a plan needs at most four per layer, and four more
MAX_FRAME_BYTES = 1 << 24  # of an image
MAX_SECONDS = 60  # that a device may plan for an image
MAX_TEXT = 63  # bytes of UTF-8 in a text of the hello
SEQUENCE_BYTES = 4
SEQUENCES = 1 << 8 * SEQUENCE_BYTES
AHEAD_BYTES = 2
MAX_AHEAD = (
    1 << 8 * AHEAD_BYTES
) - 1  # by which a request's number may exceed the latest one that the device accepted
HEADER = 1 + SEQUENCE_BYTES  # bytes: kind and sequence number
SHORT_HEADER = 2  # bytes of the header of a hello and of a reset, and of their answers
UDP_PORT = 50_000  # of a device that was built without another one
UDP_PAYLOAD = 1472  # bytes: the 1,500 of an Ethernet frame without 20 for the header of IPv4 and 8 for that of UDP
_FIXED = struct.Struct("<BBHHBHBBIIIH32s")  # the hello without its texts
_TIMES = struct.Struct("<4I")  # a result without its logits


class Kind(IntEnum):
    """The first byte of a request's body."""

    HELLO = 1  # what the device is
    IMAGE = 2  # classify an image
    COUNTER = 3  # read a counter
    CLEAR = 4  # set all counters to zero
    RESET = 5  # empty the accelerator and the link; for a host that does not know the version yet
    OPEN = 6  # the same, and take only requests whose sequence numbers follow this one's
    ERROR = 0x7F  # never sent as a request; its answer reports a `Fault`


SHORT_KINDS = (Kind.HELLO, Kind.RESET)
"""The kinds whose sequence number has one byte, in all versions of the protocol."""


class Fault(IntEnum):
    """The reason why the device did not obey a frame.

    The reports of the first three do not say which frame it was, and that of ``LOST`` not how many there were.
    """

    RECEIVE = 1  # a character was malformed or lost
    FRAMING = 2  # the frame ended within a block, or is shorter than a checksum
    CHECKSUM = 3  # the checksum is wrong
    LENGTH = 4  # the payload has a wrong length, or its argument a wrong value
    UNKNOWN = 5  # the kind is not known
    BUSY = 6  # there is no room for another image
    LOST = 7  # requests were dropped because there was no room for their answers


class ProtocolError(Exception):
    """An answer does not follow this version of the protocol."""


class Answer(NamedTuple):
    """The body of a frame from the device.

    Attributes
    ----------
    kind
        A `Kind` with the bit `ANSWER`, or any other number.
    sequence
        Sequence number of the request.
    payload
        What follows the header.
    """

    kind: int
    sequence: int
    payload: bytes


def header_bytes(kind: int) -> int:
    """Return the number of bytes of the header of a request, or of an answer, of this kind."""
    return SHORT_HEADER if kind & ~ANSWER in SHORT_KINDS else HEADER


def body(kind: Kind, sequence: int, payload: bytes = b"") -> bytes:
    """Return the body of a request. Only the lowest byte of ``sequence`` counts for `SHORT_KINDS`."""
    count = header_bytes(kind) - 1
    return bytes([kind]) + sequence.to_bytes(SEQUENCE_BYTES, "little")[:count] + payload


def parse(received: bytes) -> Answer | None:
    """Return what the body of a frame says, or None if it is shorter than the header of its kind."""
    header = header_bytes(received[0]) if received else HEADER
    if len(received) < header:
        return None
    return Answer(received[0], int.from_bytes(received[1:header], "little"), received[header:])


@dataclass(frozen=True)
class Hello:
    """A device's answer to a hello: what it is.

    Attributes
    ----------
    window
        Number of images that the device can hold, each from its first byte until its answer is sent.
    height, width, colours
        Shape of an image.
    classes
        Number of classes, at most 256.
    logit_bits
        Width of a logit.
    stages
        Number of stages; each has a counter of stalled clock cycles.
    clock_hz
        Frequency in Hz of the clock that the device counts.
    frame_interval, latency
        As planned, in clock cycles. The latency is that of an image that no other follows.
    settling_frames
        Number of results in a series of images that do not follow the one before at the frame interval.
    digest
        SHA-256 of the network, in hexadecimal.
    network, board
        Their names.
    build
        What generated the circuit.
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
        """Height, width and number of colours of an image."""
        return self.height, self.width, self.colours

    @property
    def frame_bytes(self) -> int:
        """Bytes of an image."""
        return self.height * self.width * self.colours

    def pack(self) -> bytes:
        """Return the payload of the answer to a hello, in whole 32-bit words.

        Texts longer than 63 bytes of UTF-8 are cut.

        Raises
        ------
        ValueError
            If a number does not fit its field.
        """
        numbers = (
            self.window, self.height, self.width, self.colours, self.classes, self.logit_bits, self.stages,
            self.clock_hz, self.frame_interval, self.latency, self.settling_frames,
        )  # fmt: skip
        try:
            packed = _FIXED.pack(VERSION, *numbers, bytes.fromhex(self.digest))
        except struct.error as error:
            raise ValueError(f"numbers of a hello must fit their fields, not {numbers}: {error}") from None
        for text in (self.network, self.board, self.build):
            cut = text.encode()[:MAX_TEXT].decode(errors="ignore").encode()
            packed += bytes([len(cut)]) + cut
        return packed + bytes(-len(packed) % 4)

    @classmethod
    def unpack(cls, payload: bytes) -> "Hello":
        """Return what a payload says.

        Raises
        ------
        ProtocolError
            If the payload is of another version, or is not a hello.
        """
        if payload and payload[0] != VERSION:
            raise ProtocolError(
                f"it must speak version {VERSION} of the host protocol, not {payload[0]}; build its circuit again, "
                "or use the version of psahw that it was built with"
            )
        if len(payload) < _FIXED.size:
            raise ProtocolError(f"its hello must have at least {_FIXED.size} bytes, not {len(payload)}")
        (
            _, window, height, width, colours, classes, logit_bits, stages, clock_hz, frame_interval, latency,
            settling_frames, digest,
        ) = _FIXED.unpack_from(payload)  # fmt: skip
        texts, at = [], _FIXED.size
        for _ in range(3):
            length = payload[at] if at < len(payload) else MAX_TEXT + 1
            if length > MAX_TEXT or at + 1 + length > len(payload):
                raise ProtocolError("its hello is incomplete")
            texts.append(printable(payload[at + 1 : at + 1 + length].decode(errors="replace"), MAX_TEXT))
            at += 1 + length
        hello = cls(
            window, height, width, colours, classes, logit_bits, stages, clock_hz, frame_interval, latency,
            settling_frames, digest.hex(), *texts,
        )  # fmt: skip
        if (problem := hello.problem()) is not None:
            raise ProtocolError(f"its hello says {problem}")
        return hello

    def problem(self) -> str | None:
        """Return a number that no device can have, and the limits that it exceeds, or None if there is none."""
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                return f"{name} {getattr(self, name)}, which must be in [{low}, {high}]"
        if self.frame_bytes > MAX_FRAME_BYTES:
            return f"images of {self.height} x {self.width} x {self.colours} bytes, more than {MAX_FRAME_BYTES}"
        if (seconds := self.seconds()) > MAX_SECONDS:
            return (
                f"frame_interval {self.frame_interval} and latency {self.latency} at {self.clock_hz} Hz, which is "
                f"{seconds:.0f} s per image, more than {MAX_SECONDS} s"
            )
        return None

    def seconds(self, repeat: int = 1) -> float:
        """Return the time in seconds that an image takes that goes through the accelerator ``repeat`` times."""
        return (self.latency + repeat * self.frame_interval) / self.clock_hz


_RANGES = {
    "window": (1, 255),
    "height": (1, 0xFFFF),
    "width": (1, 0xFFFF),
    "colours": (1, 255),
    "classes": (1, MAX_CLASSES),
    "logit_bits": (2, 32),
    "stages": (1, MAX_STAGES),
    "clock_hz": (1_000, 0xFFFF_FFFF),
    "frame_interval": (1, 0xFFFF_FFFF),
    "latency": (1, 0xFFFF_FFFF),
    "settling_frames": (0, MAX_SETTLING),
}
"""Smallest and greatest values of the numbers of a hello."""


@dataclass(frozen=True)
class Result:
    """The result of one image, which may have gone through the accelerator repeatedly.

    Attributes
    ----------
    class_index
        Index of the class.
    latency
        Clock cycles from the first beat of the image into the accelerator to the first result.
    span
        Clock cycles from the first result to the last one.
    stamp
        Clock cycle of the last result, modulo 2^32.
    logits
        One integer per class.
    """

    class_index: int
    latency: int
    span: int
    stamp: int
    logits: tuple[int, ...]

    @classmethod
    def unpack(cls, payload: bytes, classes: int) -> "Result":
        """Return what a payload says.

        Raises
        ------
        ProtocolError
            If the payload is not a result of ``classes`` classes.
        """
        size = _TIMES.size + 4 * classes
        if len(payload) != size:
            raise ProtocolError(f"a result must have {size} bytes, not {len(payload)}")
        class_index, latency, span, stamp = _TIMES.unpack_from(payload)
        logits = struct.unpack_from(f"<{classes}i", payload, _TIMES.size)
        result = cls(class_index, latency, span, stamp, logits)
        if result.class_index >= classes:
            raise ProtocolError(f"the class of a result must be below {classes}, not {result.class_index}")
        return result

    def contradiction(self, logit_bits: int) -> str | None:
        """Return what makes the result impossible, or None: too wide a logit, or another class than the argmax."""
        limit = 1 << (logit_bits - 1)
        for index, logit in enumerate(self.logits):
            if not -limit <= logit < limit:
                return f"logit {index} is {logit}, which does not fit the {logit_bits} bits of the device's logits"
        best = self.logits.index(max(self.logits))
        if self.class_index != best:
            return f"the class is {self.class_index}, but the first of the greatest logits is that of class {best}"
        return None


def image_payload(image: bytes, repeat: int = 1) -> bytes:
    """Return the payload of a request to classify an image.

    Parameters
    ----------
    image
        Its bytes, in (row, column, colour) order.
    repeat
        Number of times that the image goes through the accelerator without a gap, 1 to 65,535.

    Raises
    ------
    ValueError
        If ``repeat`` is out of range.
    """
    if not 1 <= repeat <= MAX_REPEAT:
        raise ValueError(f"repeat must be in [1, {MAX_REPEAT}], not {repeat}")
    return struct.pack("<H", repeat) + image


def longest_answer(classes: int) -> int:
    """Return the number of bytes of the longest body that a device with ``classes`` classes sends."""
    hello = _FIXED.size + 3 * (1 + MAX_TEXT)
    return HEADER + max(hello + -hello % 4, _TIMES.size + 4 * classes)
