"""Buffer depths of whole accelerators, as `psahw.planner.schedule` calculates them, against simulation.

Every buffer is filled to its last entry, a shorter one is detected, and nothing behind the first windows waits.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator

from psahw import generate
from psahw.architecture.device import DEVICES
from psahw.architecture.nodes import LocalMixing, MacArray, Residual, Windows, walk
from psahw.gateware import mac_array, residual
from psahw.gateware.chain import Chain
from psahw.gateware.ring import VectorRing
from psahw.gateware.stream import Queue
from psahw.network import graph as layer_graph
from psahw.network import layers
from psahw.network.graph import Named, Network, Output
from psahw.network.random import random_linear
from psahw.planner import search
from psahw.planner.rules import Rules
from tests.plans import inferred
from tests.test_generate import make

FRAMES = 3  # after the settling ones


def key(node):
    """Return the name of a node in the results of a simulation."""
    return node.name.replace(".", "_")


def parts(component, name=""):
    """Yield each component of the data path with the name of its node, in data order."""
    match component:
        case Chain(parts=inner):
            for part, inside in inner.items():
                yield from parts(inside, f"{name}_{part}" if name else part)
        case residual.Residual(branch=branch, bypass=bypass, queue=queue, branch_queue=early):
            yield from parts(branch, name)
            yield from parts(bypass, name) if bypass else ()
            yield f"{name}_queue", queue
            if early:
                yield f"{name}_branch_queue", early
            yield name, component
        case _:
            yield name, component


@dataclass
class Run:
    """Observations of a simulation.

    ``results`` are the times of the results, in cycles from the first input beat. ``queues`` and ``rings`` are the
    most beats in each queue and in each MAC array's ring, where a beat that enters and one that leaves in the same
    cycle both count. ``stalls`` are the cycles for which each component waited for the next one.
    """

    results: list
    queues: dict
    rings: dict
    stalls: dict


def peak(puts, gets):
    """Return the most beats in each buffer, from one column per buffer of beats that enter and leave."""
    return (puts.cumsum(0) - gets.cumsum(0) + gets).max(0).tolist()


def freed(reads, node):
    """Return which reads of a ring are the last ones of their beat."""
    return reads & ((reads.cumsum() - 1) // node.steps % node.passes == node.passes - 1)


def simulate(monkeypatch, network, plan):
    """Return the observations with a source that is valid until the last frame, and a sink that is always ready."""
    rings = []

    class Recorded(VectorRing):
        def elaborate(self, platform):
            rings.append(self)
            return super().elaborate(platform)

    monkeypatch.setattr(mac_array, "VectorRing", Recorded)
    circuit = generate.accelerator(network, inferred(plan))
    simulator = Simulator(circuit)
    components = dict(parts(circuit.chain))
    queues = {name: part for name, part in components.items() if isinstance(part, Queue)}
    others = {name: part for name, part in components.items() if name not in queues}
    # A buffer is filled only by as many frames as are in the pipeline at once.
    under_way = -(-plan.latency // plan.frame_interval)
    frames = plan.settling_frames + 1 + max(FRAMES, under_way) + plan.draining_frames
    results, samples = [], []
    watched = Cat(
        *[Cat(part.i.valid & part.i.ready, part.o.valid & part.o.ready) for part in queues.values()],
        *[Cat(ring.i.valid & ring.i.ready, ring.read) for ring in rings],
        *[part.o.valid & ~part.o.ready for part in others.values()],
    )

    async def testbench(ctx):
        left = frames * plan.image_bytes // plan.bus_bytes
        ctx.set(circuit.o.ready, 1)
        for cycle in range(plan.latency + (frames + 1) * plan.frame_interval):
            ctx.set(circuit.i.valid, left > 0)
            samples.append(ctx.get(watched))
            left -= ctx.get(circuit.i.valid & circuit.i.ready)
            if ctx.get(circuit.o.valid):
                results.append(cycle)
            for queue in queues.values():
                assert ctx.get(queue.level) <= queue.depth
            if len(results) == frames:
                break
            await ctx.tick()

    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()

    bits = np.array([[x >> k & 1 for k in range(len(watched))] for x in samples])
    in_queues, in_rings, stalled = np.split(bits, [2 * len(queues), 2 * (len(queues) + len(rings))], axis=1)
    engines = [node for node in walk(plan.pipeline) if isinstance(node, MacArray)]
    assert len(engines) == len(rings)
    return Run(
        results,
        dict(zip(queues, peak(in_queues[:, ::2], in_queues[:, 1::2]), strict=True)),
        {
            key(node): peak(puts, freed(reads, node))
            for node, puts, reads in zip(engines, in_rings[:, ::2].T, in_rings[:, 1::2].T, strict=True)
        },
        dict(zip(others, stalled.sum(0).tolist(), strict=True)),
    )


def stalls_behind_the_first_windows(stalls):
    """Return the components behind the first windows that waited, with the number of cycles."""
    names = list(stalls)
    source = next(index for index, name in enumerate(names) if name.endswith("_windows"))
    behind = names[source + 1 :]
    # A whole vector may wait in front of an adder graph. The queue before is deep enough for that.
    return {name: stalls[name] for name in behind if stalls[name] and not name.endswith("_engine_gather")}


@pytest.mark.parametrize("name", ["dense", "wide", "one row", "few tokens", "wide merging"])
def test_every_buffer_is_filled_to_its_depth(monkeypatch, name):
    check_buffers(monkeypatch, *make(name))


@pytest.mark.parametrize(
    ("name", "rules"), [("dense", Rules.parse("serial:2")), ("one row", Rules.parse("serial:1"))]
)
def test_buffers_with_adder_graphs(monkeypatch, name, rules):
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    check_buffers(monkeypatch, *make(name, rules=rules))


@pytest.mark.parametrize(("frame_interval", "waits"), [(288, True), (120, True), (16, False)])
def test_buffers_with_a_late_shortcut(monkeypatch, frame_interval, waits):
    """The shortcut computes more than the branch, so that the branch waits for it."""
    network = late_shortcut()
    clock_hz = 100e6
    plan = search.make(
        network,
        DEVICES["xcu250"],
        clock_hz=clock_hz,
        bus_bytes=2,
        rules=Rules.parse("mac"),
        fps=clock_hz / frame_interval,
    )
    check_buffers(monkeypatch, network, plan)
    assert any(isinstance(node, Residual) and node.branch_queue for node in walk(plan.pipeline)) == waits


def late_shortcut():
    """Return a network with a strided convolution beside a linear map and a maximum."""
    rng = np.random.default_rng(1)
    windows = layers.Windows((2, 2), (2, 2))
    branch = (Named("sum.windows", windows), Named("sum.convolution", random_linear(rng, 4, 8)))
    shortcut = (Named("sum.linear", random_linear(rng, 4, 2)), Named("sum.pool", layers.MaxPool((2, 2), (2, 2))))
    series = (
        Named("sum", layer_graph.Residual(branch, shortcut)),
        Named("flatten", layers.Flatten()),
        Named("head", random_linear(rng, 2, 16, out_bits=16)),
    )
    codes = np.tile(np.arange(-128, 128, dtype=np.int8), (2, 1))
    return Network("late", (4, 4), codes, series, Output("class", ("a", "b")))


def check_buffers(monkeypatch, network, plan):
    """Check that every buffer is filled to its depth, that nothing waits, and the times of the results."""
    run = simulate(monkeypatch, network, plan)
    planned = {f"{key(node)}_queue": node.queue for node in walk(plan.pipeline) if getattr(node, "queue", None)}
    residuals = [node for node in walk(plan.pipeline) if isinstance(node, Residual)]
    planned |= {f"{key(node)}_branch_queue": node.branch_queue for node in residuals if node.branch_queue}
    # The queue behind a graph has room for components in the graph when the output stalls, so no plan fills it.
    assert {name: most for name, most in run.queues.items() if not name.endswith("_engine_queue")} == planned
    assert run.rings == {key(node): node.depth for node in walk(plan.pipeline) if isinstance(node, MacArray)}
    assert stalls_behind_the_first_windows(run.stalls) == {}
    assert run.results[0] == plan.latency
    irregular = set(np.flatnonzero(np.diff(run.results) != plan.frame_interval))
    first, last = plan.settling_frames, len(run.results) - 1 - plan.draining_frames
    assert not irregular & set(range(first, last))
    assert (first == 0 or first - 1 in irregular) and (plan.draining_frames == 0 or last in irregular)


def replaced(pipeline, name, **fields):
    """Return the pipeline with other fields in the node of a name."""
    result = []
    for node in pipeline:
        if node.name == name:
            node = dataclasses.replace(node, **fields)
        if isinstance(node, Residual):
            branch, bypass = (replaced(side, name, **fields) for side in (node.branch, node.bypass))
            node = dataclasses.replace(node, branch=branch, bypass=bypass)
        result.append(node)
    return tuple(result)


def with_depth(plan, node, depth):
    """Return the plan with another depth of a node's buffer."""
    field = "depth" if isinstance(node, MacArray) else "queue"
    return dataclasses.replace(plan, pipeline=replaced(plan.pipeline, node.name, **{field: depth}))


