"""What a board says of itself, from what the generator says of the accelerator."""

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
    """253 of them, which with the first two and the link's own are all that a byte can tell apart."""
    found = Hello.unpack(hello(253).pack())
    assert (found.stages, found.image_shape, found.digest) == (253, (8, 6, 2), "ab" * 32)


def test_more_stages_than_counters():
    with pytest.raises(UserError, match="stalls of at most 253 stages, not 254"):
        hello(254)
