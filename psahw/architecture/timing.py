"""Timing of every component: the executable form of ``docs/reference/components.md``.

A function with the name of a component maps the clock cycles in which its input beats are transferred to those of its
output beats, if nothing downstream stalls. Both are int64 arrays in stream order. The planner composes these
functions; the tests of the components compare them with simulation, cycle for cycle.
"""

from bisect import bisect_left

import numpy as np

from .device import REGISTERED_MULTIPLIERS
from .geometry import SlidingWindow

__all__ = [
    "add", "argmax", "fifo_depth", "gather", "graph_engine", "graph_latency", "graph_words", "local_beats",
    "local_latency", "local_mixing", "mac_array", "mac_latency", "mac_passes", "max_pool", "mean_pool",
    "operand_registers", "queued", "requantise_latency", "table_rom", "thresholds", "transpose", "windows",
]  # fmt: skip

ADD_LATENCY = 2
TABLE_LATENCY = 2
REQUANTISE_LATENCY = 3
COUNTERS_PER_GROUP = 8  # counters of an accelerator, one of which is chosen in a clock cycle
MULTIPLIER_LATENCY = 3  # of a Requantise with multipliers, in addition
QUEUE_LATENCY = 2
READ_LATENCY = 3  # of Windows and Transpose, from a read to its output beat


def queued(earliest: np.ndarray, work: int | np.ndarray) -> np.ndarray:
    """Return the start times of jobs that one server does in order.

    Job ``i`` starts at ``max(earliest[i], start[i-1] + work[i-1])``; ``work`` is the duration of all jobs or of each.
    """
    before = np.concatenate(([0], np.cumsum(np.broadcast_to(work, earliest.shape))[:-1]))
    return np.maximum.accumulate(earliest - before) + before


def table_rom(times: np.ndarray, banks: int = 1) -> np.ndarray:
    """Return the output times of a `TableRom`, whose memories may consist of several banks."""
    return times + TABLE_LATENCY + (banks > 1)


def gather(times: np.ndarray, ratio: int, beats: int | None = None) -> np.ndarray:
    """Return the output times of a `Gather`.

    ``ratio`` input beats make one output beat, or fewer at the end of a vector of ``beats`` input beats.
    """
    vectors = times.reshape(-1, beats or ratio)
    ends = np.minimum(np.arange(0, vectors.shape[1], ratio) + ratio, vectors.shape[1]) - 1
    return vectors[:, ends].reshape(-1) + 1


def requantise_latency(scaled: bool) -> int:
    """Return the clock cycles through a `Requantise`, which may be ``scaled`` by multipliers."""
    return REQUANTISE_LATENCY + (MULTIPLIER_LATENCY if scaled else 0)


def operand_registers(multiplier: str | None) -> int:
    """Return the number of registers of an operand in front of those in a multiplier of a `MacArray`."""
    return int(multiplier in REGISTERED_MULTIPLIERS)


def mac_latency(columns: int, scaled: bool = False, multiplier: str | None = None) -> int:
    """Return the clock cycles from the last step of a pass to its first row at the output of a `MacArray`.

    Four lead to the accumulator (ROM, A/B, M, P), and one more if the operands of the ``multiplier`` have registers
    in front. One captures it, one selects the row. Then come one for each level of the adder tree over the columns,
    the requantiser, which may be ``scaled`` by multipliers, and the queue.
    """
    registers = operand_registers(multiplier)
    return 6 + registers + (columns - 1).bit_length() + requantise_latency(scaled) + QUEUE_LATENCY


def _jobs(latency: int, interval: int) -> int:
    """Return the number of jobs that are under way at once in the steady state.

    A job counts from the clock cycle in which it is let in to the one after its last beat, which leaves ``latency``
    clock cycles later. One is let in every ``interval`` clock cycles.
    """
    return latency // interval + 1


