"""The circuit of a planned network. No other module sees the network and the gateware."""

import json
from collections.abc import Iterator
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from . import verilog
from .adder_graph import solve
from .architecture import nodes
from .architecture.codes import Codes
from .gateware.accelerator import CHAIN, Accelerator
from .gateware.argmax import Argmax
from .gateware.chain import Chain
from .gateware.graph_engine import GraphEngine
from .gateware.input_table import InputTable
from .gateware.local_mixing import LocalMixing
from .gateware.mac_array import MacArray
from .gateware.max_pool import MaxPool
from .gateware.pool import MeanPool
from .gateware.residual import BRANCH, BYPASS, Residual
from .gateware.slices import Slices
from .gateware.stream import Gather, Queue, vector_signature
from .gateware.table import TableRom
from .gateware.thresholds import Thresholds
from .gateware.transpose import Transpose
from .gateware.windows import Windows
from .network import layers
from .network.dependence import needed_pixels
from .network.file import digest
from .network.graph import Network
from .network.layers import Linear, Table, TokenMixing
from .planner.graph_options import input_ranges
from .planner.plan import Plan
from .planner.primitives import queue_style

__all__ = ["TOP", "accelerator", "manifest", "module_names", "write"]

TOP = "psahw_accelerator"
"""Name of the top module."""


@singledispatch
def _component(node: nodes.Node, network: Network) -> wiring.Component:
    """Return the component that a node describes, with the integers of its layer."""
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_component.register
def _(node: nodes.InputTable, network: Network) -> wiring.Component:
    return InputTable(table=network.input_table, lanes=node.lanes)


def _linear(node: nodes.Node, network: Network) -> Linear | TokenMixing:
    """Return the layer with weights that a node computes."""
    layer = network.place(node.name).layer
    if not isinstance(layer, Linear | TokenMixing):
        raise ValueError(f"{node.name}: the layer must have weights, not be {layer!r}")
    return layer


def _range(node: nodes.Node, network: Network) -> tuple[int, int]:
    """Return the least and the greatest input of a node's layer that occur."""
    shape = network.place(node.name).input
    return shape.low, shape.high


def _queued(depth: int | None, lanes: int, codes: Codes, component: wiring.Component) -> wiring.Component:
    """Return a component behind a queue, or by itself if the depth is None or 0."""
    if not depth:
        return component
    shape = vector_signature(lanes, codes).members["payload"].shape
    queue = Queue(shape=shape, depth=depth, style=queue_style(lanes, depth, codes.bits))
    return Chain(parts={"queue": queue, "engine": component})


@_component.register
def _(node: nodes.Windows, network: Network) -> wiring.Component:
    windows = Windows(
        height=node.height,
        width=node.width,
        channels=node.channels,
        size=node.size,
        stride=node.stride,
        padding=node.padding,
        i_lanes=node.i_lanes,
        o_lanes=node.o_lanes,
        period=node.period,
        style=node.style,
        code=node.code,
        codes=node.codes,
    )
    return _queued(node.queue, node.i_lanes, node.codes, windows)


@_component.register
def _(node: nodes.Gather, network: Network) -> wiring.Component:
    return Gather(lanes=node.lanes, ratio=node.ratio, beats=node.beats, codes=node.codes)


@_component.register
def _(node: nodes.MacArray, network: Network) -> wiring.Component:
    layer = _linear(node, network)
    parts: list[np.ndarray | None] = [layer.weight, layer.bias, layer.shift, layer.multiplier, layer.offset]
    if isinstance(layer, Linear):
        parts = [None if part is None else part[None] for part in parts]
    elif layer.kernel is not None:
        raise ValueError(f"{node.name}: a MAC array cannot compute a local token mixing")
    weight, bias, shift, scale, offset = (None if part is None else np.ascontiguousarray(part) for part in parts)
    array = MacArray(
        weight=weight,
        bias=bias,
        shift=shift,
        rows=node.rows,
        columns=node.columns,
        o_lanes=node.o_lanes,
        depth=node.depth,
        vectors=node.vectors,
        i_codes=node.i_codes,
        o_codes=node.o_codes,
        i_range=_range(node, network),
        scale=scale,
        offset=offset,
        weight_style=node.weight_style,
        operand_bits=node.operand_bits,
        multiplier=node.multiplier,
    )
    if len(array.pairs) != node.pairs:
        raise ValueError(f"{node.name}: pairs must be {len(array.pairs)}, not {node.pairs}")
    return array


