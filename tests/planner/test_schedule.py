"""Calculated buffer depths and times. tests/test_generate.py compares the same figures with simulation."""

import dataclasses

import numpy as np
import pytest

from psahw.architecture import nodes, timing
from psahw.architecture.codes import INT8
from psahw.architecture.device import DEVICES, RESOURCES
from psahw.architecture.nodes import LocalMixing, MacArray, Residual, Transpose, walk
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.planner.candidates import choices
from psahw.planner.engines import Engines, Infeasible
from psahw.planner.optimiser import Programme
from psahw.planner.rules import MAC_ONLY
from psahw.planner.schedule import Unsteady, intervals, schedule
from psahw.planner.schedule import _visit as visit


def brute_force_depth(writes, reads):
    """Return the most beats that were written and not read before a cycle, by counting cycle by cycle."""
    held = largest = 0
    for cycle in range(int(min(writes.min(), reads.min())), int(max(writes.max(), reads.max())) + 1):
        held += int((writes == cycle).sum())
        largest = max(largest, held)
        held -= int((reads == cycle).sum())
    return largest


@pytest.mark.parametrize("seed", range(5))
def test_fifo_depth(seed):
    rng = np.random.default_rng(seed)
    writes = np.cumsum(rng.integers(1, 4, 200))
    reads = timing.queued(writes + rng.integers(1, 30, 200), 1)
    assert timing.fifo_depth(writes, reads) == brute_force_depth(writes, reads)


@pytest.mark.parametrize("seed", range(5))
def test_queued(seed):
    rng = np.random.default_rng(seed)
    earliest, work = rng.integers(0, 100, 50), rng.integers(1, 9, 50)
    expected, free = [], 0
    for at, cycles in zip(earliest, work, strict=True):
        expected.append(max(at, free))
        free = expected[-1] + cycles
    assert timing.queued(earliest, work).tolist() == expected


def network(**kwargs):
    return random_network(np.random.default_rng(0), **kwargs)


def build(net, period, bus_bytes, multiplier=None):
    """Return the cheapest pipeline of a period on a large device."""
    tree = choices(net, period, bus_bytes, Engines({}, MAC_ONLY, multiplier))
    return Programme(tree, "xc7").cheapest(worth=DEVICES["xc7k325t"].limits(), limits=dict.fromkeys(RESOURCES, 1e9))


def input_beats(net, bus_bytes):
    return net.image[0] * net.image[1] * net.colours // bus_bytes


@pytest.mark.parametrize("period", [13, 16, 24, 40, 100])
def test_every_engine_keeps_the_period(period):
    net = network(image=(16, 16), stages=(StageShape(8, 12, blocks=2), StageShape(12, 8, groups=2)))
    pipeline = build(net, period, 4)
    frame = 16 * period
    for node in walk(pipeline):
        if isinstance(node, MacArray):
            assert node.interval * node.vectors <= frame
            assert node.rows <= node.o_lanes * node.steps
        if isinstance(node, Transpose):
            assert node.period * node.columns <= frame
            assert node.rows // node.o_lanes <= node.period
    result = schedule(pipeline, input_beats(net, 4), frame)
    assert result.frame_interval == frame


def test_fewer_multipliers_for_a_longer_period():
    net = network(image=(16, 16), stages=(StageShape(16, 16, blocks=2, groups=4, kernel=3),))
    used = [
        sum(n.rows * n.columns for n in walk(build(net, period, 4)) if isinstance(n, MacArray))
        for period in (26, 40, 80, 160, 320)
    ]
    assert used == sorted(used, reverse=True)
    assert used[0] > 2 * used[-1]


