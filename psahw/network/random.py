"""Small random networks for tests: every part of the format, in a size that simulates in moments.

The weights are random and the shifts fitted to them, so that activations spread over the codes instead of
dying or saturating: a wrong order, sign or rounding anywhere reaches the logits.
"""

from dataclasses import dataclass

import numpy as np

from .layers import Block, ChannelMixing, Linear, Network, Patch, Stage, Table, TokenMixing

__all__ = ["StageShape", "random_images", "random_linear", "random_network", "random_table"]


@dataclass(frozen=True)
class StageShape:
    """What one stage looks like; `groups` must divide `channels`, `kernel` None mixes all tokens; `shared` needs
    a kernel."""

    channels: int = 8
    hidden: int = 6
    blocks: int = 1
    groups: int = 1
    kernel: int | None = None
    shared: bool = False


def _shifts(rng, weight, exact):
    """A shift per row that halves the spread of the inputs, which are about uniform: few outputs saturate."""
    size = np.sqrt((weight.astype(np.float64) ** 2).sum(-1)).clip(1)
    jitter = 0 if exact else rng.integers(-1, 2, size.shape)
    return np.clip(np.round(np.log2(size)) + 1 + jitter, 0, 24).astype(np.uint8)


def _weights(rng, shape, extremes):
    if extremes:  # all the magnitudes that arithmetic goes wrong at, and rows of nothing
        weight = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int8), shape)
        weight[..., rng.integers(shape[-2]), :] = 0
        return weight
    return np.clip(np.round(rng.normal(0, 40, shape)), -128, 127).astype(np.int8)


def random_linear(rng, outputs, inputs, *, out_bits=8, extremes=False) -> Linear:
    weight = _weights(rng, (outputs, inputs), extremes)
    shift = _shifts(rng, weight, exact=out_bits > 8)
    shift = np.maximum(shift.astype(int) - max(out_bits - 8, 0), 0).astype(np.uint8)
    bias = np.round(rng.normal(0, 20, outputs) * 2.0**shift).astype(np.int32)
    return Linear(weight, bias, shift, out_bits)


def random_table(rng, channels, *, extremes=False) -> Table:
    """A smooth random function per channel, or any 256 codes."""
    if extremes:
        return Table(rng.integers(-128, 128, (channels, 256)).astype(np.int8))
    x = np.arange(-128, 128) / 64
    slope, bend, offset = rng.normal(1, 0.5, (3, channels, 1))
    y = 64 * (slope * x + bend * np.sin(2 * x + offset))
    return Table(np.clip(np.round(y), -128, 127).astype(np.int8))


def _token_mixing(rng, grid, shape, table, extremes) -> TokenMixing:
    tokens = grid[0] * grid[1]
    terms = tokens if shape.kernel is None else shape.kernel**2
    weight = _weights(rng, (shape.groups, 1 if shape.shared else tokens, terms), extremes)
    if shape.kernel is not None and not shape.shared:
        zero = TokenMixing(
            np.zeros_like(weight),
            np.zeros(weight.shape[:2], np.int32),
            np.zeros(weight.shape[:2], np.uint8),
            shape.kernel,
        )
        weight[:, zero.neighbours(grid) < 0] = 0
    shift = _shifts(rng, weight, exact=False)
    bias = np.round(rng.normal(0, 20, shift.shape) * 2.0**shift).astype(np.int32)
    channels = shape.channels
    tables = (table(channels) for _ in range(3))
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
    """A valid network of random integers, the same for the same state of ``rng``.

    ``tables`` is True for a table in every place that may have one, False for none, or their probability.
    ``extremes`` draws weights from the ends of their range, all-zero rows included, and tables of noise.
    """

    def table(channels):
        return random_table(rng, channels, extremes=extremes) if rng.random() < float(tables) else None

    grid = patch.grid(image)
    embed = random_linear(rng, stages[0].channels, patch.size**2 * colours, extremes=extremes)
    built, channels = [], None
    for shape in stages:
        merge = None
        if channels is not None:
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
    """uint8 (count, height, width, colours)."""
    return rng.integers(0, 256, (count, *network.image, network.colours), dtype=np.uint8)
