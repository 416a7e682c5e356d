"""The training step on a CPU with AVX-512: `ResMLP` with its residual blocks in C (`fused.c`), forward and backward.

`forward` is the same function of the same parameters as `ResMLP.forward` in training mode, up to rounding, with one
exception. Each PSA sees thousands of values per step, so the gradient of its grid is estimated from every fourth
group of sixteen values, times four (`COLLECT_EVERY`).

Activations are laid out as [C, N·B]: channels, then tokens and images of the batch.

Backward through a norm z = γ·x̂ + β with x̂ = (x - μ)/σ: if dz is the gradient of z, the gradient of x is
γ/σ · (dz - mean(dz) - x̂·mean(dz·x̂)). That is k0·dz + k1·x + k2 with three constants per channel, which
`_Norm.backward` computes (S. Ioffe and C. Szegedy, "Batch Normalization", arXiv 1502.03167, 2015).
"""

import ctypes
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from psahw.errors import UserError

from .native import FLAGS, build, call, pointer
from .psa import GRID_POINTS, GRID_RANGE, PSA, grid_of
from .resmlp import PIXEL_SCALE, Block, ChannelNorm, PatchMerging, ResMLP

__all__ = ["COLLECT_EVERY", "forward", "usable"]

SOURCE = Path(__file__).with_name("fused.c")
COLLECT_EVERY = 4  # one in this many groups of sixteen values contributes to the gradient of a PSA's grid
IMAGES = 32  # the batch must be a multiple of this: two vectors of sixteen floats
KINDS: dict[type[nn.Module], int] = {nn.Identity: 0, nn.ReLU: 1, nn.GELU: 2, PSA: 3}  # the enum of fused.c
INVERSE_STEP = (GRID_POINTS - 1) / (2 * GRID_RANGE)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Compile and load fused.c; return None without AVX-512 or a compiler."""
    try:
        if "avx512f" not in Path("/proc/cpuinfo").read_text():
            return None
        library = build(SOURCE, FLAGS)
    except (OSError, UserError, subprocess.CalledProcessError):
        return None
    _keep_memory()
    return library


def _keep_memory() -> None:
    """Tell glibc to keep freed memory.

    The tensors of each step have the same sizes as those of the step before, and fresh pages take a quarter of the
    step's time.
    """
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        for option in (trim, mmap):
            ctypes.CDLL(None).mallopt(option, (1 << 31) - 1)
    except AttributeError:  # the C library is not glibc
        pass


def usable(model: nn.Module, batch: int) -> bool:
    """Return whether `forward` can train `model` in batches of `batch` images on this machine."""
    if not isinstance(model, ResMLP) or batch % IMAGES or torch.distributed.is_initialized():
        return False
    on_cpu = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())
    return on_cpu and _library() is not None


class _CFunction(ctypes.Structure):
    """`function` of fused.c: an activation, after the affine map of the norm before it."""

    _fields_ = [
        ("kind", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("lo", ctypes.c_float),
        ("inverse_step", ctypes.c_float),
        ("scale", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
    ]


class _CMixing(ctypes.Structure):
    """`mixing` of fused.c: the matrices of a token mixing."""

    _fields_ = [(name, ctypes.c_int64) for name in ("height", "width", "kernel", "groups", "shared")]
    _fields_ += [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


def _call(name: str, *arguments: Tensor | ctypes.Structure | float | None) -> None:
    call(_library(), name, *arguments)


class _Norm(NamedTuple):
    """A norm with the statistics of one batch, each [C]."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def from_variance(cls, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> "_Norm":
        """Return a norm with this mean and variance of its inputs."""
        return cls(gamma, beta, mean, (var + eps).sqrt())

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and offset, [C] each."""
        scale = self.gamma / self.deviation
        return scale, self.beta - self.mean * scale

    def backward(self, sums: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (k0, k1, k2) [3, C], dγ and dβ, from `sums` [C, 2] of dz and of dz·x over `count` values."""
        total, with_x = sums[:, 0].float(), sums[:, 1]
        along = ((with_x - self.mean * sums[:, 0]) / self.deviation).float()
        k0 = self.gamma / self.deviation
        k1 = -k0 * along / (count * self.deviation)
        return torch.stack((k0, k1, -k0 * total / count - k1 * self.mean)), along, total