def test_two_rows_in_a_multiplier():
    """With pairs, the same period takes about half of the multipliers, and the cadence is the same."""
    net = network(image=(16, 16), stages=(StageShape(16, 16, blocks=2, groups=4, kernel=3),))
    built = (build(net, 26, 4, multiplier) for multiplier in (None, "DSP48E1"))
    single, packed = ([n for n in walk(pipeline) if isinstance(n, MacArray)] for pipeline in built)
    assert sum(n.pairs for n in single) == 0
    assert sum(n.multipliers for n in packed) < 0.6 * sum(n.multipliers for n in single)
    for node in packed:
        assert node.multipliers >= -(-node.rows // 2) * node.columns
    assert schedule(build(net, 26, 4, "DSP48E1"), input_beats(net, 4), 16 * 26).frame_interval == 16 * 26


def test_columns_that_do_not_divide_the_inputs():
    """Seven passes of 10 steps take 70 cycles, with 5 columns for 48 inputs, although only 6 would divide them."""
    net = network(stages=(StageShape(7, 7),))
    pipeline = build(net, 70, 4)
    nodes = {node.name: node for node in walk(pipeline)}
    embed, gather = nodes["embed"], nodes["embed.gather"]
    assert (embed.inputs, embed.columns, embed.steps, embed.rows) == (48, 5, 10, 1)
    assert (gather.ratio, gather.beats) == (5, 48)
    assert schedule(pipeline, input_beats(net, 4), 4 * 70).frame_interval == 280
    assert intervals(pipeline, input_beats(net, 4))["embed.gather"] == 4 * 48


def test_local_mixing_needs_no_transposition():
    net = network(image=(16, 16), stages=(StageShape(8, 8, groups=2, kernel=3),))
    kinds = {type(node) for node in walk(build(net, 40, 4))}
    assert LocalMixing in kinds
    assert Transpose not in kinds


def test_a_dense_residual_holds_about_two_frames():
    """Each of the two transpositions gathers one frame."""
    net = network(image=(16, 16), stages=(StageShape(8, 8),))
    result = schedule(build(net, 20, 4), input_beats(net, 4), 16 * 20)
    mixing = next(n for n in walk(result.pipeline) if isinstance(n, Residual))
    assert 1.5 * 16 * 8 < mixing.queue * mixing.o_lanes < 3 * 16 * 8


def test_too_short_a_period():
    net = network(patch=Patch(4, 4))
    with pytest.raises(Infeasible, match="4 bytes a cycle do not bring an image in 4 cycles"):
        build(net, 1, 4)


def test_a_bus_that_does_not_divide_the_row():
    with pytest.raises(Infeasible, match=r"5 bytes per beat must divide a row of 24 bytes"):
        build(network(), 100, 5)


def test_intervals_by_hand():
    """The most of the cycles in which a node takes its beats, works, or gives its beats."""
    table = nodes.TableRom("table", 8, 2)
    mac = nodes.MacArray("mac", 8, 6, rows=2, columns=3, o_lanes=2, vectors=5, sets=1, weight_bits=8,
                         acc_bits=20, offset_bits=20, shift_range=0)  # fmt: skip
    graph = nodes.GraphEngine("graph", 6, 8, 2, 4, vectors=5, digit=1, graph_interval=20,
                              graph_latency=9, lut=0, ff=0)  # fmt: skip
    local = LocalMixing("local", (3, 3), (5, 1), 8, 1, 4, 8, 20, 20, 0)
    residual = Residual("residual", 4, 4, (local,), (dataclasses.replace(table, name="bypass"),))
    pool = nodes.MeanPool("pool", 5, 8, 1, 0)
    pipeline = (
        table,
        nodes.Gather("gather", 2, 3, 4),
        mac,
        graph,
        residual,
        pool,
        nodes.Argmax("argmax", 8, 8, 1, INT8),
    )
    assert intervals(pipeline, 20) == {
        "table": 20,
        "gather": 20,  # five vectors of four beats become five vectors of two
        "mac": 5 * 3 * 3,
        "graph": 5 * 20,
        "local": 5 * 2,
        "bypass": 10,
        "residual": 10,
        "pool": 10,
        "argmax": 8,
    }
    windows = nodes.Windows("windows", 4, 4, 2, (2, 2), (2, 2), (0, 0, 0, 0), 4, 2, 9)
    turn = Transpose("turn", 4, 8, 8, 1, 9)
    assert intervals((windows, nodes.Gather("gather", 2, 2), turn), 8) == {"windows": 16, "gather": 16, "turn": 32}


@pytest.mark.parametrize(
    ("node", "beats"),
    [
        (nodes.Windows("node", 4, 4, 2, (2, 2), (2, 2), (0, 0, 0, 0), 4, 4, 9), 4 * 8 // 4),
        (nodes.Gather("node", 2, 4), 20 // 4),
        (nodes.Gather("node", 2, 2, 5), 4 * 3),
        (nodes.MacArray("node", 8, 3, rows=1, columns=2, o_lanes=1, vectors=5, sets=1, weight_bits=8, acc_bits=20,
                        offset_bits=20, shift_range=0), 5 * 3),
        (nodes.GraphEngine("node", 8, 8, 2, 4, vectors=5, digit=1, graph_interval=2, graph_latency=9, lut=0, ff=0),
         5 * 2),
        (Transpose("node", 4, 5, 1, 2, 9), 4 * 5 // 2),
        (LocalMixing("node", (3, 3), (5, 1), 8, 1, 2, 8, 20, 20, 0), 20),
        (Residual("node", 1, 4, (nodes.Gather("narrow", 1, 4),), (nodes.Gather("wide", 1, 4),)), 5),
        (nodes.MaxPool("node", 4, 5, 1), 5),
        (nodes.MeanPool("node", 5, 4, 1, 0), 4),
        (nodes.Argmax("node", 20, 20, 1, INT8), 1),
    ],
)  # fmt: skip
def test_output_beats_by_hand(node, beats):
    """A frame of 20 beats goes in, and the component behind takes a cycle for each beat that comes out."""
    assert intervals((node, nodes.TableRom("next", 8, 2)), 20)["next"] == beats


@pytest.mark.parametrize(("gap", "depth"), [(1, 3), (12, 1)])
def test_windows_by_hand(gap, depth):
    """Two windows of 2 x 2 pixels follow each other after ten cycles, and the buffer of four rows never fills.

    A pixel comes every ``gap`` cycles and takes two in the queue. A window takes three from the cycle after its last
    pixel.
    """
    node = nodes.Windows("windows", 4, 2, 1, (2, 2), (2, 2), (0, 0, 0, 0), 1, 1, period=10, queue=0)
    node, output = visit(node, np.arange(0, 8 * gap, gap))
    first, second = 3 * gap + 2 + 1, 7 * gap + 2 + 1
    assert output.reshape(2, 4)[:, 0].tolist() == [first + 3, max(second, first + 10) + 3]
    assert node.queue == depth


def test_a_row_waits_until_the_windows_have_freed_one():
    """Three frames come in 24 cycles, but their windows leave every ten cycles, so that pixels wait.

    The buffer has room for four rows. The windows of the first frame begin in cycles 6 and 16 and free their rows
    three cycles later, when their last beats are read.
    """
    node = nodes.Windows("windows", 4, 2, 1, (2, 2), (2, 2), (0, 0, 0, 0), 1, 1, period=10, queue=0)
    node, output = visit(node, np.arange(24))
    assert (output.reshape(6, 4)[:, 0] - 3).tolist() == [6, 16, 26, 36, 46, 56]
    # Rows 0 to 3 are taken as they come, 4 and 5 from the cycles 10 and 12 on, and so on, every ten cycles two rows.
    taken = np.concatenate([np.arange(2, 10), *(10 * n + np.arange(10, 14) for n in range(4))])
    entered = np.arange(24)
    assert node.queue == max(int((entered <= t).sum() - (taken < t).sum()) for t in range(60))


@pytest.mark.parametrize(
    ("branch", "bypass", "depths"),
    [
        # Beat t leaves the branch in cycle t + 2, and the queue beside it, where it waits for two cycles, in t + 2.
        ((nodes.TableRom("table", 4, 1),), (), (0, 3)),
        # It leaves the branch in t + 1, waits there, too, and the sum takes both in t + 3.
        ((nodes.MaxPool("pool", 1, 4, 1),), (), (3, 4)),
        # It leaves the shortcut in t + 4 and the queue behind it in t + 6, and waits in the other one from t on.
        ((), (nodes.TableRom("first", 4, 1), nodes.TableRom("second", 4, 1)), (7, 3)),
    ],
)
def test_queues_of_a_residual_by_hand(branch, bypass, depths):
    """A queue holds the beats that came since its oldest one; the branch has none if no beat waits there."""
    node, _ = visit(Residual("sum", 1, 1, branch, bypass), np.arange(40))
    assert (node.branch_queue, node.queue) == depths


@pytest.mark.parametrize(
    ("latency", "settling", "frames"),
    [
        (0, 0, 5),
        (0, 1, 5),
        (0, 2, 8),
        (0, 3, 8),
        (0, 4, 8),
        (10, 1, 5),
        (11, 0, 7),
        (11, 3, 7),
        (11, 4, 10),
        (11, 6, 10),
    ],
)
def test_four_results_in_time(monkeypatch, latency, settling, frames):
    """Frames are tried until the last four results are in time: ever three more, for a transposition.

    At first five are tried, or seven if the latency lets two be under way. The first ``settling`` results are
    followed by the next after 11 cycles instead of 10.
    """
    run = late_results(monkeypatch, latency, settling)
    found = schedule(TRANSPOSITION, 1, 10)
    assert (found.latency, found.settling_frames, run[-1]) == (latency, settling, frames)


@pytest.mark.parametrize(("latency", "settling", "most"), [(0, 5, 8), (11, 7, 10)])
def test_results_that_do_not_settle(monkeypatch, latency, settling, most):
    late_results(monkeypatch, latency, settling)
    with pytest.raises(Unsteady, match=f"does not settle to a frame every 10 cycles within {most} frames"):
        schedule(TRANSPOSITION, 1, 10)


TRANSPOSITION = (Transpose("transpose", 1, 1, 1, 1, 1),)


def late_results(monkeypatch, latency, settling):
    """Put other results in the place of those of a chain; return a list of how many frames were run."""
    run = []

    def chain(pipeline, times):
        run.append(len(times))
        number = np.arange(len(times))
        return pipeline, latency + 10 * number + np.minimum(number, settling)

    monkeypatch.setattr("psahw.planner.schedule._chain", chain)
    return run


MAC = nodes.MacArray("mac", 8, 6, rows=2, columns=4, o_lanes=2, vectors=1, sets=1, weight_bits=8, acc_bits=20,
                     offset_bits=20, shift_range=0)  # fmt: skip
LOCAL = LocalMixing("local", (3, 3), (5, 1), 8, 1, 4, 8, 20, 20, 0)


@pytest.mark.parametrize(
    ("plain", "scaled", "later"),
    [
        (MAC, dataclasses.replace(MAC, scale_bits=1), timing.MULTIPLIER_LATENCY),
        (LOCAL, dataclasses.replace(LOCAL, scale_bits=1), timing.MULTIPLIER_LATENCY),
        (nodes.MeanPool("pool", 5, 8, 4, 0), nodes.MeanPool("pool", 5, 8, 4, 0, multiplier=2), 2),
    ],
)
def test_multipliers_make_results_later(plain, scaled, later):
    (_, before), (_, after) = (visit(node, np.arange(20)) for node in (plain, scaled))
    assert (after - before == later).all()


def test_queues_before_engines():
    """A beat takes two cycles through the queue, and one that comes while another is there makes it deeper."""
    times = np.arange(20)
    local, output = visit(LOCAL, times)
    expected, taken = timing.local_mixing(times + 2, tokens=5, beats=2, reach=2, entries=9)
    assert output.tolist() == expected.tolist() and local.queue == brute_force_depth(times, taken)
    graph = nodes.GraphEngine("graph", 6, 8, 2, 4, vectors=5, digit=1, graph_interval=20, graph_latency=9, lut=0,
                              ff=0)  # fmt: skip
    times = np.arange(21)
    graph, output = visit(graph, times)
    expected, taken = timing.graph_engine(times + 2, i_beats=3, o_beats=2, interval=20, latency=9)
    assert output.tolist() == expected.tolist() and graph.queue == brute_force_depth(times, taken)


def changed(pipeline, kind, change):
    """Return the pipeline with every node of a kind changed, inside residuals too."""
    result = []
    for node in pipeline:
        if isinstance(node, Residual):
            branch, bypass = (changed(side, kind, change) for side in (node.branch, node.bypass))
            node = dataclasses.replace(node, branch=branch, bypass=bypass)
        result.append(change(node) if isinstance(node, kind) else node)
    return tuple(result)


def test_a_transposition_that_is_too_slow():
    net = network(stages=(StageShape(8, 6),))
    pipeline = changed(build(net, 16, 4), Transpose, lambda node: dataclasses.replace(node, period=node.period + 1))
    with pytest.raises(Unsteady, match=r"token_mixing\.transpose_in: a frame arrives before the one before"):
        schedule(pipeline, input_beats(net, 4), 4 * 16)


@pytest.mark.parametrize("slack", [0, 1])
def test_a_transposition_is_written_only_after_it_was_read(slack):
    """Two frames of 2 x 3 values fit its memory: the third may enter in the cycle after the first one's last read."""
    node = Transpose("transpose", rows=2, columns=3, i_lanes=1, o_lanes=1, period=5)
    # The first frame enters in cycles 0 to 5. Its vectors start in 6, 11 and 16, and the last value is read in 17.
    times = np.concatenate([np.arange(6), np.arange(6, 12), 17 + slack + np.arange(6)])
    if slack:
        assert visit(node, times)[0] == node
    else:
        with pytest.raises(Unsteady, match="transpose: a frame arrives before the one before the last has left"):
            visit(node, times)


@pytest.mark.parametrize(("frame_interval", "frames"), [(63, 23), (65, 23), (256, 16)])
def test_a_frame_interval_that_does_not_fit_the_token_period(frame_interval, frames):
    """Sixteen frames are tried, and more of them if a shorter interval lets more than three be under way."""
    net = network(stages=(StageShape(8, 6),))
    message = f"does not settle to a frame every {frame_interval} cycles within {frames} frames"
    with pytest.raises(Unsteady, match=message):
        schedule(build(net, 16, 4), input_beats(net, 4), frame_interval)


def test_an_engine_that_is_too_slow():
    net = network(stages=(StageShape(8, 6, kernel=3),))
    slow = changed(build(net, 32, 4), MacArray, lambda node: dataclasses.replace(node, rows=1))
    assert max(node.interval for node in walk(slow) if isinstance(node, MacArray)) > 32
    with pytest.raises(Unsteady, match="does not settle to a frame every 128 cycles"):
        schedule(slow, input_beats(net, 4), 4 * 32)


def test_the_last_tokens_of_a_frame_leave_with_the_next_frame():
    """A token comes every three cycles, in two beats. Four beats are owed to the frame before.

    If no frame follows, they leave in the four cycles behind the last token. Otherwise, one of them leaves in the gap
    behind it, two with the next token, and the last a cycle later with the second one.
    """
    mac = dataclasses.replace(MAC, inputs=6, outputs=8, rows=8, columns=2, o_lanes=4, vectors=5)
    assert mac.interval == 3
    pool = nodes.MeanPool("pool", 5, 8, 4, 0)
    pipeline = (mac, LOCAL, pool, nodes.Argmax("argmax", 8, 8, 4, INT8))
    found = schedule(pipeline, 5 * 3, 5 * 3)
    assert found.latency - found.lone_latency == 1
    assert (found.settling_frames, found.draining_frames) == (0, 1)


def test_local_mixings_do_not_delay_the_frames_behind():
    """Whatever their number, the first result and all others are on time."""
    shape = dict(image=(8, 8), colours=1, patch=Patch(2, 2))
    for blocks in (1, 2, 4):
        net = network(**shape, stages=(StageShape(8, 12, blocks=blocks, kernel=3),))
        result = schedule(build(net, 3, 4), input_beats(net, 4), 16 * 3)
        assert (result.frame_interval, result.settling_frames) == (16 * 3, 0)


def test_wrong_node():
    with pytest.raises(TypeError, match=r"node must be one of psahw\.architecture\.nodes, not 'windows'"):
        schedule(("windows",), 4, 4)
