"""Layers of a float network in the making, with what stands behind them and is no layer yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import config
from .config import AnyLayer

__all__ = ["Part", "Path", "Pending", "named"]


class Part(NamedTuple):
    """A layer, with its tensors by their names in its module."""

    layer: AnyLayer
    tensors: dict[str, np.ndarray]


class Pending(NamedTuple):
    """``factor·x + offset`` of each channel, float64 [channels], that no layer computes yet."""

    factor: np.ndarray
    offset: np.ndarray

    def then(self, factor: np.ndarray, offset: np.ndarray) -> "Pending":
        """Return what this is with another such function behind it."""
        return Pending(self.factor * factor, self.offset * factor + offset)


@dataclass(eq=False)
class Path:
    """Layers in the making.

    Parameters
    ----------
    name
        Begins the names of the layers.
    parts
        The layers.
    pending
        What stands behind them, or None for nothing.
    sees_image
        Whether nothing but `pending` stands between the image and the next layer.
    depth
        Residual connections that it is inside of.
    """

    name: str
    parts: list[Part]
    pending: Pending | None = None
    sees_image: bool = False
    depth: int = 0

    def add(self, layer: AnyLayer, **tensors: np.ndarray) -> str:
        """Add a layer, and return its name."""
        self.parts.append(Part(layer, tensors))
        self.sees_image = False
        return f"{self.name}{len(self.parts) - 1}"

    def settle(self) -> None:
        """Make what is pending part of the weights before it, or else a norm."""
        if (pending := self.pending) is None:
            return
        self.pending = None
        last = self.parts[-1] if self.parts else None
        if last is not None and isinstance(last.layer, config.Convolution | config.Linear):
            weight, bias = last.tensors["linear_weight"], last.tensors["bias"]
            last.tensors["linear_weight"] = weight * pending.factor[:, None]
            last.tensors["bias"] = bias * pending.factor + pending.offset
            return
        one = np.ones_like(pending.factor)
        self.add(config.Norm(), weight=pending.factor, bias=pending.offset, mean=0 * one, var=one - 1e-5)  # and eps


def named(parts: Sequence[Part], within: str) -> dict[str, np.ndarray]:
    """Return the tensors of layers by their names in a module."""
    return {
        f"{within}{index}.{name}": tensor for index, part in enumerate(parts) for name, tensor in part.tensors.items()
    }
