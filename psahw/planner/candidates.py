"""Candidates for every layer of a network, as a tree of choices for `psahw.planner.optimiser`.

The layers are taken in turns of two kinds. Most layers, such as tables, keep the width of their stream. They form
*states*: trees for one width. A linear layer, together with the windows or the pooling in front of it, may change the
width. These layers form *links* from the widths before them to the widths behind them.

Every candidate keeps up with the source, which offers one token per token period (``docs/explanation/planning.md``).
The depths of buffers are left to `psahw.planner.schedule`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import zip_longest
from math import gcd, isqrt, prod
from typing import TypeVar

import numpy as np

from ..architecture import nodes
from ..architecture.codes import INT8
from ..architecture.nodes import InputTable, LocalMixing, Node, Sliced, TableRom, Transpose
from ..architecture.ranges import signed_bits
from ..network.activations import Activations
from ..network.graph import Named, Network, Residual, Series
from ..network.layers import Flatten, Layer, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from .engines import Engines, Infeasible, Matrix, Sums
from .optimiser import All, Leaf, OneOf, Path, ResidualChoice, Tree
from .primitives import reorder_style

__all__ = ["choices", "divisors", "first_windows", "source"]

MOST_LANES = 3
"""Widths of a stream that are offered: the narrowest."""


def divisors(n: int) -> list[int]:
    """Return the divisors of a number, in ascending order."""
    small = [d for d in range(1, isqrt(n) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d != n]


def source(network: Network) -> Series:
    """Return the layers of a network behind the input, which begin with windows.

    The first windows set the pace of the whole pipeline: they leave a token period apart. A network that does not
    begin with windows gets some that change nothing: its rows in front of a `Flatten`, otherwise its tokens.
    """
    first = network.layers[0].layer
    if isinstance(first, Windows):
        return network.layers
    size = (1, network.image[1] if isinstance(first, Flatten) else 1)
    return (Named("input.windows", Windows(size, size)), *network.layers)


def first_windows(network: Network) -> Windows:
    """Return the windows with which `source` begins."""
    layer = source(network)[0].layer
    if not isinstance(layer, Windows):
        raise TypeError(f"the source must begin with windows, not {layer!r}")
    return layer


@dataclass(frozen=True)
class _Stream:
    """A stream of tokens, their elements spread over lanes, with the clock cycles between two tokens."""

    shape: Activations
    lanes: int
    period: int

    @property
    def beats(self) -> int:
        """Beats per token."""
        return self.shape.channels // self.lanes


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _feasible(
    items: Sequence[_Item], make: Callable[[_Item], _Result], most: int | None = None
) -> dict[_Item, _Result]:
    """Return ``make(item)`` for the first ``most`` items, or all, for which it does not raise `Infeasible`.

    If there is none, raises the first of these errors. There must be an item.
    """
    results: dict[_Item, _Result] = {}
    reasons: list[Infeasible] = []
    for item in items:
        if len(results) == most:
            break
        try:
            results[item] = make(item)
        except Infeasible as reason:
            reasons.append(reason)
    if not results:
        raise reasons[0]
    return results


def _keeps_width(layer: Layer | Residual) -> bool:
    """Return whether the stream behind a layer has as many lanes as the one in front of it."""
    if isinstance(layer, Residual):
        return all(_keeps_width(inner) for _, inner in layer.shortcut)
    return isinstance(layer, Table | Thresholds | TokenMixing)


def _turns(series: Series) -> tuple[Series, list[tuple[Series, Series]]]:
    """Return the layers that keep the width at the start of a series, and then each link with the state behind it.

    A link is any windows, mean and flattening, up to a layer that computes something and may change the width.
    """

    def first(start: int, ends: Callable[[Layer | Residual], bool]) -> int:
        return next((n for n in range(start, len(series)) if ends(series[n].layer)), len(series))

    at = first(0, lambda layer: not _keeps_width(layer))
    head, turns = series[:at], []
    while at < len(series):
        middle = first(at, lambda layer: not isinstance(layer, MeanPool | Flatten | Windows))
        if middle < len(series) and not _keeps_width(series[middle].layer):
            middle += 1
        end = first(middle, lambda layer: not _keeps_width(layer))
        turns.append((series[at:middle], series[middle:end]))
        at = end
    return head, turns


def _identity(table: Table, shape: Activations) -> bool:
    """Return whether a table gives every code itself, in the same type."""
    codes = shape.codes
    return table.codes == codes and bool((table.values == np.arange(codes.low, codes.high + 1)).all())


def _table_roms(name: str, table: Table, stream: _Stream, bank_words: int | None = None) -> list[TableRom]:
    """Return a table in each memory that suits its size. A table that is the identity needs none.

    A table in block RAM has banks of ``bank_words`` words.
    """
    if _identity(table, stream.shape):
        return []
    distinct = bool((table.values != table.values[:1]).any())
    small = not distinct or stream.beats * table.values.shape[1] <= 1024  # words
    styles = [style for style, fits in (("distributed", small), ("block", distinct)) if fits]
    return [
        TableRom(
            name,
            table.channels,
            stream.lanes,
            distinct,
            style,
            stream.shape.codes,
            table.codes,
            bank_words if style == "block" else None,
        )
        for style in styles
    ]


def _table(name: str, table: Table, stream: _Stream, bank_words: int | None) -> Tree:
    """Return the choice of a table's memory, without nodes for a table that is the identity."""
    roms = _table_roms(name, table, stream, bank_words)
    return OneOf(tuple(Leaf((rom,)) for rom in roms)) if roms else Leaf(())


