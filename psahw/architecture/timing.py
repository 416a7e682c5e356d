"""When beats move: the executable form of ``docs/reference/components.md``.

Every function maps the cycles in which a component's input beats are transferred, an int64 array in stream
order, to the cycles of its output beats, without backpressure. The plan composes them; the components' tests
compare them with simulation, cycle for cycle.
"""

import numpy as np

from .geometry import SlidingWindow

__all__ = [
    "add", "argmax", "fifo_depth", "gather", "graph_engine", "graph_latency", "graph_words", "local_latency",
    "local_mixing", "mac_array", "mac_latency", "mean_pool", "queued", "table_rom", "transpose", "windows",
]  # fmt: skip

TABLE_LATENCY = 2
REQUANTISE_LATENCY = 3
READ_LATENCY = 2  # Windows and Transpose: issue to output beat


def queued(earliest: np.ndarray, work: int | np.ndarray) -> np.ndarray:
    """Start times of jobs served in order by one server: ``s[i] = max(earliest[i], s[i-1] + work[i-1])``."""
    before = np.concatenate(([0], np.cumsum(np.broadcast_to(work, earliest.shape))[:-1]))
    return np.maximum.accumulate(earliest - before) + before


def table_rom(times):
    return times + TABLE_LATENCY


def gather(times, ratio, beats=None):
    """``ratio`` input beats make one output beat, fewer at the end of a vector of so many ``beats``."""
    vectors = times.reshape(-1, beats or ratio)
    ends = np.minimum(np.arange(0, vectors.shape[1], ratio) + ratio, vectors.shape[1]) - 1
    return vectors[:, ends].reshape(-1) + 1


def mac_latency(columns: int) -> int:
    """Cycles from a pass's last step to its first row at the output.

    Four to the accumulator (ROM, A/B, M, P), one capture, one row select, one for each level of the adder
    tree over columns, and the requantiser.
    """
    return 6 + (columns - 1).bit_length() + REQUANTISE_LATENCY


def mac_array(times, *, inputs, outputs, rows, columns, o_lanes):
    """Input beats of ``columns`` lanes to (output beats of ``o_lanes``, cycles in which ring beats are freed)."""
    steps, passes = -(-inputs // columns), -(-outputs // rows)
    start = queued(times.reshape(-1, steps)[:, -1] + 1, passes * steps)
    row = np.arange(0, outputs, o_lanes)
    end = (row // rows + 1) * steps - 1 + mac_latency(columns) + row % rows // o_lanes
    freed = start[:, None] + (passes - 1) * steps + np.arange(steps)
    return (start[:, None] + end).reshape(-1), freed.reshape(-1)


def graph_latency(latency: int) -> int:
    """Cycles from a vector into an adder graph of so much latency to the first beat of its result: one to hold it,
    one to choose lanes, two in the queue."""
    return latency + 4


def graph_words(latency: int, o_beats: int, interval: int) -> int:
    """Vectors that are on their way at once in steady state: from the cycle in which one is let in to the one after
    its last beat."""
    return (graph_latency(latency) + o_beats - 1) // interval + 1


def graph_engine(times, *, i_beats, o_beats, interval, latency):
    """``interval`` and ``latency`` of the graph itself; returns (output beats, cycles in which inputs are taken)."""
    beats, place = times.reshape(-1, i_beats), np.arange(i_beats)
    ready = (beats - place).max(1) + i_beats - 1 + (1 if i_beats > 1 else 0)
    start = queued(ready, max(interval, o_beats, i_beats))
    output = start[:, None] + graph_latency(latency) + np.arange(o_beats)
    if i_beats == 1:
        return output.reshape(-1), start
    # The first beat of a vector finds room in the cycle in which the vector before leaves.
    begin = np.concatenate((beats[:1, 0], start[:-1]))
    taken = np.maximum(np.maximum.accumulate(beats - place, axis=1), begin[:, None]) + place
    return output.reshape(-1), taken.reshape(-1)


def local_latency(kernel: int) -> int:
    """Cycles from a push to its output beat: two for the line buffers, three in the multipliers, one for each
    level of the adder tree over the taps, and the requantiser."""
    return 5 + (kernel**2 - 1).bit_length() + REQUANTISE_LATENCY


def local_mixing(times, *, tokens, beats, reach, kernel):
    """``beats`` per token, a frame of ``tokens``; returns (output beats, cycles in which inputs are taken)."""
    frames = times.reshape(-1, tokens * beats)
    idle = np.full((len(frames), reach * beats), np.iinfo(np.int64).min // 2)
    push = queued(np.concatenate((frames, idle), axis=1).reshape(-1), 1).reshape(len(frames), -1)
    output = push[:, reach * beats :] + local_latency(kernel)
    return output.reshape(-1), push[:, : tokens * beats].reshape(-1)


def windows(times, *, window: SlidingWindow, i_beats, o_beats, period):
    """Image rows to windows. ``i_beats`` is the number of input beats of a row of the image, ``o_beats`` that of
    a window. ``times`` are the transfers of the input: (frames · height · i_beats)."""
    row_done = times.reshape(-1, window.height, i_beats)[:, :, -1]
    _, end = window.row_spans()
    ready = np.repeat(row_done[:, end - 1] + 1, window.grid[1], axis=1).reshape(-1)
    start = queued(ready, max(period, o_beats))
    return (start[:, None] + np.arange(o_beats)).reshape(-1) + READ_LATENCY


def transpose(times, *, i_beats, vectors, o_beats, period):
    """``i_beats`` input beats a frame; ``vectors`` of ``o_beats`` beats a frame come out."""
    ready = np.repeat(times.reshape(-1, i_beats)[:, -1] + 1, vectors)
    start = queued(ready, max(period, o_beats))
    return (start[:, None] + np.arange(o_beats)).reshape(-1) + READ_LATENCY


def add(a, b):
    return np.maximum(a, b) + 1


def mean_pool(times, *, tokens, beats):
    last = times.reshape(-1, tokens, beats)[:, -1]
    return last.reshape(-1) + 1 + REQUANTISE_LATENCY


def argmax(times, *, classes):
    return times.reshape(-1, classes)[:, -1] + 1


def fifo_depth(writes: np.ndarray, reads: np.ndarray) -> int:
    """Largest number of beats held at once: in a cycle in which one enters and one leaves, both count."""
    order = np.searchsorted(np.sort(reads), writes, side="left")
    return int((np.arange(1, len(writes) + 1) - order).max())
