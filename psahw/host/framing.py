"""Frames on a stream of bytes: a body and its CRC-32, stuffed by COBS, between two zero bytes.

COBS is from S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2),
1999. The CRC is that of IEEE 802.3 and of zlib, and follows the body in little-endian order.
"""

import struct
import zlib
from collections.abc import Iterator

from cobs import cobs

__all__ = ["FrameReader", "frame"]

CHECKSUM = 4  # bytes


def frame(body: bytes) -> bytes:
    """Return the bytes to send for a body.

    The zero byte in front ends whatever the line made up or left unfinished before.
    """
    return b"\0" + cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


class FrameReader:
    """Finds frames in a stream of bytes that arrives in pieces of any size.

    Parameters
    ----------
    longest
        Bytes of the longest body. Anything longer is not a frame, and is not stored.

    Attributes
    ----------
    broken
        Number of pieces between zero bytes that were not frames.
    """

    def __init__(self, longest: int):
        stuffed = longest + CHECKSUM
        self._limit = stuffed + -(-stuffed // 254)
        self._pending = bytearray()
        self._overlong = False
        self.broken = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Take the bytes that have arrived, and yield the bodies of the good frames that are complete now."""
        *ended, rest = received.split(b"\0")
        for piece in ended:
            self._add(piece)
            stuffed, overlong = bytes(self._pending), self._overlong
            self._pending.clear()
            self._overlong = False
            if not stuffed and not overlong:
                continue
            body = None if overlong else _body(stuffed)
            if body is None:
                self.broken += 1
            else:
                yield body
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        """Append to the pending bytes, unless they become longer than any frame."""
        self._pending += piece[: self._limit + 1 - len(self._pending)]
        if len(self._pending) > self._limit:
            self._overlong = True
            self._pending.clear()


def _body(stuffed: bytes) -> bytes | None:
    """Return the body of a frame without its zero bytes, or None if it is not a good frame."""
    try:
        content = cobs.decode(stuffed)
    except cobs.DecodeError:
        return None
    body, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    return body if len(content) >= CHECKSUM and checksum == struct.pack("<I", zlib.crc32(body)) else None
