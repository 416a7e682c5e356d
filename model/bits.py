"""Choose bits per layer for a budget of adder-graph LUTs, by what they cost in loss.

How much the loss on some training images grows when one layer has fewer bits is measured on the quantised network
itself, layer by layer. Then bits are taken away where a saved LUT costs the least loss, until the budget is met. That
the increases of several layers add up is an assumption; fine-tuning starts from the choice.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from psahw.adder_graph.estimate import layer_luts
from psahw.callbacks import silent
from psahw.errors import UserError
from psahw.network.resmlp import linear_names

from .config import ModelConfig
from .graphs.quantised import QuantizedGraph
from .models import task_of
from .predict import images_at_once
from .quant import Layer, QuantizedResMLP
from .tasks import loss_of, make_targets

__all__ = ["MIN_BITS", "check_budget", "choose", "layer_names", "loss_by_bits", "luts_by_bits"]

MIN_BITS = 2
"""Fewest bits of a weight."""

ByBits = dict[str, dict[int, float]]
"""A figure of each layer by name, for each number of bits that the layer may have."""


def layer_names(config: ModelConfig) -> list[str]:
    """Return the names of `QuantizedResMLP.layers` for a network of this shape."""
    return linear_names([stage.blocks for stage in config.stages])


def _each_bits(layer: Layer) -> Iterator[int]:
    """Set a layer to the bits that it has, then to one fewer, and so on, and yield them; restore them in the end."""
    original = layer.rows.bits
    try:
        for bits in range(original, MIN_BITS - 1, -1):
            layer.rows.bits = bits
            yield bits
    finally:
        layer.rows.bits = original


@torch.no_grad()
def luts_by_bits(model: QuantizedResMLP | QuantizedGraph) -> ByBits:
    """Return the estimated LUTs of each layer with the bits that it has, and with each smaller number of bits."""

    def luts(layer: Layer) -> float:
        return layer_luts(layer.integers().weight.cpu().numpy().astype(np.int8), layer.columns)

    return {name: {bits: luts(layer) for bits in _each_bits(layer)} for name, layer in model.layers().items()}


@torch.no_grad()
def _loss(model: QuantizedResMLP | QuantizedGraph, images: np.ndarray, labels: np.ndarray, batch: int = 500) -> float:
    """Return the mean loss on images uint8 [n, h, w, colours] with labels."""
    device = next(model.parameters()).device
    batch = images_at_once(model, batch)
    task, total = task_of(model.config), 0.0
    loss, targets = loss_of(task), make_targets(labels, task, model.config.classes, 0, model).to(device)
    for start in range(0, len(images), batch):
        outputs = model(torch.from_numpy(images[start : start + batch]).to(device))
        total += float(loss(outputs, targets[start : start + batch])) * len(outputs)
    return total / len(images)


def loss_by_bits(
    model: QuantizedResMLP | QuantizedGraph,
    images: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int], None] = silent,
) -> ByBits:
    """Return by how much the loss grows when one layer has fewer bits and the others stay as they are.

    Parameters
    ----------
    model
        The network, which is left in evaluation mode.
    images, labels
        uint8 [n, h, w, colours] and classes [n], or values or labels [n, classes].
    progress
        Called with 1 after each layer.

    Returns
    -------
    dict
        Increase of the mean loss by layer and bits; 0 for the bits that the layer has.
    """
    model.eval()
    unchanged = _loss(model, images, labels)
    increases: ByBits = {}
    for name, layer in model.layers().items():
        original = layer.rows.bits
        increases[name] = {
            bits: 0.0 if bits == original else _loss(model, images, labels) - unchanged for bits in _each_bits(layer)
        }
        progress(1)
    return increases


def check_budget(luts: ByBits, budget: float) -> None:
    """Raise UserError if no choice of bits is within the budget."""
    least = sum(min(of_layer.values()) for of_layer in luts.values())
    if least > budget:
        raise UserError(f"a budget of {budget:,.0f} LUTs is too small: {MIN_BITS} bits everywhere take {least:,.0f}")


def choose(loss: ByBits, luts: ByBits, budget: float) -> dict[str, int]:
    """Choose the bits of each layer for a budget of LUTs.

    The choice starts from the most bits of each layer, and repeats the step (of one layer, by one bit or several)
    that costs the least loss per LUT saved. What a long step leaves of the budget is then given back where it gains
    most.

    Parameters
    ----------
    loss
        Increase of the loss by layer and bits.
    luts
        LUTs by layer and bits.
    budget
        The most LUTs of all layers together.

    Raises
    ------
    UserError
        If no choice is within the budget.
    """
    check_budget(luts, budget)
    bits = {name: max(of_layer) for name, of_layer in luts.items()}
    while sum(luts[name][bits[name]] for name in luts) > budget:
        _, name, fewer = min(
            ((loss[name][fewer] - loss[name][now]) / (luts[name][now] - luts[name][fewer]), name, fewer)
            for name, now in bits.items()
            for fewer in luts[name]
            if fewer < now and luts[name][fewer] < luts[name][now]
        )
        bits[name] = fewer
    while True:
        left = budget - sum(luts[name][bits[name]] for name in luts)
        gains = [
            ((loss[name][now] - loss[name][more]) / (luts[name][more] - luts[name][now]), name, more)
            for name, now in bits.items()
            for more in luts[name]
            if 0 < luts[name][more] - luts[name][now] <= left and loss[name][more] < loss[name][now]
        ]
        if not gains:
            return bits
        _, name, more = max(gains)
        bits[name] = more
