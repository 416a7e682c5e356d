# amaranth: UnusedElaboratable=no
"""Residual connections: results, timing, and the depth of the queue in the bypass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.gateware.chain import Chain
from psahw.gateware.residual import Residual
from psahw.gateware.table import TableRom
from psahw.gateware.transpose import Transpose
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
FRAME = 8  # beats, of a 4x2 transposition


def table(seed, lanes):
    return np.random.default_rng(seed).integers(-128, 128, (lanes, 256)).astype(np.int8)


def looked_up(values, x):
    return values[np.arange(x.shape[1]), x + 128].astype(np.int64)


def transposing(depth, bypass=False):
    """Return a residual connection whose branch transposes 4x2 frames, so that it gives nothing until it has one."""
    turn = Transpose(rows=4, columns=2, i_lanes=1, o_lanes=1, period=4)
    wire = Chain(parts={"table": TableRom(values=table(3, 1), lanes=1)}) if bypass else None
    return Residual(i_lanes=1, o_lanes=1, branch=Chain(parts={"turn": turn}), bypass=wire, depth=depth)


def late_bypass(branch_depth):
    """Return a residual connection whose bypass transposes 4x2 frames, so that the branch has to wait for it."""
    turn = Chain(parts={"turn": Transpose(rows=4, columns=2, i_lanes=1, o_lanes=1, period=4)})
    branch = Chain(parts={"table": TableRom(values=table(3, 1), lanes=1)})
    return Residual(i_lanes=1, o_lanes=1, branch=branch, bypass=turn, depth=3, branch_depth=branch_depth)


def expected(x, bypass=False):
    turned = x.reshape(-1, 4, 2).swapaxes(1, 2).reshape(-1, 1)
    return np.clip((looked_up(table(3, 1), x) if bypass else x) + turned, -128, 127)


def beats(count, lanes=1):
    return np.random.default_rng(5).integers(-128, 128, (count, lanes))


@settings(max_examples=15, deadline=None)
@given(st.booleans(), STALLS, STALLS, st.sampled_from([11, 12, 16]))
def test_any_stalls(bypass, i_stalls, o_stalls, depth):
    x = beats(3 * FRAME)
    outputs, *_ = run_stream(transposing(depth, bypass), x, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(outputs, expected(x, bypass))


def test_lanes_and_tables():
    x = beats(20, lanes=3)
    branch = Chain(parts={"a": TableRom(values=table(1, 3), lanes=3), "b": TableRom(values=table(2, 3), lanes=3)})
    bypass = Chain(parts={"table": TableRom(values=table(3, 3), lanes=3)})
    outputs, i_cycles, o_cycles = run_stream(Residual(i_lanes=3, o_lanes=3, branch=branch, bypass=bypass, depth=3), x)
    branched = looked_up(table(2, 3), looked_up(table(1, 3), x))
    assert np.array_equal(outputs, np.clip(branched + looked_up(table(3, 3), x), -128, 127))
    slow, fast = (2 * timing.TABLE_LATENCY, timing.TABLE_LATENCY + timing.QUEUE_LATENCY)
    assert np.array_equal(o_cycles, timing.add(i_cycles + slow, i_cycles + fast))


def needed(x):
    """Return the depth that never delays anything, from the timing of the transposition alone."""
    times = np.arange(len(x))
    branch = timing.transpose(times, i_beats=FRAME, vectors=2, o_beats=4, period=4)
    return timing.fifo_depth(times, timing.add(branch, times + timing.QUEUE_LATENCY) - timing.ADD_LATENCY)


def test_depth_that_delays_nothing():
    x = beats(5 * FRAME)
    depth = needed(x)
    full, i_cycles, o_cycles = run_stream(transposing(depth), x)
    assert np.array_equal(i_cycles, np.arange(len(x)))
    assert np.array_equal(np.diff(o_cycles), np.ones(len(x) - 1))
    assert np.array_equal(full, expected(x))
    short, late_i, _ = run_stream(transposing(depth - 1), x)
    assert late_i[-1] > i_cycles[-1]
    assert np.array_equal(short, expected(x))


@settings(max_examples=15, deadline=None)
@given(STALLS, STALLS, st.sampled_from([9, 11, 16]))
def test_late_bypass(i_stalls, o_stalls, branch_depth):
    x = beats(3 * FRAME)
    outputs, *_ = run_stream(late_bypass(branch_depth), x, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(outputs, expected(x, bypass=True))


def test_branch_depth_that_delays_nothing():
    x = beats(5 * FRAME)
    times = np.arange(len(x))
    turned = timing.transpose(times, i_beats=FRAME, vectors=2, o_beats=4, period=4) + timing.QUEUE_LATENCY
    branch = timing.table_rom(times)
    depth = timing.fifo_depth(branch, timing.add(branch + timing.QUEUE_LATENCY, turned) - timing.ADD_LATENCY)
    full, i_cycles, o_cycles = run_stream(late_bypass(depth), x)
    assert np.array_equal(i_cycles, times)
    assert np.array_equal(o_cycles, timing.add(branch + timing.QUEUE_LATENCY, turned))
    assert np.array_equal(full, expected(x, bypass=True))
    _, late_i, _ = run_stream(late_bypass(depth - 1), x)
    assert late_i[-1] > i_cycles[-1]


@pytest.mark.parametrize("depth", range(1, FRAME - 1))
def test_depth_that_deadlocks(depth):
    """The queue is full, and one more beat, which the branch already has, waits in front of the fork."""
    outputs, i_cycles, _ = run_stream(transposing(depth), beats(2 * FRAME))
    assert len(outputs) == 0
    assert len(i_cycles) == depth + 1


@pytest.mark.parametrize("reset_at", [3, 10, 17])
def test_reset(reset_at):
    x = beats(2 * FRAME)
    outputs, *_ = run_stream(transposing(12), x, o_stalls=[True, False], reset_at=reset_at)
    assert np.array_equal(outputs, expected(x))