def _sliced(tree: Tree, slices: int) -> Tree:
    """Return a choice in which each node stands for ``slices`` components side by side."""

    def sliced(node: Node) -> Node:
        if not isinstance(node, Sliced):
            raise TypeError(f"node must be a Sliced, not {node!r}")
        return dataclasses.replace(node, slices=slices)

    match tree:
        case Leaf(inner):
            return Leaf(tuple(sliced(node) for node in inner))
        case OneOf(options):
            return OneOf(tuple(_sliced(option, slices) for option in options))
    raise TypeError(f"tree must be a Leaf or a OneOf, not {tree!r}")


def _placed(node: nodes.Windows | Transpose) -> nodes.Windows | Transpose:
    """Return a node with its memories in LUTs or block RAM, whichever suits their size."""
    return dataclasses.replace(node, style=reorder_style(node))


def _window_lanes(size: tuple[int, int], channels: int, period: int) -> int:
    """Return the fewest lanes that pass a window in a period: a part of a window's row, or several rows.

    A whole window per clock cycle always does.
    """
    rows, row = size[0], size[1] * channels
    widths = *divisors(row), *(row * count for count in divisors(rows))
    return next(lanes for lanes in widths if rows * row // lanes <= period)


def _period(name: str, shape: Activations, frame: int) -> int:
    """Return the clock cycles between two tokens. Raises `Infeasible` if there are more tokens than clock cycles."""
    if shape.tokens > frame:
        raise Infeasible(f"{name}: {shape.tokens} tokens do not pass in {frame} cycles")
    return frame // shape.tokens


def _widths(channels: int, period: int) -> list[int]:
    """Return the numbers of lanes with which a token passes in its period, the fewest first."""
    return [lanes for lanes in divisors(channels) if channels // lanes <= period]


@dataclass(frozen=True)
class _Chooser:
    """The choices for the layers of a network at one frame interval, in clock cycles."""

    network: Network
    frame: int
    engines: Engines

    @cached_property
    def shapes(self) -> dict[str, tuple[Activations, Activations]]:
        """Input and output of each layer, by name, and those of the windows of the source."""
        network = self.network
        image = Activations(network.image, network.colours, INT8, -128, 127)
        first = {source(network)[0].name: (image, first_windows(network).output(image))}
        return first | {place.name: (place.input, place.output) for place in network.places}

    def behind(self, series: Series, stream: _Stream, lanes: int) -> _Stream:
        """Return the stream behind layers, with a number of lanes."""
        if not series:
            return dataclasses.replace(stream, lanes=lanes)
        name = series[-1].name
        shape = self.shapes[name][1]
        return _Stream(shape, lanes, _period(name, shape, self.frame))

    def series(self, name: str, series: Series, before: _Stream, lanes: int) -> Tree:
        """Return the choice for layers between two widths. Raises `Infeasible` if there is none."""
        first, turns = _turns(series)
        parts: list[Tree] = [self.state(first, before)]
        before = self.behind(first, before, before.lanes)
        if not turns and lanes != before.lanes:
            raise Infeasible(f"{name}: {before.lanes} lanes do not become {lanes}")
        if len(turns) == 1:
            parts += self.turn(turns[0], before, lanes)
        elif len(turns) == 2:
            parts.append(self.between(turns[0], turns[1], before, lanes))
        elif turns:
            parts.append(self.path(turns, before, [lanes], lambda _: Leaf(())))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def turn(self, turn: tuple[Series, Series], before: _Stream, lanes: int) -> list[Tree]:
        """Return the choices for a link and for the state behind it, which has a number of lanes."""
        link, state = turn
        return [self.link(link, before, lanes), self.state(state, self.behind(link, before, lanes))]

    def between(self, one: tuple[Series, Series], other: tuple[Series, Series], before: _Stream, lanes: int) -> Tree:
        """Return the choice for two turns, with the narrowest streams between them."""
        between = self.behind(one[0], before, 1)

        def parts(width: int) -> Tree:
            middle = self.behind(one[1], dataclasses.replace(between, lanes=width), width)
            return All((*self.turn(one, before, width), *self.turn(other, middle, lanes)))

        widths = _widths(between.shape.channels, between.period)
        return OneOf(tuple(_feasible(widths, parts, most=MOST_LANES).values()))

    def path(
        self, turns: list[tuple[Series, Series]], before: _Stream, last: list[int], end: Callable[[int], Tree]
    ) -> Path:
        """Return the choice for any number of turns, with the narrowest streams between them.

        ``last`` are the widths that are possible behind the last turn. ``end`` returns what comes behind each.
        """
        states, links = [], []
        sources = [before]
        for number, (link, state) in enumerate(turns):
            after = self.behind(link, before, 1)
            ends = number == len(turns) - 1
            widths = last if ends else _widths(after.shape.channels, after.period)
            streams = [dataclasses.replace(after, lanes=width) for width in widths]
            trees = _feasible(streams, partial(self.state, state), most=MOST_LANES)
            pairs = {(a, b): (one, other) for a, one in enumerate(sources) for b, other in enumerate(trees)}
            links.append(_feasible(list(pairs), partial(self._between, link, pairs)))
            if ends:
                trees = {stream: All((tree, end(stream.lanes))) for stream, tree in trees.items()}
            states.append(tuple(trees.values()))
            sources = [self.behind(state, stream, stream.lanes) for stream in trees]
            before = sources[0]
        return Path(tuple(states), tuple(links))

    def _between(
        self, link: Series, pairs: dict[tuple[int, int], tuple[_Stream, _Stream]], pair: tuple[int, int]
    ) -> Tree:
        """Return the choice for a link between the streams of a pair."""
        before, after = pairs[pair]
        return self.link(link, before, after.lanes)

    def state(self, series: Series, stream: _Stream) -> Tree:
        """Return the choice for layers that keep the width of their stream."""
        parts = []
        for name, layer in series:
            stream = _Stream(self.shapes[name][0], stream.lanes, stream.period)
            match layer:
                case Table():
                    parts.append(_table(name, layer, stream, self.engines.bank_words))
                case TokenMixing():
                    parts += (
                        self.dense(name, layer, stream) if layer.kernel is None else self.local(name, layer, stream)
                    )
                case Residual():
                    parts.append(self.residual(name, layer, stream, stream.lanes))
                case Thresholds():
                    codes, count = stream.shape.codes, layer.values.shape[1]
                    node = nodes.Thresholds(name, layer.channels, stream.lanes, count, codes, layer.codes)
                    parts.append(Leaf((node,)))
        return All(tuple(parts))

    def residual(self, name: str, layer: Residual, stream: _Stream, lanes: int) -> Tree:
        """Return the choice for a residual connection."""
        branch = self.series(name, layer.branch, stream, lanes)
        tables = [(place, inner) for place, inner in layer.shortcut if isinstance(inner, Table)]
        if len(tables) == len(layer.shortcut):
            # The smallest table: it is never in the way.
            bypass: list[Node] = []
            for place, table in tables:
                at = _Stream(self.shapes[place][0], stream.lanes, stream.period)
                bypass += _table_roms(place, table, at, self.engines.bank_words)[-1:]
            shortcut: Tree = Leaf(tuple(bypass))
        else:
            shortcut = self.series(name, layer.shortcut, stream, lanes)
        ends = [self.shapes[path[-1].name][1] if path else stream.shape for path in (layer.branch, layer.shortcut)]
        node = nodes.Residual(
            name, stream.lanes, lanes, (), (), i_codes=stream.shape.codes, o_codes=layer.codes,
            branch_codes=ends[0].codes, bypass_codes=ends[1].codes, shift=layer.shift,
        )  # fmt: skip
        return ResidualChoice(node, branch, shortcut)

    def local(self, name: str, layer: TokenMixing, stream: _Stream) -> list[Tree]:
        """Return the component for a local token mixing. Raises `Infeasible` if it does not keep the period."""
        if layer.kernel is None:
            raise ValueError(f"{name} must have a kernel")
        sums = Sums.of(layer, stream.shape)
        node = LocalMixing(
            name,
            layer.kernel,
            stream.shape.grid,
            stream.shape.channels,
            layer.groups,
            stream.lanes,
            signed_bits(int(layer.weight.min()), int(layer.weight.max())),
            acc_bits=sums.acc_bits,
            offset_bits=sums.offset_bits,
            shift_range=sums.shift_range,
            multiplier=self.engines.multiplier,
            shared=layer.shared,
            i_codes=stream.shape.codes,
            o_codes=layer.codes,
            scale_bits=sums.scale_bits,
        )
        tokens = stream.shape.tokens
        if max(tokens, node.reach) * node.beats > tokens * stream.period:
            raise Infeasible(f"{name}: {max(tokens, node.reach)} tokens of {node.beats} beats exceed the frame")
        return [Leaf((node,))]

    def dense(self, name: str, layer: TokenMixing, stream: _Stream) -> list[Tree]:
        """Return the choice for a dense token mixing between two transpositions.

        Channels are independent of each other, so each slice of the lanes may have an engine of its own.
        Raises `Infeasible` if the vectors of a frame do not pass in time.
        """
        tokens, channels, lanes = stream.shape.tokens, stream.shape.channels, stream.lanes
        frame = tokens * stream.period
        slices = next((count for count in divisors(lanes) if channels // count <= frame), None)
        if slices is None:
            raise Infeasible(f"{name}: {channels} vectors of {tokens} tokens do not pass in {frame} cycles")
        if slices > 1 and layer.groups > 1:
            raise Infeasible(
                f"{name}: {slices} engines side by side are needed, and all channels must share a matrix"
            )
        channels, lanes = channels // slices, lanes // slices
        period = frame // channels
        # With as many lanes as the stream, if these are enough, no transposition has to change the width.
        enough = [count for count in divisors(tokens) if tokens // count <= period]
        across = lanes if lanes in enough else enough[0]
        within = name.removesuffix(".linear")
        parts = (
            Leaf(
                (
                    _placed(
                        Transpose(
                            f"{within}.transpose_in",
                            tokens,
                            channels,
                            lanes,
                            across,
                            period,
                            codes=stream.shape.codes,
                        )
                    ),
                )
            ),
            self.engines.linear(name, Matrix.of(layer, stream.shape, channels), across, across, period),
            Leaf(
                (
                    _placed(
                        Transpose(
                            f"{within}.transpose_out",
                            channels,
                            tokens,
                            across,
                            lanes,
                            stream.period,
                            codes=layer.codes,
                        )
                    ),
                )
            ),
        )
        return [_sliced(part, slices) for part in parts]

    def link(self, series: Series, stream: _Stream, lanes: int) -> Tree:
        """Return the choice for the layers of a link. Raises `Infeasible` if there is none."""
        parts: list[Tree] = []
        for (name, layer), following in zip_longest(series, series[1:]):
            shape, output = self.shapes[name]
            period, width = _period(name, output, self.frame), stream.lanes
            match layer:
                case Linear():
                    parts.append(
                        self.engines.linear(name, Matrix.of(layer, shape, shape.tokens), stream.lanes, lanes, period)
                    )
                    width = lanes
                case Windows():
                    width = lanes if following is None else _window_lanes(layer.size, shape.channels, period)
                    parts.append(self.windows(name, layer, stream, width, period))
                case MaxPool():
                    width = lanes
                    parts += self.max_pool(name, layer, stream, width, period)
                case MeanPool():
                    sizes = shape.tokens, shape.channels, stream.lanes
                    scaling = layer.multiplier, layer.offset
                    parts.append(Leaf((nodes.MeanPool(name, *sizes, layer.shift, shape.codes, *scaling),)))
                case Residual():
                    parts.append(self.residual(name, layer, stream, lanes))
                    width = lanes
                case Flatten():
                    pass
            stream = _Stream(output, width, period)
        if stream.lanes != lanes:
            raise Infeasible(f"{series[-1].name}: {stream.lanes} lanes do not become {lanes}")
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def max_pool(self, name: str, layer: MaxPool, stream: _Stream, lanes: int, period: int) -> list[Tree]:
        """Return the windows of a maximum, and the maximum itself."""
        shape = stream.shape
        if shape.channels % lanes:
            raise Infeasible(f"{name}: {lanes} lanes do not divide the {shape.channels} channels")
        windows = self.windows(f"{name}.windows", layer.windows(shape.codes), stream, lanes, period)
        return [windows, Leaf((nodes.MaxPool(name, prod(layer.size), shape.channels, lanes, shape.codes),))]

    def windows(self, name: str, layer: Windows, stream: _Stream, lanes: int, period: int) -> Leaf:
        """Return the windows over a grid, behind the input table if they are the first ones."""
        shape, (rows, columns) = stream.shape, layer.size
        row = columns * shape.channels
        if max(row, lanes) % min(row, lanes) or (lanes > row and rows % (lanes // row)):
            raise Infeasible(
                f"{name}: windows of {rows} x {columns} x {shape.channels} do not leave in {lanes} lanes"
            )
        if rows * row // lanes > period:
            raise Infeasible(f"{name}: windows of {rows * row} elements do not pass in {period} cycles")
        first = name == source(self.network)[0].name
        node = nodes.Windows(
            name, *shape.grid, shape.channels, layer.size, layer.stride, layer.padding, stream.lanes, lanes, period,
            queue=None if first else 0, code=layer.code, codes=shape.codes,
        )  # fmt: skip
        placed = _placed(node)
        return Leaf((_input_table(self.network, stream.lanes), placed) if first else (placed,))


def _input_table(network: Network, lanes: int) -> InputTable:
    """Return the table of pixel codes at the input."""
    table, colours = network.input_table, network.colours
    return InputTable("input", colours, lanes, 1 if (table == table[0]).all() else colours // gcd(colours, lanes))


def choices(network: Network, period: int, bus_bytes: int, engines: Engines) -> Path:
    """Return the pipelines that take a window of the source every ``period`` cycles.

    Parameters
    ----------
    network
        The network.
    period
        Token period in clock cycles.
    bus_bytes
        Bytes of the image per input beat.
    engines
        The engines that may compute the linear layers.

    Raises
    ------
    Infeasible
        If no candidate for a layer, or for the input, keeps the period.
    """
    row = network.image[1] * network.colours
    if row % bus_bytes:
        raise Infeasible(f"input: {bus_bytes} bytes per beat must divide a row of {row} bytes")
    series = source(network)
    frame = prod(first_windows(network).over(network.image).grid) * period
    if network.image[0] * row // bus_bytes > frame:
        raise Infeasible(f"input: {bus_bytes} bytes a cycle do not bring an image in {frame} cycles")
    chooser = _Chooser(network, frame, engines)
    image, _ = chooser.shapes[series[0].name]
    _, turns = _turns(series)
    widths = _widths(network.logits.channels, frame)
    if any(isinstance(layer, Linear) for _, layer in turns[-1][0]):
        widths = widths[:1]  # the narrowest is the cheapest, and a linear layer can have any

    def result(lanes: int) -> Leaf:
        codes = network.logits.codes
        bits = codes.bits + (not codes.signed)
        return Leaf((nodes.Argmax("argmax", network.logits.channels, bits, lanes, codes),))

    return chooser.path(turns, _Stream(image, bus_bytes, frame), widths, result)
