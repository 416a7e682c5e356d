"""Network and plan to circuit: the only place that sees both sides."""

import json
from collections.abc import Iterator
from functools import singledispatch
from pathlib import Path

import numpy as np

from . import verilog
from .adder_graph import solve
from .architecture import nodes
from .gateware.accelerator import CHAIN, Accelerator
from .gateware.argmax import Argmax
from .gateware.chain import Chain
from .gateware.graph_engine import GraphEngine
from .gateware.input_table import InputTable
from .gateware.local_mixing import LocalMixing
from .gateware.mac_array import MacArray
from .gateware.pool import MeanPool
from .gateware.residual import BRANCH, BYPASS, Residual
from .gateware.slices import Slices
from .gateware.stream import Gather, Queue, vector_signature
from .gateware.table import TableRom
from .gateware.transpose import Transpose
from .gateware.windows import Windows
from .network.file import digest
from .network.layers import Linear, Network
from .planner.plan import Plan
from .planner.primitives import queue_style

__all__ = ["TOP", "accelerator", "manifest", "module_names", "write"]

TOP = "psahw_accelerator"


@singledispatch
def _component(node: nodes.Node, network: Network):
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_component.register
def _(node: nodes.InputTable, network):
    return InputTable(table=network.input_table, lanes=node.lanes)


def _queued(depth: int | None, lanes: int, component):
    """A component behind a queue, which None and zero leave out."""
    if not depth:
        return component
    shape = vector_signature(lanes).members["payload"].shape
    queue = Queue(shape=shape, depth=depth, style=queue_style(lanes, depth))
    return Chain(parts={"queue": queue, "engine": component})


@_component.register
def _(node: nodes.Windows, network):
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
    )
    return _queued(node.queue, node.i_lanes, windows)


@_component.register
def _(node: nodes.Gather, network):
    return Gather(lanes=node.lanes, ratio=node.ratio, beats=node.beats)


@_component.register
def _(node: nodes.MacArray, network):
    layer = network.layer(node.name)
    arrays = layer.weight, layer.bias, layer.shift
    if isinstance(layer, Linear):
        arrays = tuple(array[None] for array in arrays)
    elif layer.kernel is not None:
        raise ValueError(f"{node.name}: a local token mixing is not for a MAC array")
    weight, bias, shift = map(np.ascontiguousarray, arrays)
    array = MacArray(
        weight=weight,
        bias=bias,
        shift=shift,
        rows=node.rows,
        columns=node.columns,
        o_lanes=node.o_lanes,
        depth=node.depth,
        vectors=node.vectors,
        out_bits=node.out_bits,
        weight_style=node.weight_style,
        operand_bits=node.operand_bits,
        multiplier=node.multiplier,
    )
    if len(array.pairs) != node.pairs:
        raise ValueError(f"{node.name}: pairs must be {len(array.pairs)}, not {node.pairs}")
    return array


@_component.register
def _(node: nodes.GraphEngine, network):
    layer = network.layer(node.name)
    weight, bias, shift = layer.weight, layer.bias, layer.shift
    if weight.ndim == 3:
        if len(weight) > 1 or layer.kernel is not None:
            raise ValueError(f"{node.name}: a token mixing with groups or a kernel is not for one adder graph")
        weight, bias, shift = weight[0], bias[0], shift[0]
    engine = GraphEngine(
        graph=solve(weight),
        bias=bias,
        shift=shift,
        digit=node.digit,
        o_lanes=node.o_lanes,
        out_bits=node.out_bits,
    )
    for name in ("graph_interval", "graph_latency"):
        if getattr(node, name) != getattr(engine, name):
            raise ValueError(f"{node.name}: {name} must be {getattr(engine, name)}, not {getattr(node, name)}")
    wide = node.i_beats > 1
    gather = {"gather": Gather(lanes=node.i_lanes, ratio=node.i_beats)} if wide else {}
    return _queued(node.queue, node.i_lanes, Chain(parts={**gather, "engine": engine}))


@_component.register
def _(node: nodes.TableRom, network):
    return TableRom(values=network.layer(node.name).values, lanes=node.lanes, style=node.style)


@_component.register
def _(node: nodes.Transpose, network):
    return Transpose(
        rows=node.rows,
        columns=node.columns,
        i_lanes=node.i_lanes,
        o_lanes=node.o_lanes,
        period=node.period,
        style=node.style,
    )


@_component.register
def _(node: nodes.LocalMixing, network):
    layer = network.layer(node.name)
    mixing = LocalMixing(
        weight=layer.weight,
        bias=layer.bias,
        shift=layer.shift,
        kernel=node.kernel,
        grid=node.grid,
        channels=node.channels,
        lanes=node.lanes,
        multiplier=node.multiplier,
        shared=node.shared,
    )
    return _queued(node.queue, node.lanes, mixing)


@_component.register
def _(node: nodes.Residual, network):
    branch = Chain(parts=_components(node.branch, network, node.name))
    bypass = Chain(parts=_components(node.bypass, network, node.name)) if node.bypass else None
    style = queue_style(node.lanes, node.queue)
    return Residual(lanes=node.lanes, branch=branch, bypass=bypass, depth=node.queue, style=style)


@_component.register
def _(node: nodes.MeanPool, network):
    return MeanPool(tokens=node.tokens, channels=node.channels, lanes=node.lanes, shift=node.shift)


@_component.register
def _(node: nodes.Argmax, network):
    return Argmax(classes=node.classes, bits=node.bits)


def _all_slices(node: nodes.Node, network):
    slices = getattr(node, "slices", 1)
    if slices == 1:
        return _component(node, network)
    return Slices(parts=[_component(node, network) for _ in range(slices)])


def _submodule(node: nodes.Node, within: str) -> str:
    """Return the name of a node's component within that of the residual connection ``within``, or of the chain."""
    return node.name.removeprefix(f"{within}." if within else "").replace(".", "_")


def _components(pipeline, network, within: str = "") -> dict:
    return {_submodule(node, within): _all_slices(node, network) for node in pipeline}


def _module_names(pipeline: tuple[nodes.Node, ...], parent: str, within: str = "") -> Iterator[tuple[str, str]]:
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
    """The circuit of ``network`` as planned. Raises ValueError if the plan is another network's."""
    if plan.digest != digest(network):
        raise ValueError(f"plan must be for network {digest(network)[:12]}, not {plan.digest[:12]}")
    return Accelerator(stages=_components(plan.pipeline, network))


def manifest(network: Network, plan: Plan, circuit: Accelerator) -> dict:
    """What a simulation or a host must know of the circuit."""
    return {
        "network": network.name,
        "digest": plan.digest,
        "top": TOP,
        "image": list(network.image),
        "colours": network.colours,
        "bus_bytes": plan.bus_bytes,
        "classes": len(network.classes),
        "class_names": list(network.classes),
        "logit_bits": network.head.out_bits,
        "clock_hz": plan.clock_hz,
        "frame_interval": plan.frame_interval,
        "latency": plan.latency,
        "settling_frames": plan.settling_frames,
        "stages": list(circuit.stall_names),
    }


def write(network: Network, plan: Plan, directory: Path) -> dict:
    """Write ``accelerator.v``, its memory files, ``manifest.json`` and ``plan.json``; returns the manifest."""
    circuit = accelerator(network, plan)
    verilog.emit(circuit, "accelerator", directory)
    content = manifest(network, plan, circuit)
    (directory / "manifest.json").write_text(json.dumps(content, indent=2) + "\n")
    (directory / "plan.json").write_text(json.dumps(plan.to_dict(), indent=2) + "\n")
    return content
