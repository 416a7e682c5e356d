"""The operations of a quantised network: integers held in float32, and the float layers that they stand for.

An operation stands for one or more layers of the float network. `observe` computes those in floating point; `forward`
computes the same in codes, exactly as `psahw.network.reference` does. The scales of its inputs and outputs, one per
channel, say what a code is worth in the units of the float network. They are set by `calibration` and then stay.

Activations are laid out as [B, rows, columns, C].
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from psahw.architecture.codes import Codes
from psahw.architecture.geometry import neighbours

from ..integers import EXACT, Integers, Requantise, RowQuantizer, linear, rounding_half, saturate
from ..kernels import lookup
from ..module_list import ModuleList
from ..resmlp import ChannelNorm
from . import network

__all__ = ["Flatten", "MaxPool", "MeanPool", "Mixing", "Operation", "Series", "Sum", "Sums", "Table", "Weighted"]


class Operation(nn.Module):
    """An operation.

    Parameters
    ----------
    name
        Its name in the network file.
    channels
        Channels of its inputs and of its outputs.
    before, after
        Types of its inputs and of its outputs.

    Attributes
    ----------
    in_scale, out_scale
        [C of the inputs] and [C of the outputs].
    needed
        [C of the outputs], the scale that suits the outputs that were observed.
    limit
        The greatest output of a ReLU. Saturation computes it, because the scale is not larger than `needed`.
    """

    limit: float = math.inf
    in_scale: Tensor
    out_scale: Tensor
    needed: Tensor

    def __init__(self, name: str, channels: tuple[int, int], before: Codes, after: Codes):
        super().__init__()
        self.name, self.channels, self.before, self.after = name, channels[1], before, after
        self.register_buffer("in_scale", torch.ones(channels[0]))
        self.register_buffer("out_scale", torch.ones(channels[1]))
        self.register_buffer("needed", torch.ones(channels[1]), persistent=False)

    @property
    def is_free(self) -> bool:
        """True if the scale of the outputs can be chosen."""
        return False

    @property
    def fits_any(self) -> bool:
        """True if the scale of the outputs may be larger than they need."""
        return self.is_free and self.limit == math.inf

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        raise NotImplementedError

    def set_scale(self, scale: Tensor) -> None:
        """Take the scale of the inputs, and set that of the outputs if it follows from that."""
        self.in_scale.copy_(scale)

    def operations(self) -> Iterator["Operation"]:
        """Yield this operation, and those inside of it."""
        yield self

    @torch.no_grad()
    def is_exact(self) -> bool:
        """Return whether no sum can reach a magnitude that float32 does not hold exactly."""
        return True


class Weighted(Operation):
    """An operation with weights, whose sums are requantised.

    Parameters
    ----------
    norm
        The norm behind the weights, or None.
    name, channels, before, after
        See `Operation`. Unsigned outputs are those of a ReLU.
    """

    def __init__(self, norm: ChannelNorm | None, name: str, channels: tuple[int, int], before: Codes, after: Codes):
        super().__init__(name, channels, before, after)
        self.norm, self.rows = norm, RowQuantizer(limited=False)

    @property
    def is_free(self) -> bool:
        """True: any scale of the outputs is a factor of the weights."""
        return True

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weights [..., rows, columns] and biases [..., rows], from codes to codes."""
        raise NotImplementedError

    def integers(self) -> Integers:
        """Return the sums in integers."""
        return self.rows(*self.folded())

    def finish(self, y: Tensor) -> Tensor:
        """Return float outputs behind the norm and the ReLU."""
        if self.norm is not None:
            y = self.norm(y)
        return y if self.after.signed else y.clamp(0, self.limit)

    @torch.no_grad()
    def is_exact(self) -> bool:
        """Return whether no sum can reach a magnitude that float32 does not hold exactly."""
        weight, bias, shift = self.integers()
        largest = max(-self.before.low, self.before.high)
        bound = largest * weight.double().abs().sum(-1) + bias.double().abs() + rounding_half(shift).double()
        return bool((bound < EXACT).all())


