"""The hello message of a board, from the manifest of its accelerator."""

import dataclasses

import pytest

from psahw.boards.link.hello import describe_board
from psahw.errors import UserError
from psahw.host import protocol
from psahw.host.protocol import Hello, ProtocolError, image_payload, longest_answer

MANIFEST = {
    "image": [8, 6],
    "colours": 2,
    "classes": 3,
    "logit_bits": 16,
    "frame_interval": 100,
    "lone_latency": 250,
    "settling_frames": 1,
    "draining_frames": 2,
    "digest": "ab" * 32,
    "network": "n",
}


def hello(stages):
    return describe_board({**MANIFEST, "stages": ["stage"] * stages}, board="bench", clock_hz=1e8, circuit=b"module")


def test_a_counter_for_each_stage():
    """A byte addresses 253 counters of stages, the accelerator's first two counters, and the link's own."""
    message = Hello.unpack(hello(253).pack())
    assert (message.stages, message.image_shape, message.digest) == (253, (8, 6, 2), "ab" * 32)
    assert (message.latency, message.settling_frames) == (250, 3)


def test_more_stages_than_counters():
    with pytest.raises(UserError, match="stalls of at most 253 stages, not 254"):
        hello(254)


def test_numbers_of_the_specification():
    """Kinds of requests, reasons of errors, and limits, as in docs/reference/host-protocol.md."""
    kinds = {"HELLO": 1, "IMAGE": 2, "COUNTER": 3, "CLEAR": 4, "RESET": 5, "OPEN": 6, "ERROR": 127}
    faults = ["RECEIVE", "FRAMING", "CHECKSUM", "LENGTH", "UNKNOWN", "BUSY", "LOST"]
    assert {name: int(kind) for name, kind in protocol.Kind.__members__.items()} == kinds
    assert {name: int(fault) for name, fault in protocol.Fault.__members__.items()} == {
        name: number for number, name in enumerate(faults, 1)
    }
    assert (protocol.VERSION, protocol.ANSWER, protocol.HEADER, protocol.SHORT_HEADER) == (2, 128, 5, 2)
    assert (protocol.SEQUENCES, protocol.MAX_AHEAD, protocol.MAX_REPEAT) == (1 << 32, 65_535, 65_535)
    assert (protocol.UDP_PORT, protocol.UDP_PAYLOAD) == (50_000, 1472)
    assert (protocol.FIRST_STALLS, protocol.LINK_LOSSES) == (2, 255)


def test_headers():
    """A sequence number has four bytes, lowest first, and one in a hello and a reset."""
    assert protocol.body(protocol.Kind.IMAGE, 0x0102_0304, b"x") == b"\2\4\3\2\1x"
    assert protocol.body(protocol.Kind.HELLO, 0x0102_0304) == b"\1\4"
    assert protocol.parse(b"\x82\4\3\2\1x") == (0x82, 0x0102_0304, b"x")
    assert protocol.parse(b"\x85\4") == (0x85, 4, b"")
    assert protocol.parse(b"") is protocol.parse(b"\x85") is protocol.parse(b"\x82\4\3\2") is None


RANGES = {  # of docs/reference/host-protocol.md
    "window": (1, 255), "height": (1, 65_535), "width": (1, 65_535), "colours": (1, 255), "classes": (1, 256),
    "logit_bits": (2, 32), "stages": (1, 253), "clock_hz": (1000, 2**32 - 1), "frame_interval": (1, 2**32 - 1),
    "latency": (1, 2**32 - 1), "settling_frames": (0, 4096),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_ranges_of_the_numbers(name):
    message = dataclasses.replace(hello(3), height=4, width=4)
    low, high = RANGES[name]
    for value in (low, high):
        assert dataclasses.replace(message, **{name: value}).problem() is None
    for value in (low - 1, high + 1):
        problem = dataclasses.replace(message, **{name: value}).problem()
        assert problem == f"{name} {value}, which must be in [{low}, {high}]"


@pytest.mark.parametrize(
    ("numbers", "possible"),
    [
        (dict(height=256, width=65_535, colours=1), True),
        (dict(height=4096, width=4096, colours=1), True),
        (dict(height=4097, width=4096, colours=1), False),
        (dict(clock_hz=1000, latency=50_000, frame_interval=10_000), True),
        (dict(clock_hz=1000, latency=50_001, frame_interval=10_000), False),
    ],
)
def test_an_image_of_16_mib_or_60_seconds(numbers, possible):
    message = dataclasses.replace(hello(3), **numbers)
    assert (message.problem() is None) == possible
    assert message.seconds(3) == (message.latency + 3 * message.frame_interval) / message.clock_hz


def test_long_texts_are_cut():
    """A text has at most 63 bytes, behind a byte with their number, and no half of a letter."""
    message = dataclasses.replace(hello(3), network="ä" * 40, board="b" * 63, build="c" * 70)
    payload = message.pack()
    texts = [bytes([62]), "ä".encode() * 31, bytes([63]), b"b" * 63, bytes([63]), b"c" * 63]
    assert payload[57:] == b"".join(texts)
    received = Hello.unpack(payload)
    assert (received.network, received.board, received.build) == ("ä" * 31, "b" * 63, "c" * 63)
    shorter = dataclasses.replace(message, build="c" * 60).pack()
    assert shorter == payload[:184] + bytes([60]) + b"c" * 60 + bytes(3), "whole words"
    for length in range(1, len(payload)):
        with pytest.raises(ProtocolError):
            Hello.unpack(payload[:length])


def test_numbers_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"^numbers of a hello must fit their fields, not \(256, 8, 6, 2, 3, 16, 3, "
    ):
        dataclasses.replace(hello(3), window=256).pack()


def test_the_longest_answer():
    """It is a result with its header and four times, or the hello with three texts."""
    assert longest_answer(256) == 5 + 16 + 4 * 256
    assert longest_answer(1) == longest_answer(58) == 5 + 57 + 3 * 64 + 3
    assert longest_answer(60) == 5 + 16 + 4 * 60


@pytest.mark.parametrize("repeat", [0, 65_536])
def test_repetitions(repeat):
    assert image_payload(b"ab") == b"\1\0ab"
    assert image_payload(b"ab", 65_535) == b"\xff\xffab"
    with pytest.raises(ValueError, match=rf"^repeat must be in \[1, 65535\], not {repeat}$"):
        image_payload(b"ab", repeat)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": 300}, "classes 300, which must be in [1, 256]"),
        ({"image": [70_000, 6]}, "height 70000, which must be in [1, 65535]"),
        ({"colours": 256}, "colours 256, which must be in [1, 255]"),
        ({"image": [65_535, 65_535]}, "images of 65535 x 65535 x 2 bytes, more than 16777216"),
        ({"lone_latency": 1 << 33}, "latency 8589934592, which must be in [1, 4294967295]"),
        ({"settling_frames": 4998}, "settling_frames 5000, which must be in [0, 4096]"),
    ],
)
def test_an_accelerator_that_no_link_can_serve(changes, problem):
    with pytest.raises(UserError) as caught:
        describe_board({**MANIFEST, "stages": ["s"], **changes}, board="bench", clock_hz=1e8, circuit=b"module")
    assert str(caught.value) == f"a board's link cannot serve n: it has {problem}"
