"""Students that begin with what their teachers have learned.

`narrow` starts a student as its teacher with fewer hidden neurons. Both must agree in everything but the hidden size,
the activation and the token mixing. The student takes over embedding, token mixing, norms and head, and from each
block the hidden neurons that matter most, with their functions where both have PSA. PSA that the teacher lacks starts
as the identity at the block's input and near GELU at the hidden neurons, so the student starts as a pruned teacher.
Its token mixing may be freer than the teacher's (dense instead of local, one per position instead of shared, more
groups); it then starts as the same map, written out.

`block_loss` lets each block of a student learn by itself, as G. Singh and K. Bazargan do (see `psa.py`): it learns to
compute from the teacher's residual stream what the teacher's block computes from it.
"""

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from psahw.errors import UserError

from . import finite
from .config import ModelConfig, StageConfig
from .kernels import mix_local
from .psa import PSA
from .resmlp import PIXEL_SCALE, ChannelMixing, ResMLP, TokenMixing, extract_patches

__all__ = ["adopt", "block_loss", "narrow"]

Part = TypeVar("Part", bound=nn.Module)


def narrow(teacher: nn.Module, student: nn.Module) -> None:
    """Start a student as its teacher with fewer hidden neurons.

    Parameters
    ----------
    teacher
        A trained `ResMLP`.
    student
        A `ResMLP`, which is changed in place.

    Raises
    ------
    UserError
        If the shapes differ in more than the hidden size, the activation and a freer token mixing.
    """
    teacher, student = _as_resmlps(teacher, student)
    learned = all(model.config.activation.startswith("psa") for model in (teacher, student))
    if _without_differences(teacher.config, learned) != _without_differences(student.config, learned):
        raise UserError(
            "the student can start from the teacher only if they differ in nothing but hidden size, activation and "
            "token mixing"
        )
    for theirs, ours in zip(teacher.config.stages, student.config.stages, strict=True):
        if not _is_freer(ours, theirs):
            raise UserError(
                f"a token mixing of {_mixing(theirs)} cannot start one of {_mixing(ours)}: it must keep its kernel "
                "or become dense, and may get more groups or be shared no longer"
            )
        if ours.hidden > theirs.hidden:
            raise UserError(f"the student's {ours.hidden} hidden neurons exceed the teacher's {theirs.hidden}")
    _take_over(teacher, student)


def _without_differences(config: ModelConfig, learned: bool) -> ModelConfig:
    """Return a configuration without what a student may have different from its teacher.

    The number of PSA segments stays if both have `learned` functions, because then it must agree.
    """
    stages = tuple(
        dataclasses.replace(stage, hidden=1, groups=1, kernel=None, shared=False) for stage in config.stages
    )
    segments = config.segments if learned else 1
    return dataclasses.replace(config, stages=stages, activation="gelu", segments=segments, grid_size=64)


def _is_freer(ours: StageConfig, theirs: StageConfig) -> bool:
    """Return True if every token mixing of `theirs` can be written as one of `ours`."""
    same_kernel = ours.kernel == theirs.kernel and (theirs.shared or not ours.shared)
    return ours.groups % theirs.groups == 0 and (ours.kernel is None or same_kernel)


def _mixing(stage: StageConfig) -> str:
    """Return words for the token mixing of a stage."""
    kernel = "all tokens" if stage.kernel is None else f"{stage.kernel} x {stage.kernel} tokens"
    return f"{kernel}{', shared,' if stage.shared else ''} in {stage.groups} groups"


def adopt(teacher: nn.Module, student: nn.Module) -> None:
    """Give a student all of its teacher that fits, before it learns the teacher's blocks.

    What surrounds the blocks becomes the teacher's. So do the parts of the blocks that have the teacher's shape, and
    of the hidden neurons those that matter most, where the student has at most as many.

    Parameters
    ----------
    teacher
        A trained `ResMLP`.
    student
        A `ResMLP`, which is changed in place.

    Raises
    ------
    UserError
        If the residual streams differ: in patches, or in the channels and blocks of a stage.
    """
    teacher, student = _as_resmlps(teacher, student)
    if _stream(teacher.config) != _stream(student.config):
        raise UserError(
            "the student can learn the teacher's blocks only if patches, and channels and blocks of every stage, "
            "are the same"
        )
    _take_over(teacher, student)


def _stream(config: ModelConfig) -> tuple:
    """Return what determines the residual stream of a network."""
    patches = (
        config.image,
        config.colours,
        config.patch_size,
        config.patch_stride,
        config.patch_padding,
        config.classes,
    )
    return patches, [(stage.channels, stage.blocks) for stage in config.stages]


