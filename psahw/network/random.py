"""Small random networks for tests: every part of the format, in a size that simulates within moments.

The weights are random and the shifts fitted to them, so that activations spread over the codes instead of dying or
saturating. A wrong order, sign or rounding anywhere therefore reaches the logits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..architecture.geometry import neighbours
from .layers import Block, ChannelMixing, Linear, Network, Patch, Stage, Table, TokenMixing

__all__ = ["StageShape", "random_images", "random_linear", "random_network", "random_table"]


@dataclass(frozen=True)
class StageShape:
    """The shape of one stage of a random network.

    Parameters
    ----------
    channels, hidden
        Channels of a token and hidden neurons of its channel mixing.
    blocks
        Number of blocks.
    groups
        Groups of channels in token mixing, a divisor of ``channels``.
    kernel
        Kernel of token mixing, or None for dense mixing.
    shared
        Whether all tokens have the same kernel. This needs a kernel.
    """

    channels: int = 8
    hidden: int = 6
    blocks: int = 1
    groups: int = 1
    kernel: int | None = None
    shared: bool = False


def _shifts(rng: np.random.Generator, weight: np.ndarray, *, exact: bool) -> np.ndarray:
    """Return a shift per row that halves the spread of the inputs, so that few outputs saturate.

    The inputs are about uniform. Without ``exact`` the shifts vary by one in either direction.
    """
    size = np.sqrt((weight.astype(np.float64) ** 2).sum(-1)).clip(1)
    jitter = 0 if exact else rng.integers(-1, 2, size.shape)
    return np.clip(np.round(np.log2(size)) + 1 + jitter, 0, 24).astype(np.uint8)


def _weights(rng: np.random.Generator, shape: tuple[int, ...], extremes: bool) -> np.ndarray:
    """Return weights around zero, or only the values at which arithmetic goes wrong, with one row of zeros."""
    if extremes:
        weight = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int8), shape)
        weight[..., rng.integers(shape[-2]), :] = 0
        return weight
    return np.clip(np.round(rng.normal(0, 40, shape)), -128, 127).astype(np.int8)


def random_linear(
    rng: np.random.Generator, outputs: int, inputs: int, *, out_bits: int = 8, extremes: bool = False
) -> Linear:
    """Return a random linear layer.

    Parameters
    ----------
    rng
        Source of randomness.
    outputs, inputs
        Shape of the matrix.
    out_bits
        Bits of an output.
    extremes
        Draw weights from the ends of their range, and one row of zeros.
    """
    weight = _weights(rng, (outputs, inputs), extremes)
    shift = _shifts(rng, weight, exact=out_bits > 8)
    shift = np.maximum(shift.astype(int) - max(out_bits - 8, 0), 0).astype(np.uint8)
    bias = np.round(rng.normal(0, 20, outputs) * 2.0**shift).astype(np.int32)
    return Linear(weight, bias, shift, out_bits)


def random_table(rng: np.random.Generator, channels: int, *, extremes: bool = False) -> Table:
    """Return a smooth random function for each channel, or with ``extremes`` tables of noise."""
    if extremes:
        return Table(rng.integers(-128, 128, (channels, 256)).astype(np.int8))
    x = np.arange(-128, 128) / 64
    slope, bend, offset = rng.normal(1, 0.5, (3, channels, 1))
    y = 64 * (slope * x + bend * np.sin(2 * x + offset))
    return Table(np.clip(np.round(y), -128, 127).astype(np.int8))


def _token_mixing(
    rng: np.random.Generator,
    grid: tuple[int, int],
    shape: StageShape,
    table: Callable[[int], Table | None],
    extremes: bool,
) -> TokenMixing:
    """Return a random token mixing, with zeros outside the grid."""
    tokens = grid[0] * grid[1]
    terms = tokens if shape.kernel is None else shape.kernel**2
    weight = _weights(rng, (shape.groups, 1 if shape.shared else tokens, terms), extremes)
    if shape.kernel is not None and not shape.shared:
        weight[:, neighbours(grid, shape.kernel) < 0] = 0
    shift = _shifts(rng, weight, exact=False)
    bias = np.round(rng.normal(0, 20, shift.shape) * 2.0**shift).astype(np.int32)
    tables = [table(shape.channels) for _ in TokenMixing.TABLES]
    return TokenMixing(weight, bias, shift, shape.kernel, shape.shared, *tables)


def random_network(
    rng: np.random.Generator,
    *,
    image: tuple[int, int] = (8, 8),
    colours: int = 3,
    patch: Patch = Patch(4, 4),  # noqa: B008 (frozen)
    stages: tuple[StageShape, ...] = (StageShape(),),
    tables: bool | float = True,
    logit_bits: int = 8,
    classes: int = 5,
    extremes: bool = False,
    name: str = "random",
) -> Network:
    """Return a valid network of random integers, the same for the same state of ``rng``.

    Parameters
    ----------
    rng
        Source of randomness.
    image
        Height and width of an image.
    colours
        Colours of an image.
    patch
        The windows that become tokens.
    stages
        Shapes of the stages.
    tables
        True for a table in every place that may have one, False for none, or the probability of a table.
    logit_bits
        Bits of a logit.
    classes
        Number of classes.
    extremes
        Draw weights from the ends of their range, with rows of zeros, and tables of noise.
    name
        Name of the network.
    """

    def table(channels: int) -> Table | None:
        return random_table(rng, channels, extremes=extremes) if rng.random() < float(tables) else None

    grid = patch.grid(image)
    embed = random_linear(rng, stages[0].channels, patch.size**2 * colours, extremes=extremes)
    built: list[Stage] = []
    channels = stages[0].channels
    for shape in stages:
        merge = None
        if built:
            merge = random_linear(rng, shape.channels, 4 * channels, extremes=extremes)
            grid = (grid[0] // 2, grid[1] // 2)
        channels = shape.channels
        blocks = tuple(
            Block(
                _token_mixing(rng, grid, shape, table, extremes),
                ChannelMixing(
                    random_linear(rng, shape.hidden, channels, extremes=extremes),
                    random_linear(rng, channels, shape.hidden, extremes=extremes),
                    table(channels),
                    table(shape.hidden),
                    table(channels),
                ),
            )
            for _ in range(shape.blocks)
        )
        built.append(Stage(grid, blocks, merge))
    tokens = grid[0] * grid[1]
    return Network(
        name=name,
        image=image,
        input_table=rng.permuted(np.tile(np.arange(-128, 128), (colours, 1)), axis=1).astype(np.int8),
        patch=patch,
        embed=embed,
        stages=tuple(built),
        pool_shift=max(0, (tokens - 1).bit_length() - 1),
        head=random_linear(rng, classes, channels, out_bits=logit_bits, extremes=extremes),
        classes=tuple(f"class {index}" for index in range(classes)),
        metadata={"seed": "random"},
    )


def random_images(rng: np.random.Generator, network: Network, count: int) -> np.ndarray:
    """Return random uint8 images of shape (count, height, width, colours)."""
    return rng.integers(0, 256, (count, *network.image, network.colours), dtype=np.uint8)
