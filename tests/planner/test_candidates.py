"""Parts of the candidates against loops over all possibilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.architecture.codes import INT8
from psahw.architecture.nodes import Argmax, InputTable, MacArray, MeanPool, TableRom, Transpose
from psahw.network import layers
from psahw.network.activations import Activations
from psahw.network.graph import Named, Network, Output, Residual
from psahw.network.layers import Flatten, Linear, Table, Windows
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.planner import candidates
from psahw.planner.candidates import choices, divisors
from psahw.planner.engines import Engines, Infeasible
from psahw.planner.optimiser import All, Leaf, OneOf, Path
from psahw.planner.rules import MAC_ONLY

ENGINES = Engines({}, MAC_ONLY, None)


def linear(outputs, inputs):
    """Return a linear layer with weights of 1."""
    zeros = np.zeros(outputs, np.int32)
    return Linear(np.ones((outputs, inputs), np.int8), zeros, zeros.astype(np.uint8))


def graph(image, colours, *layers):
    """Return a network of layers, with three classes."""
    table = np.tile(np.arange(-128, 128, dtype=np.int8), (colours, 1))
    return Network("graph", image, table, layers, Output("class", ("a", "b", "c")))


@pytest.mark.parametrize(
    ("image", "layers", "size"),
    [
        ((4, 6), (Named("w", Windows((4, 6), (1, 1))), Named("head", linear(3, 48))), (4, 6)),
        ((4, 6), (Named("flat", Flatten()), Named("head", linear(3, 48))), (1, 6)),
        ((1, 1), (Named("head", linear(3, 2)),), (1, 1)),
    ],
)
def test_windows_of_the_source(image, layers, size):
    """A network without windows gets some that change nothing."""
    network = graph(image, 2, *layers)
    assert candidates.first_windows(network).size == size
    assert candidates.source(network)[-len(layers) :] == layers
    assert len(candidates.source(network)) == len(layers) + (layers[0].name != "w")


def test_divisors():
    assert divisors(1) == [1] and divisors(7) == [1, 7] and divisors(12) == [1, 2, 3, 4, 6, 12]


def tables(channels, *, distinct=True):
    """Return tables that negate, and for ``distinct`` the last of them differs in one value."""
    values = np.tile(np.arange(127, -129, -1), (channels, 1)).astype(np.int8)
    values[-1, 3] += distinct
    return Table(values)


@pytest.mark.parametrize(
    ("values", "lanes", "styles"),
    [
        (tables(4), 1, ["distributed", "block"]),
        (tables(5), 1, ["block"]),
        (tables(10), 2, ["block"]),
        (tables(8), 2, ["distributed", "block"]),
        (tables(9, distinct=False), 1, ["distributed"]),
        (Table(np.tile(np.arange(-128, 128), (3, 1)).astype(np.int8)), 1, []),
    ],
)
def test_memories_of_a_table(values, lanes, styles):
    """Up to 1,024 words may be in LUTs. A table that all channels share is, and the identity needs none."""
    stream = candidates._Stream(Activations((2, 2), values.channels, INT8, -128, 127), lanes, 9)
    roms = candidates._table_roms("t", values, stream)
    distinct = styles != ["distributed"]
    assert roms == [TableRom("t", values.channels, lanes, distinct, style) for style in styles]
    banked = candidates._table_roms("t", values, stream, 512)
    assert [rom.bank_words for rom in banked] == [512 if style == "block" else None for style in styles]
    choice = candidates._table("t", values, stream, None)
    assert choice.nodes == () if not styles else [option.nodes for option in choice.options] == [(r,) for r in roms]


@pytest.mark.parametrize(("values", "style"), [(tables(4), "block"), (tables(4, distinct=False), "distributed")])
def test_one_table_in_a_bypass(values, style):
    """It has no choice of memories: a table per channel is in block RAM."""
    residual = Residual((), (Named("r.t", values),))
    network = graph((2, 2), 4, Named("r", residual), Named("flat", Flatten()), Named("head", linear(3, 16)))
    stream = candidates._Stream(Activations((2, 2), 4, INT8, -128, 127), 1, 9)
    chooser = candidates._Chooser(network, 36, ENGINES)
    rom = TableRom("r.t", 4, 1, style == "block", style)
    assert chooser.residual("r", residual, stream, 1).bypass.nodes == (rom,)
    assert chooser.residual("r", Residual(()), stream, 1).bypass.nodes == ()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_layers_of_a_branch(count):
    """All of them have arrays. What is between them has up to three widths, and the end has the width asked for."""
    branch = tuple(Named(f"r.map{n}", linear(4, 4)) for n in range(count))
    residual = Residual(branch)
    network = graph((2, 2), 4, Named("r", residual), Named("flat", Flatten()), Named("head", linear(3, 16)))
    stream = candidates._Stream(Activations((2, 2), 4, INT8, -128, 127), 2, 9)
    chosen = candidates._Chooser(network, 36, ENGINES).residual("r", residual, stream, 2)
    lanes: dict[str, set] = {name: set() for name, _ in branch}
    for node in nodes(chosen):
        if isinstance(node, MacArray):
            lanes[node.name].add(node.o_lanes)
    assert list(lanes.values()) == [{1, 2, 4}] * (count - 1) + [{2}]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(1, 99))
def test_fewest_lanes_of_windows(rows, columns, channels, period):
    """A beat is a part of a row of the window, or several rows."""
    row = columns * channels
    widths = [n for n in range(1, rows * row + 1) if row % n == 0 or (n % row == 0 and rows % (n // row) == 0)]
    expected = next(lanes for lanes in widths if rows * row / lanes <= period)
    assert candidates._window_lanes((rows, columns), channels, period) == expected


@pytest.mark.parametrize(("lanes", "equal", "phases"), [(4, False, 3), (3, False, 1), (1, False, 3), (4, True, 1)])
def test_tables_of_the_input(lanes, equal, phases):
    """A lane sees every colour in turn, unless beats are whole pixels."""
    network = random_network(np.random.default_rng(0))
    table = network.input_table.copy()
    table[1:] = table[0] if equal else ~table[0]
    object.__setattr__(network, "input_table", table)
    assert candidates._input_table(network, lanes) == InputTable("input", 3, lanes, phases)


def test_the_first_items_that_are_feasible():
    def half(item):
        if item % 2:
            raise Infeasible(f"{item} is odd")
        return item // 2

    assert candidates._feasible([1, 2, 3, 4, 6], half) == {2: 1, 4: 2, 6: 3}
    assert candidates._feasible([1, 2, 3, 4, 6], half, most=2) == {2: 1, 4: 2}
    with pytest.raises(Infeasible, match=r"^1 is odd$"):
        candidates._feasible([1, 3], half)


def nodes(tree):
    """Yield the nodes of all options."""
    match tree:
        case Leaf(nodes=inner):
            yield from inner
        case All(parts=inner) | OneOf(options=inner):
            for part in inner:
                yield from nodes(part)
        case Path(states, links):
            for stage, between in zip(states, links, strict=True):
                for part in (*stage, *between.values()):
                    yield from nodes(part)
        case _:
            yield from nodes(tree.branch)
            yield from nodes(tree.bypass)


@pytest.mark.parametrize(
    ("series", "lanes"),
    [
        ((layers.MaxPool((2, 2), (2, 2)), Flatten(), linear(3, 24)), {1}),
        ((Windows((2, 2), (2, 2)), linear(3, 24), layers.MeanPool(2)), {1, 3}),
        ((Windows((2, 2), (2, 2)), linear(5, 24), linear(3, 5), layers.MeanPool(2)), {1, 3}),
    ],
)
def test_widths_of_the_logits(series, lanes):
    """A linear layer gives them one at a time, which is cheapest. Other layers may need other widths."""
    network = graph((4, 4), 6, *(Named(f"layer{n}", layer) for n, layer in enumerate(series)))
    offered = nodes(choices(network, 30, 1, ENGINES))
    assert {node.lanes for node in offered if isinstance(node, Argmax)} == lanes


@pytest.mark.parametrize("period", [11, 12])
def test_the_input_in_time(period):
    """An image of 192 bytes takes 48 beats, and a frame of four tokens 4 periods."""
    network = random_network(np.random.default_rng(0), stages=(StageShape(4, 4),))
    if period == 12:
        choices(network, period, 4, ENGINES)
        return
    with pytest.raises(Infeasible, match=r"^input: 4 bytes a cycle do not bring an image in 44 cycles$"):
        choices(network, period, 4, ENGINES)


@pytest.mark.parametrize(("period", "fits"), [(1, False), (2, True)])
def test_a_local_token_mixing_in_time(period, fits):
    """It takes the two beats of each of its 16 tokens."""
    network = random_network(
        np.random.default_rng(0), image=(8, 8), stages=(StageShape(8, 4, kernel=3),), patch=Patch(2, 2)
    )
    name = "stages.0.blocks.0.token_mixing.linear"
    place = network.place(name)
    chooser = candidates._Chooser(network, 16 * period, ENGINES)
    stream = candidates._Stream(place.input, 4, period)
    if fits:
        ((leaf,),) = (chooser.local(name, place.layer, stream),)
        assert leaf.nodes[0].beats == 2
    else:
        with pytest.raises(Infeasible, match=f"^{name}: 16 tokens of 2 beats exceed the frame$"):
            chooser.local(name, place.layer, stream)


def test_narrowest_streams():
    """A token of twelve channels passes in five cycles with three lanes or more, and three widths are offered."""
    network = random_network(np.random.default_rng(0), colours=1, stages=(StageShape(12, 4),), patch=Patch(4, 4))
    offered = list(nodes(choices(network, 5, 4, ENGINES)))
    assert {node.lanes for node in offered if isinstance(node, MeanPool)} == {3, 4, 6}
    assert {node.tokens for node in offered if isinstance(node, MeanPool)} == {4}


@pytest.mark.parametrize(("period", "slices"), [(6, 1), (4, 1), (3, 1), (2, 2), (1, 3)])
def test_slices_of_a_dense_token_mixing(period, slices):
    """A frame of four tokens has 4 periods, in which the vectors of one engine, one per channel, must pass."""
    shape = dict(image=(4, 4), colours=1, patch=Patch(2, 2), classes=4)
    network = random_network(np.random.default_rng(0), **shape, stages=(StageShape(12, 4),))
    offered = list(nodes(choices(network, period, 4, ENGINES)))
    turned = [node for node in offered if isinstance(node, Transpose)]
    assert min(node.slices for node in turned) == slices
    for node in turned:
        assert node.columns * node.period <= 4 * period and node.rows <= node.o_lanes * node.period
    arrays = [node for node in offered if isinstance(node, MacArray) and "token_mixing" in node.name]
    assert {node.vectors * node.slices for node in arrays} == {12}
    assert all(node.interval * node.vectors <= 4 * period for node in arrays)
