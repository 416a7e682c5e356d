"""The integers of a `QuantizedResMLP` as a `psahw.network` network."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from psahw.network.graph import Network
from psahw.network.layers import Linear, Table, TokenMixing
from psahw.network.resmlp import Block, ChannelSublayer, Patch, ResMLP, Stage, TokenSublayer

from .integers import Integers
from .quant import QuantizedResMLP
from .quant_layers import HEAD_BITS, QuantizedBlock, table_residual

__all__ = ["arrays", "exact_array", "to_network"]


class _LinearArrays(TypedDict):
    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray


def exact_array(tensor: Tensor, dtype: type[np.generic]) -> np.ndarray:
    """Return a tensor as an array of an integer type, which must hold its values exactly."""
    values = tensor.detach().cpu().numpy()
    result: np.ndarray = values.astype(dtype)
    if not (result == values).all():
        raise ValueError(f"all values must fit {np.dtype(dtype)}, not {values}")
    return result


def arrays(integers: Integers) -> _LinearArrays:
    return {
        "weight": exact_array(integers.weight, np.int8),
        "bias": exact_array(integers.bias, np.int32),
        "shift": exact_array(integers.shift, np.uint8),
    }


def _table(values: Tensor | None) -> Table | None:
    """Return a table from its unrounded values [256, C], or None if it is the identity for every channel."""
    if values is None:
        return None
    rounded = exact_array(values.detach().round(), np.int8).T
    if (rounded == np.arange(-128, 128)).all():
        return None
    return Table(np.ascontiguousarray(rounded))


def _block(block: QuantizedBlock) -> Block:
    token, channel, before, between, after = block
    size, shared = token.layer.kernel, token.layer.shared
    mixing = TokenMixing(
        **arrays(token.integers(between)), kernel=None if size is None else (size, size), shared=shared
    )
    token_mixing = TokenSublayer(
        mixing,
        table_in=_table(token.table_in(before, between)),
        table_residual=_table(table_residual(before, between)),
    )
    channel_mixing = ChannelSublayer(
        table_in=_table(channel.table_in(between)),
        linear1=Linear(**arrays(channel.linear1(between))),
        table_hidden=_table(channel.table_hidden()),
        linear2=Linear(**arrays(channel.linear2(after))),
        table_residual=_table(table_residual(between, after)),
    )
    return Block(token_mixing, channel_mixing)


@torch.no_grad()
def to_network(model: QuantizedResMLP, name: str, classes: tuple[str, ...], metadata: dict | None = None) -> Network:
    """Return the network file's form of a quantised model.

    Parameters
    ----------
    model
        The model, on any device.
    name
        Name of the network.
    classes
        Names of the classes.
    metadata
        Free JSON about how the network was trained.
    """
    config = model.config
    stages = []
    for s, stage in enumerate(model.stages):
        merge = None
        if stage.merge is not None:
            merge = Linear(**arrays(stage.merge_integers(model.stages[s - 1].scales()[-1])))
        stages.append(Stage(merge=merge, blocks=tuple(map(_block, stage.blocks()))))
    pixel_codes = np.tile(np.arange(-128, 128, dtype=np.int8), (config.colours, 1))
    form = ResMLP(
        name=name,
        image=config.image,
        input_table=pixel_codes,
        patch=Patch(size=config.patch_size, stride=config.patch_stride, padding=config.patch_padding),
        embed=Linear(**arrays(model.embed_integers())),
        stages=tuple(stages),
        pool_shift=int(model.pool_shift),
        head=Linear(**arrays(model.head_integers()), out_bits=HEAD_BITS),
        classes=tuple(classes),
        metadata=metadata or {},
    )
    return form.network()