def first(plan, kind):
    """Return the first node of a kind whose buffer can be one entry shorter, and has other components before it."""
    return next(
        node
        for node in walk(plan.pipeline)
        if isinstance(node, kind)
        and (node.depth > node.steps and node.name != "embed" if kind is MacArray else node.queue)
    )


@pytest.mark.parametrize(
    "name, kind",
    [("few tokens", Residual), ("one row", LocalMixing), ("one row", MacArray), ("wide merging", Windows)],
)
def test_a_shorter_buffer_is_detected(monkeypatch, name, kind):
    network, plan = make(name)
    node = first(plan, kind)
    depth = node.depth if kind is MacArray else node.queue
    run = simulate(monkeypatch, network, with_depth(plan, node, depth - 1))
    assert stalls_behind_the_first_windows(run.stalls)


def test_a_residual_queue_of_half_a_frame_deadlocks(monkeypatch):
    """The transposition in the branch outputs nothing before it has received the whole frame."""
    network, plan = make("bare")
    run = simulate(monkeypatch, network, with_depth(plan, first(plan, Residual), 8))
    assert run.results == []


def test_half_a_residual_queue_is_late(monkeypatch):
    network, plan = make("one row")
    node = next(n for n in plan.pipeline if n.name.endswith("channel_mixing"))
    run = simulate(monkeypatch, network, with_depth(plan, node, node.queue // 2))
    assert np.diff(run.results).max(initial=0) > plan.frame_interval
