"""The formulas of `psahw.architecture.timing` against loops over clock cycles.

The tests of the components in tests/gateware compare these formulas with simulation.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from psahw.architecture import timing

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