@_component.register
def _(node: nodes.GraphEngine, network: Network) -> wiring.Component:
    layer = _linear(node, network)
    weight, bias, shift = layer.weight, layer.bias, layer.shift
    if isinstance(layer, TokenMixing):
        if layer.groups > 1 or layer.kernel is not None:
            raise ValueError(f"{node.name}: an adder graph cannot compute a token mixing with groups or a kernel")
        weight, bias, shift = weight[0], bias[0], shift[0]
    if layer.multiplier is not None:
        raise ValueError(f"{node.name}: an adder graph has no multipliers")
    engine = GraphEngine(
        graph=solve(weight, input_ranges(weight, node.i_codes)),
        bias=bias,
        shift=shift,
        digit=node.digit,
        depth=node.additions,
        o_lanes=node.o_lanes,
        i_codes=node.i_codes,
        o_codes=node.o_codes,
    )
    for name in ("graph_interval", "graph_latency"):
        if getattr(node, name) != getattr(engine, name):
            raise ValueError(f"{node.name}: {name} must be {getattr(engine, name)}, not {getattr(node, name)}")
    gathers = node.i_beats > 1
    gather = {"gather": Gather(lanes=node.i_lanes, ratio=node.i_beats, codes=node.i_codes)} if gathers else {}
    return _queued(node.queue, node.i_lanes, node.i_codes, Chain(parts={**gather, "engine": engine}))


@_component.register
def _(node: nodes.TableRom, network: Network) -> wiring.Component:
    table = network.place(node.name).layer
    if not isinstance(table, Table):
        raise ValueError(f"{node.name}: the layer must be a table, not one with weights")
    return TableRom(
        values=table.values,
        lanes=node.lanes,
        style=node.style,
        bank_words=node.bank_words,
        i_codes=node.i_codes,
        o_codes=node.o_codes,
    )


@_component.register
def _(node: nodes.Transpose, network: Network) -> wiring.Component:
    return Transpose(
        rows=node.rows,
        columns=node.columns,
        i_lanes=node.i_lanes,
        o_lanes=node.o_lanes,
        period=node.period,
        style=node.style,
        codes=node.codes,
    )


@_component.register
def _(node: nodes.LocalMixing, network: Network) -> wiring.Component:
    layer = _linear(node, network)
    mixing = LocalMixing(
        weight=layer.weight,
        bias=layer.bias,
        shift=layer.shift,
        kernel=node.kernel,
        grid=node.grid,
        channels=node.channels,
        lanes=node.lanes,
        i_codes=node.i_codes,
        o_codes=node.o_codes,
        i_range=_range(node, network),
        scale=layer.multiplier,
        offset=layer.offset,
        multiplier=node.multiplier,
        shared=node.shared,
    )
    return _queued(node.queue, node.lanes, node.i_codes, mixing)


@_component.register
def _(node: nodes.Residual, network: Network) -> wiring.Component:
    branch = Chain(parts=_components(node.branch, network, node.name))
    bypass = Chain(parts=_components(node.bypass, network, node.name)) if node.bypass else None
    style = queue_style(node.o_lanes, node.queue, node.bypass_codes.bits)
    branch_style = queue_style(node.o_lanes, node.branch_queue, node.branch_codes.bits)
    return Residual(
        i_lanes=node.i_lanes,
        o_lanes=node.o_lanes,
        branch=branch,
        bypass=bypass,
        depth=node.queue,
        branch_depth=node.branch_queue,
        style=style,
        branch_style=branch_style,
        i_codes=node.i_codes,
        o_codes=node.o_codes,
        shift=node.shift,
    )


@_component.register
def _(node: nodes.Thresholds, network: Network) -> wiring.Component:
    layer = network.place(node.name).layer
    if not isinstance(layer, layers.Thresholds):
        raise ValueError(f"{node.name}: the layer must be thresholds, not {layer!r}")
    return Thresholds(
        values=layer.values, offset=layer.offset, lanes=node.lanes, i_codes=node.i_codes, o_codes=node.o_codes
    )


@_component.register
def _(node: nodes.MaxPool, network: Network) -> wiring.Component:
    return MaxPool(tokens=node.tokens, channels=node.channels, lanes=node.lanes, codes=node.codes)


