"""Small random networks for tests: every part of the format, in a size that simulates within moments.

The weights are random and the shifts fitted to them, so that activations spread over the codes instead of dying or
saturating. A wrong order, sign or rounding anywhere therefore reaches the logits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..architecture.codes import INT8, Codes
from ..architecture.geometry import neighbours
from ..architecture.ranges import MAX_MULTIPLIER, signed_bits
from .activations import Activations
from .graph import Named, Network, Output, Residual, Series
from .layers import Flatten, Layer, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from .resmlp import Block, ChannelSublayer, Patch, ResMLP, Stage, TokenSublayer

__all__ = [
    "KINDS", "StageShape", "random_graph", "random_images", "random_linear", "random_network", "random_table",
]  # fmt: skip

KINDS = ("convolution", "linear", "max_pool", "mixing", "residual", "shortcut", "table", "thresholds", "windows")
"""The kinds of steps that `random_graph` puts between the input and the end of a graph.

``"residual"`` keeps the shape of its input, and may have a table in its shortcut. ``"shortcut"`` is a residual
connection of convolutions, the one in the shortcut of 1x1 tokens. ``"thresholds"`` come behind a linear layer that
gives its accumulators, and ``"windows"`` stand alone.
"""


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
) -> TokenSublayer:
    """Return a random token mixing, with zeros outside the grid."""
    tokens = grid[0] * grid[1]
    kernel = None if shape.kernel is None else (shape.kernel, shape.kernel)
    terms = tokens if shape.kernel is None else shape.kernel**2
    weight = _weights(rng, (shape.groups, 1 if shape.shared else tokens, terms), extremes)
    if shape.kernel is not None and not shape.shared:
        weight[:, neighbours(grid, shape.kernel) < 0] = 0
    shift = _shifts(rng, weight, exact=False)
    bias = np.round(rng.normal(0, 20, shift.shape) * 2.0**shift).astype(np.int32)
    tables = [table(shape.channels) for _ in TokenSublayer.TABLES]
    return TokenSublayer(TokenMixing(weight, bias, shift, kernel, shape.shared), *tables)


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
                ChannelSublayer(
                    random_linear(rng, shape.hidden, channels, extremes=extremes),
                    random_linear(rng, channels, shape.hidden, extremes=extremes),
                    table(channels),
                    table(shape.hidden),
                    table(channels),
                ),
            )
            for _ in range(shape.blocks)
        )
        built.append(Stage(blocks, merge))
    tokens = grid[0] * grid[1]
    form = ResMLP(
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
    return form.network()


def _random_codes(rng: np.random.Generator) -> Codes:
    """Return a type of codes: every second is int8."""
    if rng.random() < 0.5:
        return INT8
    signed = bool(rng.random() < 0.4)
    return Codes(int(rng.integers(2 if signed else 1, 9)), signed)


@dataclass
class _Builder:
    """Builds series of random layers, one behind another.

    Parameters
    ----------
    rng
        Source of randomness.
    kinds
        What it may build, from `KINDS`.
    count
        Layers so far, from which the next one gets its name.
    """

    rng: np.random.Generator
    kinds: Sequence[str]
    count: int = field(default=0)

    def name(self, kind: str) -> str:
        """Return a new name."""
        self.count += 1
        return f"{kind}{self.count}"

    def integer(self, low: int, high: int) -> int:
        """Return a random integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.rng.random() < probability)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return weights of a random width, or at the ends of their range, many of them 0."""
        if self.chance(0.2):
            return _weights(self.rng, shape, True)
        weight = _weights(self.rng, shape, False) >> self.integer(0, 6)
        weight[self.rng.random(shape) < self.rng.random() / 2] = 0
        return weight

    def requantisation(
        self, weight: np.ndarray, shape: Activations, codes: Codes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return bias, shift, multiplier and offset of rows, with which the outputs spread over a type of codes."""
        rng, wide = self.rng, weight.astype(np.float64)
        spread = np.sqrt((wide**2).sum(-1)).clip(1) * max((shape.high - shape.low) / 4, 1)
        multiplier = None
        if self.chance(0.4):
            multiplier = rng.integers(0, 1 << self.integer(1, 22), spread.shape).astype(np.uint32)
        factor = 1 if multiplier is None else multiplier.clip(1).astype(np.float64)
        scale = np.log2(spread * factor * 4 / codes.count) + rng.integers(-1, 2, spread.shape)
        shift = np.clip(np.round(scale), 0, 31).astype(np.uint8)
        centre = (codes.low + codes.high) / 2 * 2.0**shift / factor
        bias = centre - wide.sum(-1) * (shape.low + shape.high) / 2 + rng.normal(0, 0.3, spread.shape) * spread
        offset = None
        if multiplier is not None and self.chance(0.6):
            largest = min(MAX_MULTIPLIER, 1 << int(shift.max()))
            offset = rng.integers(-largest, largest + 1, spread.shape).astype(np.int32)
        return np.round(bias).clip(-(1 << 29), 1 << 29).astype(np.int32), shift, multiplier, offset

    def linear(self, outputs: int, shape: Activations, codes: Codes) -> Linear:
        """Return a linear layer."""
        weight = self.weights((outputs, shape.channels))
        bias, shift, *scaling = self.requantisation(weight, shape, codes)
        return Linear(weight, bias, shift, codes.bits, codes.signed, *scaling)

    def table(self, shape: Activations) -> Table:
        """Return a table of noise."""
        codes = _random_codes(self.rng)
        values = self.rng.integers(codes.low, codes.high + 1, (shape.channels, shape.codes.count))
        return Table(values.astype(np.int8 if codes.signed else np.uint8), codes.bits)

    def mixing(self, shape: Activations) -> TokenMixing:
        """Return a token mixing: dense, local or shared."""
        groups = int(self.rng.choice([n for n in range(1, shape.channels + 1) if shape.channels % n == 0]))
        kernel, shared = None, False
        tokens = terms = shape.tokens
        if self.chance(0.7):
            rows, columns = (int(self.rng.choice([1, 3, 5])) for _ in range(2))
            kernel, shared, terms = (rows, columns), self.chance(0.5), rows * columns
        weight = self.weights((groups, 1 if shared else tokens, terms))
        if kernel is not None and not shared:
            weight[:, neighbours(shape.grid, kernel) < 0] = 0
        codes = _random_codes(self.rng)
        bias, shift, *scaling = self.requantisation(weight, shape, codes)
        return TokenMixing(weight, bias, shift, kernel, shared, codes.bits, codes.signed, *scaling)

    def windows(self, shape: Activations) -> Windows:
        """Return windows, rarely with a stride above their size."""

        def axis(length: int) -> tuple[int, int, int, int]:
            size = self.integer(1, min(3, length))
            stride = self.integer(1, size + self.chance(0.2))
            return size, stride, self.integer(0, size - 1), self.integer(0, size - 1)

        return self._windows(axis, shape)

    def aligned(self, shape: Activations) -> Windows:
        """Return as many windows as there are of 1x1 tokens with the same stride."""

        def axis(length: int) -> tuple[int, int, int, int]:
            size = self.integer(1, min(3, length))
            stride, before = self.integer(1, 2), self.integer(0, size - 1)
            return size, stride, before, size - 1 - before

        return self._windows(axis, shape)

    def _windows(self, axis: Callable[[int], tuple[int, int, int, int]], shape: Activations) -> Windows:
        """Return windows from a function that gives size, stride, and padding before and after, for an axis."""
        rows, columns = map(axis, shape.grid)
        code = self.integer(shape.codes.low, shape.codes.high)
        padding = rows[2], rows[3], columns[2], columns[3]
        return Windows((rows[0], columns[0]), (rows[1], columns[1]), padding, code)

    def applied(self, named: Sequence[tuple[str, Layer]], shape: Activations) -> tuple[Series, Activations]:
        """Return layers as a series, and what they make of an input."""
        for _, layer in named:
            shape = layer.output(shape)
        return tuple(Named(*pair) for pair in named), shape

    def convolution(
        self, shape: Activations, windows: Windows, outputs: int, codes: Codes
    ) -> tuple[Series, Activations]:
        """Return windows and the linear layer behind them."""
        name = self.name("convolution")
        linear = self.linear(outputs, windows.output(shape), codes)
        return self.applied([(f"{name}.windows", windows), (name, linear)], shape)

    def thresholds(self, shape: Activations) -> tuple[Series, Activations]:
        """Return a linear layer that gives its accumulators, and thresholds behind it."""
        weight = self.weights((self.integer(1, 6), shape.channels))
        bias = self.rng.integers(-999, 1000, len(weight)).astype(np.int32)
        exact = Linear(weight, bias, np.zeros(len(weight), np.uint8), out_bits=31)
        range_ = exact.output(shape)
        exact = Linear(weight, bias, exact.shift, out_bits=max(2, signed_bits(range_.low, range_.high)))
        codes = _random_codes(self.rng)
        count = self.integer(1, min(codes.count - 1, 20))
        spread = max((range_.high - range_.low) / 4, 2)
        centre = (range_.low + range_.high) / 2
        values = np.sort(np.round(self.rng.normal(centre, spread, (len(weight), count))).astype(np.int32), axis=1)
        offset = self.integer(codes.low, codes.high - count)
        name = self.name("thresholds")
        layers: list[tuple[str, Layer]] = [
            (f"{name}.linear", exact),
            (name, Thresholds(values, codes.bits, codes.signed, offset)),
        ]
        return self.applied(layers, shape)

    def residual(self, shape: Activations) -> tuple[Series, Activations]:
        """Return a residual connection that keeps the shape of its input."""
        name = self.name("residual")
        hidden = self.linear(self.integer(1, 6), shape, _random_codes(self.rng))
        branch: list[tuple[str, Layer]] = [(f"{name}.linear1", hidden)]
        inner = hidden.output(shape)
        if self.chance(0.4):
            branch.append((f"{name}.mixing", self.mixing(inner)))
            inner = branch[-1][1].output(inner)
        branch.append((f"{name}.linear2", self.linear(shape.channels, inner, self.summands())))
        shortcut: list[tuple[str, Layer]] = [(f"{name}.table", self.table(shape))] if self.chance(0.5) else []
        return self.joined(name, self.applied(branch, shape), self.applied(shortcut, shape))

    def shortcut(self, shape: Activations) -> tuple[Series, Activations]:
        """Return a residual connection of convolutions, perhaps with a stride; the shortcut's is of 1x1 tokens."""
        name, outputs = self.name("residual"), self.integer(1, 8)
        windows = self.aligned(shape)
        nests = self.chance(0.3)
        branch, inner = self.convolution(
            shape, windows, outputs, _random_codes(self.rng) if nests else self.summands()
        )
        if nests:
            nested, inner = self.residual(inner)
            branch = (*branch, *nested)
        points = Windows((1, 1), windows.stride)
        return self.joined(name, (branch, inner), self.convolution(shape, points, outputs, self.summands()))

    def summands(self) -> Codes:
        """Return a type of what a residual connection adds, which may be finer than its sum."""
        return Codes(self.integer(9, 24), True) if self.chance(0.3) else _random_codes(self.rng)

    def joined(
        self, name: str, branch: tuple[Series, Activations], shortcut: tuple[Series, Activations]
    ) -> tuple[Series, Activations]:
        """Return a residual connection of two series."""
        codes, bits = _random_codes(self.rng), max(branch[1].codes.bits, shortcut[1].codes.bits)
        shift = self.integer(0, bits - 1) if bits > 8 or self.chance(0.2) else 0
        residual = Residual(branch[0], shortcut[0], codes.bits, codes.signed, shift)
        return (Named(name, residual),), residual.sum(branch[1], shortcut[1])

    def step(self, shape: Activations) -> tuple[Series, Activations]:
        """Return some layers, and what they make of an input."""
        match str(self.rng.choice(self.kinds)):
            case "convolution":
                return self.convolution(shape, self.windows(shape), self.integer(1, 8), _random_codes(self.rng))
            case "linear":
                layer: Layer = self.linear(self.integer(1, 8), shape, _random_codes(self.rng))
                return self.applied([(self.name("linear"), layer)], shape)
            case "max_pool":
                windows = self.windows(shape)
                layer = MaxPool(windows.size, windows.stride, windows.padding)
                return self.applied([(self.name("max_pool"), layer)], shape)
            case "mixing":
                return self.applied([(self.name("mixing"), self.mixing(shape))], shape)
            case "residual":
                return self.residual(shape)
            case "shortcut":
                return self.shortcut(shape)
            case "table":
                return self.applied([(self.name("table"), self.table(shape))], shape)
            case "thresholds":
                return self.thresholds(shape)
            case "windows":
                return self.applied([(self.name("windows"), self.windows(shape))], shape)
            case kind:
                raise ValueError(f"kinds must be of {', '.join(KINDS)}, not {kind!r}")

    def end(self, shape: Activations, outputs: int) -> Series:
        """Return the end of a graph: the mean or all tokens, and a linear layer with wide outputs."""
        pool: Layer = Flatten()
        if shape.size > 64 or self.chance(0.5):
            multiplier = self.integer(1, 999) if self.chance(0.5) else 1
            shift = max(0, (shape.tokens * multiplier - 1).bit_length() - 1)
            largest = 1 << shift if multiplier > 1 and self.chance(0.5) else 0
            pool = MeanPool(shift, multiplier, self.integer(-largest, largest))
        codes = Codes(self.integer(8, 20), self.chance(0.8))
        head = self.linear(outputs, pool.output(shape), codes)
        return Named("pool", pool), Named("head", head)


