"""Two operations with hand-written CPU kernels (`kernels.c`), each with a plain torch form.

`interpolate` applies a learned 1-D function per channel, given by its values on a regular grid. `mix_local` mixes
each token with its k x k neighbours, with weights that are free for each position. Both are differentiable in every
argument and may be used inside `torch.compile`.

`kernels.c` is compiled on first use. Without a C compiler, or on a GPU, the torch form is used. In float32 both forms
agree up to the order of the sums; in bfloat16 the torch form of `mix_local` rounds every term, and the kernel only
the sum.
"""

import ctypes
import functools
import subprocess
import warnings
from pathlib import Path

import torch
from torch import Tensor

from psahw.errors import UserError

from .native import FLAGS, build, call

__all__ = ["interpolate", "kernels_available", "lookup", "mix_local"]

SOURCE = Path(__file__).with_name("kernels.c")
PLAIN_FLAGS = ["-O3", "-shared", "-fPIC"]  # for a compiler or a processor that does not know all of FLAGS
MAX_KERNEL = 9  # kernels.c has room for 81 taps
SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}  # of the C functions


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Compile and load the kernels; warn once and return None where that is not possible."""
    for flags in (FLAGS, PLAIN_FLAGS):
        try:
            return build(SOURCE, flags)
        except (OSError, UserError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().partition("\n")[0]
    warnings.warn(f"no C kernels, training is slower: {reason}", RuntimeWarning, stacklevel=2)
    return None


@torch.compiler.assume_constant_result
def kernels_available() -> bool:
    """Return whether the C kernels can be compiled on this machine."""
    return _library() is not None


def _call(name: str, dtype: torch.dtype, *arguments: Tensor | float) -> None:
    call(_library(), f"{name}_{SUFFIX[dtype]}", *arguments)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise ValueError unless a tensor is what a kernel expects, which would else read or write beyond its end."""
    if tensor.shape != shape or tensor.dtype != dtype or tensor.device.type != "cpu":
        given = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        raise ValueError(f"{name} must be {dtype} {tuple(shape)} on the CPU, not {given}")


# interpolate: y[..., c] is the function of channel c at x[..., c]; its values at knots over [lo, hi] are grid[k, c].


def _check_grid(x: Tensor, grid: Tensor) -> None:
    if grid.ndim != 2 or len(grid) < 2:
        raise ValueError(f"grid must be [points, channels] with two points or more, not {tuple(grid.shape)}")
    if x.ndim < 1 or x.dtype not in SUFFIX:
        raise ValueError(f"x must be float32 or bfloat16 [..., channels], not {x.dtype} {tuple(x.shape)}")
    _check("grid", grid, (len(grid), x.shape[-1]), torch.float32)


def _segments(grid: Tensor) -> Tensor:
    """Return each knot's value and the rise to the next knot: [points, C] to [points - 1, C, 2]."""
    return torch.stack((grid[:-1], grid.diff(dim=0)), dim=-1)


