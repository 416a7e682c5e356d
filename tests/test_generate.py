"""Small whole accelerators in Amaranth's simulator: logits of the integer model, times of the plan."""

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
from psahw.network.layers import Patch
from psahw.network.random import StageShape, random_images, random_network
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
    # 8 tokens in the lanes of 12 channels: the widths on the two sides of a transposition differ
    "uneven dense": dict(image=(4, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(12, 4),)),
    # 12 vectors of 4 tokens in the 4 cycles of a frame: three engines side by side
    "sliced dense": dict(
        image=(4, 4), colours=1, patch=Patch(2, 2), stages=(StageShape(12, 4, blocks=2),), classes=4
    ),
    "grey": dict(colours=1, stages=(StageShape(8, 6),)),
    "mixed": dict(image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(6, 4, kernel=3), StageShape(8, 6))),
    "wide merging": dict(image=(8, 8), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 8), StageShape(12, 8))),
    "few tokens": dict(image=(4, 4), colours=1, patch=Patch(2, 2), stages=(StageShape(8, 2, kernel=1),)),
    "one row": dict(image=(2, 10), colours=1, patch=Patch(2, 2), stages=(StageShape(4, 4, kernel=3),)),
    "rows left over": dict(image=(11, 9), colours=1, patch=Patch(4, 2), stages=(StageShape(4, 4),)),
    "extremes": dict(stages=(StageShape(8, 6, groups=2),), extremes=True),
}


def beats(network, images, bus_bytes):
    return images.reshape(-1, bus_bytes)


def results(network, payloads):
    """(logits, class) from raw result payloads."""
    bits, classes = network.head.out_bits, len(network.classes)
    logits = []
    for payload in payloads:
        raw = np.array([payload >> bits * k & (1 << bits) - 1 for k in range(classes)])
        logits.append(np.where(raw >> bits - 1, raw - (1 << bits), raw))
    return np.array(logits), np.array([payload >> bits * classes for payload in payloads])


def make(name, fps=None, seed=0, bus_bytes=4, rules=MAC_ONLY):
    network = random_network(np.random.default_rng(seed), **SHAPES[name])
    bus_bytes = search.widest_bus(network, bus_bytes)
    return network, search.make(network, DEVICE, clock_hz=100e6, fps=fps, bus_bytes=bus_bytes, rules=rules)


def simulate(network, made, images, **stalls):
    circuit = generate.accelerator(network, inferred(made))
    raw = [int.from_bytes(bytes(beat), "little") for beat in beats(network, images, made.bus_bytes)]
    payloads, i_cycles, o_cycles = run_stream(circuit, raw, quiet=made.latency + made.frame_interval, **stalls)
    return *results(network, payloads), np.array(i_cycles), np.array(o_cycles)


@pytest.mark.parametrize("slower", [1, 3])
@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("grey", "mixed")])  # those are for graphs
def test_back_to_back(name, slower):
    network, made = make(name)
    if slower > 1:
        network, made = make(name, fps=made.fps / slower)
    images = random_images(np.random.default_rng(1), network, 3 + made.settling_frames)
    logits, classes, i_cycles, o_cycles = simulate(network, made, images)
    expected = reference.run(network, images)
    assert np.array_equal(logits, expected)
    assert np.array_equal(classes, expected.argmax(1))
    assert np.diff(o_cycles)[made.settling_frames :].tolist() == [made.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == made.latency


GRAPHS = ("serial:1", "serial:2", "serial:4", "serial:8", "parallel")
MIXED = Rules.parse(
    "parallel",
    ("embed=mac", "*.linear1=serial:2", "*.linear2=serial:1", "stages.1.*=serial:4", "*.token_mixing.linear=mac"),
)


def engines_of(made):
    return made.to_dict()["engines"]


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("grey", engine) for engine in GRAPHS),
        ("rows left over", "serial:1"),
        ("uneven dense", "serial:4"),
        ("sliced dense", "parallel"),
    ],
)
def test_adder_graphs(name, engine):
    """Every layer by one kind of graph: its logits, its cadence, its latency, and no wait that is not planned."""
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    check_graphs(name, Rules.parse(engine), {engine})


def test_a_network_that_mixes_all_engines():
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    made = check_graphs("mixed", MIXED, None)
    kinds = {engine.partition(":")[0] for engine in engines_of(made).values()}
    assert kinds == {"mac", "serial", "parallel"}