class Sums(Weighted):
    """A convolution or a linear map, with a norm in front of it or behind it, and perhaps a ReLU.

    Parameters
    ----------
    layer
        The float layer.
    front
        The norm in front of it, or None. The layer has no padding then.
    norm, name, before, after
        See `Weighted`.
    """

    def __init__(
        self,
        layer: network.Convolution,
        front: ChannelNorm | None,
        norm: ChannelNorm | None,
        name: str,
        before: Codes,
        after: Codes,
    ):
        rows, terms = layer.linear_weight.shape
        super().__init__(norm, name, (terms // (layer.size[0] * layer.size[1]), rows), before, after)
        self.layer, self.front = layer, front

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        return self.finish(self.layer(x if self.front is None else self.front(x)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weights [rows, columns] and biases [rows], from codes to codes."""
        layer = self.layer
        repeat = layer.size[0] * layer.size[1]
        weight: Tensor = self.rows.masked(layer.linear_weight)
        bias: Tensor = layer.bias
        if self.norm is not None:
            scale, offset = self.norm.affine()
            weight, bias = weight * scale[:, None], bias * scale + offset
        if self.front is not None:
            scale, offset = self.front.affine()
            bias = bias + weight @ offset.repeat(repeat)
            weight = weight * scale.repeat(repeat)
        return weight * self.in_scale.repeat(repeat) / self.out_scale[:, None], bias / self.out_scale

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if layer.size != (1, 1) or layer.stride != (1, 1):
            x = network.windows(x, layer.size, layer.stride, layer.padding, layer.padding_code)
        return linear(x, self.integers(), self.after.bits, self.after.signed)


class Mixing(Weighted):
    """A token mixing, perhaps with a norm behind it and a ReLU; a norm needs weights for each channel.

    The scales of its inputs are proportional to those of its outputs within each group.

    Parameters
    ----------
    layer
        The float layer.
    norm, name, channels, before, after
        See `Weighted`.
    """

    inside: Tensor

    def __init__(
        self, layer: network.Mixing, norm: ChannelNorm | None, name: str, channels: int, before: Codes, after: Codes
    ):
        super().__init__(norm, name, (channels, channels), before, after)
        self.layer = layer
        if layer.kernel is not None and not layer.shared:
            inside = torch.from_numpy(neighbours(layer.grid, layer.kernel) >= 0)
            self.register_buffer("inside", inside.float(), persistent=False)

    @property
    def is_grouped(self) -> bool:
        """True if several channels have the same weights."""
        return self.layer.groups != self.channels

    def grouped(self, numbers: Tensor) -> Tensor:
        """Return numbers of channels [C] as [G, C/G]."""
        return numbers.view(self.layer.groups, -1)

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        return self.finish(self.layer(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weights [G, N or 1, N or k²] and biases [G, N or 1], from codes to codes."""
        layer = self.layer
        weight: Tensor = self.rows.masked(layer.matrices())
        bias: Tensor = layer.bias
        if self.norm is not None:
            scale, offset = self.norm.affine()
            weight, bias = weight * scale[:, None, None], bias * scale[:, None] + offset[:, None]
        gain = self.grouped(self.in_scale / self.out_scale)[:, 0]
        weight = weight * gain[:, None, None]
        if layer.kernel is not None and not layer.shared:
            weight = weight * self.inside
        # The scales of a group are equal, or else those of its inputs would not be proportional to them and free.
        return weight, bias / self.grouped(self.out_scale)[:, :1]

    def forward(self, x: Tensor) -> Tensor:
        integers = self.integers()
        total = self.layer.mix(x.flatten(1, 2).transpose(0, 1).contiguous(), integers.weight)
        codes = integers.requantise(
            total, lambda rows: self.layer.by_row(rows, self.channels), self.after.bits, self.after.signed
        )
        return codes.transpose(0, 1).reshape(x.shape)


class Table(Operation):
    """A function of one code for each channel.

    Parameters
    ----------
    functions
        Norms and functions, one after another; none of them for the identity, which changes the scale.
    name, channels, before, after
        See `Operation`.
    """

    def __init__(self, functions: list[nn.Module], name: str, channels: int, before: Codes, after: Codes):
        super().__init__(name, (channels, channels), before, after)
        self.functions: ModuleList[nn.Module] = ModuleList(functions)

    @property
    def is_free(self) -> bool:
        """True: a table holds its function in any unit."""
        return True

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        for function in self.functions:
            x = function(x)
        return x

    def table(self) -> Tensor:
        """Return the unrounded codes of the function at all input codes, [number of codes, C]."""
        codes = torch.arange(float(self.before.low), self.before.high + 1, device=self.in_scale.device)
        values = self.observe(codes[:, None] * self.in_scale)
        return saturate(values / self.out_scale, self.after.bits, self.after.signed)

    def forward(self, x: Tensor) -> Tensor:
        return lookup(x - (self.before.low + 128), self.table())


class MaxPool(Operation):
    """The greatest code of each channel in sliding windows."""

    def __init__(self, layer: network.MaxPool, name: str, channels: int, before: Codes):
        super().__init__(name, (channels, channels), before, before)
        self.layer = layer

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layer makes of an input."""
        y: Tensor = self.layer(x)
        return y

    def set_scale(self, scale: Tensor) -> None:
        """Take the scale of the inputs, which is that of the outputs."""
        self.in_scale.copy_(scale)
        self.out_scale.copy_(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.observe(x)


class MeanPool(Operation):
    """The mean of each channel over all tokens: the sum, shifted to the right.

    Attributes
    ----------
    shift
        Bits of the shift, the least with which no mean that was observed saturates.
    """

    shift: Tensor

    def __init__(self, tokens: int, name: str, channels: int, before: Codes):
        super().__init__(name, (channels, channels), before, before)
        self.tokens = tokens
        self.register_buffer("shift", torch.zeros(()))

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layer makes of an input."""
        return x.mean((1, 2), keepdim=True)

    def set_scale(self, scale: Tensor) -> None:
        """Take the scale of the inputs, and set shift and scale of the outputs."""
        self.in_scale.copy_(scale)
        exponent = torch.log2(self.tokens * self.needed / scale).amax().ceil()
        self.shift.copy_(exponent.clamp(0, 20))
        self.out_scale.copy_(scale * torch.exp2(self.shift) / self.tokens)

    @torch.no_grad()
    def is_exact(self) -> bool:
        """Return whether no sum can reach a magnitude that float32 does not hold exactly."""
        largest = self.tokens * max(-self.before.low, self.before.high)
        return largest + float(rounding_half(self.shift)) < EXACT

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum((1, 2), keepdim=True)
        half = rounding_half(self.shift)
        factor = torch.exp2(-self.shift)
        return Requantise.apply(total, torch.zeros_like(half), factor, half, self.after.bits, self.after.signed)


class Flatten(Operation):
    """All tokens as the channels of one."""

    def __init__(self, tokens: int, name: str, channels: int, before: Codes):
        super().__init__(name, (channels, channels * tokens), before, before)
        self.tokens = tokens

    def observe(self, x: Tensor) -> Tensor:
        """Return all tokens as one."""
        return x.flatten(1)[:, None, None]

    def set_scale(self, scale: Tensor) -> None:
        """Take the scale of the inputs, which is that of the outputs for each token."""
        self.in_scale.copy_(scale)
        self.out_scale.copy_(scale.repeat(self.tokens))

    def forward(self, x: Tensor) -> Tensor:
        return self.observe(x)


class Series(nn.Module):
    """Operations, one after another."""

    def __init__(self, operations: list[Operation]):
        super().__init__()
        self.list: ModuleList[Operation] = ModuleList(operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.list)

    def __len__(self) -> int:
        return len(self.list)

    def __getitem__(self, index: int) -> Operation:
        return self.list[index]

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        for operation in self.list:
            x = operation.observe(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        for operation in self.list:
            x = operation(x)
        return x


class Sum(Operation):
    """The sum of two series, perhaps behind a ReLU. Both end at the scale of the sum.

    Parameters
    ----------
    branch, shortcut
        The series. Each ends with an operation whose scale is free.
    name, channels, before, after
        See `Operation`.
    """

    def __init__(
        self, branch: Series, shortcut: Series, name: str, channels: tuple[int, int], before: Codes, after: Codes
    ):
        super().__init__(name, channels, before, after)
        self.branch, self.shortcut = branch, shortcut

    def operations(self) -> Iterator[Operation]:
        """Yield this operation, and those inside of it."""
        yield self
        for series in (self.branch, self.shortcut):
            for operation in series:
                yield from operation.operations()

    def observe(self, x: Tensor) -> Tensor:
        """Return what the float layers make of an input."""
        total = self.shortcut.observe(x) + self.branch.observe(x)
        return total if self.after.signed else functional.relu(total)

    def forward(self, x: Tensor) -> Tensor:
        return saturate(self.shortcut(x) + self.branch(x), self.after.bits, self.after.signed)
