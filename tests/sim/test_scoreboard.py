"""Tests of the comparison with the expected logits, and of the measured cycles."""

import numpy as np

from psahw.sim.scoreboard import Scoreboard, unpack_result


def pack(logits, index, bits):
    """Return an output payload."""
    payload = sum((int(x) % (1 << bits)) << (bits * c) for c, x in enumerate(logits))
    return payload | index << (bits * len(logits))


def test_unpack_extremes():
    for logits in ([-8, 7, 0, -1, 3], [7, 7, 7, 7, -8]):
        assert unpack_result(pack(logits, 4, 4), 5, 4) == (logits, 4)


def test_cycles_of_segments():
    expected = np.array([[1, -2], [-2, 1], [5, 5]])
    board = Scoreboard(expected, 6)
    for frame, first, cycle in ((0, 0, 40), (1, 10, 52), (2, 20, 64)):
        board.add(frame, first, cycle, pack(expected[frame], int(expected[frame].argmax()), 6))
    board.restart()
    board.restart()  # a reset before any result
    board.add(0, 100, 140, pack([1, -2], 0, 6))
    summary = board.summary()
    assert (summary["frame_interval_min"], summary["frame_interval_max"]) == (12, 12)
    assert (summary["first_latency_min"], summary["first_latency_max"]) == (40, 40)
    assert (summary["latency_min"], summary["latency_max"]) == (40, 44)
    assert (summary["results"], summary["mismatched_logits"], summary["mismatched_classes"]) == (4, 0, 0)


def test_the_end_of_a_series():
    """The last results come early, and the latency of a frame that nothing follows is another."""
    board = Scoreboard(np.zeros((4, 2), int), 6, settling=1, draining=1)
    for frame, first, cycle in ((0, 0, 40), (1, 10, 55), (2, 20, 65), (3, 30, 71)):
        board.add(frame, first, cycle, 0)
    board.restart()
    board.add(3, 100, 137, 0)
    summary = board.summary()
    assert (summary["frame_interval_min"], summary["frame_interval_max"]) == (10, 10)
    assert (summary["first_latency_min"], summary["first_latency_max"]) == (40, 40)
    alone = Scoreboard(np.zeros((1, 2), int), 6)
    alone.add(0, 100, 137, 0)
    assert alone.summary()["first_latency_max"] == 37


def test_mismatches():
    board = Scoreboard(np.array([[3, 1, 2]]), 4)
    board.add(0, 0, 1, pack([3, 2, -2], 1, 4))
    assert (board.mismatched_logits, board.mismatched_classes) == (2, 1)
    assert board.mismatches == [
        "frame 0: output 1 is 2, not 1, output 2 is -2, not 2, the greatest is output 1, not 0"
    ]


def test_nothing_measured():
    summary = Scoreboard(np.zeros((1, 2), int), 4).summary()
    assert summary["frame_interval_min"] is None and summary["latency_max"] is None
