"""The layers of graphs and the graph itself: what each gives, and what their constructors refuse.

Expected outputs come from loops over all inputs, or from sums that are written out here.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from psahw.architecture.codes import INT8, Codes
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.activations import Activations
from psahw.network.graph import MAX_DEPTH, Named, Network, Output, Residual
from psahw.network.layers import Flatten, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from psahw.network.random import random_graph, random_images, random_network
from psahw.network.resmlp import recognise
from tests.network.test_layers import mixing_zeros, raises, zeros

IMAGE = Activations((6, 7), 2, INT8, -128, 127)
WIDE = Activations((1, 1), 2, Codes(12), -2048, 2047)


def network_of(*layers, outputs=1, image=(1, 2), colours=1, output=None):
    """Return a network of layers, which are called a, b, ... unless they have a name."""
    names = itertools.chain("abcdefghijklmnopqrstuvwxyz")
    series = tuple(layer if isinstance(layer, Named) else Named(next(names), layer) for layer in layers)
    table = np.tile(np.arange(-128, 128), (colours, 1)).astype(np.int8)
    output = output or Output("class", tuple(map(str, range(outputs))))
    return Network("test", image, table, series, output)


def results(layer, codes, *, image, colours=1):
    """Return the outputs of a layer for codes of shape (images, tokens, colours)."""
    pixels = (np.asarray(codes) + 128).astype(np.uint8).reshape(-1, *image, colours)
    shape = layer.output(Activations(image, colours, INT8, -128, 127))
    head = Linear(**zeros(1, shape.size))
    # Thresholds of any number may follow codes of any width, and the head only those of at most 8 bits.
    narrow = [Thresholds(np.zeros((shape.channels, 1), np.int32))] if shape.codes.bits > 8 else []
    taps = {}
    network = network_of(Named("tested", layer), *narrow, Flatten(), head, image=image, colours=colours)
    reference.run(network, pixels, taps=taps)
    return taps["tested"].astype(int)


# -- Windows


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((3, (1, 1)), TypeError, "size must be a tuple of 2 integers, not 3"),
        (((3, 0), (1, 1)), ValueError, "size[1] must be in [1, 1024], not 0"),
        (((1025, 3), (1, 1)), ValueError, "size[0] must be in [1, 1024], not 1025"),
        (((3, 3), (1, 0)), ValueError, "stride[1] must be in [1, 1024], not 0"),
        (((3, 3), (1.0, 1)), TypeError, "stride[0] must be an integer, not 1.0"),
        (((3, 2), (1, 1), (3, 0, 0, 0)), ValueError, "padding[0] must be in [0, 2], not 3"),
        (((3, 2), (1, 1), (0, 0, 0, 2)), ValueError, "padding[3] must be in [0, 1], not 2"),
        (((3, 2), (1, 1), (0, 0)), TypeError, "padding must be a tuple of 4 integers, not (0, 0)"),
        (((3, 2), (1, 1), (0, -1, 0, 0)), ValueError, "padding[1] must be in [0, 2], not -1"),
    ],
)
def test_windows_wrong(arguments, kind, message):
    for layer in (Windows, MaxPool):
        with raises(kind, message):
            layer(*arguments)


def test_windows_wrong_code():
    with raises(ValueError, "code must be in [-128, 255], not 256"):
        Windows((2, 2), (1, 1), (1, 0, 0, 0), 256)
    layer = Windows((2, 2), (1, 1), (1, 0, 0, 0), 200)
    assert layer.output(replace(IMAGE, codes=Codes(8, False))).codes == Codes(8, False)
    with raises(ValueError, "code must be an int8, like the codes around it, not 200"):
        layer.output(IMAGE)
    with raises(ValueError, "code must be an uint4, like the codes around it, not -1"):
        replace(layer, code=-1).output(Activations((6, 7), 2, Codes(4, False), 0, 3))
    assert replace(layer, padding=(0, 0, 0, 0)).output(IMAGE).codes == INT8  # nothing is padded


@pytest.mark.parametrize(
    ("layer", "grid"),
    [
        (Windows((3, 2), (1, 1)), (4, 6)),
        (Windows((3, 3), (2, 3), (0, 1, 2, 1)), (3, 3)),
        (Windows((1, 2), (3, 4)), (2, 2)),  # strides above the size leave tokens out
        (Windows((6, 7), (1, 1)), (1, 1)),
    ],
)
def test_windows_output(layer, grid):
    shape = layer.output(replace(IMAGE, low=-5, high=9))
    padded = min(-5, 0) if any(layer.padding) else -5
    assert shape == Activations(grid, layer.size[0] * layer.size[1] * 2, INT8, padded, 9)


def test_windows_range_includes_the_padding():
    shape = replace(IMAGE, low=3, high=9)
    assert Windows((2, 2), (1, 1), (0, 1, 0, 0), -7).output(shape).low == -7
    assert Windows((2, 2), (1, 1), (0, 1, 0, 0), 77).output(shape).high == 77
    assert (Windows((2, 2), (1, 1)).output(shape).low, MaxPool((2, 2), (1, 1)).output(shape).high) == (3, 9)


def test_windows_that_do_not_fit():
    for layer in (Windows((7, 1), (1, 1)), MaxPool((7, 1), (1, 1))):
        with raises(ValueError, "a window of 7 rows must fit 6 with padding of 0 and 0"):
            layer.output(IMAGE)
        with raises(ValueError, "a window of 3 columns must fit 2 with padding of 0 and 0"):
            type(layer)((1, 3), (1, 1)).output(replace(IMAGE, grid=(6, 2)))


# -- layers that compute sums


@pytest.mark.parametrize("parts", [zeros(2, 3), mixing_zeros(2, 4, 4)], ids=["linear", "mixing"])
def test_multiplier_wrong(parts):
    layer = Linear if parts["weight"].ndim == 2 else TokenMixing
    shape = parts["bias"].shape
    with raises(TypeError, "multiplier must be an array of uint32, not int32"):
        layer(**parts, multiplier=np.ones(shape, np.int32))
    required = ", ".join(map(str, shape))
    with raises(ValueError, f"multiplier must have shape ({required}), not (7,)"):
        layer(**parts, multiplier=np.ones(7, np.uint32))
    with raises(ValueError, "offset must be None without a multiplier, because the bias does the same"):
        layer(**parts, offset=np.zeros(shape, np.int32))
    with raises(TypeError, "offset must be an array of int32, not int64"):
        layer(**parts, multiplier=np.ones(shape, np.uint32), offset=np.zeros(shape, np.int64))
    offset = np.zeros(shape, np.int32)
    offset.flat[1] = -(1 << 22)
    place = "[1]" if len(shape) == 1 else "[0, 1]"
    with raises(ValueError, f"offset{place} must be in [-4194303, 4194303], not -4194304"):
        layer(**parts, multiplier=np.ones(shape, np.uint32), offset=offset)
    with raises(TypeError, "out_signed must be True or False, not 0"):
        layer(**parts, out_signed=0)
    with raises(ValueError, "out_bits must be in [1, 31], not 0"):
        layer(**parts, out_bits=0, out_signed=False)


@pytest.mark.parametrize("codes", [INT8, Codes(3), Codes(8, False), Codes(1, False), Codes(20), Codes(31, False)])
def test_linear_outputs(codes):
    """Every input of one code, with the largest multiplier and offset, and with none."""
    weight = np.array([[7], [-128], [127], [0]], np.int8)
    bias = np.array([-3, 100, 1 << 20, -5], np.int32)
    shift, multiplier = np.array([0, 8, 31, 1], np.uint8), np.array([1, 65535, 4194303, 0], np.uint32)
    offset = np.array([2, -4194303, 4194303, 1], np.int32)
    x = np.arange(-128, 128)
    for factor, added in ((None, None), (multiplier, None), (multiplier, offset)):
        layer = Linear(weight, bias, shift, codes.bits, codes.signed, factor, added)
        m = [1] * 4 if factor is None else factor.tolist()
        c = [0] * 4 if added is None else added.tolist()
        expected = []
        for code in x.tolist():
            row = zip(weight[:, 0].tolist(), bias.tolist(), shift.tolist(), m, c, strict=True)
            totals = [((w * code + b) * m + c, s) for w, b, s, m, c in row]
            rounded = [t if s == 0 else (t + 2 ** (s - 1)) // 2**s for t, s in totals]
            expected.append([min(max(v, codes.low), codes.high) for v in rounded])
        assert results(layer, x, image=(1, 1))[:, 0].tolist() == expected
        shape = layer.output(Activations((1, 1), 1, INT8, -128, 127))
        assert (shape.codes, shape.low, shape.high) == (codes, np.min(expected), np.max(expected))


def test_linear_range_follows_the_inputs():
    parts = zeros(2, 2) | {"weight": np.array([[1, 2], [0, -3]], np.int8), "bias": np.array([4, 0], np.int32)}
    shape = Linear(**parts, out_bits=12).output(Activations((2, 3), 2, INT8, -5, 7))
    totals = [
        (row @ x) + bias
        for row, bias in zip(parts["weight"].astype(int), parts["bias"], strict=True)
        for x in itertools.product((-5, 7), repeat=2)
    ]
    assert shape == Activations((2, 3), 2, Codes(12), min(totals), max(totals))


def test_sums_of_unsigned_codes_are_bounded_by_their_type():
    """A row that takes every int8 does not take every uint8, whatever codes occur."""
    layer = Linear(
        **zeros(1, 1) | {"weight": np.array([[127]], np.int8), "bias": np.array([(1 << 30) - 20_000], np.int32)}
    )
    assert layer.output(Activations((1, 1), 1, Codes(7, False), 0, 127)).channels == 1
    with raises(
        ValueError,
        "row [0] can exceed the 31-bit accumulator: |bias| + 255·sum|weight| must be below 1073741824, "
        f"not {(1 << 30) - 20_000 + 255 * 127}",
    ):
        layer.output(Activations((1, 1), 1, Codes(8, False), 0, 5))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Linear(**zeros(2, 3)), "must have 2 inputs, not 3"),
        (Table(np.zeros((3, 256), np.int8)), "must have 2 channels, not 3"),
        (Table(np.zeros((2, 16), np.int8)), "must have 256 values per channel, one for each int8, not 16"),
        (Thresholds(np.zeros((3, 1), np.int32)), "must have 2 channels, not 3"),
        (TokenMixing(**mixing_zeros(1, 41, 41)), "must mix 42 tokens, not 41"),
        (TokenMixing(**mixing_zeros(3, 42, 42)), "groups must divide the 2 channels, not 3"),
    ],
)
def test_wrong_inputs(layer, message):
    with raises(ValueError, message):
        layer.output(IMAGE)


@pytest.mark.parametrize(
    "layer",
    [
        Linear(**zeros(1, 2)), Table(np.zeros((2, 256), np.int8)), TokenMixing(**mixing_zeros(1, 1, 1)),
        Windows((1, 1), (1, 1)), MaxPool((1, 1), (1, 1)), MeanPool(0), Flatten(),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_only_thresholds_follow_wide_codes(layer):
    with raises(ValueError, "must come after codes of at most 8 bits, not int12"):
        layer.output(WIDE)
    assert Thresholds(np.zeros((2, 3), np.int32)).output(WIDE).codes == INT8


@pytest.mark.parametrize("kernel", [(1, 3), (5, 1), (3, 5)])
@pytest.mark.parametrize("shared", [True, False])
def test_kernel_that_is_not_square(kernel, shared):
    rng, grid = np.random.default_rng(1), (3, 4)
    weight = rng.integers(-128, 128, (1, 1 if shared else 12, kernel[0] * kernel[1])).astype(np.int8)
    x, margin = rng.integers(-128, 128, (2, 12, 2)), [length // 2 for length in kernel]
    expected = np.zeros((2, 12, 2), int)
    for n, dy, dx in itertools.product(range(12), range(kernel[0]), range(kernel[1])):
        row, column = n // 4 + dy - margin[0], n % 4 + dx - margin[1]
        if 0 <= row < 3 and 0 <= column < 4:
            expected[:, n] += int(weight[0, 0 if shared else n, dy * kernel[1] + dx]) * x[:, row * 4 + column]
        elif not shared:
            weight[0, n, dy * kernel[1] + dx] = 0
    parts = mixing_zeros(*weight.shape) | {"weight": weight}
    layer = TokenMixing(**parts, kernel=kernel, shared=shared, out_bits=24)
    assert np.array_equal(results(layer, x, image=grid, colours=2), expected)
    shape = layer.output(Activations(grid, 2, INT8, -128, 127))
    assert shape.low <= expected.min() and expected.max() <= shape.high


def test_range_of_a_local_mixing_includes_zero():
    """Some entries contribute nothing at the edge of the grid."""
    parts = mixing_zeros(1, 1, 3) | {"weight": np.array([[[1, 1, 1]]], np.int8)}
    layer = TokenMixing(**parts, kernel=(1, 3), shared=True, out_bits=12)
    shape = layer.output(Activations((1, 4), 1, INT8, 5, 6))
    assert (shape.low, shape.high) == (0, 18)


# -- Table


def test_table_wrong_bits():
    with raises(ValueError, "out_bits must be in [2, 8], not 1"):
        Table(np.zeros((1, 4), np.int8), 1)
    with raises(ValueError, "out_bits must be in [1, 8], not 9"):
        Table(np.zeros((1, 4), np.uint8), 9)
    with raises(ValueError, "values must fit int3, unlike 4"):
        Table(np.array([[0, 1, -4, 4]], np.int8), 3)
    with raises(ValueError, "values must fit int3, unlike -5"):
        Table(np.array([[0, 1, -5, 3]], np.int8), 3)
    with raises(ValueError, "values must fit uint1, unlike 2"):
        Table(np.array([[0, 2]], np.uint8), 1)


@pytest.mark.parametrize("codes", [Codes(1, False), Codes(3), Codes(3, False), Codes(8, False)])
def test_table_of_every_type(codes):
    values = np.random.default_rng(0).integers(0, 256, (2, codes.count)).astype(np.uint8)
    table = Table(values)
    x = np.arange(codes.low, codes.high + 1)
    y = reference._table(table, codes, x.reshape(1, -1, 1).repeat(2, 2))
    assert np.array_equal(y[0].T, values)
    for low, high in itertools.combinations_with_replacement(range(codes.low, codes.high + 1, 3), 2):
        shape = table.output(Activations((1, 2), 2, codes, low, high))
        reached = [int(values[c, code - codes.low]) for c in range(2) for code in range(low, high + 1)]
        assert (shape.low, shape.high, shape.codes) == (min(reached), max(reached), Codes(8, False))


# -- pooling


@pytest.mark.parametrize(
    "layer", [MaxPool((3, 2), (1, 2), (2, 0, 1, 0)), MaxPool((1, 2), (3, 3)), MaxPool((2, 2), (2, 2))]
)
def test_max_pool(layer):
    """Codes are below 0, so that zeros around them would be noticed."""
    x = np.random.default_rng(2).integers(-128, -100, (2, 5, 6, 2))
    above, below, left, right = layer.padding
    rows = range(-above, 5 + below - layer.size[0] + 1, layer.stride[0])
    columns = range(-left, 6 + right - layer.size[1] + 1, layer.stride[1])
    expected = [
        [
            x[n, max(top, 0) : top + layer.size[0], max(start, 0) : start + layer.size[1]].max((0, 1)).tolist()
            for top in rows
            for start in columns
        ]
        for n in range(2)
    ]
    assert results(layer, x.reshape(2, 30, 2), image=(5, 6), colours=2).tolist() == expected
    assert layer.output(Activations((5, 6), 2, INT8, -128, 127)).grid == (len(rows), len(columns))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((32,), ValueError, "shift must be in [0, 31], not 32"),
        ((1.0,), TypeError, "shift must be an integer, not 1.0"),
        ((1, 0), ValueError, "multiplier must be in [1, 4194303], not 0"),
        ((1, 1 << 22), ValueError, "multiplier must be in [1, 4194303], not 4194304"),
        ((1, 2, 1 << 22), ValueError, "offset must be in [-4194303, 4194303], not 4194304"),
        ((1, 1, 3), ValueError, "offset must be 0 with a multiplier of 1, not 3"),
    ],
)
def test_mean_pool_wrong(arguments, kind, message):
    with raises(kind, message):
        MeanPool(*arguments)


@pytest.mark.parametrize(
    "layer",
    [
        MeanPool(2), MeanPool(0), MeanPool(18, 65535), MeanPool(31, 65535), MeanPool(5, 10),
        MeanPool(18, 65535, 4194303), MeanPool(5, 10, -47),
    ],
)  # fmt: skip
def test_mean_pool(layer):
    rng = np.random.default_rng(3)
    x = np.concatenate([np.full((1, 6, 2), -128), np.full((1, 6, 2), 127), rng.integers(-128, 128, (9, 6, 2))])
    half = 2**layer.shift // 2
    expected = [
        [(layer.multiplier * int(v) + layer.offset + half) // 2**layer.shift for v in frame.sum(0)] for frame in x
    ]
    expected = np.clip(expected, -128, 127)
    assert np.array_equal(results(layer, x, image=(2, 3), colours=2)[:, 0], expected)
    shape = layer.output(Activations((2, 3), 2, INT8, -128, 127))
    assert shape == Activations((1, 1), 2, INT8, expected.min(), expected.max())


def test_flatten():
    x = np.random.default_rng(4).integers(-128, 128, (3, 6, 2))
    assert results(Flatten(), x, image=(2, 3), colours=2).tolist() == x.reshape(3, 1, 12).tolist()
    assert Flatten().output(IMAGE) == Activations((1, 1), 84, INT8, -128, 127)


# -- Thresholds


@pytest.mark.parametrize(
    ("values", "options", "kind", "message"),
    [
        (np.zeros((1, 2), np.int64), {}, TypeError, "values must be an array of int32, not int64"),
        (np.zeros((1, 0), np.int32), {}, ValueError, "values must have shape (any, any), not (1, 0)"),
        (
            np.zeros((1, 256), np.int32), {}, ValueError,
            "values must have at most 255 thresholds per channel, not 256",
        ),
        (
            np.array([[1, 2], [4, 3]], np.int32), {}, ValueError,
            "values[1] must be in ascending order, unlike [4 3]",
        ),
        (np.zeros((1, 2), np.int32), {"out_bits": 1}, ValueError, "out_bits must be in [2, 8], not 1"),
        (np.zeros((1, 2), np.int32), {"out_bits": 9}, ValueError, "out_bits must be in [2, 8], not 9"),
        (np.zeros((1, 2), np.int32), {"offset": -129}, ValueError, "offset must be in [-128, 127], not -129"),
        (np.zeros((1, 2), np.int32), {"offset": 126}, ValueError, "offset + thresholds must fit int8, not 128"),
        (
            np.zeros((1, 2), np.int32), {"out_bits": 1, "out_signed": False}, ValueError,
            "offset + thresholds must fit uint1, not 2",
        ),
    ],
)  # fmt: skip
def test_thresholds_wrong(values, options, kind, message):
    with raises(kind, message):
        Thresholds(values, **options)


def test_thresholds():
    """Codes at, below and above each threshold; thresholds at the ends of int32, and equal ones."""
    values = np.array([[-(1 << 31), -3, -3, 0, 50], [10, 11, 12, 13, (1 << 31) - 1]], np.int32)
    layer = Thresholds(values, 4, False, 2)
    x = np.arange(-128, 128)
    expected = [[2 + sum(t <= code for t in row) for row in values.tolist()] for code in x.tolist()]
    assert results(layer, x[:, None].repeat(2, 1), image=(1, 1), colours=2)[:, 0].tolist() == expected
    for low, high in [(-128, 127), (-4, -3), (11, 11), (0, 60)]:
        shape = layer.output(Activations((1, 1), 2, INT8, low, high))
        reached = np.array(expected[low + 128 : high + 129])
        assert (shape.codes, shape.low, shape.high) == (Codes(4, False), reached.min(), reached.max())


# -- Residual


def test_residual_of_other_layers():
    """A strided convolution, and one of 1x1 tokens in the shortcut."""
    branch = (
        Named("b.windows", Windows((3, 3), (2, 2), (1, 1, 0, 2), 5)),
        Named("b", Linear(**zeros(3, 18), out_signed=False)),
    )
    shortcut = (Named("s.windows", Windows((1, 1), (2, 2))), Named("s", Linear(**zeros(3, 2))))
    network = network_of(
        Named("sum", Residual(branch, shortcut, 5, False)),
        MeanPool(0),
        Named("c", Linear(**zeros(1, 3))),
        image=(6, 7),
        colours=2,
    )
    assert [place.name for place in network.places] == ["sum", "b.windows", "b", "s.windows", "s", "a", "c"]
    assert network.place("b.windows").output.channels == 18
    assert network.place("sum").output == Activations((3, 4), 3, Codes(5, False), 0, 0)


@pytest.mark.parametrize("codes", [INT8, Codes(8, False), Codes(3), Codes(1, False)])
def test_residual_saturates(codes):
    double = Table(np.arange(-128, 128).clip(-64, 63).astype(np.int8)[None] * 2)
    residual = Residual((Named("t", double),), (), codes.bits, codes.signed)
    network = network_of(residual, Flatten(), Linear(**zeros(1, 1)), image=(1, 1))
    taps = {}
    reference.run(network, np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1), taps=taps)
    expected = [min(max(2 * min(max(x, -64), 63) + x, codes.low), codes.high) for x in range(-128, 128)]
    assert taps["a"].ravel().tolist() == expected
    shape = network.place("a").output
    assert (shape.codes, shape.low, shape.high) == (codes, min(expected), max(expected))


@pytest.mark.parametrize(("shift", "codes"), [(0, INT8), (3, INT8), (5, Codes(4, False)), (15, Codes(2))])
def test_residual_of_finer_summands(shift, codes):
    """Halves are rounded up."""
    scaled = {"weight": np.array([[100]], np.int8), "bias": np.array([7], np.int32), "shift": np.zeros(1, np.uint8)}
    residual = Residual((Named("l", Linear(**scaled, out_bits=15)),), (), codes.bits, codes.signed, shift)
    network = network_of(residual, Flatten(), Linear(**zeros(1, 1)), image=(1, 1))
    taps = {}
    reference.run(network, np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1), taps=taps)
    sums = [100 * x + 7 + x for x in range(-128, 128)]
    expected = [min(max(math.floor(each / 2**shift + 0.5), codes.low), codes.high) for each in sums]
    assert taps["a"].ravel().tolist() == expected
    shape = network.place("a").output
    assert (shape.codes, shape.low, shape.high) == (codes, min(expected), max(expected))


def test_residual_wrong():
    wide = (Named("w", Linear(**zeros(1, 1), out_bits=25)),)
    for branch, shortcut, path in ((wide, (), "branch"), ((), wide, "shortcut")):
        with raises(ValueError, f"a {path} must end with codes of at most 24 bits, not int25"):
            network_of(Residual(branch, shortcut), Flatten(), Linear(**zeros(1, 2)))
    pool = (Named("p", MaxPool((1, 2), (1, 1))),)
    with raises(ValueError, "a branch and shortcut must give the same shape, not 1 x 1 x 1 int8 and 1 x 2 x 1 int8"):
        network_of(Residual(pool), Flatten(), Linear(**zeros(1, 2)))
    with raises(ValueError, "out_bits must be in [2, 8], not 9"):
        Residual((), (), 9)
    with raises(TypeError, "out_signed must be True or False, not None"):
        Residual((), (), 8, None)
    with raises(ValueError, "shift must be in [0, 23], not 24"):
        Residual((), (), 8, True, 24)


# -- Network


END = (Flatten(), Linear(**zeros(1, 2)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the name of a layer must have 1 to 100 characters, not 0: ''"),
        ("a b", "the name of a layer must be letters, digits and underscores between dots, not 'a b'"),
        ("a..b", "the name of a layer must be letters, digits and underscores between dots, not 'a..b'"),
        (".a", "the name of a layer must be letters, digits and underscores between dots, not '.a'"),
        ("é", "the name of a layer must be letters, digits and underscores between dots, not 'é'"),
        ("a\n", "the name of a layer must consist of characters that print, unlike 'a\\n'"),
        ("input", "the name of a layer must not be 'input', which means something else"),
        ("argmax", "the name of a layer must not be 'argmax', which means something else"),
        ("input_table", "the name of a layer must not be 'input_table', which means something else"),
        ("input.windows", "the name of a layer must not be 'input.windows', which means something else"),
        ("head.weight", "the name of a layer must not be 'head.weight', which means something else"),
        ("multiplier", "the name of a layer must not be 'multiplier', which means something else"),
        ("a.offset", "the name of a layer must not be 'a.offset', which means something else"),
    ],
)
def test_wrong_names(name, message):
    with raises(ValueError, message):
        network_of(Named(name, MaxPool((1, 1), (1, 1))), *END)
    with raises(ValueError, message):
        network_of(Residual((Named(name, MaxPool((1, 1), (1, 1))),)), *END)


def test_name_that_is_no_string():
    with raises(TypeError, "the name of a layer must be a string, not 7"):
        network_of(Named(7, MaxPool((1, 1), (1, 1))), *END)


def test_names_must_differ():
    same = MaxPool((1, 1), (1, 1))
    with raises(ValueError, "the name p must belong to one layer, not to two"):
        network_of(Named("p", same), Named("p", same), *END)
    with raises(ValueError, "the name p must belong to one layer, not to two"):
        network_of(Residual((Named("p", same),), (Named("p", same),)), *END)
    for one, other in (("p.q", "p_q"), ("p_q.r", "p.q_r")):
        with raises(ValueError, f"the names {one} and {other} must differ also with underscores for dots"):
            network_of(Named(one, same), Named(other, same), *END)


def test_wrong_ends():
    with raises(ValueError, "layers must not be empty"):
        network_of()
    with raises(ValueError, "a must give a single token, because it is the last layer, not 1 x 2 x 1 int8"):
        network_of(Linear(**zeros(1, 1)))
    for kind, word in (("class", "class"), ("labels", "label")):
        with raises(ValueError, f"b must have 3 outputs, one per {word}, not 1"):
            network_of(*END, output=Output(kind, ("x", "y", "z")))
    with raises(ValueError, "b must have 2 outputs, one per value, not 1"):
        network_of(*END, output=Output("values", ("x", "y"), (1, 1), (0, 0)))


def test_layer_of_another_type():
    with raises(TypeError, "a must be a layer, not None"):
        network_of(None, *END)


def test_fault_inside_of_a_residual_names_the_inner_layer():
    with raises(ValueError, "inner must have 1 inputs, not 5"):
        network_of(Residual((Named("inner", Linear(**zeros(1, 5))),)), *END)


def nested(depth):
    series = ()
    for index in range(depth):
        series = (Named(f"r{index}", Residual(series)),)
    return series


def test_depth():
    network = network_of(*nested(MAX_DEPTH), *END)
    image = np.full((1, 1, 2, 1), 129, np.uint8)
    taps = {}
    reference.run(network, image, taps=taps)
    assert taps["r15"].ravel().tolist() == [MAX_DEPTH + 1] * 2  # each adds the code, which is 1
    with raises(ValueError, "residual connections must be at most 16 deep"):
        network_of(*nested(MAX_DEPTH + 1), *END)


def test_grids_are_bounded():
    """Padding may make a grid larger; beyond the largest image, a mean could exceed the accumulator."""
    wide = Windows((1, 1024), (1, 1), (0, 0, 512, 511))
    ones = Linear(**zeros(1, 1024))
    mean = MeanPool(10), Linear(**zeros(1, 1))
    assert network_of(wide, ones, *mean, image=(1, 1024)).place("b").output.grid == (1, 1024)
    larger = replace(wide, padding=(0, 0, 512, 512))
    with raises(ValueError, "b must give at most 1024 rows and columns of tokens, not 1 x 1025 x 1 int8"):
        network_of(larger, ones, *mean, image=(1, 1024))
    with raises(ValueError, "a must give at most 1024 rows and columns of tokens, not 1 x 1025 x 1024 int8"):
        network_of(larger, MaxPool((1, 1), (1, 1)), image=(1, 1024))


def test_codes_are_bounded():
    """Windows that a linear layer takes in parts may have more codes than those that are held."""
    windows = Windows((16, 16), (1, 1), (8, 7, 8, 7))
    image, message = (1024, 1024), "a must have at most 134217728 codes, not 1024 x 1024 x 256"
    linear = Linear(**zeros(1, 256))
    assert network_of(windows, linear, MeanPool(0), Linear(**zeros(1, 1)), image=image).colours == 1
    with pytest.raises(
        ValueError, match=f"^{message}, with which the integer model would need 1.5 GiB for one image$"
    ):
        network_of(windows, MeanPool(0), Linear(**zeros(1, 256)), image=image)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("classes", ("a",)), ValueError, "output.kind must be one of class, values, labels, not 'classes'"),
        (("class", ("a",), (1.0,)), ValueError, "output.scale must have 0 numbers, not 1"),
        (("values", ("a", "b"), (1.0,), (0.0, 0.0)), ValueError, "output.scale must have 2 numbers, not 1"),
        (("values", ("a",), (1.0,), ()), ValueError, "output.offset must have 1 numbers, not 0"),
        (("values", ("a",), ("1",), (0.0,)), TypeError, "output.scale[0] must be a number, not '1'"),
        (("values", ("a",), (True,), (0.0,)), TypeError, "output.scale[0] must be a number, not True"),
        (("values", ("a", "b"), (1, 0), (0, 0)), ValueError, "output.scale[1] must not be 0"),
        (("values", ("a",), (float("nan"),), (0,)), ValueError, "output.scale[0] must be finite, not nan"),
        (("values", ("a",), (1,), (float("-inf"),)), ValueError, "output.offset[0] must be finite, not -inf"),
        (("labels", ("a\n",)), ValueError, "labels[0] must consist of characters that print, unlike 'a\\n'"),
        (("class", ("a", 7)), TypeError, "classes[1] must be a string, not 7"),
    ],
)
def test_wrong_output(arguments, kind, message):
    with raises(kind, message):
        Output(*arguments)


def test_huge_integer_as_scale():
    with pytest.raises(ValueError, match=r"^output\.scale\[0\] must be finite, not an integer of 1329 bits$"):
        Output("values", ("a",), (10**400,), (0,))


def test_repr():
    values = network_of(*END, output=Output("values", ("x",), (1,), (0,)))
    assert repr(values) == "<Network 'test': images of 1 x 2 x 1, 1 value>"


def test_multipliers_make_no_resmlp():
    """A multiplier of one row, which is 1, is no absent multiplier."""
    form = recognise(random_network(np.random.default_rng(0), classes=1))
    head = replace(form.head, multiplier=np.ones(1, np.uint32))
    assert recognise(replace(form, head=head).network()) is None
    assert recognise(form.network()) is not None
    network = form.network()
    shifted = [
        named._replace(layer=replace(named.layer, shift=1)) if isinstance(named.layer, Residual) else named
        for named in network.layers
    ]
    assert recognise(replace(network, layers=tuple(shifted))) is None


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs_use_their_codes(seed):
    """Few layers of a random graph are constant, and codes lie in the range that is given for them."""
    rng = np.random.default_rng(seed)
    constant = total = 0
    for _ in range(10):
        network, taps = random_graph(rng), {}
        reference.run(network, random_images(rng, network, 8), taps=taps)
        for place in network.places:
            codes = taps[place.name]
            assert codes.shape == (8, place.output.tokens, place.output.channels)
            assert place.output.codes.low <= place.output.low <= codes.min()
            assert codes.max() <= place.output.high <= place.output.codes.high
            constant, total = constant + (codes.min() == codes.max()), total + 1
    assert constant < total / 4


def test_random_graphs_are_reproducible():
    one, other = (random_graph(np.random.default_rng(7)) for _ in range(2))
    assert network_file.digest(one) == network_file.digest(other)
    with pytest.raises(ValueError, match=r"^kinds must be of convolution, .*, not 'lstm'$"):
        random_graph(np.random.default_rng(0), kinds=["lstm"])


def test_names_that_are_equal_behind_that_of_a_residual_connection():
    """The components of a path are called by their names without the connection's: both would be ``t``."""
    table = Table(np.zeros((1, 256), np.int8))
    residual = Residual((Named("r.t", table), Named("t", table)))
    with pytest.raises(ValueError, match=r"^t: another layer of r has this name behind the name of r$"):
        series_of(Named("r", residual))


