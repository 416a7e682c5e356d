"""Small whole accelerators in Amaranth's simulator, against the integer model and the times of the plan."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psahw import generate
from psahw.architecture import nodes
from psahw.architecture.device import DEVICES
from psahw.architecture.nodes import walk
from psahw.errors import CheckFailed
from psahw.network import reference
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from psahw.planner.rules import MAC_ONLY, Rules
from tests.gateware.streams import run_stream
from tests.plans import inferred

DEVICE = DEVICES["xc7k160t"]

SHAPES = {
    "dense": dict(stages=(StageShape(8, 6),)),
    "groups": dict(stages=(StageShape(8, 6, groups=2, blocks=2),), logit_bits=16),
    "local": dict(image=(16, 16), stages=(StageShape(8, 8, groups=4, kernel=3, blocks=2),)),
    "shared": dict(
        image=(16, 16), stages=(StageShape(8, 8, 2, 8, 3, True), StageShape(12, 6, groups=3, kernel=5, shared=True))
    ),
    "overlapping": dict(image=(12, 12), patch=Patch(6, 4, 1), stages=(StageShape(6, 4, groups=3, kernel=3),)),
    "merging": dict(image=(16, 16), stages=(StageShape(8, 4, kernel=3), StageShape(12, 8, groups=2))),
    "bare": dict(stages=(StageShape(4, 4),), tables=False),
    "wide": dict(
        image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 12, blocks=2, groups=2, kernel=3),)
    ),
    "wide shared": dict(
        image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 12, 2, groups=8, kernel=3, shared=True),)
    ),
    "wide dense": dict(image=(4, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 4, blocks=2),)),
    # 8 tokens and 12 channels: the widths on the two sides of a transposition differ.
    "uneven dense": dict(image=(4, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(12, 4),)),
    # 12 vectors of 4 tokens in the 4 cycles of a frame: three engines are side by side.
    "sliced dense": dict(
        image=(4, 4), colours=1, patch=Patch(2, 2), stages=(StageShape(12, 4, blocks=2),), classes=4
    ),
    "grey": dict(colours=1, stages=(StageShape(8, 6),)),
    "mixed": dict(image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(6, 4, kernel=3), StageShape(8, 6))),
    "wide merging": dict(image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 8), StageShape(12, 8))),
    "few tokens": dict(image=(4, 4), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 2, kernel=1),)),
    "one row": dict(image=(2, 10), colours=1, patch=Patch(2, 2), stages=(StageShape(4, 4, kernel=3),)),
    "rows left over": dict(image=(11, 9), colours=1, patch=Patch(4, 2), stages=(StageShape(4, 4),)),
    "half left over": dict(image=(15, 8), colours=1, patch=Patch(8, 4), stages=(StageShape(2, 2, blocks=0),)),
    "extremes": dict(stages=(StageShape(8, 6, groups=2),), extremes=True),
}


def beats(images, bus_bytes):
    """Return the bytes of each input beat."""
    return images.reshape(-1, bus_bytes)


def results(network, payloads):
    """Return logits and classes from raw result payloads."""
    bits, classes = network.logits.codes.bits, len(network.classes)
    logits = []
    for payload in payloads:
        raw = np.array([payload >> bits * k & (1 << bits) - 1 for k in range(classes)])
        logits.append(np.where(raw >> bits - 1, raw - (1 << bits), raw))
    return np.array(logits), np.array([payload >> bits * classes for payload in payloads])


def make(name, fps=None, seed=0, bus_bytes=4, rules=MAC_ONLY):
    """Return a random network of a shape, and its plan."""
    network = random_network(np.random.default_rng(seed), **SHAPES[name])
    bus_bytes = search.widest_bus(network, bus_bytes)
    return network, search.make(network, DEVICE, clock_hz=100e6, fps=fps, bus_bytes=bus_bytes, rules=rules)


def simulate(network, plan, images, **stalls):
    """Return logits and classes of the circuit, and the cycles of the input beats and of the results."""
    circuit = generate.accelerator(network, inferred(plan))
    raw = [int.from_bytes(bytes(beat), "little") for beat in beats(images, plan.bus_bytes)]
    payloads, i_cycles, o_cycles = run_stream(circuit, raw, quiet=plan.latency + plan.frame_interval, **stalls)
    return *results(network, payloads), np.array(i_cycles), np.array(o_cycles)


@pytest.mark.parametrize("slower", [1, 3])
@pytest.mark.parametrize(
    "name", [name for name in SHAPES if name not in ("grey", "mixed")]
)  # these two are for graphs
def test_back_to_back(name, slower):
    network, plan = make(name)
    if slower > 1:
        network, plan = make(name, fps=plan.fps / slower)
    images = random_images(np.random.default_rng(1), network, 3 + plan.settling_frames + plan.draining_frames)
    logits, classes, i_cycles, o_cycles = simulate(network, plan, images)
    expected = reference.run(network, images)
    assert np.array_equal(logits, expected)
    assert np.array_equal(classes, expected.argmax(1))
    assert np.diff(o_cycles)[plan.settling_frames :][:2].tolist() == [plan.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == plan.latency


GRAPHS = ("serial:1", "serial:2", "serial:3", "serial:4", "serial:5", "serial:8", "parallel:1", "parallel:3")
MIXED = Rules.parse(
    "parallel",
    ("embed=mac", "*.linear1=serial:2", "*.linear2=serial:1", "stages.1.*=serial:4", "*.token_mixing.linear=mac"),
)


def engines_of(plan):
    """Return the engine of each layer of a plan."""
    return plan.to_dict()["engines"]


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("grey", engine) for engine in GRAPHS),
        ("rows left over", "serial:1"),
        ("uneven dense", "serial:4"),
        ("sliced dense", "parallel:2"),
    ],
)
def test_adder_graphs(name, engine):
    """Every layer is a graph of one kind. Logits, cadence and latency are as planned."""
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    check_graphs(name, Rules.parse(engine), {engine})


def test_a_network_that_mixes_all_engines():
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    plan = check_graphs("mixed", MIXED, None)
    kinds = {engine.partition(":")[0] for engine in engines_of(plan).values()}
    assert kinds == {"mac", "serial", "parallel"}


def check_graphs(name, rules, expected_engines):
    """Check engines, logits, cadence and latency of a network, and return the plan."""
    network, plan = make(name, rules=rules)
    assert expected_engines in (None, set(engines_of(plan).values()))
    images = random_images(np.random.default_rng(1), network, 3 + plan.settling_frames + plan.draining_frames)
    logits, _, i_cycles, o_cycles = simulate(network, plan, images)
    assert np.array_equal(logits, reference.run(network, images))
    assert np.diff(o_cycles)[plan.settling_frames :][:2].tolist() == [plan.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == plan.latency
    return plan


def test_adder_graphs_with_stalls_and_a_reset():
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    network, plan = make("mixed", rules=MIXED, seed=1)
    images = random_images(np.random.default_rng(1), network, 3)
    stalls = np.random.default_rng(1).integers(0, 2, (2, 23)).astype(bool)
    logits, *_ = simulate(network, plan, images, i_stalls=stalls[0], o_stalls=stalls[1], reset_at=plan.latency // 2)
    assert np.array_equal(logits, reference.run(network, images))


@pytest.mark.parametrize(
    ("name", "rules"), [("rows left over", MAC_ONLY), ("half left over", Rules.parse("serial:1"))]
)
def test_the_rest_of_a_frame_is_taken_before_its_result(name, rules):
    """The beats behind the last one that a window needs enter while the result waits, even if it is never taken."""
    network, plan = make(name, rules=rules)
    circuit = generate.accelerator(network, inferred(plan))
    needed = generate.manifest(network, plan, circuit)["needed_beats"]
    (image,) = random_images(np.random.default_rng(1), network, 1)
    payloads = [int.from_bytes(bytes(beat), "little") for beat in beats(image, plan.bus_bytes)]
    assert needed < len(payloads)
    wait = [True] * (2 * plan.latency)  # until the result is there
    i_stalls = [False] * needed + wait + [False] * len(payloads)
    results, i_cycles, _ = run_stream(circuit, payloads, quiet=len(wait) + 50, i_stalls=i_stalls, o_stalls=[True])
    assert results == [] and np.diff(i_cycles[needed:]).tolist() == [1] * (len(payloads) - needed - 1)


def test_wide_shapes_are_wide():
    """Some shapes need several lanes, different widths, slices and copies."""
    for name in ("wide", "wide shared", "wide dense", "wide merging"):
        _, plan = make(name)
        assert max(getattr(node, "lanes", 1) for node in walk(plan.pipeline)) > 1
    _, plan = make("uneven dense")
    assert any(
        isinstance(node, nodes.Transpose) and 1 < node.i_lanes != node.o_lanes > 1 for node in walk(plan.pipeline)
    )
    _, plan = make("sliced dense")
    assert plan.frame_interval == 4
    assert [node.slices for node in walk(plan.pipeline) if isinstance(node, nodes.Transpose)] == [3] * 4
    _, plan = make("wide merging")
    assert any(isinstance(node, nodes.Windows) and node.buffer.copies > 1 for node in walk(plan.pipeline))


def sliced(channels, groups, period):
    """Return a network of 4 tokens, whose channels pass in 4 periods, and its plan."""
    shape = StageShape(channels, 4, groups=groups)
    network = random_network(
        np.random.default_rng(0), image=(4, 4), colours=1, patch=Patch(2, 2), stages=(shape,), classes=4
    )
    return network, search.make(network, DEVICE, clock_hz=100e6, bus_bytes=4, period=period)


@pytest.mark.parametrize(("channels", "period", "slices", "lanes"), [(9, 2, 3, (3, 2)), (18, 4, 2, (3, 4))])
def test_slices_that_take_other_lanes_than_they_give(channels, period, slices, lanes):
    network, plan = sliced(channels, 1, period)
    transposes = [node for node in walk(plan.pipeline) if isinstance(node, nodes.Transpose)]
    assert [(node.slices, node.i_lanes, node.o_lanes) for node in transposes] == [
        (slices, *lanes),
        (slices, *lanes[::-1]),
    ]
    images = random_images(np.random.default_rng(1), network, 3 + plan.settling_frames + plan.draining_frames)
    logits, _, i_cycles, o_cycles = simulate(network, plan, images)
    assert np.array_equal(logits, reference.run(network, images))
    assert np.diff(o_cycles)[plan.settling_frames :][:2].tolist() == [plan.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == plan.latency
    stalls = np.random.default_rng(1).integers(0, 2, (2, 23)).astype(bool)
    logits, *_ = simulate(network, plan, images, i_stalls=stalls[0], o_stalls=stalls[1], reset_at=plan.latency // 2)
    assert np.array_equal(logits, reference.run(network, images))


def test_groups_cannot_be_sliced():
    with pytest.raises(
        CheckFailed, match=r"token_mixing\.linear: 3 engines side by side are needed, and all channels"
    ):
        sliced(12, 3, 1)


def test_local_shapes_share_multipliers():
    """Pairs share multipliers although columns do not divide the inputs."""
    _, plan = make("local")
    arrays = [node for node in walk(plan.pipeline) if isinstance(node, nodes.MacArray)]
    assert sum(node.pairs for node in arrays) > sum(node.multipliers for node in arrays) / 2
    assert any(node.inputs % node.columns for node in arrays)


def test_a_plan_with_other_pairs():
    network, plan = make("dense")
    embed = next(node for node in plan.pipeline if node.name == "embed")
    wrong = dataclasses.replace(embed, pairs=1)
    with pytest.raises(ValueError, match=rf"^embed: pairs must be {embed.pairs}, not 1$"):
        generate.accelerator(network, dataclasses.replace(plan, pipeline=(wrong,)))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["dense", "wide", "wide shared", "sliced dense", "wide merging"]),
    stalls=st.tuples(*[st.lists(st.booleans(), min_size=1, max_size=9).filter(lambda p: not all(p))] * 2),
    seed=st.integers(0, 100),
)
def test_stalls_change_only_times(name, stalls, seed):
    network, plan = make(name, seed=seed)
    images = random_images(np.random.default_rng(seed), network, 3)
    logits, *_ = simulate(network, plan, images, i_stalls=stalls[0], o_stalls=stalls[1])
    assert np.array_equal(logits, reference.run(network, images))


def test_a_plan_of_another_network():
    _, plan = make("dense")
    other, _ = make("dense", seed=1)
    with pytest.raises(ValueError, match=r"plan must be for network [0-9a-f]{12}, not [0-9a-f]{12}"):
        generate.accelerator(other, plan)
