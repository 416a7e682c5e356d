"""The integers of a `QuantizedResMLP` as a `psahw.network.Network`."""

import numpy as np
import torch
from torch import Tensor

from psahw.network.layers import Block, ChannelMixing, Linear, Network, Patch, Stage, Table, TokenMixing

from .integers import Integers
from .quant import HEAD_BITS, QuantizedResMLP, table_residual

__all__ = ["to_network"]


def _array(tensor: Tensor, dtype: type) -> np.ndarray:
    values = tensor.detach().cpu().numpy()
    result = values.astype(dtype)
    if not (result == values).all():
        raise ValueError(f"not all of {values} are values of {np.dtype(dtype)}")
    return result


def _arrays(integers: Integers) -> dict[str, np.ndarray]:
    return {
        "weight": _array(integers.weight, np.int8),
        "bias": _array(integers.bias, np.int32),
        "shift": _array(integers.shift, np.uint8),
    }


def _table(values: Tensor | None) -> Table | None:
    """[256, C] unrounded; None also where every channel's function is the identity."""
    if values is None:
        return None
    rounded = _array(values.detach().round(), np.int8).T
    if (rounded == np.arange(-128, 128)).all():
        return None
    return Table(np.ascontiguousarray(rounded))


@torch.no_grad()
def to_network(model: QuantizedResMLP, name: str, classes: tuple[str, ...], metadata: dict | None = None) -> Network:
    """`metadata` is free JSON about how the network was made."""
    config = model.config
    stages = []
    input_scale = None
    for stage, grid in zip(model.stages, config.grids, strict=True):
        scales, blocks = stage.scales(), []
        for b, (token, channel) in enumerate(zip(stage.token_mixing, stage.channel_mixing, strict=True)):
            before, between, after = scales[2 * b : 2 * b + 3]
            token_mixing = TokenMixing(
                **_arrays(token.integers(between)),
                kernel=token.layer.kernel,
                shared=token.layer.shared,
                table_in=_table(token.table_in(before, between)),
                table_residual=_table(table_residual(before, between)),
            )
            channel_mixing = ChannelMixing(
                table_in=_table(channel.table_in(between)),
                linear1=Linear(**_arrays(channel.linear1(between))),
                table_hidden=_table(channel.table_hidden()),
                linear2=Linear(**_arrays(channel.linear2(after))),
                table_residual=_table(table_residual(between, after)),
            )
            blocks.append(Block(token_mixing, channel_mixing))
        merge = None if stage.merge is None else Linear(**_arrays(stage.merge_integers(input_scale)))
        stages.append(Stage(grid=grid, merge=merge, blocks=tuple(blocks)))
        input_scale = scales[-1]
    pixel_codes = np.tile(np.arange(-128, 128, dtype=np.int8), (3, 1))
    return Network(
        name=name,
        image=config.image,
        input_table=pixel_codes,
        patch=Patch(size=config.patch_size, stride=config.patch_stride, padding=config.patch_padding),
        embed=Linear(**_arrays(model.embed_integers())),
        stages=tuple(stages),
        pool_shift=int(model.pool_shift),
        head=Linear(**_arrays(model.head_integers()), out_bits=HEAD_BITS),
        classes=tuple(classes),
        metadata=metadata or {},
    )