@pytest.mark.parametrize("name", ["a.gather", "a.transpose_in", "input.windows"])
def test_names_of_components(name):
    with pytest.raises(ValueError, match=f"^the name of a layer must not be '{name}', which means something else$"):
        series_of(Named(name, Table(np.zeros((1, 256), np.int8))))


def test_windows_of_a_maximum():
    windows = Named("pool.windows", Windows((1, 1), (1, 1)))
    with pytest.raises(ValueError, match=r"^no layer may be called pool\.windows, because pool needs a component"):
        series_of(windows, Named("pool", MaxPool((1, 1), (1, 1))))


def test_memory_of_padding():
    """2047 x 2047 padded pixels of 64 colours are 2^28 codes, of which a single one is left."""
    pool = MaxPool((1024, 1024), (1024, 1024), (1023,) * 4)
    with pytest.raises(ValueError, match=r"^pool with its padding must have at most 134217728 codes"):
        series_of(Named("pool", pool), colours=64)


def test_layers_without_names():
    with pytest.raises(TypeError, match=r"^layers must consist of Named, not tuple$"):
        series_of(("a", Flatten()))


def series_of(*layers, colours=1):
    """Return a network of an image of one pixel, and with a linear layer at its end."""
    table = np.tile(np.arange(-128, 128, dtype=np.int8), (colours, 1))
    head = Named("head", Linear(np.ones((2, colours), np.int8), np.zeros(2, np.int32), np.zeros(2, np.uint8)))
    return Network("test", (1, 1), table, (*layers, head), Output("class", ("a", "b")))
