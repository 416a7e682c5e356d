"""The integers of a `QuantizedGraph` as a `psahw.network` network."""

from typing import TypeAlias

import numpy as np
import torch

from psahw.network import layers as integer
from psahw.network.graph import Named, Network, Output, Residual

from ..export import arrays, exact_array
from .operations import Flatten, MaxPool, MeanPool, Mixing, Operation, Series, Sum, Sums, Table
from .quantised import QuantizedGraph

__all__ = ["to_network"]

Part: TypeAlias = tuple[Named, ...]


@torch.no_grad()
def to_network(model: QuantizedGraph, name: str, names: tuple[str, ...], metadata: dict | None = None) -> Network:
    """Return the network file's form of a quantised model.

    Parameters
    ----------
    model
        The model, on the CPU.
    name
        Name of the network.
    names
        Names of the classes, values or labels.
    metadata
        Free JSON about how the network was trained.

    Raises
    ------
    CheckFailed
        If the model's own sums may not be exact.
    """
    model.require_exact()
    config = model.config
    pixel_codes = np.tile(np.arange(-128, 128, dtype=np.int8), (config.colours, 1))
    return Network(name, config.image, pixel_codes, _series(model.series), _output(model, names), metadata or {})


def _output(model: QuantizedGraph, names: tuple[str, ...]) -> Output:
    if model.config.task != "values":
        return Output(model.config.task, names)
    scale = model.series[len(model.series) - 1].out_scale * model.target_deviation
    return Output("values", names, tuple(scale.double().tolist()), tuple(model.target_mean.double().tolist()))


def _series(series: Series) -> Part:
    return tuple(named for operation in series for named in _layers(operation))


def _layers(operation: Operation) -> Part:
    """Return the layers of an operation."""
    name, after = operation.name, operation.after
    match operation:
        case Sums():
            layer = operation.layer
            linear = integer.Linear(**arrays(operation.integers()), out_bits=after.bits, out_signed=after.signed)
            if layer.size == (1, 1) and layer.stride == (1, 1):
                return (Named(name, linear),)
            windows = integer.Windows(layer.size, layer.stride, layer.padding, layer.padding_code)
            return Named(f"{name}.windows", windows), Named(name, linear)
        case Mixing():
            kernel = operation.layer.kernel
            mixing = integer.TokenMixing(
                **arrays(operation.integers()),
                kernel=None if kernel is None else (kernel, kernel),
                shared=operation.layer.shared,
                out_bits=after.bits,
                out_signed=after.signed,
            )
            return (Named(name, mixing),)
        case Table():
            return _table(operation)
        case MaxPool():
            pool = operation.layer
            return (Named(name, integer.MaxPool(pool.size, pool.stride, pool.padding)),)
        case MeanPool():
            return (Named(name, integer.MeanPool(int(operation.shift))),)
        case Flatten():
            return (Named(name, integer.Flatten()),)
        case Sum():
            paths = _series(operation.branch), _series(operation.shortcut)
            return (Named(name, Residual(*paths, after.bits, after.signed)),)
    raise TypeError(f"{name} must be an operation, not {type(operation).__name__}")


def _table(operation: Table) -> Part:
    """Return a table, or nothing if it is the identity for every channel."""
    after = operation.after
    values = exact_array(operation.table().round(), np.int8 if after.signed else np.uint8).T
    codes = np.arange(operation.before.low, operation.before.high + 1)
    if operation.before == after and (values == codes).all():
        return ()
    return (Named(operation.name, integer.Table(np.ascontiguousarray(values), after.bits)),)
