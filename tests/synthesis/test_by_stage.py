"""Results by stage: every module of a generated circuit is found in its stage, under the names that it really has."""

import dataclasses

import numpy as np
import pytest

from psahw import generate
from psahw.architecture import nodes
from psahw.architecture.device import DEVICES
from psahw.gateware.graph_engine import PARALLEL_GRAPH, SERIAL_GRAPH
from psahw.network.graph import Named
from psahw.network.layers import Linear, MaxPool, Thresholds
from psahw.network.random import StageShape, random_network
from psahw.planner import search
from psahw.planner.rules import Rules
from psahw.synthesis.by_stage import OTHER, by_stage, stage_of
from psahw.synthesis.static_timing import GRADES
from psahw.synthesis.verilog_modules import split
from psahw.synthesis.yosys import Synthesis

BLOCK = "stages.0.blocks.0.token_mixing"
CHAIN = "psahw_accelerator.chain"
STAGES = {
    "embed": f"{CHAIN}.embed",
    "stages.0.merge": f"{CHAIN}.stages_0_merge",
    "stages.0.merge.windows": f"{CHAIN}.stages_0_merge_windows",
    BLOCK: f"{CHAIN}.stages_0_blocks_0_token_mixing",
    f"{BLOCK}.linear": f"{CHAIN}.stages_0_blocks_0_token_mixing.branch.linear",
}


@pytest.mark.parametrize(
    ("module", "stage"),
    [
        (f"{CHAIN}.embed.ring", "embed"),
        (f"{CHAIN}.stages_0_merge", "stages.0.merge"),
        (f"{CHAIN}.stages_0_merge_windows.banks", "stages.0.merge.windows"),
        (f"{CHAIN}.stages_0_blocks_0_token_mixing.branch.linear.queue", f"{BLOCK}.linear"),
        (f"{CHAIN}.stages_0_blocks_0_token_mixing.queue", BLOCK),
        (f"{CHAIN}.embedding", OTHER),
        ("psahw_accelerator", OTHER),
    ],
)
def test_stage_of(module, stage):
    assert stage_of(module, STAGES) == stage


def test_by_stage_loses_nothing():
    synthesis = Synthesis(
        {"top": {"LUT6": 1}, "top.chain.embed": {"LUT6": 2, "FDRE": 5}, "top.chain.embed.ring": {"DSP48E1": 3}}
    )
    results = by_stage(synthesis, {"embed": "top.chain.embed"}, GRADES["xc7"]["2"])
    assert results["embed"]["resources"] == {"lut": 2, "ff": 5, "dsp": 3, "bram36": 0}
    assert results[OTHER]["resources"]["lut"] == 1


@pytest.fixture(scope="module")
def circuit(tmp_path_factory):
    """The plan of a network with every kind of component, and the modules of its Verilog."""
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    stages = (StageShape(6, 4, kernel=3), StageShape(8, 6))
    rng = np.random.default_rng(0)
    network = random_network(rng, image=(16, 16), stages=stages)
    sums = Linear(rng.integers(-9, 10, (8, 8)).astype(np.int8), np.zeros(8, np.int32), np.zeros(8, np.uint8), 15)
    thresholds = Thresholds(np.sort(rng.integers(-999, 1000, (8, 7)), axis=1).astype(np.int32), 8)
    more = Named("sums", sums), Named("thresholds", thresholds), Named("greatest", MaxPool((2, 2), (1, 1)))
    network = dataclasses.replace(network, layers=(*network.layers[:-2], *more, *network.layers[-2:]))
    rules = Rules.parse("mac", ("embed=mac:3x12", "*.linear1=serial:1", "head=parallel"))
    plan = search.make(network, DEVICES["xc7k160t"], clock_hz=100e6, fps=10_000, rules=rules)
    directory = tmp_path_factory.mktemp("circuit")
    generate.write(network, plan, directory)
    return plan, split((directory / "accelerator.v").read_text())


def test_the_plan_has_every_kind_of_node(circuit):
    plan, _ = circuit
    kinds = {type(node) for node in nodes.walk(plan.pipeline)}
    every = {kind for kind in map(vars(nodes).get, nodes.__all__) if isinstance(kind, type)}
    assert kinds == every - {nodes.Node, nodes.Sliced}


def test_every_stage_is_a_module(circuit):
    plan, modules = circuit
    names = generate.module_names(plan)
    assert list(names) == [node.name for node in nodes.walk(plan.pipeline)]
    assert not set(names.values()) - set(modules)


def test_no_component_belongs_to_no_stage(circuit):
    """Outside the stages are the accelerator, its chain and its counters alone."""
    plan, modules = circuit
    names = generate.module_names(plan)
    outside = {module for module in modules if stage_of(module, names) == OTHER}
    assert outside == {generate.TOP, CHAIN, f"{generate.TOP}.counters"}


def test_the_tables_of_a_bypass_are_not_the_residual_connection(circuit):
    plan, modules = circuit
    names = generate.module_names(plan)
    tables = [module for module in modules if ".bypass." in module]
    assert tables
    assert all(stage_of(module, names).endswith(".table_residual") for module in tables)


def test_adder_graphs_have_the_names_by_which_they_are_found(circuit):
    """`psahw.synthesis.yosys` counts pairs of LUTs in the modules called `SERIAL_GRAPH`."""
    plan, modules = circuit
    names = generate.module_names(plan)
    graphs = {True: set(), False: set()}
    for node in nodes.walk(plan.pipeline):
        if isinstance(node, nodes.GraphEngine):
            graphs[node.digit is None] |= {module for module in modules if stage_of(module, names) == node.name}
    assert graphs[True] and graphs[False]
    assert {name for name in modules if name.endswith(f".{SERIAL_GRAPH}")} <= graphs[False]
    assert {name for name in modules if name.endswith(f".{PARALLEL_GRAPH}")} <= graphs[True]
    assert sum(name.endswith(f".{SERIAL_GRAPH}") for name in modules) == 2
    assert sum(name.endswith(f".{PARALLEL_GRAPH}") for name in modules) == 1
