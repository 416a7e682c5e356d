"""Buffer depths, frame interval and latency of a pipeline, by calculation.

Frames are run through the timing model of the pipeline (`psahw.architecture.timing`). Times are clock cycles from the
first input beat of the first frame into an idle accelerator. Because the source offers one token per token period,
everything behind it is periodic once the pipeline has filled. This takes some frames. In a local mixing, the last
tokens of a frame leave with the first ones of the next frame, and without waiting for them if no frame follows. The
last results before a pause therefore come early. `schedule` runs frames until enough of them are periodic.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from ..architecture import timing
from ..architecture.nodes import (  # fmt: skip
    Argmax,
    Gather,
    GraphEngine,
    InputTable,
    LocalMixing,
    MacArray,
    MaxPool,
    MeanPool,
    Node,
    Residual,
    TableRom,
    Thresholds,
    Transpose,
    Windows,
    walk,
)

__all__ = ["Schedule", "Unsteady", "intervals", "schedule"]

STEADY_FRAMES = 4
"""Results that must follow each other at the frame interval."""


class Unsteady(Exception):
    """A pipeline that a buffer of fixed size would hold up. The message names the component."""


@dataclass(frozen=True)
class Schedule:
    """A pipeline with the depths of its buffers, and its cadence.

    Parameters
    ----------
    pipeline
        The nodes, with the depths of their buffers.
    frame_interval
        Clock cycles from result to result in the steady state.
    latency
        Clock cycles from the first input beat of a frame to its result, if the accelerator is idle before, and
        others follow.
    lone_latency
        The same if no frame follows.
    settling_frames
        Results before the steady state.
    draining_frames
        Results after the steady state, if no more frames follow.
    """

    pipeline: tuple[Node, ...]
    frame_interval: int
    latency: int
    lone_latency: int
    settling_frames: int
    draining_frames: int


@singledispatch
def _visit(node: Node, times: np.ndarray) -> tuple[Node, np.ndarray]:
    """Return a node with the depths of its buffers, and the times of its output beats."""
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_visit.register
def _(node: InputTable, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.table_rom(times)


@_visit.register
def _(node: TableRom, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.table_rom(times, node.banks)


@_visit.register
def _(node: Gather, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.gather(times, node.ratio, node.beats)


@_visit.register
def _(node: MacArray, times: np.ndarray) -> tuple[Node, np.ndarray]:
    output, freed = timing.mac_array(
        times,
        inputs=node.inputs,
        outputs=node.outputs,
        rows=node.rows,
        columns=node.columns,
        o_lanes=node.o_lanes,
        scaled=node.scale_bits > 0,
        multiplier=node.multiplier,
    )
    return dataclasses.replace(node, depth=max(node.steps, timing.fifo_depth(times, freed))), output


@_visit.register
def _(node: GraphEngine, times: np.ndarray) -> tuple[Node, np.ndarray]:
    output, taken = timing.graph_engine(
        times + timing.QUEUE_LATENCY,
        i_beats=node.i_beats,
        o_beats=node.o_beats,
        interval=node.graph_interval,
        latency=node.graph_latency,
    )
    return dataclasses.replace(node, queue=timing.fifo_depth(times, taken)), output


def _rows_taken(node: Windows, times: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Return the times at which the row buffer takes each input beat, for windows that leave at ``output``.

    The last window that needs a row frees it when its last beat is issued.
    """
    beats = node.width * node.channels // node.i_lanes
    last = output.reshape(-1, *node.grid, node.length // node.o_lanes)[:, :, -1, -1] - timing.READ_LATENCY
    freed = last[:, node.window.freed_after()].reshape(-1)
    capacity = node.window.buffered_rows
    allowed = np.concatenate((np.full(capacity, times[0]), freed + 1))[: len(freed)]
    return timing.queued(np.maximum(times, np.repeat(allowed, beats)), 1)


@_visit.register
def _(node: Windows, times: np.ndarray) -> tuple[Node, np.ndarray]:
    arrival = times if node.queue is None else times + timing.QUEUE_LATENCY
    taken = arrival
    for _ in range(4 * node.height):
        output = timing.windows(
            taken,
            window=node.window,
            i_beats=node.width * node.channels // node.i_lanes,
            o_beats=node.length // node.o_lanes,
            period=node.period,
        )
        before, taken = taken, _rows_taken(node, arrival, output)
        if np.array_equal(before, taken):
            queue = None if node.queue is None else timing.fifo_depth(times, taken)
            return dataclasses.replace(node, queue=queue), output
    raise Unsteady(f"{node.name}: the row buffer does not settle")


@_visit.register
def _(node: Transpose, times: np.ndarray) -> tuple[Node, np.ndarray]:
    i_beats, o_beats = node.rows * node.columns // node.i_lanes, node.rows // node.o_lanes
    output = timing.transpose(times, i_beats=i_beats, vectors=node.columns, o_beats=o_beats, period=node.period)
    read = output.reshape(-1, node.columns * o_beats)[:-2, -1] - timing.READ_LATENCY
    written = times.reshape(-1, i_beats)[2:, 0]
    if (written <= read).any():
        raise Unsteady(f"{node.name}: a frame arrives before the one before the last has left")
    return node, output


@_visit.register
def _(node: LocalMixing, times: np.ndarray) -> tuple[Node, np.ndarray]:
    output, taken = timing.local_mixing(
        times + timing.QUEUE_LATENCY,
        tokens=node.tokens,
        beats=node.beats,
        reach=node.reach,
        entries=node.entries,
        scaled=node.scale_bits > 0,
    )
    return dataclasses.replace(node, queue=timing.fifo_depth(times, taken)), output


@_visit.register
def _(node: Residual, times: np.ndarray) -> tuple[Node, np.ndarray]:
    branch, slow = _chain(node.branch, times)
    bypass, fast = _chain(node.bypass, times)
    output = timing.add(slow, fast + timing.QUEUE_LATENCY)
    branch_queue = 0
    if timing.fifo_depth(slow, output - timing.ADD_LATENCY) > 1:
        # Behind some layers the bypass is the later one. The skid buffer of the branch has room for one beat only.
        output = timing.add(slow + timing.QUEUE_LATENCY, fast + timing.QUEUE_LATENCY)
        branch_queue = timing.fifo_depth(slow, output - timing.ADD_LATENCY)
    queue = timing.fifo_depth(fast, output - timing.ADD_LATENCY)
    return dataclasses.replace(node, branch=branch, bypass=bypass, queue=queue, branch_queue=branch_queue), output


@_visit.register
def _(node: Thresholds, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.thresholds(times, count=node.count)


@_visit.register
def _(node: MaxPool, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.max_pool(times, tokens=node.tokens, beats=node.beats)


@_visit.register
def _(node: MeanPool, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.mean_pool(
        times, tokens=node.tokens, beats=node.channels // node.lanes, scaled=node.multiplier != 1
    )


@_visit.register
def _(node: Argmax, times: np.ndarray) -> tuple[Node, np.ndarray]:
    return node, timing.argmax(times, beats=node.classes // node.lanes, lanes=node.lanes)


def _chain(nodes: Sequence[Node], times: np.ndarray) -> tuple[tuple[Node, ...], np.ndarray]:
    """Return nodes that follow each other with the depths of their buffers, and the times of their output beats."""
    visited = []
    for node in nodes:
        node, times = _visit(node, times)
        visited.append(node)
    return tuple(visited), times


def intervals(pipeline: tuple[Node, ...], input_beats: int) -> dict[str, int]:
    """Return the shortest frame interval that each node could keep by itself, by name.

    An interval is in clock cycles: those in which the node works on a frame, takes its beats, or gives its beats,
    whichever are most. ``input_beats`` is the number of input beats per frame.
    """
    shortest: dict[str, int] = {}
    _add_intervals(pipeline, input_beats, shortest)
    return shortest


def _add_intervals(pipeline: tuple[Node, ...], beats: int, shortest: dict[str, int]) -> int:
    """Add the interval of each node to ``shortest``; return the number of output beats per frame."""
    for node in pipeline:
        work, before = 0, beats
        match node:
            case Windows():
                beats = node.vectors * node.length // node.o_lanes
            case Gather():
                length = node.beats or node.ratio
                beats = beats // length * -(-length // node.ratio)
            case MacArray():
                beats, work = node.vectors * node.outputs // node.o_lanes, node.vectors * node.interval
            case GraphEngine():
                beats, work = node.vectors * node.o_beats, node.vectors * node.interval
            case Transpose():
                beats = node.rows * node.columns // node.o_lanes
            case LocalMixing():
                work = max(node.tokens, node.reach) * node.beats
            case Residual():
                beats = _add_intervals(node.branch, before, shortest)
                _add_intervals(node.bypass, before, shortest)
            case MaxPool():
                beats //= node.tokens
            case MeanPool():
                beats = node.channels // node.lanes
            case Argmax():
                beats = 1
        shortest[node.name] = max(work, before, beats)
    return beats


def _ends(irregular: np.ndarray, frames: int, early: int) -> tuple[int, int]:
    """Return the number of results before and after the steady state.

    ``irregular`` are the results behind which the next does not come a frame interval later. At most ``early`` of the
    last ones are after the steady state.
    """
    before, after = irregular[irregular < frames - 1 - early], irregular[irregular >= frames - 1 - early]
    return int(before[-1]) + 1 if len(before) else 0, frames - 1 - int(after[0]) if len(after) else 0


def schedule(pipeline: tuple[Node, ...], input_beats: int, frame_interval: int) -> Schedule:
    """Return the buffer depths and the cadence of a pipeline.

    Parameters
    ----------
    pipeline
        The nodes in data order.
    input_beats
        Input beats per frame.
    frame_interval
        Clock cycles per frame at which the source offers tokens.

    Raises
    ------
    Unsteady
        If something would hold the pipeline up.
    ValueError
        If the nodes do not fit each other.
    """
    layers = sum(isinstance(node, LocalMixing | Windows | Transpose) for node in walk(pipeline))
    early = sum(isinstance(node, LocalMixing) for node in walk(pipeline))  # most results that a pause makes early
    frames, most = STEADY_FRAMES + layers, STEADY_FRAMES + 4 * layers + early
    while frames <= most:
        visited, results = _chain(pipeline, np.arange(frames * input_beats, dtype=np.int64))
        if len(results) != frames:
            raise ValueError(f"pipeline must give {frames} results for {frames} frames, not {len(results)}")
        under_way = -(-int(results[0]) // frame_interval)
        if frames < under_way + STEADY_FRAMES:
            # A buffer is filled only by as many frames as are in the pipeline at once.
            frames, most = under_way + STEADY_FRAMES + layers, under_way + most
            continue
        irregular = np.flatnonzero(np.diff(results) != frame_interval)
        settling, draining = _ends(irregular, frames, early)
        if frames - settling - draining >= STEADY_FRAMES:
            alone = _chain(pipeline, np.arange(input_beats, dtype=np.int64))[1] if early else results
            return Schedule(visited, frame_interval, int(results[0]), int(alone[0]), settling, draining)
        frames += 3 * layers or 1
    raise Unsteady(f"the pipeline does not settle to a frame every {frame_interval} cycles within {most} frames")