@torch.library.custom_op("psahw::interpolate", mutates_args=())
def _interpolate(x: Tensor, grid: Tensor, lo: float, inverse_step: float) -> Tensor:
    _check_grid(x, grid)
    x, segments = x.contiguous(), _segments(grid)
    y = torch.empty_like(x)
    channels = x.shape[-1]
    _call("interpolate", x.dtype, x, segments, y, x.numel() // channels, channels, grid.shape[0], lo, inverse_step)
    return y


@torch.library.custom_op("psahw::interpolate_backward", mutates_args=())
def _interpolate_backward(
    x: Tensor, grid: Tensor, dy: Tensor, lo: float, inverse_step: float
) -> tuple[Tensor, Tensor]:
    _check_grid(x, grid)
    _check("dy", dy, x.shape, x.dtype)
    x, segments, dy = x.contiguous(), _segments(grid), dy.contiguous()
    dx, dsegments = torch.empty_like(x), torch.zeros_like(segments)
    channels = x.shape[-1]
    sizes = (x.numel() // channels, channels, grid.shape[0])
    _call("interpolate_backward", x.dtype, x, segments, dy, dx, dsegments, *sizes, lo, inverse_step)
    # A segment is (left, right - left), so dy·fraction belongs to its right knot and the rest of dy to its left one.
    dgrid = torch.zeros_like(grid)
    dgrid[:-1] += dsegments[..., 0] - dsegments[..., 1]
    dgrid[1:] += dsegments[..., 1]
    return dx, dgrid


@_interpolate.register_fake
def _(x, grid, lo, inverse_step):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_interpolate_backward.register_fake
def _(x, grid, dy, lo, inverse_step):
    contiguous = torch.contiguous_format
    return torch.empty_like(x, memory_format=contiguous), torch.empty_like(grid, memory_format=contiguous)


def _save_interpolate(ctx, inputs, output):
    x, grid, ctx.lo, ctx.inverse_step = inputs
    ctx.save_for_backward(x, grid)


def _differentiate_interpolate(ctx, dy):
    x, grid = ctx.saved_tensors
    dx, dgrid = _interpolate_backward(x, grid, dy.to(x.dtype), ctx.lo, ctx.inverse_step)
    return dx, dgrid, None, None


_interpolate.register_autograd(_differentiate_interpolate, setup_context=_save_interpolate)


def _interpolate_torch(x: Tensor, grid: Tensor, lo: float, inverse_step: float) -> Tensor:
    t = (x.float() - lo) * inverse_step
    # NaN cannot be an index, so it becomes knot 0 here; it reaches the result through t.
    index = t.detach().nan_to_num(0).clamp(0, grid.shape[0] - 2).long()
    channel = torch.arange(grid.shape[1], device=x.device)
    left, right = grid[index, channel], grid[index + 1, channel]
    return (left + (t - index) * (right - left)).to(x.dtype)


def interpolate(x: Tensor, grid: Tensor, lo: float, hi: float) -> Tensor:
    """Apply a piecewise linear function per channel, which continues linearly outside [lo, hi].

    The gradient flows to `x` and to `grid`.

    Parameters
    ----------
    x
        [..., C], float32 or bfloat16.
    grid
        [points, C], float32: the functions' values at equally spaced points over [lo, hi].
    lo, hi
        The arguments at the first and at the last point.

    Returns
    -------
    Tensor
        [..., C], of the type of `x`.
    """
    inverse_step = (grid.shape[0] - 1) / (hi - lo)
    if x.device.type == "cpu" and x.dtype in SUFFIX and kernels_available():
        return _interpolate(x, grid.float(), lo, inverse_step)
    return _interpolate_torch(x, grid, lo, inverse_step)


class _Lookup(torch.autograd.Function):
    """`lookup` by the C kernel."""

    @staticmethod
    def forward(ctx, x, table):
        ctx.save_for_backward(x, table)
        return _interpolate(x, table.round(), -128.0, 1.0)

    @staticmethod
    def backward(ctx, gradient):
        x, table = ctx.saved_tensors
        return _interpolate_backward(x, table, gradient, -128.0, 1.0)


def lookup(x: Tensor, table: Tensor) -> Tensor:
    """Return `table[x + 128]` per channel, rounded to integers.

    The gradient is that of the table before rounding: `x` gets its slope to the next code, and the table the gradient
    of the entry.

    Parameters
    ----------
    x
        Codes [..., C], float32.
    table
        [256, C], float32.
    """
    if x.device.type == "cpu" and kernels_available():
        return _Lookup.apply(x, table)
    smooth = _interpolate_torch(x, table, -128.0, 1.0)
    exact = _interpolate_torch(x.detach(), table.detach().round(), -128.0, 1.0)
    return exact + (smooth - smooth.detach())


# mix_local: y[n, b, c] = sum_i weight[n, i, c] * x[n + offset(i), b, c]


def _check_tokens(x: Tensor, height: int, width: int, kernel: int) -> None:
    if x.ndim != 3 or len(x) != height * width or x.dtype not in SUFFIX:
        expected = f"float32 or bfloat16 [{height * width}, batch, channels]"
        raise ValueError(f"x must be {expected}, not {x.dtype} {tuple(x.shape)}")
    if kernel % 2 == 0 or not 1 <= kernel <= MAX_KERNEL:
        raise ValueError(f"kernel must be odd and at most {MAX_KERNEL}, not {kernel}")


@torch.library.custom_op("psahw::mix_local", mutates_args=())
def _mix_local(x: Tensor, weight: Tensor, height: int, width: int, kernel: int, transposed: bool) -> Tensor:
    _check_tokens(x, height, width, kernel)
    _check("weight", weight, (len(x), kernel * kernel, x.shape[2]), torch.float32)
    x, weight = x.contiguous(), weight.contiguous()
    y = torch.empty_like(x)
    sizes = (height, width, kernel, x.shape[1], x.shape[2], int(transposed))
    _call("mix_local", x.dtype, x, weight, y, *sizes)
    return y


@torch.library.custom_op("psahw::mix_local_weight", mutates_args=())
def _mix_local_weight(x: Tensor, dy: Tensor, height: int, width: int, kernel: int) -> Tensor:
    _check_tokens(x, height, width, kernel)
    _check("dy", dy, x.shape, x.dtype)
    x, dy = x.contiguous(), dy.contiguous()
    dweight = torch.empty(x.shape[0], kernel * kernel, x.shape[2])
    _call("mix_local_weight", x.dtype, x, dy, dweight, height, width, kernel, x.shape[1], x.shape[2])
    return dweight


@_mix_local.register_fake
def _(x, weight, height, width, kernel, transposed):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_mix_local_weight.register_fake
def _(x, dy, height, width, kernel):
    return x.new_empty(x.shape[0], kernel * kernel, x.shape[2], dtype=torch.float32)


def _save_mix_local(ctx, inputs, output):
    x, weight, ctx.height, ctx.width, ctx.kernel, _ = inputs
    ctx.save_for_backward(x, weight)


def _differentiate_mix_local(ctx, dy):
    x, weight = ctx.saved_tensors
    dy = dy.to(x.dtype)
    dx = _mix_local(dy, weight, ctx.height, ctx.width, ctx.kernel, True)
    dweight = _mix_local_weight(x, dy, ctx.height, ctx.width, ctx.kernel)
    return dx, dweight, None, None, None, None


_mix_local.register_autograd(_differentiate_mix_local, setup_context=_save_mix_local)


def _mix_local_torch(x: Tensor, weight: Tensor, height: int, width: int, kernel: int) -> Tensor:
    tokens, batch, channels = x.shape
    half = kernel // 2
    padded = torch.nn.functional.pad(x.view(height, width, batch, channels), (0, 0, 0, 0, half, half, half, half))
    y = torch.zeros_like(x)
    for i in range(kernel * kernel):
        dy, dx = divmod(i, kernel)
        shifted = padded[dy : dy + height, dx : dx + width].reshape(tokens, batch, channels)
        y = y + shifted * weight[:, i, None].to(x.dtype)
    return y


def mix_local(x: Tensor, weight: Tensor, grid: tuple[int, int], kernel: int) -> Tensor:
    """Replace each token by a weighted sum of its `kernel` x `kernel` neighbours; outside the grid are zeros.

    Parameters
    ----------
    x
        [N, B, C], float32 or bfloat16, the tokens in raster order.
    weight
        [N, kernel², C], float32. Entry i multiplies the token at the offset
        (dy, dx) = divmod(i, kernel) - kernel // 2.
    grid
        Rows and columns of tokens.
    kernel
        Side of the neighbourhood, odd.
    """
    height, width = grid
    if x.device.type == "cpu" and x.dtype in SUFFIX and kernel <= MAX_KERNEL and kernels_available():
        return _mix_local(x, weight.float(), height, width, kernel, False)
    return _mix_local_torch(x, weight, height, width, kernel)
