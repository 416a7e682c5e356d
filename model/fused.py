"""Training on a CPU with AVX-512: the network with its residual blocks in C (`fused.c`), forward and backward.

The same function of the same parameters as `ResMLP.forward` in training mode, up to rounding and with one liberty:
the gradient of a PSA's grid comes from every fourth group of sixteen values, times four (`COLLECT_EVERY`), since
each function sees thousands of values a step. Activations lie as [channels, tokens · images].

With z = γ·(x - μ)/σ + β and dz the gradient of z, the gradient of x is
γ/σ · (dz - mean(dz) - x̂·mean(dz·x̂)), x̂ = (x - μ)/σ, which is k0·dz + k1·x + k2 with three constants of each channel
(S. Ioffe and C. Szegedy, "Batch Normalization", 2015); `_Norm.through` has them.
"""

import ctypes
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .native import FLAGS, build, pointer
from .psa import GRID_POINTS, GRID_RANGE, PSA, grid_of
from .resmlp import PIXEL_SCALE, Block, ChannelNorm, PatchMerging, ResMLP, TokenMixing

__all__ = ["COLLECT_EVERY", "forward", "usable"]

SOURCE = Path(__file__).with_name("fused.c")
COLLECT_EVERY = 4
IMAGES = 32  # a batch is a multiple of it: two vectors of floats
KINDS = {nn.Identity: 0, nn.ReLU: 1, nn.GELU: 2, PSA: 3}
INVERSE_STEP = (GRID_POINTS - 1) / (2 * GRID_RANGE)


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        if "avx512f" not in Path("/proc/cpuinfo").read_text():
            return None
        library = build(SOURCE, FLAGS)
    except (OSError, subprocess.CalledProcessError):
        return None
    _keep_memory()
    return library


def _keep_memory() -> None:
    """Tells glibc to keep freed memory: the tensors of a step are of the same sizes as those of the last one, and
    fresh pages cost a quarter of the step."""
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    try:
        for option in (trim, mmap):
            ctypes.CDLL(None).mallopt(option, (1 << 31) - 1)
    except AttributeError:  # another C library
        pass


def usable(model: nn.Module, batch: int) -> bool:
    """Whether `forward` can train `model` in batches of `batch` images on this machine."""
    if not isinstance(model, ResMLP) or batch % IMAGES or torch.distributed.is_initialized():
        return False
    on_cpu = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())
    return on_cpu and _library() is not None