@_component.register
def _(node: nodes.MeanPool, network: Network) -> wiring.Component:
    return MeanPool(
        tokens=node.tokens,
        channels=node.channels,
        lanes=node.lanes,
        shift=node.shift,
        codes=node.codes,
        multiplier=node.multiplier,
        offset=node.offset,
    )


@_component.register
def _(node: nodes.Argmax, network: Network) -> wiring.Component:
    return Argmax(classes=node.classes, codes=node.codes, lanes=node.lanes)


def _all_slices(node: nodes.Node, network: Network) -> wiring.Component:
    """Return the component of a node, or as many side by side as the node has slices."""
    slices = getattr(node, "slices", 1)
    if slices == 1:
        return _component(node, network)
    return Slices(parts=[_component(node, network) for _ in range(slices)])


def _submodule(node: nodes.Node, within: str) -> str:
    """Return the name of a node's component within that of the residual connection ``within``, or of the chain."""
    return node.name.removeprefix(f"{within}." if within else "").replace(".", "_")


def _components(pipeline: tuple[nodes.Node, ...], network: Network, within: str = "") -> dict[str, wiring.Component]:
    """Return the components of nodes by the name of their submodule."""
    names = [_submodule(node, within) for node in pipeline]
    if len(set(names)) < len(names):
        raise ValueError(f"the components of {within or 'the chain'} must have different names, not {names}")
    return {name: _all_slices(node, network) for name, node in zip(names, pipeline, strict=True)}


def _module_names(pipeline: tuple[nodes.Node, ...], parent: str, within: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name of each node with that of its module, for the nodes in the module ``parent``."""
    for node in pipeline:
        module = f"{parent}.{_submodule(node, within)}"
        yield node.name, module
        if isinstance(node, nodes.Residual):
            yield from _module_names(node.branch, f"{module}.{BRANCH}", node.name)
            yield from _module_names(node.bypass, f"{module}.{BYPASS}", node.name)


def module_names(plan: Plan) -> dict[str, str]:
    """Return the name of the Verilog module of each stage of a plan, which is its place in the hierarchy."""
    return dict(_module_names(plan.pipeline, f"{TOP}.{CHAIN}"))


def accelerator(network: Network, plan: Plan) -> Accelerator:
    """Return the circuit of a planned network.

    Raises ValueError if the plan is for another network, or describes a component that cannot compute its layer.
    """
    if plan.digest != digest(network):
        raise ValueError(f"plan must be for network {digest(network)[:12]}, not {plan.digest[:12]}")
    return Accelerator(stages=_components(plan.pipeline, network))


def _needed_beats(network: Network, bus_bytes: int) -> int:
    """Return the number of input beats of a frame up to the last one with a pixel on which the result depends."""
    return -(-needed_pixels(network) * network.colours // bus_bytes)


def manifest(network: Network, plan: Plan, circuit: Accelerator) -> dict[str, Any]:
    """Return the facts about a circuit that a simulation or a host needs."""
    return {
        "network": network.name,
        "digest": plan.digest,
        "top": TOP,
        "image": list(network.image),
        "colours": network.colours,
        "bus_bytes": plan.bus_bytes,
        "needed_beats": _needed_beats(network, plan.bus_bytes),
        "classes": len(network.classes),
        "class_names": list(network.classes),
        "logit_bits": network.logits.codes.bits + (not network.logits.codes.signed),
        "clock_hz": plan.clock_hz,
        "frame_interval": plan.frame_interval,
        "latency": plan.latency,
        "lone_latency": plan.lone_latency,
        "settling_frames": plan.settling_frames,
        "draining_frames": plan.draining_frames,
        "stages": list(circuit.stall_names),
    }


def write(network: Network, plan: Plan, directory: Path) -> dict[str, Any]:
    """Write the circuit of a planned network into a directory, and return its manifest.

    The files are ``accelerator.v``, its memory files, ``manifest.json`` and ``plan.json``.
    """
    with verilog.no_garbage_collection():
        circuit = accelerator(network, plan)
        verilog.emit(circuit, "accelerator", directory)
    content = manifest(network, plan, circuit)
    (directory / "manifest.json").write_text(json.dumps(content, indent=2) + "\n")
    (directory / "plan.json").write_text(json.dumps(plan.to_dict(), indent=2) + "\n")
    return content