def check_graphs(name, rules, expected_engines):
    network, made = make(name, rules=rules)
    assert expected_engines in (None, set(engines_of(made).values()))
    images = random_images(np.random.default_rng(1), network, 3 + made.settling_frames)
    logits, _, i_cycles, o_cycles = simulate(network, made, images)
    assert np.array_equal(logits, reference.run(network, images))
    assert np.diff(o_cycles)[made.settling_frames :].tolist() == [made.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == made.latency
    return made


def test_adder_graphs_with_stalls_and_a_reset():
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    network, made = make("mixed", rules=MIXED, seed=1)
    images = random_images(np.random.default_rng(1), network, 3)
    stalls = np.random.default_rng(1).integers(0, 2, (2, 23)).astype(bool)
    logits, *_ = simulate(network, made, images, i_stalls=stalls[0], o_stalls=stalls[1], reset_at=made.latency // 2)
    assert np.array_equal(logits, reference.run(network, images))


def test_wide_shapes_are_wide():
    """Otherwise nothing here runs several lanes."""
    for name in ("wide", "wide shared", "wide dense", "wide merging"):
        _, made = make(name)
        assert max(getattr(node, "lanes", 1) for node in walk(made.pipeline)) > 1
    _, made = make("uneven dense")
    assert any(
        isinstance(node, nodes.Transpose) and 1 < node.i_lanes != node.o_lanes > 1 for node in walk(made.pipeline)
    )
    _, made = make("sliced dense")
    assert made.frame_interval == 4
    assert [node.slices for node in walk(made.pipeline) if isinstance(node, nodes.Transpose)] == [3] * 4
    _, made = make("wide merging")
    assert any(isinstance(node, nodes.Windows) and node.buffer.copies > 1 for node in walk(made.pipeline))


def sliced(channels, groups, period):
    """4 tokens, whose channels pass in 4 periods."""
    shape = StageShape(channels, 4, groups=groups)
    network = random_network(
        np.random.default_rng(0), image=(4, 4), colours=1, patch=Patch(2, 2), stages=(shape,), classes=4
    )
    return network, search.make(network, DEVICE, clock_hz=100e6, bus_bytes=4, period=period)


@pytest.mark.parametrize(("channels", "period", "slices", "lanes"), [(9, 2, 3, (3, 2)), (18, 4, 2, (3, 4))])
def test_slices_that_take_other_lanes_than_they_give(channels, period, slices, lanes):
    network, made = sliced(channels, 1, period)
    found = [node for node in walk(made.pipeline) if isinstance(node, nodes.Transpose)]
    assert [(node.slices, node.i_lanes, node.o_lanes) for node in found] == [(slices, *lanes), (slices, *lanes[::-1])]
    images = random_images(np.random.default_rng(1), network, 3 + made.settling_frames)
    logits, _, i_cycles, o_cycles = simulate(network, made, images)
    assert np.array_equal(logits, reference.run(network, images))
    assert np.diff(o_cycles)[made.settling_frames :].tolist() == [made.frame_interval] * 2
    assert o_cycles[0] - i_cycles[0] == made.latency
    stalls = np.random.default_rng(1).integers(0, 2, (2, 23)).astype(bool)
    logits, *_ = simulate(network, made, images, i_stalls=stalls[0], o_stalls=stalls[1], reset_at=made.latency // 2)
    assert np.array_equal(logits, reference.run(network, images))


def test_groups_cannot_be_sliced():
    with pytest.raises(CheckFailed, match="token_mixing: 3 engines side by side are needed, and all channels"):
        sliced(12, 3, 1)


def test_local_shapes_share_multipliers():
    """All shapes do; here also columns do not divide the inputs."""
    _, made = make("local")
    arrays = [node for node in walk(made.pipeline) if isinstance(node, nodes.MacArray)]
    assert sum(node.pairs for node in arrays) > sum(node.multipliers for node in arrays) / 2
    assert any(node.inputs % node.columns for node in arrays)


def test_a_plan_with_other_pairs():
    network, made = make("dense")
    embed = next(node for node in made.pipeline if node.name == "embed")
    wrong = dataclasses.replace(embed, pairs=1)
    with pytest.raises(ValueError, match=rf"^embed: pairs must be {embed.pairs}, not 1$"):
        generate.accelerator(network, dataclasses.replace(made, pipeline=(wrong,)))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["dense", "wide", "wide shared", "sliced dense", "wide merging"]),
    stalls=st.tuples(*[st.lists(st.booleans(), min_size=1, max_size=9).filter(lambda p: not all(p))] * 2),
    seed=st.integers(0, 100),
)
def test_stalls_change_nothing_but_time(name, stalls, seed):
    network, made = make(name, seed=seed)
    images = random_images(np.random.default_rng(seed), network, 3)
    logits, *_ = simulate(network, made, images, i_stalls=stalls[0], o_stalls=stalls[1])
    assert np.array_equal(logits, reference.run(network, images))


def test_a_plan_of_another_network():
    _, made = make("dense")
    other, _ = make("dense", seed=1)
    with pytest.raises(ValueError, match=r"plan must be for network [0-9a-f]{12}, not [0-9a-f]{12}"):
        generate.accelerator(other, made)
