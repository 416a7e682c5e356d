"""A student that begins as its teacher with fewer hidden neurons.

Where both share everything but the hidden size and the activation, the student takes over embedding, token
mixing, norms and head, and of every block the hidden neurons that matter most, with their functions where both
have PSA. PSA that the teacher lacks starts as the identity at the block's input and near GELU at the hidden
neurons, so the student starts as a pruned teacher.
"""

import dataclasses

import torch
from torch import nn

from psahw.errors import UserError

from .psa import PSA
from .resmlp import ChannelMixing, ResMLP

__all__ = ["narrow"]


@torch.no_grad()
def narrow(teacher: nn.Module, student: nn.Module) -> None:
    """Raises UserError when the shapes differ in more than hidden size and activation."""
    if not isinstance(teacher, ResMLP) or not isinstance(student, ResMLP):
        raise UserError(
            "only a ResMLP can start from its teacher, and only from a ResMLP; --start random is for others"
        )
    shapes = []
    both_learned = all(config.activation.startswith("psa") for config in (teacher.config, student.config))
    for config in (teacher.config, student.config):
        stages = tuple(dataclasses.replace(stage, hidden=1) for stage in config.stages)
        segments = config.segments if both_learned else 1
        shapes.append(dataclasses.replace(config, stages=stages, activation="gelu", segments=segments))
    if shapes[0] != shapes[1]:
        raise UserError(
            "the student can start from the teacher only if they differ in hidden size and activation alone"
        )
    taken = teacher.state_dict()
    own = student.state_dict()
    kept = {name: value for name, value in taken.items() if name in own and own[name].shape == value.shape}
    student.load_state_dict(kept, strict=False)
    sources = [module for module in teacher.modules() if isinstance(module, ChannelMixing)]
    targets = [module for module in student.modules() if isinstance(module, ChannelMixing)]
    for source, target in zip(sources, targets, strict=True):
        _narrow_block(source, target)


def _narrow_block(source: ChannelMixing, target: ChannelMixing) -> None:
    """Neurons are ranked by what they add to the residual stream: the norm of their output weights times the
    spread of their normed input."""
    count = target.linear1.out_features
    if count > source.linear1.out_features:
        raise UserError(f"the student's {count} hidden neurons exceed the teacher's {source.linear1.out_features}")
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
