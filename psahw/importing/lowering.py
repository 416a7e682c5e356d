"""From operators to layers: what a `Model` becomes as a network, and what is rounded.

`psahw.importing.walk` follows the data. Sums become a `Linear` or a `TokenMixing`, perhaps with `Thresholds`, codes
become a `Table`, and bytes the input table. Tensors that two operators take begin a residual connection, which ends
with an `Add`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.graph import Network, Output
from ..quoting import quote
from . import operators as ops
from .context import Line
from .input_format import InputFormat
from .last_layer import finished
from .refusals import in_order, refusals
from .unsupported import Unsupported
from .values import Bytes, Grid
from .walk import Walk

__all__ = ["Grid", "InputFormat", "Line", "Lowered", "lower"]

_WORDS = {"class": "class", "values": "value", "labels": "label"}


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network made from a model.

    Parameters
    ----------
    network
        The network.
    lines
        What became of each operator.
    tensors
        For each tensor that codes of the network stand for: the layer, and the grid of its codes.
    input_format
        The real numbers of the input bytes.
    scale, offset
        ``scale·logit + offset`` is the model's output, where all outputs have the same.
    """

    network: Network
    lines: tuple[Line, ...]
    tensors: dict[str, tuple[str, "Grid"]]
    input_format: InputFormat
    scale: float
    offset: float


def lower(
    model: ops.Model,
    *,
    name: str | None = None,
    input_format: InputFormat | None = None,
    exact: bool = False,
    thresholds: bool = False,
    outputs: Sequence[str] | None = None,
    task: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Lowered:
    """Return the network that computes a model.

    Parameters
    ----------
    model
        The model, with quantised weights and activations.
    name
        Name of the network; by default that of the model.
    input_format
        The real numbers of input bytes. It is needed if the model does not state any.
    exact
        Use thresholds wherever a multiplier and a shift would round a sum otherwise than the model.
    thresholds
        Use thresholds in place of all multipliers, which adder graphs do not have.
    outputs
        Names of the outputs.
    task
        ``"class"``, ``"values"`` or ``"labels"``. By default ``"labels"`` for a model that ends with +1 or -1, and
        otherwise ``"class"``.
    metadata
        Metadata of the network.

    Raises
    ------
    Unsupported
        If operators cannot become layers; the message lists all of them with reasons.
    ValueError
        If the task is unknown, or the network would exceed a limit of layers.
    """
    if task is not None and task not in _WORDS:
        raise ValueError(f"task must be one of {', '.join(_WORDS)}, not {quote(task)}")
    if input_format is None:
        if model.input.quantiser is None:
            reason = "the model does not say what the bytes of its input stand for: give an input format"
            raise Unsupported([(model.input.name, "input", reason)])
        input_format = InputFormat.of(model.input.quantiser)
    walk = Walk(model, exact, thresholds)
    bytes_ = Bytes(np.tile(input_format.values(), (model.input.shape[2], 1)))
    last = model.operators[-1] if model.operators else None
    is_labels = isinstance(last, ops.Bipolar) and task in (None, "labels")
    kind = task or ("labels" if is_labels else "class")
    stop = last.inputs[0] if is_labels and last is not None else model.output
    try:
        layers, value = walk.series(model.input.name, bytes_, stop)
        layers, scale, offset = finished(walk, layers, value, stop, last if is_labels else None, kind == "labels")
    except Unsupported as error:
        raise Unsupported(in_order(model, [*error.nodes, *refusals(model, bytes_)])) from None
    count = model.input.shape, walk.shapes[stop][2]
    names = tuple(outputs) if outputs is not None else tuple(f"{_WORDS[kind]} {n}" for n in range(count[1]))
    scales = ((scale,) * count[1], (offset,) * count[1]) if kind == "values" else ((), ())
    network = Network(
        name or model.name, model.input.shape[:2], np.ascontiguousarray(walk.input_codes.astype(np.int8)),
        tuple(layers), Output(kind, names, *scales), metadata or {},
    )  # fmt: skip
    return Lowered(network, tuple(walk.lines), walk.tensors, input_format, scale, offset)
