"""Magnitude pruning while fine-tuning: weights that do not matter become 0, and stay so.

What is compared are the weights as the network multiplies by them, with norms and scales folded in. The fraction
that is pruned grows with the cube of the epochs (M. Zhu and S. Gupta, "To prune, or not to prune: exploring the
efficacy of pruning for model compression", 2017): most of it early, when there is time to recover. The masks change
between epochs only. They are buffers of the quantised network, so a checkpoint holds them and a resumed run goes on.
"""

from collections.abc import Mapping

import torch

from .quant import QuantizedResMLP

__all__ = ["Pruning", "cubic"]


def cubic(epoch: int, epochs: int) -> float:
    """How much of the pruning is done while epoch 0 .. epochs - 1 is trained: all of it in the last one."""
    return 1 - (1 - (epoch + 1) / epochs) ** 3


class Pruning:
    """Prunes the fraction `own[name]` of each layer named there, and `common` of the weights of all others together,
    each relative to its layer's root mean square. Weights that are 0 already, as those outside the grid of a
    local mixing, do not count. From here on all of the model's weights have a mask."""

    def __init__(self, model: QuantizedResMLP, common: float, own: Mapping[str, float]):
        self.model, self.common, self.own = model, common, dict(own)
        with torch.no_grad():
            for layer in model.layers().values():
                layer.rows.kept = layer.folded()[0] != 0
        self.total = {name: int(layer.rows.kept.sum()) for name, layer in model.layers().items()}
        self._start = {name: layer.rows.kept.clone() for name, layer in model.layers().items()}

    def restart(self) -> None:
        """Nothing is pruned."""
        for name, layer in self.model.layers().items():
            layer.rows.kept.copy_(self._start[name])

    @torch.no_grad()
    def prune(self, progress: float = 1.0) -> None:
        """`progress` of the final fractions; what is pruned already stays pruned."""
        layers = self.model.layers()
        sizes = {}
        for name, layer in layers.items():
            size = layer.folded()[0].abs()
            sizes[name] = size / size.square().mean().sqrt().clamp(min=1e-12)
        together = [name for name in layers if name not in self.own]
        for names, fraction in [(together, self.common), *(([name], part) for name, part in self.own.items())]:
            if not names:
                continue
            joined = torch.cat([sizes[name].flatten() for name in names])
            keep = round(sum(self.total[name] for name in names) * (1 - fraction * progress))
            kept = torch.zeros_like(joined, dtype=torch.bool)
            kept[joined.topk(min(keep, int((joined > 0).sum()))).indices] = True
            for name, part in zip(names, kept.split([sizes[name].numel() for name in names]), strict=True):
                layers[name].rows.kept.copy_(part.view_as(sizes[name]))
