"""A second implementation of the host protocol for tests, written from ``docs/reference/host-protocol.md`` alone."""

import struct
import zlib

__all__ = ["answers", "frame", "message", "split", "stuff", "unstuff", "words"]


def stuff(content: bytes) -> bytes:
    """Return the contents of a frame without zero bytes (COBS)."""
    out, block = bytearray(), bytearray()
    for byte in content:
        if byte:
            block.append(byte)
        if byte == 0 or len(block) == 254:
            out += bytes([len(block) + 1]) + block
            block.clear()
            full = byte != 0
    if not content or block or not full:
        out += bytes([len(block) + 1]) + block
    return bytes(out)


def unstuff(stuffed: bytes) -> bytes:
    """Return the contents of a frame from its bytes on the wire."""
    out, at = bytearray(), 0
    while at < len(stuffed):
        code = stuffed[at]
        block = stuffed[at + 1 : at + code]
        assert code and len(block) == code - 1 and 0 not in block
        out += block
        at += code
        if code < 255 and at < len(stuffed):
            out.append(0)
    return bytes(out)


def _sequence_bytes(kind: int) -> int:
    """Return the length of the sequence number in a hello (1), a reset (5), their answers, or anything else."""
    return 1 if kind & 0x7F in (1, 5) else 4


def message(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return a frame with its checksum, between zero bytes."""
    number = sequence.to_bytes(4, "little")[: _sequence_bytes(kind)]
    return frame(bytes([kind]) + number + payload)


def frame(body: bytes) -> bytes:
    """Return any bytes as a frame with its checksum, between zero bytes."""
    return b"\0" + stuff(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def answers(received: bytes) -> list[tuple[int, int, bytes]]:
    """Return kind, sequence and payload of every frame, and check that each is sound and between zero bytes."""
    pieces = received.split(b"\0")
    assert pieces[::2] == [b""] * (len(pieces) // 2 + 1)
    frames = []
    for piece in pieces[1::2]:
        content = unstuff(piece)
        assert struct.unpack("<I", content[-4:])[0] == zlib.crc32(content[:-4])
        frames.append(split(content[:-4]))
    return frames


def split(body: bytes) -> tuple[int, int, bytes]:
    """Return kind, sequence number and payload of a frame's body."""
    end = 1 + _sequence_bytes(body[0])
    return body[0], int.from_bytes(body[1:end], "little"), body[end:]


def words(payload: bytes) -> list[int]:
    """Return the 32-bit words of a payload."""
    return list(struct.unpack(f"<{len(payload) // 4}I", payload))
