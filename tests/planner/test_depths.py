"""What `psahw.planner.schedule` calculates of a whole accelerator's buffers, against simulation: every one is filled to the
last place, one shorter is noticed, and nothing behind the metronome ever waits."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator

from psahw import generate
from psahw.architecture.nodes import LocalMixing, MacArray, Residual, Windows, walk
from psahw.gateware import mac_array, residual
from psahw.gateware.chain import Chain
from psahw.gateware.ring import VectorRing
from psahw.gateware.stream import Queue
from psahw.planner.rules import Rules
from tests.plans import inferred
from tests.test_generate import make

FRAMES = 3  # after the settling ones


def key(node):
    return node.name.replace(".", "_")


def parts(component, name=""):
    """Every component of the data path, with what its node would be called, in data order."""
    match component:
        case Chain(parts=inner):
            for part, inside in inner.items():
                yield from parts(inside, f"{name}_{part}" if name else part)
        case residual.Residual(branch=branch, bypass=bypass, queue=queue):
            yield from parts(branch, name)
            yield from parts(bypass, name) if bypass else ()
            yield f"{name}_queue", queue
            yield name, component
        case _:
            yield name, component


@dataclass
class Run:
    """``results`` are cycles counted from the first input beat. By name: the most beats that each queue held and
    that each MAC array's ring did, a beat that comes and one that goes in the same cycle both counted; in how
    many cycles each component waited for the next one."""

    results: list
    queues: dict
    rings: dict
    stalls: dict


def peak(puts, gets):
    """Of one column a buffer: the most that was held."""
    return (puts.cumsum(0) - gets.cumsum(0) + gets).max(0).tolist()


def freed(reads, node):
    """Which reads of a ring are the last of their beat."""
    return reads & ((reads.cumsum() - 1) // node.steps % node.passes == node.passes - 1)


def simulate(monkeypatch, network, made):
    """A source that is always valid and a sink that is always ready."""
    rings = []

    class Recorded(VectorRing):
        def elaborate(self, platform):
            rings.append(self)
            return super().elaborate(platform)

    monkeypatch.setattr(mac_array, "VectorRing", Recorded)
    circuit = generate.accelerator(network, inferred(made))
    simulator = Simulator(circuit)
    everything = dict(parts(circuit.chain))
    queues = {name: part for name, part in everything.items() if isinstance(part, Queue)}
    others = {name: part for name, part in everything.items() if name not in queues}
    frames = made.settling_frames + 1 + FRAMES
    results, samples = [], []
    watched = Cat(
        *[Cat(part.i.valid & part.i.ready, part.o.valid & part.o.ready) for part in queues.values()],
        *[Cat(ring.i.valid & ring.i.ready, ring.read) for ring in rings],
        *[part.o.valid & ~part.o.ready for part in others.values()],
    )

    async def testbench(ctx):
        ctx.set(circuit.i.valid, 1)
        ctx.set(circuit.o.ready, 1)
        for cycle in range(made.latency + (frames + 1) * made.frame_interval):
            samples.append(ctx.get(watched))
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
    engines = [node for node in walk(made.pipeline) if isinstance(node, MacArray)]
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


def after_metronome(stalls):
    """Those that waited, behind the first windows."""
    names = list(stalls)
    behind = names[names.index("embed_windows") + 1 :]
    # In front of an adder graph a vector may wait whole; the queue before that is calculated for it.
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


def check_buffers(monkeypatch, network, made):
    run = simulate(monkeypatch, network, made)
    planned = {f"{key(node)}_queue": node.queue for node in walk(made.pipeline) if getattr(node, "queue", None)}
    # A graph's own queue has room for all that may be on its way when the output stalls: no plan fills it.
    assert {name: most for name, most in run.queues.items() if not name.endswith("_engine_queue")} == planned
    assert run.rings == {key(node): node.depth for node in walk(made.pipeline) if isinstance(node, MacArray)}
    assert after_metronome(run.stalls) == {}
    assert run.results[0] == made.latency
    late = np.flatnonzero(np.diff(run.results) != made.frame_interval)
    assert (late[-1] + 1 if len(late) else 0) == made.settling_frames


def replaced(pipeline, name, **fields):
    """The pipeline with other fields in the node of that name."""
    result = []
    for node in pipeline:
        if node.name == name:
            node = dataclasses.replace(node, **fields)
        if isinstance(node, Residual):
            branch, bypass = (replaced(side, name, **fields) for side in (node.branch, node.bypass))
            node = dataclasses.replace(node, branch=branch, bypass=bypass)
        result.append(node)
    return tuple(result)


def with_depth(made, node, depth):
    field = "depth" if isinstance(node, MacArray) else "queue"
    return dataclasses.replace(made, pipeline=replaced(made.pipeline, node.name, **{field: depth}))


def first(made, kind):
    """The first of a kind whose buffer could be one shorter."""
    return next(
        node
        for node in walk(made.pipeline)
        if isinstance(node, kind) and (node.depth > node.steps if kind is MacArray else node.queue)
    )


@pytest.mark.parametrize(
    "name, kind",
    [("few tokens", Residual), ("one row", LocalMixing), ("one row", MacArray), ("wide merging", Windows)],
)
def test_one_shorter_is_noticed(monkeypatch, name, kind):
    network, made = make(name)
    node = first(made, kind)
    depth = node.depth if kind is MacArray else node.queue
    run = simulate(monkeypatch, network, with_depth(made, node, depth - 1))
    assert after_metronome(run.stalls)


def test_a_residual_queue_of_half_a_frame_deadlocks(monkeypatch):
    """The transposition in the branch gives nothing before it has the whole frame."""
    network, made = make("bare")
    run = simulate(monkeypatch, network, with_depth(made, first(made, Residual), 8))
    assert run.results == []


def test_half_a_residual_queue_is_late(monkeypatch):
    network, made = make("one row")
    node = next(n for n in made.pipeline if n.name.endswith("channel_mixing"))
    run = simulate(monkeypatch, network, with_depth(made, node, node.queue // 2))
    assert np.diff(run.results).max(initial=0) > made.frame_interval
