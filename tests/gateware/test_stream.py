# amaranth: UnusedElaboratable=no
"""Queues, skid buffers, gathering, forks and connections of streams."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.gateware.stream import Fork, Gather, Queue, Skid, connect, vector_signature
from tests.gateware.streams import run_stream, run_streams

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
few_examples = settings(max_examples=15, deadline=None)


def ramp(beats, lanes):
    """Return beats of elements that differ from their neighbours; some are negative."""
    return (np.arange(beats * lanes) * 7 % 256 - 128).reshape(beats, lanes)


@few_examples
@given(st.integers(1, 3), st.integers(1, 4), STALLS, STALLS)
def test_gather(lanes, ratio, i_stalls, o_stalls):
    beats = ramp(5 * ratio, lanes)
    out, _, _ = run_stream(Gather(lanes=lanes, ratio=ratio), beats, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, beats.reshape(5, lanes * ratio))


@few_examples
@given(st.integers(1, 4), STALLS)
def test_gather_cycles(ratio, i_stalls):
    _, i, o = run_stream(Gather(lanes=1, ratio=ratio), ramp(5 * ratio, 1), i_stalls=i_stalls)
    assert np.array_equal(o, timing.gather(i, ratio))


@few_examples
@given(st.integers(1, 2), st.integers(1, 4), st.integers(0, 6), STALLS, STALLS)
def test_gather_vectors_that_the_ratio_does_not_divide(lanes, ratio, more, i_stalls, o_stalls):
    length = ratio + more
    dut = Gather(lanes=lanes, ratio=ratio, beats=length)
    vectors = ramp(4 * length, lanes).reshape(4, -1)
    out, i, o = run_stream(dut, vectors.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out.reshape(4, -1)[:, : vectors.shape[1]], vectors)
    if not any(o_stalls):
        assert np.array_equal(o, timing.gather(i, ratio, length))


@few_examples
@given(st.integers(1, 9), STALLS, STALLS)
def test_queue(depth, i_stalls, o_stalls):
    beats = ramp(30, 2)
    dut = Queue(shape=data.ArrayLayout(signed(8), 2), depth=depth)
    out, i, o = run_stream(dut, beats, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, beats)
    assert (o - i).min() >= 2
    assert timing.fifo_depth(i, o) <= depth


@pytest.mark.parametrize("depth", range(1, 8))
def test_queue_holds_exactly_its_depth(depth):
    _, i, o = run_stream(Queue(shape=8, depth=depth), ramp(10, 1), o_stalls=[True] * 20 + [False] * 80)
    assert i[:depth].tolist() == list(range(depth))
    assert i[depth] == o[0] + 1 == 21


def test_queue_full_throughput_from_depth_3():
    _, i, o = run_stream(Queue(shape=8, depth=3), ramp(20, 1))
    assert np.array_equal(i, np.arange(20)) and np.array_equal(o, i + 2)


@few_examples
@given(STALLS, STALLS)
def test_queue_of_the_computed_depth_never_waits(i_stalls, o_stalls):
    deep = Queue(shape=8, depth=30)
    _, i, o = run_stream(deep, ramp(30, 1), i_stalls=i_stalls, o_stalls=o_stalls)
    depth = timing.fifo_depth(i, o)
    _, i_exact, o_exact = run_stream(Queue(shape=8, depth=depth), ramp(30, 1), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(i_exact, i) and np.array_equal(o_exact, o)
    if depth > 1:
        short = Queue(shape=8, depth=depth - 1)
        _, i_short, _ = run_stream(short, ramp(30, 1), i_stalls=i_stalls, o_stalls=o_stalls)
        assert not np.array_equal(i_short, i)


@few_examples
@given(STALLS, STALLS, STALLS)
def test_fork(i_stalls, a_stalls, b_stalls):
    beats = ramp(20, 2)
    stalls = {"i": i_stalls, "o_a": a_stalls, "o_b": b_stalls}
    run = run_streams(Fork(shape=data.ArrayLayout(signed(8), 2)), {"i": beats}, ["o_a", "o_b"], stalls=stalls)
    for port in ("o_a", "o_b"):
        assert np.array_equal(run.beats[port], beats)
    both = np.maximum(run.cycles["o_a"], run.cycles["o_b"])
    assert np.array_equal(run.cycles["i"], both)


@few_examples
@given(STALLS, STALLS)
def test_skid(i_stalls, o_stalls):
    """Beats leave in order, a beat comes in when the one before has left, and nothing delays them without stalls."""
    beats = ramp(30, 2)
    out, i, o = run_stream(Skid(shape=data.ArrayLayout(signed(8), 2)), beats, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, beats)
    assert (o >= i).all()
    assert (i[1:] > o[:-1]).all()
    if not any(o_stalls):
        assert np.array_equal(i, o)


def test_skid_ready_does_not_follow_within_the_cycle():
    dut = Skid(shape=8)
    observed = []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for payload, ready in ((1, 0), (2, 1), (2, 0), (3, 1)):
            ctx.set(dut.i.payload, payload)
            before = ctx.get(dut.i.ready)
            ctx.set(dut.o.ready, ready)
            observed.append((before, ctx.get(dut.i.ready), ctx.get(dut.o.payload)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert observed == [(1, 1, 1), (0, 0, 1), (1, 1, 2), (0, 0, 2)]


@pytest.mark.parametrize(
    "dut, lanes",
    [(Gather(lanes=2, ratio=3), 2), (Queue(shape=signed(16), depth=4), 1), (Skid(shape=signed(16)), 1)],
    ids=["gather", "queue", "skid"],
)
def test_reset(dut, lanes):
    beats = ramp(12, lanes)
    out, _, _ = run_stream(dut, beats, o_stalls=[False, True], reset_at=7)
    assert np.array_equal(out.reshape(-1), beats.reshape(-1))


class Ends(Component):
    source: Out(vector_signature(2))
    sink: In(vector_signature(2))


def test_vector_signature():
    assert vector_signature(3, Codes(5)) == stream.Signature(data.ArrayLayout(signed(5), 3))


def test_connect():
    ends = Ends()
    connect(Module(), ends.source, ends.sink)


def test_connect_wrong_shape():
    other = stream.Signature(data.ArrayLayout(unsigned(8), 2)).flip().create()
    message = (
        "source and sink must have the same payload shape, not ArrayLayout(signed(8), 2) "
        "and ArrayLayout(unsigned(8), 2)"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        connect(Module(), Ends().source, other)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Queue(shape=8, depth=0), ValueError, "depth must be at least 1, not 0"),
        (lambda: Queue(shape=8, depth=2.5), TypeError, "depth must be an integer, not 2.5"),
        (
            lambda: Queue(shape=8, depth=2, style="bram"),
            ValueError,
            "style must be 'auto', 'block' or 'distributed', not 'bram'",
        ),
        (lambda: Gather(lanes=0, ratio=1), ValueError, "lanes must be at least 1, not 0"),
        (lambda: Gather(lanes=1, ratio=True), TypeError, "ratio must be an integer, not True"),
        (lambda: Gather(lanes=1, ratio=3, beats=2), ValueError, "beats must be at least 3, not 2"),
    ],
)
def test_init_wrong(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()