def _statistics(sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance [C] from `sums` [C, 2] of x and of x² over `count` values."""
    mean = sums[:, 0] / count
    return mean.float(), (sums[:, 1] / count - mean * mean).clamp(min=0).float()


@dataclass
class _Shape:
    """The arguments of `_Block` that are not tensors."""

    grid: tuple[int, int]
    kernel: int  # 0: dense
    groups: int
    shared: bool
    images: int
    kinds: tuple[int, int]
    eps: float
    phase: int


def _function(kind: int, table: Tensor | None, affine: tuple[Tensor, Tensor]) -> _CFunction:
    scale, offset = affine
    return _CFunction(kind, pointer(table), -GRID_RANGE, INVERSE_STEP, pointer(scale), pointer(offset))


def _mixing(shape: _Shape, weight: Tensor, bias: Tensor) -> _CMixing:
    sizes = (*shape.grid, shape.kernel, shape.groups, int(shape.shared))
    return _CMixing(*sizes, pointer(weight), pointer(bias))


def _knots(grid: Tensor | None) -> Tensor | None:
    """Return each knot's value and the rise to the next knot: [POINTS, C] to [C, 2, POINTS]."""
    if grid is None:
        return None
    values = grid.t()
    rises = torch.zeros_like(values)
    rises[:, :-1] = values.diff(dim=1)
    return torch.stack((values, rises), dim=1).contiguous()


def _grid_gradient(knots: Tensor) -> Tensor:
    """Return the gradient of the grid [POINTS, C] from sums of d and d·fraction in each segment [C, POINTS, 2]."""
    gradient = knots[..., 0] - knots[..., 1]
    gradient[:, 1:] += knots[:, :-1, 1]
    return gradient.t().contiguous()


class _Block(torch.autograd.Function):
    """A residual block: from x [C, N·B] to its output [C, N·B], with mean and variance of its three norms."""

    @staticmethod
    def forward(ctx, shape, x, mix, mix_bias, gamma0, beta0, gamma1, beta1, grid_in, w1, gamma2, beta2, grid_hidden,
                w2, bias2):  # fmt: skip
        channels, columns = x.shape
        hidden = len(w1)
        y, h, out = torch.empty_like(x), x.new_empty(hidden, columns), torch.empty_like(x)
        stats0, stats1 = x.new_empty(channels, 2), x.new_empty(channels, 2)
        c_mixing = _mixing(shape, mix, mix_bias)
        _call("mixing_forward", x, c_mixing, gamma0, beta0, shape.eps, y, stats0, stats1, channels, shape.images)
        norm1 = _Norm.from_variance(gamma1, beta1, stats1[:, 0], stats1[:, 1], shape.eps)
        knots_in, knots_hidden = _knots(grid_in), _knots(grid_hidden)
        sums = torch.zeros(hidden, 2, dtype=torch.float64)
        affine1 = norm1.affine()
        f_in = _function(shape.kinds[0], knots_in, affine1)
        _call("linear_forward", y, f_in, w1, None, None, h, sums, hidden, channels, columns)
        mean2, var2 = _statistics(sums, columns)
        norm2 = _Norm.from_variance(gamma2, beta2, mean2, var2, shape.eps)
        affine2 = norm2.affine()
        f_hidden = _function(shape.kinds[1], knots_hidden, affine2)
        unused = torch.zeros(channels, 2, dtype=torch.float64)
        _call("linear_forward", h, f_hidden, w2, y, bias2, out, unused, channels, hidden, columns)
        ctx.shape, ctx.norms, ctx.affines, ctx.knots = (
            shape,
            (norm1, norm2),
            (affine1, affine2),
            (knots_in, knots_hidden),
        )
        ctx.save_for_backward(x, y, h, mix, mix_bias, gamma0, beta0, stats0, w1, w2)
        statistics = (stats0[:, 0], stats0[:, 1], stats1[:, 0], stats1[:, 1], mean2, var2)
        ctx.mark_non_differentiable(*statistics)
        return out, *statistics

    @staticmethod
    def backward(ctx, d, *_):
        shape = ctx.shape
        x, y, h, mix, mix_bias, gamma0, beta0, stats0, w1, w2 = ctx.saved_tensors
        (norm1, norm2), (knots_in, knots_hidden) = ctx.norms, ctx.knots
        channels, columns = x.shape
        hidden = len(w1)
        d = d.contiguous()
        every = (COLLECT_EVERY, shape.phase)

        dv2, sums2 = torch.empty_like(h), torch.zeros(hidden, 2, dtype=torch.float64)
        dw2, dbias2 = torch.zeros_like(w2), w2.new_zeros(channels)
        dknots_hidden = w2.new_zeros(hidden, GRID_POINTS, 2)
        f_hidden = _function(shape.kinds[1], knots_hidden, ctx.affines[1])
        _call("linear_backward", d, None, None, h, f_hidden, w2, dv2, sums2, dw2, dbias2, dknots_hidden, *every,
              channels, hidden, columns)  # fmt: skip
        coefficients2, dgamma2, dbeta2 = norm2.backward(sums2, columns)

        dv1, sums1 = torch.empty_like(y), torch.zeros(channels, 2, dtype=torch.float64)
        dw1, dknots_in = torch.zeros_like(w1), w1.new_zeros(channels, GRID_POINTS, 2)
        f_in = _function(shape.kinds[0], knots_in, ctx.affines[0])
        _call("linear_backward", dv2, h, coefficients2, y, f_in, w1, dv1, sums1, dw1, None, dknots_in, *every,
              hidden, channels, columns)  # fmt: skip
        coefficients1, dgamma1, dbeta1 = norm1.backward(sums1, columns)

        dx, dmix, dmix_bias = torch.empty_like(x), torch.zeros_like(mix), torch.zeros_like(mix_bias)
        dgamma0, dbeta0 = torch.zeros_like(gamma0), torch.zeros_like(beta0)
        c_mixing = _mixing(shape, mix, mix_bias)
        _call("mixing_backward", d, dv1, coefficients1, x, y, c_mixing, gamma0, beta0, stats0, shape.eps, dx, dmix,
              dmix_bias, dgamma0, dbeta0, channels, shape.images)  # fmt: skip
        dgrid_in = None if knots_in is None else _grid_gradient(dknots_in)
        dgrid_hidden = None if knots_hidden is None else _grid_gradient(dknots_hidden)
        return (None, dx, dmix, dmix_bias, dgamma0, dbeta0, dgamma1, dbeta1, dgrid_in, dw1, dgamma2, dbeta2,
                dgrid_hidden, dw2, dbias2)  # fmt: skip


class _NormLinear(torch.autograd.Function):
    """`w·norm(x) + bias` with x [R, M], whose row r belongs to channel r % C of the norm."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, w, bias):
        rows, columns = x.shape
        repeat = rows // len(gamma)
        sums = torch.stack((x.sum(1), x.square().sum(1)), dim=1).double().view(repeat, -1, 2).sum(0)
        mean, var = _statistics(sums, repeat * columns)
        norm = _Norm.from_variance(gamma, beta, mean, var, eps)
        scale, offset = norm.affine()
        affine = scale.repeat(repeat), offset.repeat(repeat)
        out, unused = x.new_empty(len(w), columns), torch.zeros(len(w), 2, dtype=torch.float64)
        f = _function(KINDS[nn.Identity], None, affine)
        _call("linear_forward", x, f, w, None, bias, out, unused, len(w), rows, columns)
        ctx.norm, ctx.affine = norm, affine
        ctx.save_for_backward(x, w)
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx, d, *_):
        x, w = ctx.saved_tensors
        rows, columns = x.shape
        repeat = rows // len(ctx.norm.gamma)
        dv, sums = torch.empty_like(x), torch.zeros(rows, 2, dtype=torch.float64)
        dw, dbias = torch.zeros_like(w), w.new_zeros(len(w))
        f = _function(KINDS[nn.Identity], None, ctx.affine)
        _call("linear_backward", d.contiguous(), None, None, x, f, w, dv, sums, dw, dbias, None, 1, 0, len(w), rows,
              columns)  # fmt: skip
        (k0, k1, k2), dgamma, dbeta = ctx.norm.backward(sums.view(repeat, -1, 2).sum(0), repeat * columns)
        k0, k1, k2 = (k.repeat(repeat)[:, None] for k in (k0, k1, k2))
        dx = torch.addcmul(k2, x, k1).addcmul_(dv, k0)
        return dx, dgamma, dbeta, None, dw, dbias


@torch.no_grad()
def _track(norm: ChannelNorm, mean: Tensor, var: Tensor) -> None:
    """Update a norm's running statistics."""
    norm.mean.lerp_(mean, norm.momentum)
    norm.var.lerp_(var, norm.momentum)


def _grids(model: ResMLP) -> dict[nn.Module, Tensor]:
    """Return the grid [POINTS, C] of each PSA of the network, all evaluated in one pass."""
    layers = [module for module in model.modules() if isinstance(module, PSA)]
    if not layers:
        return {}
    names = ("centre", "width", "value", "gain", "offset")
    parameters = (torch.cat([getattr(layer, name) for layer in layers]) for name in names)
    whole = grid_of(*parameters, size=layers[0].grid_size)
    return dict(zip(layers, whole.split([len(layer.gain) for layer in layers], dim=1), strict=True))


def _block(block: Block, x: Tensor, grids: dict[nn.Module, Tensor], images: int, phase: int) -> Tensor:
    """Apply a block and update its norms: [C, N·B] to [C, N·B]."""
    token, channel = block.token_mixing, block.channel_mixing
    kinds = (KINDS[type(channel.act_in)], KINDS[type(channel.act_hidden)])
    matrices = token.matrices()
    shape = _Shape(token.grid, token.kernel or 0, token.groups, token.shared, images, kinds, token.norm.eps, phase)
    out, *statistics = _Block.apply(
        shape, x, matrices.contiguous(), token.bias, token.norm.weight, token.norm.bias,
        channel.norm.weight, channel.norm.bias, grids.get(channel.act_in), channel.linear1.weight,
        channel.norm_hidden.weight, channel.norm_hidden.bias, grids.get(channel.act_hidden),
        channel.linear2.weight, channel.linear2.bias,
    )  # fmt: skip
    for norm, i in ((token.norm, 0), (channel.norm, 2), (channel.norm_hidden, 4)):
        _track(norm, statistics[i], statistics[i + 1])
    return out


def _merge(merge: PatchMerging, x: Tensor, images: int) -> Tensor:
    """Apply a patch merging and update its norm: [C, N·B] to [C', N·B/4]."""
    (height, width), channels = merge.grid, len(x)
    x = x.view(channels, height // 2, 2, width // 2, 2, images).permute(2, 4, 0, 1, 3, 5)  # [2, 2, C, h/2, w/2, B]
    x = x.reshape(4 * channels, -1)
    norm, linear = merge.norm, merge.linear
    out, mean, var = _NormLinear.apply(x, norm.weight, norm.bias, norm.eps, linear.weight, linear.bias)
    _track(norm, mean, var)
    return out


def _patches(images: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Return the windows that `resmlp.extract_patches` does: [B, h, w, colours] to [size·size·colours, N·B]."""
    batch, height, width, colours = images.shape
    padded = torch.zeros(height + 2 * padding, width + 2 * padding, colours, batch)
    inner = padded[padding : padding + height, padding : padding + width]
    inner.copy_(images.permute(1, 2, 3, 0)).sub_(128).mul_(PIXEL_SCALE)
    windows = padded.unfold(0, size, stride).unfold(1, size, stride)  # [h, w, colours, B, size, size]
    return windows.permute(4, 5, 2, 0, 1, 3).reshape(size * size * colours, -1)


def forward(model: ResMLP, images: Tensor, phase: int = 0) -> Tensor:
    """Return the logits [B, classes] of images, with the norms in training mode.

    Parameters
    ----------
    model
        A float32 network on the CPU; its running statistics are updated.
    images
        uint8 [B, height, width, colours]; B must be a multiple of 32.
    phase
        Number of the step. It selects which values the gradient of a PSA's grid is estimated from.

    Raises
    ------
    ValueError
        If the images or the model do not fit. The C code knows only addresses, and would read or write beyond them.
    """
    config, batch = model.config, len(images)
    if (
        images.shape != (batch, *config.image, config.colours)
        or images.dtype != torch.uint8
        or images.device.type != "cpu"
    ):
        expected = f"uint8 [B, {config.image[0]}, {config.image[1]}, {config.colours}] on the CPU"
        raise ValueError(f"images must be {expected}, not {images.dtype} {tuple(images.shape)} on {images.device}")
    if not usable(model, batch):
        raise ValueError(
            f"the training step in C needs a float32 ResMLP in one process and a multiple of {IMAGES} images, "
            f"not {batch}"
        )
    patches = _patches(images, config.patch_size, config.patch_stride, config.patch_padding)
    x = torch.addmm(model.embed.bias[:, None], model.embed.weight, patches)
    grids = _grids(model)
    for stage in model.stages:
        if stage.merge is not None:
            x = _merge(stage.merge, x, batch)
        for block in stage.blocks:
            x = _block(block, x, grids, batch, phase)
    norm = model.norm
    mean, var = x.mean(1), x.square().mean(1)
    var = (var - mean * mean).clamp(min=0)
    _track(norm, mean.detach(), var.detach())
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    pooled = x.view(len(x), -1, batch).mean(1)  # [C, B]; the norm is affine, so it may follow the mean over tokens
    return torch.addmm(model.head.bias, (pooled * scale[:, None] + (norm.bias - mean * scale)[:, None]).t(),
                       model.head.weight.t())  # fmt: skip
