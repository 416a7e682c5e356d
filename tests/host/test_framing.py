"""Frames equal those of the specification, survive any fragmentation, and are refused when damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.host.framing import FrameReader, frame
from tests import wire

BODY = bytes([3, 9, 0, 0, 255])


@given(st.binary(min_size=2, max_size=900))
def test_equals_the_specification(body):
    assert frame(body) == wire.frame(body)
    assert list(FrameReader(len(body)).feed(frame(body))) == [body]


def test_known_frame():
    """Catalogues give 0xcbf43926 as the check value of CRC-32, for the digits 1 to 9."""
    assert frame(b"123456789") == b"\0\x0e123456789\x26\x39\xf4\xcb\0"


@given(st.lists(st.integers(0, 60), max_size=12), st.lists(st.binary(max_size=30), min_size=1, max_size=4))
def test_in_any_pieces(cuts, bodies):
    line = b"".join(map(frame, bodies))
    reader, received, before = FrameReader(30), [], 0
    for cut in [*np.cumsum(cuts).tolist(), len(line)]:
        received += reader.feed(line[before:cut])
        before = max(before, cut)
    assert received == bodies and reader.broken == 0


@pytest.mark.parametrize("bit", range(8 * (len(frame(BODY)) - 2)))
def test_no_flipped_bit_is_accepted(bit):
    line = bytearray(frame(BODY))
    line[1 + bit // 8] ^= 1 << bit % 8
    reader = FrameReader(10)
    assert list(reader.feed(bytes(line) + frame(b"next"))) == [b"next"]
    assert reader.broken in (1, 2)


def test_bounded():
    """Bytes beyond the length of any answer are dropped as they arrive, and the next frame is received."""
    reader = FrameReader(10)
    assert list(reader.feed(frame(bytes(10)))) == [bytes(10)]
    for _ in range(1000):
        assert list(reader.feed(b"x" * 1000)) == []
    assert len(reader._pending) <= 20
    assert list(reader.feed(frame(b"next"))) == [b"next"]
    assert reader.broken == 1
