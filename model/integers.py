"""Linear maps in integer arithmetic, held in float32, with gradients for fine-tuning.

The results are those of `psahw.network.reference`. No sum reaches 2^24 in magnitude, which `to_integers` checks, so
float32 arithmetic is exact and the order of summation does not matter. Rounding passes gradients straight through
(Y. Bengio, N. Léonard and A. Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
Conditional Computation", arXiv 1308.3432, 2013).
"""

from collections.abc import Callable
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
    "rounding_half",
    "saturate",
    "to_integers",
]

MAX_SHIFT = 20  # bits
BIAS_LIMIT = 1 << 22  # largest magnitude of a bias, in units of the accumulator
EXACT = 1 << 24  # float32 holds every integer below this magnitude exactly

# The longest row whose sum stays below EXACT with the largest bias and the half that rounds, even if each of its
# products is -128 · -128.
MAX_TERMS = (EXACT - BIAS_LIMIT - (1 << MAX_SHIFT) - 1) // (128 * 128)


def _range(bits: int, signed: bool) -> tuple[int, int]:
    """Return the least and the greatest code of a type."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


class _Round(torch.autograd.Function):
    """Round to the nearest integer; the gradient passes straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Requantise(torch.autograd.Function):
    """Add a bias, shift right with rounding half up, and saturate.

    `apply(x, bias, factor, half, bits, signed)` returns `saturate(floor((x + bias + half) * factor), bits, signed)`
    with `factor = 2^-shift` and `half = rounding_half(shift)`. The gradient is that of `(x + bias) * factor`, and
    zero where the result saturates.

    It is one function because separate operations and their gradients took half of a training step.
    """

    @staticmethod
    def forward(ctx, x, bias, factor, half, bits, signed):
        shifted = (x + (bias + half)).mul_(factor).floor_()
        codes = shifted.clamp(*_range(bits, signed))
        ctx.save_for_backward(factor, codes != shifted)
        ctx.bias_shape = bias.shape
        return codes

    @staticmethod
    def backward(ctx, gradient):
        factor, outside = ctx.saved_tensors
        gradient = gradient.masked_fill(outside, 0).mul_(factor)
        return gradient, gradient.sum_to_size(ctx.bias_shape), None, None, None, None


class _Saturate(torch.autograd.Function):
    """Clamp to [low, high]; torch's own gradient of `clamp` compares twice and selects, which is slower."""

    @staticmethod
    def forward(ctx, x, low, high):
        codes = x.clamp(low, high)
        ctx.save_for_backward(codes != x)
        return codes

    @staticmethod
    def backward(ctx, gradient):
        return gradient.masked_fill(ctx.saved_tensors[0], 0), None, None


def saturate(x: Tensor, bits: int = 8, signed: bool = True) -> Tensor:
    """Clamp to the range of `bits` bits, in two's complement if `signed`.

    The gradient is zero where that changes a value.
    """
    return _Saturate.apply(x, *_range(bits, signed))


def rounding_half(shift: Tensor) -> Tensor:
    """Return what is added before a right shift to round half up: 2^(shift - 1), or 0 where `shift` is 0."""
    return torch.where(shift > 0, torch.exp2(shift - 1), torch.zeros_like(shift))


class Integers(NamedTuple):
    """A linear map in integers, held in float32: `y = saturate(rshift(weight·x + bias, shift))`.

    Attributes
    ----------
    weight
        [..., rows, columns], within the bits of the layer's weights.
    bias
        [..., rows], in units of the accumulator, at most `BIAS_LIMIT` in magnitude.
    shift
        [..., rows], 0 to `MAX_SHIFT`.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def requantise(
        self,
        total: Tensor,
        align: Callable[[Tensor], Tensor] = lambda rows: rows,
        bits: int = 8,
        signed: bool = True,
    ) -> Tensor:
        """Return the codes of `total`, which is weight·x.

        `align` makes bias and shift [..., rows] broadcast against `total`.
        """
        half = rounding_half(self.shift)
        factor = torch.exp2(-self.shift)
        return Requantise.apply(total, align(self.bias), align(factor), align(half), bits, signed)


def to_integers(weight: Tensor, bias: Tensor, bits: int = 8, *, limited: bool = True) -> Integers:
    """Round a linear map from input codes to output codes, given in floating point, to integers.

    Each row is scaled by the largest power of two that both its weights and its bias have room for; the exponent is
    the row's shift. At shift 0, only a bias far beyond saturation is clipped. With fewer than 8 bits, a larger shift
    clips the largest weights, and is taken where that reduces the sum of squared errors.

    Parameters
    ----------
    weight
        [..., rows, columns].
    bias
        [..., rows].
    bits
        Bits of a weight.
    limited
        Refuse rows that are so long that their sums are not exact for the largest weights and int8 inputs. Without,
        the caller checks sums of the weights that there are.

    Raises
    ------
    ValueError
        If the sum of a row is too long to be exact in float32.
    """
    terms = weight.shape[-1]
    if limited and terms > MAX_TERMS:
        raise ValueError(f"a linear map must have at most {MAX_TERMS} inputs to be exact in float32, not {terms}")
    largest = weight.detach().abs().amax(-1).clamp(min=1e-9)  # [..., rows]
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
    """Return the shift among `shift`, `shift + 1` and `shift + 2`, up to `limit`, with the least squared error."""
    best, least = shift, torch.full_like(shift, torch.inf)
    for more in range(3):
        candidate = torch.minimum(shift + more, torch.maximum(shift, limit))
        factor = torch.exp2(candidate)[..., None]
        error = (saturate((weight * factor).round(), bits) / factor - weight).square().sum(-1)
        best, least = torch.where(error < least, candidate, best), torch.minimum(error, least)
    return best


class RowQuantizer(nn.Module):
    """The settings by which a layer's rows become integers.

    Parameters
    ----------
    limited
        See `to_integers`.

    Attributes
    ----------
    bits
        Bits of a weight, 2 to 8.
    kept
        False where a weight is pruned, in the shape of the weights; None keeps all of them.
    """

    kept: Tensor | None

    def __init__(self, *, limited: bool = True):
        super().__init__()
        self.bits, self.limited = 8, limited
        self.register_buffer("kept", None)

    def masked(self, weight: Tensor) -> Tensor:
        """Return the weights with the pruned ones set to 0.

        This must come before a norm is folded in, so that a pruned weight contributes nothing to the bias either.
        """
        return weight if self.kept is None else weight * self.kept

    def forward(self, weight: Tensor, bias: Tensor, mean: Tensor | None = None) -> Integers:
        """Return the integers of a linear map.

        With `mean` [columns], the mean input in codes, the bias compensates what rounding the weights does to that
        input.
        """
        integers = to_integers(weight, bias, self.bits, limited=self.limited)
        if mean is None:
            return integers
        factor = torch.exp2(integers.shift)
        error = (integers.weight / factor[:, None] - weight) @ mean  # [rows]
        corrected = ((bias - error) * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT)
        return integers._replace(bias=_Round.apply(corrected))


def linear(x: Tensor, integers: Integers, bits: int = 8, signed: bool = True) -> Tensor:
    """Apply a linear map to codes: [..., columns] to [..., rows], saturated to a type (`saturate`)."""
    return integers.requantise(x @ integers.weight.t(), bits=bits, signed=signed)
