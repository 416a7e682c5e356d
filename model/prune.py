"""Magnitude pruning while fine-tuning: the smallest weights become 0, and stay 0.

Weights are compared as the network multiplies by them, with norms and scales folded in. The pruned fraction grows
with the cube of the epochs (M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for
model compression", 2017): most of it is pruned early, when there is time to recover. The masks change only between
epochs. They are buffers of the quantised network, so a checkpoint holds them and a resumed run continues with them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from .graphs.quantised import QuantizedGraph
from .quant import QuantizedResMLP

__all__ = ["Pruning", "cubic"]


def cubic(epoch: int, epochs: int) -> float:
    """Return which part of the pruning is in force while an epoch, 0 to `epochs` - 1, is trained.

    It is 1 in the last epoch.
    """
    return 1 - (1 - (epoch + 1) / epochs) ** 3


class Pruning:
    """Prunes fractions of a network's weights. Creating it gives all weights of the network a mask.

    Weights that are 0 already do not count, such as those outside the grid of a local mixing.

    Parameters
    ----------
    model
        The quantised network.
    common
        Fraction of the weights of all layers together that are not in `by_layer`. They are compared relative to the
        root mean square of their layer.
    by_layer
        Fractions of single layers, by name.

    Attributes
    ----------
    total
        Number of weights of each layer that are not 0 without pruning.
    """

    def __init__(self, model: QuantizedResMLP | QuantizedGraph, common: float, by_layer: Mapping[str, float]):
        self.model, self.common, self.by_layer = model, common, dict(by_layer)
        with torch.no_grad():
            self._unpruned = {name: layer.folded()[0] != 0 for name, layer in model.layers().items()}
        for name, layer in model.layers().items():
            layer.rows.kept = self._unpruned[name].clone()
        self.total = {name: int(mask.sum()) for name, mask in self._unpruned.items()}

    def restart(self) -> None:
        """Set the masks back to where nothing is pruned."""
        self._set(self._unpruned)

    @torch.no_grad()
    def prune(self, progress: float = 1.0) -> None:
        """Prune `progress` (0 to 1) of the final fractions. What is pruned already stays pruned."""
        sizes, masks = {}, {}
        for name, layer in self.model.layers().items():
            size = layer.folded()[0].abs()
            sizes[name] = size / size.square().mean().sqrt().clamp(min=1e-12)
        together = [name for name in sizes if name not in self.by_layer]
        single = [([name], fraction) for name, fraction in self.by_layer.items()]
        for names, fraction in [(together, self.common), *single]:
            if not names:
                continue
            joined = torch.cat([sizes[name].flatten() for name in names])
            count = round(sum(self.total[name] for name in names) * (1 - fraction * progress))
            mask = torch.zeros_like(joined, dtype=torch.bool)
            mask[joined.topk(min(count, int((joined > 0).sum()))).indices] = True
            for name, part in zip(names, mask.split([sizes[name].numel() for name in names]), strict=True):
                masks[name] = part.view_as(sizes[name])
        self._set(masks)

    def _set(self, masks: Mapping[str, Tensor]) -> None:
        """Copy masks into the layers, which keep their own tensors on the model's device."""
        for name, layer in self.model.layers().items():
            assert layer.rows.kept is not None  # since `__init__`
            layer.rows.kept.copy_(masks[name])
