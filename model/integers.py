"""Linear maps as integers held in float32, with gradients: the arithmetic of `psahw.network.reference` in torch.

Every sum stays below 2^24 (checked), so float32 arithmetic is exact and the order of summation does not matter.
Rounding passes gradients straight through.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "BIAS_LIMIT",
    "MAX_SHIFT",
    "MAX_TERMS",
    "Integers",
    "Requantise",
    "RowQuantizer",
    "linear",
    "saturate",
    "to_integers",
]

MAX_SHIFT = 20
BIAS_LIMIT = 1 << 22
EXACT = 1 << 24  # integers below it are exact in float32
MAX_TERMS = (EXACT - BIAS_LIMIT - (1 << MAX_SHIFT) - 1) // (128 * 128)  # of one row's sum, all at -128 · -128


class _Round(torch.autograd.Function):
    """To the nearest integer; the gradient passes straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Requantise(torch.autograd.Function):
    """`saturate(floor((x + bias) / 2^shift + 1/2))`; the gradient is that of `(x + bias) / 2^shift`, zero where it
    saturates. One function, for as separate operations they and their gradients were half of a training step."""

    @staticmethod
    def forward(ctx, x, bias, factor, half, bits):  # factor = 2^-shift, half = 2^(shift - 1) or 0
        shifted = (x + (bias + half)).mul_(factor).floor_()
        limit = 1 << (bits - 1)
        codes = shifted.clamp(-limit, limit - 1)
        ctx.save_for_backward(factor, codes != shifted)
        ctx.bias_shape = bias.shape
        return codes

    @staticmethod
    def backward(ctx, gradient):
        factor, outside = ctx.saved_tensors
        gradient = gradient.masked_fill(outside, 0).mul_(factor)
        return gradient, gradient.sum_to_size(ctx.bias_shape), None, None, None


class _Saturate(torch.autograd.Function):
    """`clamp`, whose own gradient compares twice and selects."""

    @staticmethod
    def forward(ctx, x, limit):
        codes = x.clamp(-limit, limit - 1)
        ctx.save_for_backward(codes != x)
        return codes

    @staticmethod
    def backward(ctx, gradient):
        return gradient.masked_fill(ctx.saved_tensors[0], 0), None


def saturate(x: Tensor, bits: int = 8) -> Tensor:
    return _Saturate.apply(x, 1 << (bits - 1))


class Integers(NamedTuple):
    """A linear map as integers held in float32: `sat(rshift(weight·x + bias, shift))`, rows in front of the
    last axis of `weight`."""

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def requantise(self, total: Tensor, align=lambda rows: rows, bits: int = 8) -> Tensor:
        """`total` is weight·x; `align` broadcasts a value per row against it."""
        half = torch.where(self.shift > 0, torch.exp2(self.shift - 1), torch.zeros_like(self.shift))
        factor = torch.exp2(-self.shift)
        return Requantise.apply(total, align(self.bias), align(factor), align(half), bits)


def to_integers(weight: Tensor, bias: Tensor, bits: int = 8) -> Integers:
    """`weight` [..., rows, columns] and `bias` [..., rows] map input codes to output codes, as floats.

    A row's shift is the largest that both its weights and its bias have room for. At shift 0 only a bias far
    beyond what saturates is clipped. With fewer than 8 bits a larger shift clips the largest weights, and is
    taken where the sum of squared errors is less.
    """
    terms = weight.shape[-1]
    if terms > MAX_TERMS:
        raise ValueError(f"a linear map of {terms} inputs is not exact in float32")
    largest = weight.detach().abs().amax(-1).clamp(min=1e-9)
    bias_room = BIAS_LIMIT / bias.detach().abs().clamp(min=1e-9)
    room = torch.minimum(((1 << (bits - 1)) - 0.5) / largest, bias_room)
    shift = torch.log2(room).floor().clamp(0, MAX_SHIFT)
    if bits < 8:
        shift = _least_error(weight.detach(), shift, torch.log2(bias_room).floor().clamp(0, MAX_SHIFT), bits)
    factor = torch.exp2(shift)
    integer_weight = saturate(_Round.apply(weight * factor[..., None]), bits)
    integer_bias = _Round.apply((bias * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT))
    return Integers(integer_weight, integer_bias, shift)


def _least_error(weight: Tensor, shift: Tensor, limit: Tensor, bits: int) -> Tensor:
    """Of `shift` and the two above it, up to `limit`, the one whose codes are nearest to the row."""
    best, least = shift, torch.full_like(shift, torch.inf)
    for more in range(3):
        tried = torch.minimum(shift + more, torch.maximum(shift, limit))
        factor = torch.exp2(tried)[..., None]
        error = (saturate((weight * factor).round(), bits) / factor - weight).square().sum(-1)
        best, least = torch.where(error < least, tried, best), torch.minimum(error, least)
    return best


class RowQuantizer(nn.Module):
    """How a layer's rows become integers: of `bits` [2, 8] each, and 0 where a weight is not `kept`."""

    def __init__(self):
        super().__init__()
        self.bits = 8
        self.register_buffer("kept", None)  # bool, in the shape of the weights; None: all

    def keep(self, weight: Tensor) -> Tensor:
        """The layer's own weights, before anything is folded: what is pruned is no part of a bias either."""
        return weight if self.kept is None else weight * self.kept

    def forward(self, weight: Tensor, bias: Tensor, mean: Tensor | None = None) -> Integers:
        """What rounding the weights does to inputs of this `mean`, in codes, is taken back by the bias."""
        integers = to_integers(weight, bias, self.bits)
        if mean is None:
            return integers
        factor = torch.exp2(integers.shift)
        error = (integers.weight / factor[:, None] - weight) @ mean
        corrected = ((bias - error) * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT)
        return integers._replace(bias=_Round.apply(corrected))


def linear(x: Tensor, integers: Integers, bits: int = 8) -> Tensor:
    return integers.requantise(x @ integers.weight.t(), bits=bits)
