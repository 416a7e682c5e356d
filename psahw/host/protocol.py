"""The host protocol, version 1: kinds of messages, faults, and the contents of answers.

``docs/reference/host-protocol.md`` specifies the protocol. Host and device both take its constants from this module.
The body of a frame is a kind (one byte), a sequence number (one byte) and a payload; the payload of an answer
consists of 32-bit words. Numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "ANSWER", "FIRST_STALLS", "HEADER", "LINK_LOSSES", "MAX_CLASSES", "MAX_REPEAT", "MAX_STAGES", "UDP_PAYLOAD",
    "UDP_PORT", "VERSION", "Fault", "Hello", "Kind", "ProtocolError", "Result", "image_payload", "longest_answer",
]  # fmt: skip

VERSION = 1
ANSWER = 0x80  # the bit that an answer sets in the kind of its request
MAX_REPEAT = 0xFFFF  # times that one request can send an image through the accelerator
MAX_CLASSES = 256
FIRST_STALLS = 2  # address of the first stage's counter; counter 0 counts frames, counter 1 clock cycles
LINK_LOSSES = 0xFF  # address of the link's own counter
MAX_STAGES = LINK_LOSSES - FIRST_STALLS  # of an accelerator, with one counter each
MAX_TEXT = 63  # bytes of UTF-8 in a text of the hello
HEADER = 2  # bytes: kind and sequence number
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
    RESET = 5  # empty the accelerator and the link
    ERROR = 0x7F  # never sent as a request; its answer reports a `Fault`


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
        As planned, in clock cycles.
    settling_frames
        Number of results before the frame interval is steady.
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
            raise ProtocolError(f"it must speak version {VERSION} of the host protocol, not {payload[0]}")
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
            texts.append(payload[at + 1 : at + 1 + length].decode(errors="replace"))
            at += 1 + length
        hello = cls(
            window, height, width, colours, classes, logit_bits, stages, clock_hz, frame_interval, latency,
            settling_frames, digest.hex(), *texts,
        )  # fmt: skip
        counts = hello.frame_bytes, hello.window, hello.classes, hello.clock_hz
        if not all(counts) or hello.classes > MAX_CLASSES or hello.stages > MAX_STAGES:
            raise ProtocolError(f"its hello has impossible values: {hello}")
        return hello


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