def mac_passes(*, columns: int, steps: int, o_beats: int, scaled: bool = False, multiplier: str | None = None) -> int:
    """Return the number of passes that are under way in a `MacArray` at once in the steady state.

    A pass has ``steps`` steps and ``o_beats`` output beats. It counts from the clock cycle of its first step to the
    one after its last beat.
    """
    return _jobs(steps - 1 + mac_latency(columns, scaled, multiplier) + o_beats - 1, steps)


def mac_array(
    times: np.ndarray, *, inputs: int, outputs: int, rows: int, columns: int, o_lanes: int, scaled: bool = False,
    multiplier: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the output times of a `MacArray`, and the times at which each input beat is freed.

    The input beats have ``columns`` lanes, the output beats ``o_lanes``. The rows may be ``scaled`` by multipliers.
    """
    steps, passes = -(-inputs // columns), -(-outputs // rows)
    start = queued(times.reshape(-1, steps)[:, -1] + 1, passes * steps)
    row = np.arange(0, outputs, o_lanes)
    end = (row // rows + 1) * steps - 1 + mac_latency(columns, scaled, multiplier) + row % rows // o_lanes
    freed = start[:, None] + (passes - 1) * steps + np.arange(steps)
    return (start[:, None] + end).reshape(-1), freed.reshape(-1)


def graph_latency(latency: int) -> int:
    """Return the clock cycles from a vector to the first beat of its result in a `GraphEngine`.

    One holds the result of the graph, whose own ``latency`` is given, one chooses lanes, and two are in the queue.
    """
    return latency + 2 + QUEUE_LATENCY


def graph_words(latency: int, o_beats: int, interval: int) -> int:
    """Return the number of vectors that are under way in a `GraphEngine` at once in the steady state.

    A vector counts from the clock cycle in which it is let in to the one after its last beat. ``latency`` is that of
    the graph, ``interval`` the initiation interval.
    """
    return _jobs(graph_latency(latency) + o_beats - 1, interval)


def graph_engine(
    times: np.ndarray, *, i_beats: int, o_beats: int, interval: int, latency: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the output times of a `GraphEngine`, and the times at which its inputs are taken.

    ``i_beats`` and ``o_beats`` are beats per vector, ``interval`` and ``latency`` those of the graph alone.
    """
    beats, place = times.reshape(-1, i_beats), np.arange(i_beats)
    ready = (beats - place).max(1) + i_beats - 1 + (1 if i_beats > 1 else 0)
    start = queued(ready, max(interval, o_beats, i_beats))
    output = start[:, None] + graph_latency(latency) + np.arange(o_beats)
    if i_beats == 1:
        return output.reshape(-1), start
    # The first beat of a vector finds room in the clock cycle in which the previous vector leaves.
    begin = np.concatenate((beats[:1, 0], start[:-1]))
    taken = np.maximum(np.maximum.accumulate(beats - place, axis=1), begin[:, None]) + place
    return output.reshape(-1), taken.reshape(-1)


def local_latency(entries: int, scaled: bool = False) -> int:
    """Return the clock cycles from a push to its output beat in a `LocalMixing`.

    Two are in the line buffers and three in the multipliers. Then come one for each level of the adder tree over the
    entries of the kernel, the requantiser, which may be ``scaled`` by multipliers, and the queue.
    """
    return 5 + (entries - 1).bit_length() + requantise_latency(scaled) + QUEUE_LATENCY


def local_beats(entries: int, scaled: bool = False) -> int:
    """Return the number of beats that are under way in a `LocalMixing` at once in the steady state."""
    return _jobs(local_latency(entries, scaled), 1)


def local_mixing(
    times: np.ndarray, *, tokens: int, beats: int, reach: int, entries: int, scaled: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the output times of a `LocalMixing`, and the times at which its inputs are taken.

    A frame has ``tokens`` of ``beats`` beats each; a token depends on the one that comes ``reach`` tokens
    later. The kernel has ``entries``. No frame follows the last one.
    """
    frames, delay = times.reshape(-1, tokens * beats), reach * beats
    padding = max(reach - tokens, 0) * beats
    taken = np.empty_like(frames)
    pushes, is_beat, free = [], [], np.iinfo(np.int64).min // 2
    owed = 0  # pushes that complete outputs of the frame before
    for n, frame in enumerate(frames):
        empty = min(owed, max(int(frame[0]) - free, 0))
        pushes.append(free + np.arange(empty))
        taken[n] = queued(np.maximum(frame, free + empty), 1)
        pushes += [taken[n], taken[n, -1] + 1 + np.arange(padding)]
        is_beat += [np.zeros(empty, bool), np.ones(tokens * beats, bool), np.zeros(padding, bool)]
        free, owed = int(taken[n, -1]) + 1 + padding, min(delay, tokens * beats)
    pushes.append(free + np.arange(owed))
    # The push ``delay`` after that of a beat completes its output.
    completing = np.flatnonzero(np.concatenate(is_beat)) + delay
    return np.concatenate(pushes)[completing] + local_latency(entries, scaled), taken.reshape(-1)


def windows(times: np.ndarray, *, window: SlidingWindow, i_beats: int, o_beats: int, period: int) -> np.ndarray:
    """Return the output times of a `Windows`.

    A row of the grid has ``i_beats`` input beats, a window ``o_beats`` output beats. Windows follow each other at
    least ``period`` clock cycles apart.
    """
    row_complete = times.reshape(-1, window.height, i_beats)[:, :, -1]
    _, end = window.row_spans()
    ready = np.repeat(row_complete[:, end - 1] + 1, window.grid[1], axis=1).reshape(-1)
    start = queued(ready, max(period, o_beats))
    return (start[:, None] + np.arange(o_beats)).reshape(-1) + READ_LATENCY


def transpose(times: np.ndarray, *, i_beats: int, vectors: int, o_beats: int, period: int) -> np.ndarray:
    """Return the output times of a `Transpose`.

    A frame has ``i_beats`` input beats and ``vectors`` output vectors of ``o_beats`` beats, which follow each other
    at least ``period`` clock cycles apart.
    """
    ready = np.repeat(times.reshape(-1, i_beats)[:, -1] + 1, vectors)
    start = queued(ready, max(period, o_beats))
    return (start[:, None] + np.arange(o_beats)).reshape(-1) + READ_LATENCY


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the output times of an `Add` with inputs at ``a`` and ``b``."""
    return np.maximum(a, b) + ADD_LATENCY


def mean_pool(times: np.ndarray, *, tokens: int, beats: int, scaled: bool = False) -> np.ndarray:
    """Return the output times of a `MeanPool`, which may be ``scaled``; a frame has ``tokens`` of ``beats`` beats."""
    last = times.reshape(-1, tokens, beats)[:, -1]
    return last.reshape(-1) + 1 + REQUANTISE_LATENCY + (2 if scaled else 0)


def max_pool(times: np.ndarray, *, tokens: int, beats: int) -> np.ndarray:
    """Return the output times of a `MaxPool`; a window has ``tokens`` of ``beats`` beats each."""
    return times.reshape(-1, tokens, beats)[:, -1].reshape(-1) + 1


def thresholds(times: np.ndarray, *, count: int) -> np.ndarray:
    """Return the output times of a `Thresholds` with ``count`` thresholds per channel."""
    return times + count.bit_length() + 1


def argmax(times: np.ndarray, *, beats: int, lanes: int) -> np.ndarray:
    """Return the output times of an `Argmax`; a frame has ``beats`` beats of ``lanes`` logits."""
    return times.reshape(-1, beats)[:, -1] + 1 + (lanes - 1).bit_length()


def fifo_depth(writes: np.ndarray, reads: np.ndarray) -> int:
    """Return the largest number of beats that a buffer holds at once, given the times of its writes and reads.

    Both beats count in a clock cycle in which one enters and another leaves. There are as many reads as writes.
    """
    reads = np.sort(reads)

    def suffices(depth: int) -> bool:
        """Return whether each beat enters after the beat that is ``depth`` beats before it has left."""
        return bool((reads[: max(len(writes) - depth, 0)] < writes[depth:]).all())

    enough = 1
    while not suffices(enough):
        enough *= 2
    return bisect_left(range(enough), True, key=suffices)
