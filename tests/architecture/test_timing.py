"""The formulas of `psahw.architecture.timing` against loops over clock cycles.

The tests of the components in tests/gateware compare these formulas with simulation.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.geometry import SlidingWindow

times = st.lists(st.integers(0, 60), min_size=1, max_size=30).map(lambda x: np.cumsum(x).astype(np.int64))


@given(times, st.integers(1, 9))
def test_queued_with_equal_work(earliest, work):
    expected, free = [], 0
    for time in earliest:
        start = max(time, free)
        expected.append(start)
        free = start + work
    assert timing.queued(earliest, work).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=30))
def test_queued_with_work_of_each(jobs):
    earliest = np.cumsum([gap for gap, _ in jobs])
    work = np.array([amount for _, amount in jobs])
    expected, free = [], 0
    for time, amount in zip(earliest, work, strict=True):
        expected.append(max(time, free))
        free = expected[-1] + amount
    assert timing.queued(earliest, work).tolist() == expected


@given(times, st.integers(0, 40), st.integers(1, 9))
def test_fifo_depth(writes, delay, work):
    """The depth is the largest number of beats in any clock cycle; a beat that leaves in a cycle still counts."""
    reads = timing.queued(writes + delay, work)
    largest = 0
    for cycle in range(int(reads[-1]) + 1):
        largest = max(largest, int((writes <= cycle).sum() - (reads < cycle).sum()))
    assert timing.fifo_depth(writes, reads) == largest


@given(st.integers(1, 5), st.integers(1, 9), st.sampled_from([(1, 1), (2, 1), (3, 2), (4, 4)]), st.integers(1, 3))
def test_mac_array(steps, outputs, folding, vectors):
    """The passes follow each other, so that every vector occupies the array for passes · steps clock cycles."""
    rows, o_lanes = folding
    columns = 2
    inputs = np.arange(vectors * steps) * 2
    beats, freed = timing.mac_array(
        inputs, inputs=steps * columns, outputs=outputs, rows=rows, columns=columns, o_lanes=o_lanes
    )
    expected, ring, free = [], [], 0
    for vector in range(vectors):
        start = max(inputs[(vector + 1) * steps - 1] + 1, free)
        cycle = start
        for first in range(0, outputs, rows):
            first_output = cycle + steps - 1 + timing.mac_latency(columns)
            rows_left = min(rows, outputs - first)
            expected += [first_output + beat for beat in range(-(-rows_left // o_lanes))]
            last_pass = first + rows >= outputs
            ring += [cycle + step for step in range(steps)] if last_pass else []
            cycle += steps
        free = cycle
    if outputs % o_lanes == 0 and rows % o_lanes == 0:
        assert beats.tolist() == expected
    assert freed.tolist() == ring


def test_latencies():
    """Adder trees have 0, 1, 2, 2, 3 levels for 1, 2, 3, 4, 8 columns, and 0, 4, 5 for kernels of 1, 9, 25 taps."""
    assert [timing.mac_latency(columns) for columns in (1, 2, 3, 4, 8)] == [11, 12, 13, 13, 14]
    assert [timing.local_latency(entries) for entries in (1, 9, 25)] == [10, 14, 15]
    assert (timing.mac_latency(4, scaled=True), timing.local_latency(9, scaled=True)) == (16, 17)
    assert timing.graph_latency(6) == 10
    # A pass of 4 steps is there for 3 + 12 cycles up to its first beat, and 2 more for the others: the fifth comes in
    # before the first has left. A beat of a token mixing is there for 14.
    assert timing.mac_passes(columns=2, steps=4, o_beats=3) == 5
    assert timing.mac_passes(columns=2, steps=18, o_beats=1) == 2
    assert timing.mac_passes(columns=2, steps=40, o_beats=3) == 2
    assert timing.local_beats(9) == 15
    # A vector is there for 10 + 3 cycles, and the fourth comes in before the first has left.
    assert [timing.graph_words(6, 3, interval) for interval in (13, 12, 4, 3)] == [1, 2, 4, 5]


def of_frames(frames, beats):
    """Return times of the beats of frames, with random gaps."""
    return np.cumsum(np.random.default_rng(frames * beats).integers(1, 4, frames * beats))


def test_one_output_for_several_inputs():
    times = of_frames(3, 12)
    assert timing.table_rom(times).tolist() == [t + 2 for t in times]
    assert timing.gather(times, 4).tolist() == [times[n] + 1 for n in range(3, 36, 4)]
    ends = [vector + n for vector in range(0, 36, 12) for n in (4, 9, 11)]
    assert timing.gather(times, 5, 12).tolist() == [times[n] + 1 for n in ends]
    last = [frame + 8 + n for frame in range(0, 36, 12) for n in range(4)]
    assert timing.mean_pool(times, tokens=3, beats=4).tolist() == [times[n] + 1 + 3 for n in last]
    assert timing.max_pool(times, tokens=3, beats=4).tolist() == [times[n] + 1 for n in last]
    assert timing.thresholds(times, count=15).tolist() == [t + 4 + 1 for t in times]
    assert timing.argmax(times, beats=12, lanes=1).tolist() == [times[n] + 1 for n in (11, 23, 35)]
    assert timing.argmax(times, beats=6, lanes=5).tolist() == [times[n] + 1 + 3 for n in range(5, 36, 6)]
    assert timing.add(np.array([3, 9]), np.array([5, 2])).tolist() == [7, 11]


def served(ready, work, beats):
    """Return the times of the beats of vectors, which are read from a memory when they are ready, one at a time."""
    output, free = [], 0
    for time in ready:
        start = max(time, free)
        output += [start + beat + 3 for beat in range(beats)]
        free = start + max(work, beats)
    return output


@pytest.mark.parametrize("period", [1, 9])
def test_windows_and_transpose(period):
    """A window needs the last beat of its last row, and a column that of the frame."""
    window = SlidingWindow(5, 4, 3, 2, 1)
    times = of_frames(3, 5 * 2)
    ready = [times[10 * frame + 2 * row + 1] + 1 for frame in range(3) for row in (1, 3, 4) for _ in range(2)]
    output = timing.windows(times, window=window, i_beats=2, o_beats=3, period=period)
    assert output.tolist() == served(ready, period, 3)
    ready = [times[10 * frame + 9] + 1 for frame in range(3) for _ in range(4)]
    output = timing.transpose(times, i_beats=10, vectors=4, o_beats=3, period=period)
    assert output.tolist() == served(ready, period, 3)


@pytest.mark.parametrize("pause", [0, 1, 3, 4, 5, 100])
@pytest.mark.parametrize(("tokens", "reach"), [(5, 3), (5, 0), (5, 5), (2, 3)])
def test_local_mixing(tokens, reach, pause):
    """Clock cycle by clock cycle: a beat of a frame, or an empty beat between frames while outputs are owed.

    A frame that is shorter than the reach is followed by empty beats in any case.
    """
    size, delay = 2 * tokens, 2 * reach
    times = of_frames(4, size) + pause * np.repeat(np.arange(4), size)
    output, taken = timing.local_mixing(times, tokens=tokens, beats=2, reach=reach, entries=9)
    pushed = [False] * delay  # whether each push was a beat of a frame
    waiting, cycle, padding = list(times), 0, 0
    expected_output, expected_taken = [], []
    while waiting or any(pushed[len(pushed) - delay :]):
        within = sum(pushed) % size > 0
        if padding:
            padding -= 1
            pushed.append(False)
        elif waiting and waiting[0] <= cycle:
            pushed.append(True)
            expected_taken.append(cycle)
            del waiting[0]
            padding = 0 if sum(pushed) % size else max(delay - size, 0)
        elif within or not any(pushed[len(pushed) - delay :]):
            cycle += 1
            continue
        else:
            pushed.append(False)
        if pushed[-1 - delay]:
            expected_output.append(cycle + 14)
        cycle += 1
    assert taken.tolist() == expected_taken
    assert output.tolist() == expected_output


@pytest.mark.parametrize(("beats", "interval", "o_beats"), [(1, 3, 2), (2, 1, 1), (3, 5, 2), (3, 1, 4), (4, 1, 1)])
def test_graph_engine(beats, interval, o_beats):
    """Beats are gathered one per cycle, from the cycle on in which the vector before leaves for the graph."""
    times = of_frames(6, beats) * 2 // 3
    output, taken = timing.graph_engine(times, i_beats=beats, o_beats=o_beats, interval=interval, latency=7)
    expected, expected_taken, free, begin = [], [], 0, times[0]
    for vector in times.reshape(6, beats):
        moved = []
        for time in vector:
            moved.append(max(time, begin, moved[-1] + 1 if moved else 0))
        start = max(moved[-1] + (beats > 1), free)
        expected += [start + 7 + 4 + beat for beat in range(o_beats)]
        expected_taken += moved if beats > 1 else [start]
        free, begin = start + max(interval, o_beats, beats), start if beats > 1 else 0
    assert output.tolist() == expected and taken.tolist() == expected_taken
