# amaranth: UnusedElaboratable=no
import struct
import zlib

import numpy as np
import pytest

from psahw.boards.link.frames import FrameReceiver, FrameSender
from tests.gateware.streams import run_stream
from tests.wire import stuff

FRAMING, CHECKSUM = 2, 3
BODIES = [b"\x01\x00", b"0123456789", bytes(20), bytes(range(256)) * 2]


def sealed(body):
    """Return a body with its CRC-32."""
    return body + struct.pack("<I", zlib.crc32(body))


def receive(line, **stalls):
    """Return the received frames as (body, fault)."""
    frames, content = [], bytearray()
    for beat in run_stream(FrameReceiver(), list(line), **stalls)[0]:
        if beat >> 8 & 1:
            frames.append((bytes(content), beat >> 9))
            content.clear()
        else:
            content.append(beat & 255)
    return frames


@pytest.mark.parametrize("o_stalls", [(), (True, False, True)])
def test_receive(o_stalls):
    line = b"".join(stuff(sealed(body)) + b"\0" for body in BODIES)
    assert receive(line, o_stalls=o_stalls) == [(body, 0) for body in BODIES]


@pytest.mark.parametrize("o_stalls", [(), (True, False, True)])
def test_send(o_stalls):
    beats = [byte | (k == len(body) - 1) << 8 for body in BODIES for k, byte in enumerate(body)]
    sent = run_stream(FrameSender(), beats, o_stalls=o_stalls)[0][:, 0].astype(np.uint8)
    assert bytes(sent.tolist()) == b"".join(b"\0" + stuff(sealed(body)) + b"\0" for body in BODIES)


def test_every_flipped_bit_is_detected():
    """A frame with a flipped bit is rejected, and affects no other frame."""
    body = b"\x02\x07image"
    content = sealed(body)
    line, expected = b"", []
    for bit in range(8 * len(content)):
        wrong = bytearray(content)
        wrong[bit // 8] ^= 1 << bit % 8
        expected += [(bytes(wrong[:-4]), CHECKSUM), (body, 0)]
        line += stuff(bytes(wrong)) + b"\0" + stuff(content) + b"\0"
    assert receive(line) == expected


@pytest.mark.parametrize("length", range(4))
def test_frames_shorter_than_a_checksum(length):
    line = stuff(bytes(length)) + b"\0" + stuff(sealed(b"next")) + b"\0"
    assert receive(line) == [(b"", FRAMING), (b"next", 0)]


def test_an_empty_body():
    assert receive(stuff(sealed(b"")) + b"\0") == [(b"", 0)]
