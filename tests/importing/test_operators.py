"""Operators of imported models, against numbers that were worked out by hand, and against scipy."""

import numpy as np
import pytest
from scipy.signal import correlate

from psahw.importing.operators import (
    Add,
    Affine,
    Bipolar,
    Clip,
    Convolution,
    Flatten,
    Input,
    MaxPool,
    MeanPool,
    Model,
    MultiThreshold,
    Quantise,
    Quantiser,
    apply,
    evaluate,
    shapes,
)


def row(*numbers):
    """Return one image of a single position with these channels."""
    return np.array(numbers, float).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        (dict(bits=8), -128, 127),
        (dict(bits=8, narrow=True), -127, 127),
        (dict(bits=4, signed=False), 0, 15),
        (dict(bits=4, signed=False, narrow=True), 0, 14),
        (dict(bits=1, signed=False), 0, 1),
    ],
)
def test_range_of_codes(options, low, high):
    quantiser = Quantiser(np.array(1.0), **options)
    assert (quantiser.low, quantiser.high) == (low, high)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half even", [-2, -2, 0, 0, 2, 2]),
        ("half up", [-2, -1, 0, 1, 2, 3]),
        ("half away", [-3, -2, -1, 1, 2, 3]),
        ("floor", [-3, -2, -1, 0, 1, 2]),
        ("ceil", [-2, -1, 0, 1, 2, 3]),
        ("towards zero", [-2, -1, 0, 0, 1, 2]),
    ],
)
def test_halves(rounding, expected):
    quantiser = Quantiser(np.array(0.5), rounding=rounding)
    values = 0.5 * np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantiser.codes(values).tolist() == expected


def test_halves_of_codes():
    """The numbers have the codes -4.5 and 0.5: away from 0 are -5 and 1, and away from the number 0, -4 and 1."""
    values = np.array([0.25, 2.75])
    expected = {
        "half away from code 0": [-5, 1],
        "half to even code": [-4, 0],
        "half away": [-4, 1],
        "half even": [-5, 1],
    }
    for rounding, codes in expected.items():
        assert Quantiser(np.array(0.5), -5, rounding=rounding).codes(values).tolist() == codes


def test_zero_point_and_scale_of_each_channel():
    quantiser = Quantiser(np.array([0.5, 2.0]), zero_point=3)
    codes = quantiser.codes(row(1.0, -5.0))
    assert codes.ravel().tolist() == [5, 1]  # 1 / 0.5 + 3, and -2.5 rounded to -2, plus 3
    assert quantiser.values(codes).ravel().tolist() == [1.0, -4.0]


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolution(groups):
    """Every output is a correlation, which scipy computes."""
    rng = np.random.default_rng(groups)
    x, weight = rng.normal(size=(2, 7, 6, 6)), rng.integers(-9, 9, (12, 3, 2, 6 // groups)).astype(np.int8)
    scale, bias = rng.uniform(1, 2, 12), rng.normal(size=12)
    operator = Convolution("c", ("x",), "y", weight, scale, bias, (2, 1), (1, 0, 0, 1), groups)
    padded = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    y = apply(operator, [x])
    for output in range(12):
        first = output // (12 // groups) * (6 // groups)
        part = padded[1, :, :, first : first + 6 // groups]
        expected = scale[output] * correlate(part, weight[output].astype(float), "valid")[::2, :, 0] + bias[output]
        assert y[1, :, :, output] == pytest.approx(expected)
    assert shapes(Model("m", "test", Input("x", (7, 6, 6)), (operator,), "y"))["y"] == y.shape[1:]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Affine("a", ("x",), "y", np.array([2.0, 1.0, 1.0]), np.array(1.0)), [-3, 1.5, 4]),
        (Clip("c", ("x",), "y", 0, 2), [0, 0.5, 2]),
        (Quantise("q", ("x",), "y", Quantiser(np.array(1.0), bits=2)), [-2, 0, 1]),
        (Bipolar("b", ("x",), "y", np.array(0.25)), [-0.25, 0.25, 0.25]),
        (MultiThreshold("t", ("x",), "y", np.array([[-2.0, 0.5, 9.0]]), 2.0, -1.0), [1, 3, 3]),
        (Add("+", ("x", "x"), "y"), [-4, 1, 6]),
        (Flatten("f", ("x",), "y"), [-2, 0.5, 3]),
        (MeanPool("m", ("x",), "y"), [-2, 0.5, 3]),
    ],
)
def test_operators_of_one_position(operator, expected):
    model = Model("m", "test", Input("x", (1, 1, 3)), (operator,), "y")
    assert evaluate(model, row(-2, 0.5, 3))["y"].ravel().tolist() == expected
    assert shapes(model)["y"] == (1, 1, 3)


def test_pools_and_both_orders_of_flattening():
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    assert apply(MaxPool("m", ("x",), "y", (2, 2), (1, 1), (0, 0, 1, 0)), [x])[0, 0, :, 0].tolist() == [6, 8, 10]
    assert apply(MeanPool("m", ("x",), "y"), [x]).ravel().tolist() == [5, 6]
    assert apply(Flatten("f", ("x",), "y"), [x]).ravel().tolist() == list(range(12))
    assert apply(Flatten("f", ("x",), "y", True), [x]).ravel().tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (
            Convolution("c", ("x",), "y", np.zeros((4, 3, 3, 3), np.int8)),
            "c must have weights for 2 channels in 1 gr",
        ),
        (Convolution("c", ("x",), "y", np.zeros((4, 4, 1, 2), np.int8)), "c must have windows that fit 3 x 3, not 4"),
        (Affine("a", ("x",), "y", np.ones(3), np.zeros(())), "a must have 1 or 2 numbers, not 3"),
    ],
)
def test_operators_that_do_not_fit(operator, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        shapes(Model("m", "test", Input("x", (3, 3, 2)), (operator,), "y"))


def test_sums_of_different_shapes():
    operators = MeanPool("m", ("x",), "y"), Add("s", ("x", "y"), "z")
    with pytest.raises(ValueError, match=r"^s must add tensors of the same shape, not \(3, 3, 2\) and \(1, 1, 2\)"):
        shapes(Model("m", "test", Input("x", (3, 3, 2)), operators, "z"))
