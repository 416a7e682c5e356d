"""A float network of any topology as an integer network, whose forward pass equals `psahw.network.reference`."""

import numpy as np
import torch
from torch import Tensor, nn

from psahw.errors import CheckFailed, UserError

from .. import finite
from ..integers import Integers
from ..quant import PARTS, Layer
from ..resmlp import ChannelNorm
from .calibration import calibrate
from .compiling import compile_network
from .network import GraphNet
from .operations import Mixing, Operation, Table, Weighted

__all__ = ["QuantizedGraph"]


class QuantizedGraph(nn.Module):
    """The integer network from uint8 images [B, height, width, colours] to outputs [B, classes] in float units.

    The norms always use their running statistics, in training mode too.

    Parameters
    ----------
    model
        The float network. Its modules become part of this one, and its parameters are trained on.
    images
        uint8 [n, height, width, colours], from which the scales are chosen.

    Raises
    ------
    UserError
        If a sum of the network is not exact in float32, or if the float model or what it computes from the images
        holds a number that no model may hold.
    """

    target_mean: Tensor
    target_deviation: Tensor

    def __init__(self, model: GraphNet, images: np.ndarray):
        super().__init__()
        self.config = model.config
        finite.require("the float model", model.state_dict(), error=UserError)
        self.series = compile_network(model)
        self.register_buffer("target_mean", model.target_mean)
        self.register_buffer("target_deviation", model.target_deviation)
        self.eval()
        calibrate(self.series, torch.from_numpy(images), self.config.task, self)
        self.check()
        if inexact := self.inexact():
            raise UserError(
                f"{inexact}: its sums are too long to be exact in float32; fewer inputs or fewer bits (--bits) help"
            )

    @property
    def output_scale(self) -> Tensor:
        """The value of a code of each output, [classes]."""
        return self.head.out_scale

    @property
    def head(self) -> Operation:
        """The last operation."""
        return self.series[len(self.series) - 1]

    def train(self, mode: bool = True) -> "QuantizedGraph":
        """Set training or evaluation mode, but leave the norms in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, ChannelNorm):
                module.eval()
        return self

    def operations(self) -> list[Operation]:
        """Return all operations in data order."""
        return [operation for item in self.series for operation in item.operations()]

    def tables(self) -> list[Table]:
        """Return the tables that hold a function, in data order."""
        return [item for item in self.operations() if isinstance(item, Table) and len(item.functions)]

    def layers(self) -> dict[str, Layer]:
        """Return every layer with weights by its name in a network file, in data order."""
        return {
            operation.name: Layer(operation.rows, operation.folded, _columns(operation))
            for operation in self.operations()
            if isinstance(operation, Weighted)
        }

    def integers(self) -> dict[str, Integers]:
        """Return the integers of every layer with weights, by name."""
        return {name: layer.integers() for name, layer in self.layers().items()}

    def inexact(self) -> str | None:
        """Return the name of a layer whose sums float32 may not hold exactly, or None."""
        for operation in self.operations():
            if not operation.is_exact():
                return operation.name
        return None

    @torch.no_grad()
    def check(self) -> None:
        """Raise UserError if a scale, or a weight or bias in codes, is a number that no model may hold."""
        tensors = {name: tensor for name, tensor in self.named_buffers() if "scale" in name or "shift" in name}
        for name, layer in self.layers().items():
            tensors |= {f"{name}.{part}": tensor for part, tensor in zip(PARTS, layer.folded(), strict=False)}
        finite.require("the quantised model", tensors, error=UserError)

    def require_exact(self) -> None:
        """Raise CheckFailed if float32 may not hold a sum exactly, so that codes may differ from the circuit's."""
        if inexact := self.inexact():
            raise CheckFailed(f"sums of {inexact} may have become too long to be exact in float32")

    def codes(self, images: Tensor) -> Tensor:
        """Return the integer outputs, held in float32: uint8 [B, height, width, colours] to [B, classes]."""
        return self.series(images.float() - 128).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot hold the sums
            return self.codes(images) * self.output_scale


def _columns(operation: Weighted) -> int | None:
    """Return the length of the matrix row of which a row of weights is a part, or None if it is the whole row."""
    if not isinstance(operation, Mixing) or operation.layer.kernel is None or operation.layer.shared:
        return None
    return operation.layer.grid[0] * operation.layer.grid[1]
