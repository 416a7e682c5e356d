"""A student that begins with what its teacher has learned.

`narrow`: as its teacher with fewer hidden neurons. Where both share everything but the hidden size and the
activation, the student takes over embedding, token mixing, norms and head, and of every block the hidden neurons
that matter most, with their functions where both have PSA. PSA that the teacher lacks starts as the identity at the
block's input and near GELU at the hidden neurons, so the student starts as a pruned teacher. Its token mixing may be
freer than the teacher's (dense instead of local, free per position instead of shared, more groups): then it starts
as the same map, written out.

`block_loss`: block by block, as G. Singh and K. Bazargan do it (see `psa.py`): each of the student's blocks learns to
make of the teacher's residual stream what the teacher's block makes of it.
"""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from psahw.errors import UserError

from .config import StageConfig
from .kernels import mix_local
from .psa import PSA
from .resmlp import PIXEL_SCALE, ChannelMixing, ResMLP, TokenMixing, extract_patches

__all__ = ["adopt", "block_loss", "narrow"]


def narrow(teacher: nn.Module, student: nn.Module) -> None:
    """Raises UserError when the shapes differ in more than hidden size, activation and a freer token mixing."""
    _check_kind(teacher, student)
    shapes = []
    both_learned = all(config.activation.startswith("psa") for config in (teacher.config, student.config))
    for config in (teacher.config, student.config):
        alike = {"hidden": 1, "groups": 1, "kernel": None, "shared": False}
        stages = tuple(dataclasses.replace(stage, **alike) for stage in config.stages)
        segments = config.segments if both_learned else 1
        alike = {"activation": "gelu", "segments": segments, "grid_size": 64}
        shapes.append(dataclasses.replace(config, stages=stages, **alike))
    if shapes[0] != shapes[1]:
        raise UserError(
            "the student can start from the teacher only if they differ in hidden size, activation "
            "and token mixing alone"
        )
    for theirs, ours in zip(teacher.config.stages, student.config.stages, strict=True):
        if not _holds(ours, theirs):
            raise UserError(
                f"a token mixing of {_mixing(theirs)} cannot start one of {_mixing(ours)}: it must keep its kernel "
                "or become dense, and may get more groups or be shared no longer"
            )
        if ours.hidden > theirs.hidden:
            raise UserError(f"the student's {ours.hidden} hidden neurons exceed the teacher's {theirs.hidden}")
    _take_over(teacher, student)


def _holds(ours: StageConfig, theirs: StageConfig) -> bool:
    """Whether every token mixing of `theirs` can be written as one of `ours`."""
    same_kernel = ours.kernel == theirs.kernel and (theirs.shared or not ours.shared)
    return ours.groups % theirs.groups == 0 and (ours.kernel is None or same_kernel)


def _mixing(stage: StageConfig) -> str:
    kernel = "all tokens" if stage.kernel is None else f"{stage.kernel} x {stage.kernel} tokens"
    return f"{kernel}{', shared,' if stage.shared else ''} in {stage.groups} groups"


def adopt(teacher: nn.Module, student: nn.Module) -> None:
    """What surrounds the blocks is the teacher's; of the blocks what has the teacher's shape, and of hidden neurons
    those that matter most, as far as the teacher has as many.

    Raises UserError when the residual streams differ: in patches, or in the channels and blocks of a stage.
    """
    _check_kind(teacher, student)
    streams = []
    for config in (teacher.config, student.config):
        patches = (config.image, config.patch_size, config.patch_stride, config.patch_padding, config.classes)
        streams.append((patches, [(stage.channels, stage.blocks) for stage in config.stages]))
    if streams[0] != streams[1]:
        raise UserError(
            "the student can learn the teacher's blocks only if patches, and channels and blocks of every stage, "
            "are the same"
        )
    _take_over(teacher, student)


def _check_kind(*models: nn.Module) -> None:
    if not all(isinstance(model, ResMLP) for model in models):
        raise UserError(
            "only a ResMLP can start from its teacher, and only from a ResMLP; --start random is for others"
        )


@torch.no_grad()
def _take_over(teacher: ResMLP, student: ResMLP) -> None:
    taken = teacher.state_dict()
    own = student.state_dict()
    kept = {name: value for name, value in taken.items() if name in own and own[name].shape == value.shape}
    student.load_state_dict(kept, strict=False)
    sources = [module for module in teacher.modules() if isinstance(module, TokenMixing)]
    targets = [module for module in student.modules() if isinstance(module, TokenMixing)]
    for source, target, theirs, ours in zip(sources, targets, _stages(teacher), _stages(student), strict=True):
        if _holds(ours, theirs):
            _write_out(source, target)
    sources = [module for module in teacher.modules() if isinstance(module, ChannelMixing)]
    targets = [module for module in student.modules() if isinstance(module, ChannelMixing)]
    for source, target in zip(sources, targets, strict=True):
        if target.linear1.out_features <= source.linear1.out_features:
            _narrow_block(source, target)


def _stages(model: ResMLP) -> list[StageConfig]:
    """The stage of every block."""
    return [stage for stage in model.config.stages for _ in range(stage.blocks)]


def _write_out(source: TokenMixing, target: TokenMixing) -> None:
    """Gives the freer `target` the map of `source`; the norm in front is taken over already."""
    repeat, tokens = target.groups // source.groups, source.grid[0] * source.grid[1]
    positions = 1 if target.shared else tokens
    weight = source.matrices().repeat_interleave(repeat, dim=0)
    weight = weight.expand(-1, positions if source.shared else -1, -1)
    target.bias.copy_(source.bias.repeat_interleave(repeat, dim=0).expand(-1, positions if source.shared else -1))
    if target.kernel is not None:
        target.weight.copy_(weight)
        return
    if source.kernel is not None:  # row n of the identity, seen through the taps of token n, says where they lie
        one = torch.eye(tokens)[:, :, None]  # tokens, images, channels
        taps = torch.eye(source.kernel**2)
        where = [mix_local(one, tap[None, :, None].expand(tokens, -1, 1), source.grid, source.kernel) for tap in taps]
        weight = torch.einsum("gnt,tnm->gnm", weight, torch.stack(where)[..., 0])
    for parameter, matrix in zip(target.weights, weight, strict=True):
        parameter.copy_(matrix)


def block_loss(teacher: ResMLP, student: ResMLP, images: Tensor) -> Tensor:
    """Mean over the blocks of the squared difference of what both make of the teacher's stream."""
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
    """Neurons are ranked by what they add to the residual stream: the norm of their output weights times the
    spread of their normed input."""
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