def _as_resmlps(teacher: nn.Module, student: nn.Module) -> tuple[ResMLP, ResMLP]:
    """Return both models, and raise UserError unless they are ResMLPs."""
    if isinstance(teacher, ResMLP) and isinstance(student, ResMLP):
        finite.require("the model to start from", teacher.state_dict(), error=UserError)
        return teacher, student
    raise UserError("only a ResMLP can start from its teacher, and only from a ResMLP; others need --start random")


@torch.no_grad()
def _take_over(teacher: ResMLP, student: ResMLP) -> None:
    """Copy all tensors with the same name and shape, and write out or narrow what has another shape."""
    state = student.state_dict()
    same = {
        name: value
        for name, value in teacher.state_dict().items()
        if name in state and state[name].shape == value.shape
    }
    student.load_state_dict(same, strict=False)
    stages = zip(_stages(teacher), _stages(student), strict=True)
    mixings = zip(_parts(teacher, TokenMixing), _parts(student, TokenMixing), strict=True)
    for (theirs, ours), pair in zip(stages, mixings, strict=True):
        if _is_freer(ours, theirs):
            _write_out(*pair)
    for source, target in zip(_parts(teacher, ChannelMixing), _parts(student, ChannelMixing), strict=True):
        if target.linear1.out_features <= source.linear1.out_features:
            _narrow_block(source, target)


def _stages(model: ResMLP) -> list[StageConfig]:
    """Return the stage of every block."""
    return [stage for stage in model.config.stages for _ in range(stage.blocks)]


def _parts(model: ResMLP, kind: type[Part]) -> list[Part]:
    """Return the modules of a kind, one per block."""
    return [module for module in model.modules() if isinstance(module, kind)]


def _write_out(source: TokenMixing, target: TokenMixing) -> None:
    """Give the freer `target` the map of `source`. The norm in front of it has been taken over already."""
    repeat, tokens = target.groups // source.groups, source.grid[0] * source.grid[1]
    positions = 1 if target.shared else tokens
    weight = source.matrices().repeat_interleave(repeat, dim=0)
    weight = weight.expand(-1, positions if source.shared else -1, -1)
    target.bias.copy_(source.bias.repeat_interleave(repeat, dim=0).expand(-1, positions if source.shared else -1))
    if target.kernel is not None:
        target.weight.copy_(weight)
        return
    if source.kernel is not None:  # each tap alone maps the identity to the matrix that says where it reads
        identity = torch.eye(tokens)[:, :, None]  # tokens, images, channels
        full = torch.zeros(target.groups, tokens, tokens)
        for i, tap in enumerate(torch.eye(source.kernel**2)):
            reads = mix_local(identity, tap[None, :, None].expand(tokens, -1, 1), source.grid, source.kernel)
            full += weight[:, :, i, None] * reads[..., 0]
        weight = full
    for parameter, matrix in zip(target.weights, weight, strict=True):
        parameter.copy_(matrix)


def block_loss(teacher: ResMLP, student: ResMLP, images: Tensor) -> Tensor:
    """Return the loss of a student whose blocks learn by themselves.

    Each block of both models gets the teacher's residual stream. The loss is the mean squared difference of what they
    make of it, averaged over the blocks.

    Parameters
    ----------
    teacher
        The teacher, in evaluation mode. It gets no gradients.
    student
        The student, with the same residual stream (`adopt`).
    images
        uint8 [B, height, width, colours].
    """
    config, losses = teacher.config, []
    with torch.no_grad():
        codes = (images.float() - 128) * PIXEL_SCALE
        x = teacher.embed(extract_patches(codes, config.patch_size, config.patch_stride, config.patch_padding))
    for theirs, ours in zip(teacher.stages, student.stages, strict=True):
        if theirs.merge is not None:
            with torch.no_grad():
                x = theirs.merge(x)
        for example, block in zip(theirs.blocks, ours.blocks, strict=True):
            with torch.no_grad():
                y = example(x)
            losses.append(functional.mse_loss(block(x).float(), y.float()))
            x = y
    return torch.stack(losses).mean()


def _narrow_block(source: ChannelMixing, target: ChannelMixing) -> None:
    """Take over the hidden neurons that add most to the residual stream.

    That is measured by the norm of their output weights times the spread of their normed input.
    """
    count = target.linear1.out_features
    importance = source.linear2.weight.norm(dim=0) * source.norm_hidden.weight.abs()
    best = importance.topk(count).indices.sort().values
    target.linear1.weight.copy_(source.linear1.weight[best])
    target.linear2.weight.copy_(source.linear2.weight[:, best])
    target.linear2.bias.copy_(source.linear2.bias)
    for name in ("weight", "bias", "mean", "var"):
        getattr(target.norm_hidden, name).copy_(getattr(source.norm_hidden, name)[best])
    if isinstance(source.act_hidden, PSA) and isinstance(target.act_hidden, PSA):
        for name, parameter in target.act_hidden.named_parameters():
            parameter.copy_(source.act_hidden.get_parameter(name)[best])
