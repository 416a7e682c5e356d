"""The hello message of a board, from the manifest of its accelerator."""

import pytest

from psahw.boards.link.hello import describe_board
from psahw.errors import UserError
from psahw.host.protocol import Hello

MANIFEST = {
    "image": [8, 6],
    "colours": 2,
    "classes": 3,
    "logit_bits": 16,
    "frame_interval": 100,
    "latency": 250,
    "settling_frames": 1,
    "digest": "ab" * 32,
    "network": "n",
}


def hello(stages):
    return describe_board({**MANIFEST, "stages": ["stage"] * stages}, board="bench", clock_hz=1e8, circuit=b"module")


def test_a_counter_for_each_stage():
    """A byte addresses 253 counters of stages, the accelerator's first two counters, and the link's own."""
    message = Hello.unpack(hello(253).pack())
    assert (message.stages, message.image_shape, message.digest) == (253, (8, 6, 2), "ab" * 32)


def test_more_stages_than_counters():
    with pytest.raises(UserError, match="stalls of at most 253 stages, not 254"):
        hello(254)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": 300}, "classes 300, which must be in [1, 256]"),
        ({"image": [70_000, 6]}, "height 70000, which must be in [1, 65535]"),
        ({"colours": 256}, "colours 256, which must be in [1, 255]"),
        ({"image": [65_535, 65_535]}, "images of 65535 x 65535 x 2 bytes, more than 16777216"),
        ({"latency": 1 << 33}, "latency 8589934592, which must be in [1, 4294967295]"),
        ({"settling_frames": 5000}, "settling_frames 5000, which must be in [0, 4096]"),
    ],
)
def test_an_accelerator_that_no_link_can_serve(changes, problem):
    with pytest.raises(UserError) as caught:
        describe_board({**MANIFEST, "stages": ["s"], **changes}, board="bench", clock_hz=1e8, circuit=b"module")
    assert str(caught.value) == f"a board's link cannot serve n: it has {problem}"
