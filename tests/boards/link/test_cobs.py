# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.boards.link.cobs import CobsDecoder, CobsEncoder
from tests.gateware.streams import run_stream
from tests.wire import stuff, unstuff

RECEIVE, FRAMING = 1, 2

VECTORS = [  # content and encoded bytes, from the paper and from Wikipedia's article about it
    ("", "01"),
    ("00", "0101"),
    ("0000", "010101"),
    ("001100", "01021101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "02110101 01"),
    (bytes(range(1, 255)).hex(), "ff" + bytes(range(1, 255)).hex()),
    (bytes(range(255)).hex(), "01ff" + bytes(range(1, 255)).hex()),
    (bytes(range(1, 256)).hex(), "ff" + bytes(range(1, 255)).hex() + "02ff"),
    (bytes([*range(2, 256), 0]).hex(), "ff" + bytes(range(2, 256)).hex() + "0101"),
    (bytes([*range(3, 256), 0, 1]).hex(), "fe" + bytes(range(3, 256)).hex() + "0201"),
]


def test_both_ends_fit_each_other():
    """The decoder gives what the encoder takes, and takes what it gives."""
    encoder, decoder = CobsEncoder(), CobsDecoder()
    assert decoder.i.p.byte.shape() == encoder.o.p.shape()
    assert decoder.o.p.byte.shape() == encoder.i.p.byte.shape()
    assert decoder.o.p.end.shape() == encoder.i.p.last.shape()


def decode(characters, **stalls):
    """Return the decoded frames as (content, fault).

    ``characters`` are bytes, or (byte, 1) for malformed ones.
    """
    beats = [c[0] | 256 if isinstance(c, tuple) else c for c in characters]
    frames, content = [], bytearray()
    for beat in run_stream(CobsDecoder(), beats, **stalls)[0]:
        if beat >> 8 & 1:
            frames.append((bytes(content), beat >> 9))
            content.clear()
        else:
            content.append(beat & 255)
    return frames


def encode(frames, **stalls):
    """Return the encoded bytes of all frames."""
    beats = [byte | (k == len(frame) - 1) << 8 for frame in frames for k, byte in enumerate(frame)]
    return bytes(run_stream(CobsEncoder(), beats, **stalls)[0][:, 0].astype(np.uint8).tolist())


@pytest.mark.parametrize(("content", "stuffed"), VECTORS)
def test_published_vectors(content, stuffed):
    content, stuffed = bytes.fromhex(content), bytes.fromhex(stuffed)
    assert stuff(content) == stuffed and unstuff(stuffed) == content
    assert decode([*stuffed, 0]) == [(content, 0)]
    if content:
        assert encode([content]) == b"\0" + stuffed + b"\0"


WITHOUT_ZEROS = st.binary(min_size=250, max_size=260).map(lambda content: content.replace(b"\0", b"\1"))


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=12) | WITHOUT_ZEROS, min_size=1, max_size=4),
    st.lists(st.booleans(), max_size=5),
)
def test_any_frames(frames, stalls):
    stalls = [*stalls, False]
    line = b"".join(b"\0" + stuff(frame) + b"\0" for frame in frames)
    assert encode(frames, o_stalls=stalls) == line
    assert decode(line, o_stalls=stalls) == [(frame, 0) for frame in frames]


def test_pauses_between_characters():
    """Bytes on the line do not count while no character is offered."""
    line = b"".join(b"\0" + stuff(frame) + b"\0" for frame in (b"ab\0c", b"d"))
    assert decode(line, i_stalls=[False, True, True]) == [(b"ab\0c", 0), (b"d", 0)]


def test_a_full_block_may_be_followed_by_an_empty_one():
    assert decode([*bytes.fromhex(VECTORS[7][1]), 1, 0]) == [(bytes(range(1, 255)), 0)]


@pytest.mark.parametrize("sent", [1, 2, 3])
def test_truncated_frames(sent):
    frames = decode([*stuff(b"abc")[:sent], 0, *stuff(b"xyz"), 0])
    assert frames == [(b"abc"[: sent - 1], FRAMING), (b"xyz", 0)]


@pytest.mark.parametrize("at", range(5))
def test_malformed_characters_invalidate_their_frame(at):
    """A malformed character counts even if it reads as zero: a break must not end a frame without a fault."""
    line = [*stuff(b"abc"), 0]
    line[at:at] = [(0, 1)]
    frames = decode([*line, *stuff(b"xyz"), 0])
    assert frames[0][1] == RECEIVE
    assert frames[-1] == (b"xyz", 0)