class _CFunction(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("lo", ctypes.c_float),
        ("inverse_step", ctypes.c_float),
        ("scale", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
    ]


class _CMixing(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("height", "width", "kernel", "groups", "shared")]
    _fields_ += [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


def _call(name: str, *arguments) -> None:
    converted = []
    for argument in arguments:
        if argument is None or isinstance(argument, Tensor):
            converted.append(pointer(argument))
        elif isinstance(argument, ctypes.Structure):
            converted.append(ctypes.byref(argument))
        elif isinstance(argument, float):
            converted.append(ctypes.c_float(argument))
        else:
            converted.append(ctypes.c_int64(argument))
    getattr(_library(), name)(*converted)


class _Norm(NamedTuple):
    """A norm with the statistics of one batch, each [channels]."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> "_Norm":
        return cls(gamma, beta, mean, (var + eps).sqrt())

    def affine(self) -> tuple[Tensor, Tensor]:
        scale = self.gamma / self.deviation
        return scale, self.beta - self.mean * scale

    def through(self, sums: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """(k0, k1, k2) [3, channels], dγ, dβ, from `sums` [channels, 2] of dz and dz·x over `count` values."""
        total, with_x = sums[:, 0].float(), sums[:, 1]
        along = ((with_x - self.mean * sums[:, 0]) / self.deviation).float()
        k0 = self.gamma / self.deviation
        k1 = -k0 * along / (count * self.deviation)
        return torch.stack((k0, k1, -k0 * total / count - k1 * self.mean)), along, total


def _statistics(sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    mean = sums[:, 0] / count
    return mean.float(), (sums[:, 1] / count - mean * mean).clamp(min=0).float()


@dataclass
class _Shape:
    """What a block's function needs beside tensors."""

    grid: tuple[int, int]
    kernel: int
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
    """Grid [POINTS, C] as [C, 2, POINTS]: values, and rises to the next knot."""
    if grid is None:
        return None
    values = grid.t()
    rises = torch.zeros_like(values)
    rises[:, :-1] = values.diff(dim=1)
    return torch.stack((values, rises), dim=1).contiguous()


def _grid_gradient(knots: Tensor) -> Tensor:
    """[C, POINTS, 2], sums of d and d·fraction in each segment, as the gradient of the grid [POINTS, C]."""
    gradient = knots[..., 0] - knots[..., 1]
    gradient[:, 1:] += knots[:, :-1, 1]
    return gradient.t().contiguous()


class _Block(torch.autograd.Function):
    """x [C, N·B] to the block's output and the statistics of its three norms."""

    @staticmethod
    def forward(ctx, shape, x, mix, mix_bias, gamma0, beta0, gamma1, beta1, grid_in, w1, gamma2, beta2, grid_hidden,
                w2, bias2):  # fmt: skip
        channels, columns = x.shape
        hidden = len(w1)
        y, h, out = torch.empty_like(x), x.new_empty(hidden, columns), torch.empty_like(x)
        stats0, stats1 = x.new_empty(channels, 2), x.new_empty(channels, 2)
        c_mixing = _mixing(shape, mix, mix_bias)
        _call("mixing_forward", x, c_mixing, gamma0, beta0, shape.eps, y, stats0, stats1, channels, shape.images)
        norm1 = _Norm.of(gamma1, beta1, stats1[:, 0], stats1[:, 1], shape.eps)
        knots_in, knots_hidden = _knots(grid_in), _knots(grid_hidden)
        sums = torch.zeros(hidden, 2, dtype=torch.float64)
        affine1 = norm1.affine()
        f_in = _function(shape.kinds[0], knots_in, affine1)
        _call("linear_forward", y, f_in, w1, None, None, h, sums, hidden, channels, columns)
        mean2, var2 = _statistics(sums, columns)
        norm2 = _Norm.of(gamma2, beta2, mean2, var2, shape.eps)
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
        through2, dgamma2, dbeta2 = norm2.through(sums2, columns)

        dv1, sums1 = torch.empty_like(y), torch.zeros(channels, 2, dtype=torch.float64)
        dw1, dknots_in = torch.zeros_like(w1), w1.new_zeros(channels, GRID_POINTS, 2)
        f_in = _function(shape.kinds[0], knots_in, ctx.affines[0])
        _call("linear_backward", dv2, h, through2, y, f_in, w1, dv1, sums1, dw1, None, dknots_in, *every,
              hidden, channels, columns)  # fmt: skip
        through1, dgamma1, dbeta1 = norm1.through(sums1, columns)

        dx, dmix, dmix_bias = torch.empty_like(x), torch.zeros_like(mix), torch.zeros_like(mix_bias)
        dgamma0, dbeta0 = torch.zeros_like(gamma0), torch.zeros_like(beta0)
        c_mixing = _mixing(shape, mix, mix_bias)
        _call("mixing_backward", d, dv1, through1, x, y, c_mixing, gamma0, beta0, stats0, shape.eps, dx, dmix,
              dmix_bias, dgamma0, dbeta0, channels, shape.images)  # fmt: skip
        dgrid_in = None if knots_in is None else _grid_gradient(dknots_in)
        dgrid_hidden = None if knots_hidden is None else _grid_gradient(dknots_hidden)
        return (None, dx, dmix, dmix_bias, dgamma0, dbeta0, dgamma1, dbeta1, dgrid_in, dw1, dgamma2, dbeta2,
                dgrid_hidden, dw2, dbias2)  # fmt: skip


class _NormLinear(torch.autograd.Function):
    """w·norm(x) + bias of gathered rows: row r of x [R, M] belongs to channel r % C of the norm."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, w, bias):
        rows, columns = x.shape
        repeat = rows // len(gamma)
        sums = torch.stack((x.sum(1), x.square().sum(1)), dim=1).double().view(repeat, -1, 2).sum(0)
        mean, var = _statistics(sums, repeat * columns)
        norm = _Norm.of(gamma, beta, mean, var, eps)
        affine = tuple(part.repeat(repeat) for part in norm.affine())
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
        (k0, k1, k2), dgamma, dbeta = ctx.norm.through(sums.view(repeat, -1, 2).sum(0), repeat * columns)
        k0, k1, k2 = (k.repeat(repeat)[:, None] for k in (k0, k1, k2))
        dx = torch.addcmul(k2, x, k1).addcmul_(dv, k0)
        return dx, dgamma, dbeta, None, dw, dbias


@torch.no_grad()
def _track(norm: ChannelNorm, mean: Tensor, var: Tensor) -> None:
    norm.mean.lerp_(mean, norm.momentum)
    norm.var.lerp_(var, norm.momentum)


def _grids(model: ResMLP) -> dict[PSA, Tensor]:
    """The grids of all PSA of the network, evaluated as one."""
    layers = [module for module in model.modules() if isinstance(module, PSA)]
    if not layers:
        return {}
    names = ("centre", "width", "value", "gain", "offset")
    parameters = (torch.cat([getattr(layer, name) for layer in layers]) for name in names)
    whole = grid_of(*parameters, size=layers[0].grid_size)
    return dict(zip(layers, whole.split([len(layer.gain) for layer in layers], dim=1), strict=True))


def _block(block: Block, x: Tensor, grids: dict[PSA, Tensor], images: int, phase: int) -> Tensor:
    token: TokenMixing = block.token_mixing
    channel = block.channel_mixing
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
    (height, width), channels = merge.grid, len(x)
    x = x.view(channels, height // 2, 2, width // 2, 2, images).permute(2, 4, 0, 1, 3, 5).reshape(4 * channels, -1)
    norm, linear = merge.norm, merge.linear
    out, mean, var = _NormLinear.apply(x, norm.weight, norm.bias, norm.eps, linear.weight, linear.bias)
    _track(norm, mean, var)
    return out


def _patches(images: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """[B, h, w, 3] to [size·size·3, N·B], values in (row, column, colour) order, zeros around the image."""
    batch, height, width, colours = images.shape
    padded = torch.zeros(height + 2 * padding, width + 2 * padding, colours, batch)
    inner = padded[padding : padding + height, padding : padding + width]
    inner.copy_(images.permute(1, 2, 3, 0)).sub_(128).mul_(PIXEL_SCALE)
    windows = padded.unfold(0, size, stride).unfold(1, size, stride)  # [h, w, 3, B, size, size]
    return windows.permute(4, 5, 2, 0, 1, 3).reshape(size * size * colours, -1)


def forward(model: ResMLP, images: Tensor, phase: int = 0) -> Tensor:
    """Logits [B, classes] of uint8 images [B, height, width, 3], the norms in training mode.

    `phase` should move on from step to step: it chooses the values that `COLLECT_EVERY` takes. Raises ValueError for
    images or a model that the C code, which goes by addresses alone, would read or write beyond.
    """
    config, batch = model.config, len(images)
    if images.shape != (batch, *config.image, 3) or images.dtype != torch.uint8 or images.device.type != "cpu":
        wanted = f"uint8 [B, {config.image[0]}, {config.image[1]}, 3] on the CPU"
        raise ValueError(f"images must be {wanted}, not {images.dtype} {tuple(images.shape)} on {images.device}")
    if not usable(model, batch):
        raise ValueError(f"the step in C wants a float32 ResMLP in one process and batches of {IMAGES}, not {batch}")
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
    pooled = x.view(len(x), -1, batch).mean(1)  # the norm is affine: it may come after the mean over tokens
    return torch.addmm(model.head.bias, (pooled * scale[:, None] + (norm.bias - mean * scale)[:, None]).t(),
                       model.head.weight.t())  # fmt: skip
