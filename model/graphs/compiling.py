"""The operations of a quantised network, from the layers of its float network.

- A norm behind a linear map becomes part of its weights, and so does one in front of it, unless there is padding in
  between.
- ReLU behind a linear map, or behind the sum of a residual connection, is the saturation of unsigned codes.
- All other norms and functions become tables; those that follow each other become one.
- A path of a residual connection that does not end in an operation with a free scale gets a table that changes the
  scale. So does the input of a token mixing whose channels share weights. Such a table is left out of the network
  file if the scales agree.
"""

import math
from collections.abc import Sequence

from torch import nn

from psahw.architecture.codes import INT8, Codes

from ..resmlp import ChannelNorm
from . import network
from .config import Grid, Layers, Residual, result
from .operations import Flatten, MaxPool, MeanPool, Mixing, Operation, Series, Sum, Sums, Table

__all__ = ["compile_network"]

HEAD = Codes(16)  # of an output of the network


def compile_network(model: network.GraphNet) -> Series:
    """Return the operations of a float network. Its modules become part of them."""
    config = model.config
    layers = config.layers()
    return _Compiler(layers, model.series, (*config.image, config.colours), INT8, "layers").compile(last=HEAD)


class _Compiler:
    """Takes layers from the front of a series, and makes operations of them.

    Parameters
    ----------
    layers, modules
        Configurations and modules of the series.
    shape, codes
        Shape and type of its input.
    name
        The name of the series, with which the names of its operations begin.
    """

    def __init__(self, layers: Layers, modules: network.Series, shape: Grid, codes: Codes, name: str):
        self.layers, self.modules = layers, list(modules)
        self.shape, self.codes, self.name = shape, codes, name
        self.at = 0
        self.operations: list[Operation] = []

    def compile(self, *, last: Codes | None = None, ends_free: bool = False) -> Series:
        """Return the operations.

        Parameters
        ----------
        last
            Type of the last operation's outputs, if it is not the usual one.
        ends_free
            Whether the last operation must have a free scale.
        """
        while self.at < len(self.modules):
            self._take(last)
        if ends_free and self.modules and not self.operations[-1].fits_any:
            self._rescale(f"{self.name}.rescale")
        return Series(self.operations)

    def _next(self, kind: type[nn.Module] | tuple[type[nn.Module], ...], ahead: int = 0) -> nn.Module | None:
        """Return the next module, or one further ahead, if it is of a kind."""
        index = self.at + ahead
        module = self.modules[index] if index < len(self.modules) else None
        return module if isinstance(module, kind) else None

    def _advance(self) -> nn.Module:
        """Return the next module, and go past it."""
        module = self.modules[self.at]
        self.shape = result(self.layers[self.at], self.shape)
        self.at += 1
        return module

    def _add(self, operation: Operation) -> None:
        self.operations.append(operation)
        self.codes = operation.after

    def _rescale(self, name: str) -> None:
        self._add(Table([], name, self.shape[2], self.codes, INT8))

    def _relu(self, *, limited: bool = True) -> tuple[Codes | None, float]:
        """Go past a ReLU, and return the type and the limit of its outputs; None if there is none.

        Parameters
        ----------
        limited
            Whether the ReLU may have a limit.
        """
        function = self._next(network.Function)
        if not isinstance(function, network.Function) or not function.is_relu:
            return None, math.inf
        if not limited and function.limit < math.inf:
            return None, math.inf
        self._advance()
        return Codes(function.bits, False), function.limit

    def _norm(self) -> ChannelNorm | None:
        """Go past a norm, and return it; None if there is none."""
        norm = self._next(ChannelNorm)
        if norm is not None:
            self._advance()
        return norm if isinstance(norm, ChannelNorm) else None

    def _take(self, last: Codes | None) -> None:
        """Make an operation of the next layers."""
        name, channels = f"{self.name}.{self.at}", self.shape[2]
        height, width = self.shape[:2]
        following = self._next(network.Convolution, 1)
        folds = isinstance(following, network.Convolution) and not any(following.padding)
        if self._next(network.Convolution) or (self._next(ChannelNorm) and folds):
            self._take_sums(last)
        elif self._next((ChannelNorm, network.Function)):
            self._take_table(name, channels)
        elif self._next(network.Mixing):
            self._take_mixing(name, channels)
        elif self._next(network.Residual):
            self._take_residual(name, channels)
        elif isinstance(module := self._advance(), network.MaxPool):
            self._add(MaxPool(module, name, channels, self.codes))
        elif isinstance(module, network.MeanPool):
            self._add(MeanPool(height * width, name, channels, self.codes))
        else:
            self._add(Flatten(height * width, name, channels, self.codes))

    def _take_sums(self, last: Codes | None) -> None:
        front, name = self._norm(), f"{self.name}.{self.at}"
        layer = self._advance()
        assert isinstance(layer, network.Convolution)  # see `_take`
        norm = self._norm()
        relu, limit = self._relu()
        is_last = last is not None and self.at == len(self.modules)
        after = last if is_last and last is not None else relu or INT8
        sums = Sums(layer, front, norm, name, self.codes, after)
        sums.limit = limit
        self._add(sums)

    def _take_table(self, name: str, channels: int) -> None:
        functions: list[nn.Module] = []
        after = INT8
        while self._next((ChannelNorm, network.Function)):
            following = self._next(network.Convolution, 1)
            is_folded = isinstance(following, network.Convolution) and not any(following.padding)
            if functions and is_folded and self._next(ChannelNorm):
                break
            functions.append(module := self._advance())
            if isinstance(module, network.Function):
                after = Codes(module.bits, not module.is_relu)
            else:
                after = INT8
        self._add(Table(functions, name, channels, self.codes, after))

    def _take_mixing(self, name: str, channels: int) -> None:
        layer = self._next(network.Mixing)
        assert isinstance(layer, network.Mixing)  # see `_take`
        is_grouped = layer.groups != channels
        before = self.operations[-1] if self.operations else None
        # The scale of a grouped mixing follows from that of its own input.
        has_proportions = isinstance(before, Mixing) and before.is_grouped
        if is_grouped and (before is None or not before.fits_any or has_proportions):
            self._rescale(f"{name}.rescale")
        self._advance()
        norm = None if is_grouped else self._norm()
        relu, limit = self._relu(limited=not is_grouped)
        mixing = Mixing(layer, norm, name, channels, self.codes, relu or INT8)
        mixing.limit = limit
        self._add(mixing)

    def _take_residual(self, name: str, channels: int) -> None:
        layer, shape, before = self.layers[self.at], self.shape, self.codes
        module = self._advance()
        assert isinstance(layer, Residual) and isinstance(module, network.Residual)  # see `_take`
        paths: Sequence[tuple[Layers, network.Series, str]] = (
            (layer.branch, module.branch, "branch"),
            (layer.shortcut, module.shortcut, "shortcut"),
        )
        branch, shortcut = (
            _Compiler(layers, modules, shape, before, f"{name}.{path}").compile(ends_free=True)
            for layers, modules, path in paths
        )
        if not len(branch):
            branch = Series([Table([], f"{name}.branch.rescale", channels, before, INT8)])
        if not len(shortcut):
            # Unsigned codes of 8 bits do not lose their sign bit: their table halves them where that is needed.
            after = before if before.bits == 8 else INT8
            shortcut = Series([Table([], f"{name}.shortcut.rescale", channels, before, after)])
        # The scale of a sum may exceed what was observed, so that a table has to compute a limit.
        relu, _ = self._relu(limited=False)
        self._add(Sum(branch, shortcut, name, (channels, self.shape[2]), before, relu or INT8))
