"""Runs frames through a pipeline's timing model: buffer depths, frame interval and latency by calculation.

Times are cycles from the first input beat of the first frame into an idle accelerator. The metronome makes
everything after it periodic once the pipeline has filled: a local mixing delays the first tokens of a frame while it
flushes the frame before, which a first frame does not see. `schedule` runs frames until that has settled.
"""

import dataclasses
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
    MeanPool,
    Node,
    Residual,
    TableRom,
    Transpose,
    Windows,
    walk,
)

__all__ = ["Schedule", "Unsteady", "intervals", "schedule"]

STEADY_FRAMES = 4  # that must follow each other at the interval
QUEUE_LATENCY = 2


class Unsteady(Exception):
    """A buffer of fixed size would hold the pipeline up; the message names it."""


@dataclass(frozen=True)
class Schedule:
    """``pipeline`` has its buffer depths filled in. ``latency`` is from a frame's first input beat to its result,
    for a frame that finds the accelerator idle; ``frame_interval`` from result to result in steady state, which is
    reached after ``settling_frames`` results."""

    pipeline: tuple[Node, ...]
    frame_interval: int
    latency: int
    settling_frames: int


@singledispatch
def _visit(node: Node, times: np.ndarray) -> tuple[Node, np.ndarray]:
    """The node with its depths, and the times of its output beats."""
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_visit.register(InputTable)
@_visit.register(TableRom)
def _(node, times):
    return node, timing.table_rom(times)


@_visit.register
def _(node: Gather, times):
    return node, timing.gather(times, node.ratio, node.beats)


@_visit.register
def _(node: MacArray, times):
    output, freed = timing.mac_array(
        times,
        inputs=node.inputs,
        outputs=node.outputs,
        rows=node.rows,
        columns=node.columns,
        o_lanes=node.o_lanes,
    )
    return dataclasses.replace(node, depth=max(node.steps, timing.fifo_depth(times, freed))), output


@_visit.register
def _(node: GraphEngine, times):
    output, taken = timing.graph_engine(
        times + QUEUE_LATENCY,
        i_beats=node.i_beats,
        o_beats=node.o_beats,
        interval=node.graph_interval,
        latency=node.graph_latency,
    )
    return dataclasses.replace(node, queue=timing.fifo_depth(times, taken)), output


def _rows_taken(node: Windows, times, output):
    """When the row buffer takes each input beat, if it issues windows such that ``output`` leaves. The last window
    that needs a row frees it when its last beat is issued."""
    beats = node.width * node.channels // node.i_lanes
    last = output.reshape(-1, *node.grid, node.length // node.o_lanes)[:, :, -1, -1] - timing.READ_LATENCY
    freed = last[:, node.window.freed_after()].reshape(-1)
    capacity = node.window.buffered_rows
    allowed = np.concatenate((np.full(capacity, times[0]), freed + 1))[: len(freed)]
    return timing.queued(np.maximum(times, np.repeat(allowed, beats)), 1)


@_visit.register
def _(node: Windows, times):
    arrival = times if node.queue is None else times + QUEUE_LATENCY
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
def _(node: Transpose, times):
    i_beats, o_beats = node.rows * node.columns // node.i_lanes, node.rows // node.o_lanes
    output = timing.transpose(times, i_beats=i_beats, vectors=node.columns, o_beats=o_beats, period=node.period)
    read = output.reshape(-1, node.columns * o_beats)[:-2, -1] - timing.READ_LATENCY
    written = times.reshape(-1, i_beats)[2:, 0]
    if (written <= read).any():
        raise Unsteady(f"{node.name}: a frame arrives before the one before the last has left")
    return node, output


@_visit.register
def _(node: LocalMixing, times):
    output, taken = timing.local_mixing(
        times + QUEUE_LATENCY, tokens=node.tokens, beats=node.beats, reach=node.reach, kernel=node.kernel
    )
    return dataclasses.replace(node, queue=timing.fifo_depth(times, taken)), output


@_visit.register
def _(node: Residual, times):
    branch, slow = _chain(node.branch, times)
    bypass, fast = _chain(node.bypass, times)
    output = timing.add(slow, fast + QUEUE_LATENCY)
    depth = timing.fifo_depth(fast, output - 1)
    return dataclasses.replace(node, branch=branch, bypass=bypass, queue=depth), output


@_visit.register
def _(node: MeanPool, times):
    return node, timing.mean_pool(times, tokens=node.tokens, beats=node.channels // node.lanes)


@_visit.register
def _(node: Argmax, times):
    return node, timing.argmax(times, classes=node.classes)


def _chain(items, times):
    done = []
    for item in items:
        item, times = _visit(item, times)
        done.append(item)
    return tuple(done), times


def intervals(pipeline: tuple[Node, ...], input_beats: int) -> dict[str, int]:
    """For each node by name, the shortest frame interval that it could keep by itself, in cycles: those in which it
    works on a frame, or takes or gives its beats."""
    found, beats = {}, input_beats
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
                work = (node.tokens + node.reach) * node.beats
            case Residual():
                found |= {**intervals(node.branch, beats), **intervals(node.bypass, beats)}
            case MeanPool():
                beats = node.channels // node.lanes
            case Argmax():
                beats = 1
        found[node.name] = max(work, before, beats)
    return found


def schedule(pipeline: tuple[Node, ...], input_beats: int, frame_interval: int) -> Schedule:
    """Depths and times of a pipeline whose image has ``input_beats`` beats and whose metronome makes a frame every
    ``frame_interval`` cycles. Raises `Unsteady` if something would hold it up, ValueError for nodes that do not
    fit each other."""
    layers = sum(isinstance(node, LocalMixing | Windows | Transpose) for node in walk(pipeline))
    for frames in (STEADY_FRAMES + layers, STEADY_FRAMES + 4 * layers):
        done, results = _chain(pipeline, np.arange(frames * input_beats, dtype=np.int64))
        if len(results) != frames:
            raise ValueError(f"pipeline must make a result a frame, not {len(results)} of {frames}")
        late = np.flatnonzero(np.diff(results) != frame_interval)
        settling = int(late[-1]) + 1 if len(late) else 0
        if frames - 1 - settling >= STEADY_FRAMES - 1:
            return Schedule(done, frame_interval, int(results[0]), settling)
    raise Unsteady(f"the pipeline does not settle to a frame every {frame_interval} cycles within {frames} frames")
