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
