"""Bits per layer for a budget of adder-graph LUTs, by what they cost in loss.

How much the loss on some training images grows when one layer has fewer bits is measured on the quantised network
itself, layer by layer; then bits are taken away where a LUT saved costs least loss, until the budget is met.
That the increases add up is an assumption; fine-tuning starts from what is chosen.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from psahw.adder_graph.estimate import layer_luts
from psahw.errors import UserError
from psahw.network.layers import linear_names

from .config import ModelConfig
from .quant import Layer, QuantizedResMLP

__all__ = ["MIN_BITS", "check_budget", "choose", "layer_names", "loss_by_bits", "luts_by_bits"]

MIN_BITS = 2


def layer_names(config: ModelConfig) -> list[str]:
    """Of `QuantizedResMLP.layers`, before there is one."""
    return linear_names([stage.blocks for stage in config.stages])


def _tried(layer: Layer) -> Iterator[int]:
    """Sets the layer to the bits that it has, to one fewer, and so on; at the end it has its own again."""
    own = layer.rows.bits
    try:
        for bits in range(own, MIN_BITS - 1, -1):
            layer.rows.bits = bits
            yield bits
    finally:
        layer.rows.bits = own


@torch.no_grad()
def luts_by_bits(model: QuantizedResMLP) -> dict[str, dict[int, float]]:
    """Estimated LUTs of each layer at its bits and at all fewer."""

    def luts(layer: Layer) -> float:
        return layer_luts(layer.integers().weight.cpu().numpy().astype(np.int8), layer.columns)

    return {name: {bits: luts(layer) for bits in _tried(layer)} for name, layer in model.layers().items()}


@torch.no_grad()
def _loss(model: QuantizedResMLP, images: np.ndarray, labels: np.ndarray, batch: int = 500) -> float:
    """Mean cross-entropy."""
    device = next(model.parameters()).device
    total = 0.0
    for start in range(0, len(images), batch):
        logits = model(torch.from_numpy(images[start : start + batch]).to(device))
        targets = torch.from_numpy(labels[start : start + batch]).to(device).long()
        total += float(functional.cross_entropy(logits, targets, reduction="sum"))
    return total / len(images)


def loss_by_bits(
    model: QuantizedResMLP,
    images: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, dict[int, float]]:
    """What the loss grows by with each layer at its bits (0) and at all fewer, the other layers as they are.
    `progress` is called after each layer."""
    model.eval()
    least, found = _loss(model, images, labels), {}
    for name, layer in model.layers().items():
        own = layer.rows.bits
        found[name] = {bits: 0.0 if bits == own else _loss(model, images, labels) - least for bits in _tried(layer)}
        progress(1)
    return found


def check_budget(luts: dict[str, dict[int, float]], budget: float) -> None:
    """Raises UserError if no choice of bits is within the budget."""
    least = sum(min(of_layer.values()) for of_layer in luts.values())
    if least > budget:
        raise UserError(f"a budget of {budget:,.0f} LUTs is too small: {MIN_BITS} bits everywhere take {least:,.0f}")


def choose(loss: dict[str, dict[int, float]], luts: dict[str, dict[int, float]], budget: float) -> dict[str, int]:
    """Bits per layer with `luts` in all of at most `budget`: starting from the most of each, always the step (of one
    layer, by one bit or several) that costs least loss per LUT saved. What a long step leaves of the budget is given
    back where it gains most."""
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