def random_graph(
    rng: np.random.Generator, *, steps: int = 4, kinds: Sequence[str] = KINDS, name: str = "random"
) -> Network:
    """Return a valid graph of random layers and integers, the same for the same state of ``rng``.

    Codes are signed or unsigned, of 1 to 8 bits, and some layers have multipliers and offsets. The outputs have up to
    20 bits.

    Parameters
    ----------
    rng
        Source of randomness.
    steps
        Number of layers, or of groups of layers, between the input and the end, which is a mean over the tokens or
        all of them, and a linear layer.
    kinds
        What the steps may be, from `KINDS`.
    name
        Name of the network.
    """
    builder = _Builder(rng, kinds)
    image, colours = (builder.integer(1, 8), builder.integer(1, 8)), builder.integer(1, 3)
    table = rng.permuted(np.tile(np.arange(-128, 128), (colours, 1)), axis=1).astype(np.int8)
    shape = Activations(image, colours, INT8, -128, 127)
    layers: Series = ()
    for _ in range(steps):
        series, shape = builder.step(shape)
        layers += series
    outputs = builder.integer(1, 5)
    layers += builder.end(shape, outputs)
    kind = str(rng.choice(["class", "values", "labels"]))
    numbers = [tuple(rng.normal(1, 0.1, outputs).tolist()) for _ in range(2)] if kind == "values" else ((), ())
    output = Output(kind, tuple(f"output {index}" for index in range(outputs)), *numbers)
    return Network(name, image, table, layers, output, {"seed": "random"})


def random_images(rng: np.random.Generator, network: Network, count: int) -> np.ndarray:
    """Return random uint8 images of shape (count, height, width, colours)."""
    return rng.integers(0, 256, (count, *network.image, network.colours), dtype=np.uint8)
