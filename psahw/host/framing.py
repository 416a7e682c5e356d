"""Frames on a stream of bytes: a body and its CRC-32, stuffed by COBS, between zero bytes.

COBS: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
The CRC is that of IEEE 802.3 and zlib, little-endian behind the body.
"""

import struct
import zlib
from collections.abc import Iterator

from cobs import cobs

__all__ = ["FrameReader", "frame"]

CHECKSUM = 4  # bytes


def frame(body: bytes) -> bytes:
    """The bytes to send. A zero before it ends whatever the line made up or left unfinished."""
    return b"\0" + cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


class FrameReader:
    """Finds the frames in what comes in, in pieces of any size.

    ``longest`` is the length of the longest body: what is longer is no frame, and is not kept. ``broken`` counts
    what was not a frame.
    """

    def __init__(self, longest: int):
        stuffed = longest + CHECKSUM
        self._limit = stuffed + -(-stuffed // 254)
        self._pending = bytearray()
        self._overlong = False
        self.broken = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Bodies of the good frames that are complete now."""
        *ended, rest = received.split(b"\0")
        for piece in ended:
            self._add(piece)
            found, overlong = bytes(self._pending), self._overlong
            self._pending.clear()
            self._overlong = False
            if not found and not overlong:
                continue
            body = None if overlong else _body(found)
            if body is None:
                self.broken += 1
            else:
                yield body
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._pending += piece[: self._limit + 1 - len(self._pending)]
        if len(self._pending) > self._limit:
            self._overlong = True
            self._pending.clear()


def _body(stuffed: bytes) -> bytes | None:
    try:
        content = cobs.decode(stuffed)
    except cobs.DecodeError:
        return None
    body, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    return body if len(content) >= CHECKSUM and checksum == struct.pack("<I", zlib.crc32(body)) else None
