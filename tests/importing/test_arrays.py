"""Networks from NumPy arrays, against plain NumPy."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from psahw.importing import inputs
from psahw.network import file as network_file
from psahw.network import reference

ROOT = Path(__file__).parents[2]


def bytes_for(network, count=40, levels=256):
    shape = (count, *network.image, network.colours)
    return np.random.default_rng(5).integers(0, levels, shape).astype(np.uint8)


def windows(x, weight, stride, padding):
    """Return sums of windows, position by position: x (images, rows, columns, inputs), weight (outputs, ...)."""
    above, below, left, right = padding
    x = np.pad(x, ((0, 0), (above, below), (left, right), (0, 0)))
    rows, columns = weight.shape[1:3]
    grid = [
        [np.einsum("nijc,oijc->no", x[:, r : r + rows, c : c + columns], weight) for c in range(0, last, stride)]
        for last in [x.shape[2] - columns + 1]
        for r in range(0, x.shape[1] - rows + 1, stride)
    ]
    return np.moveaxis(np.array(grid), 2, 0)


def codes(x, scale, low, high):
    return np.clip(np.rint(x / scale), low, high)


def pooled(x):
    """Return the greatest of each 2 x 2."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    return np.max([x[:, r : 2 * height : 2, c : 2 * width : 2] for r in (0, 1) for c in (0, 1)], 0)


def test_the_example_of_an_mlp(tmp_path, monkeypatch):
    """A dozen lines lead from arrays to a network file that gives the logits of a matrix product."""
    text = (ROOT / "examples" / "mlp_from_arrays.py").read_text()
    lines = [line for line in text.partition('"""\n\n')[2].splitlines() if line]
    assert len(lines) <= 12
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(ROOT / "examples" / "mlp_from_arrays.py"))
    network = network_file.load("mlp.safetensors")
    images = bytes_for(network, levels=16)
    x = images.reshape(-1, 64) / 16
    hidden = codes(x @ (0.02 * names["weight1"]).T + names["bias1"], 1 / 32, 0, 63)
    # A logit counts the products of the second layer, so its unit is 0.05 / 32.
    wanted = hidden @ names["weight2"].T + np.rint(names["bias2"] / (0.05 / 32))
    assert (reference.run(network, images) == wanted).all()


def test_a_convolutional_network():
    """Padding at stride 2, depthwise and residual layers, pools, a function, and torch's order of channels."""
    rng = np.random.default_rng(1)
    first = rng.integers(-9, 10, (4, 3, 3, 2))
    depthwise, second = rng.integers(-9, 10, (4, 3, 3, 1)), rng.integers(-9, 10, (4, 1, 1, 4))
    last, bias = rng.integers(-9, 10, (3, 4 * 2 * 2)), rng.integers(-50, 50, 3)

    x = inputs((9, 7, 2), scale=1 / 8, zero_point=0, bits=7)
    x = x.convolution(first / 64, np.array([0.5, -1, 0, 2]), stride=2, padding="same").quantise(1 / 4)
    branch = x.convolution(depthwise, scale=2.0**-8, padding=1, groups=4).relu().quantise(1 / 16, signed=False)
    branch = branch.convolution(second, scale=2.0**-6).quantise(1 / 4)
    x = (x + branch).relu().quantise(1 / 4, signed=False, bits=7)
    x = x.quantise(1 / 32, function=np.sin)
    x = x.max_pool(2).flatten(channels_first=True)
    x = x.dense(last, bias, scale=1 / 128)
    assert x.shape == (1, 1, 3)
    lowered = x.lowered("conv", exact=True)

    images = bytes_for(lowered.network, levels=128)
    y = windows(images / 8, first / 64, 2, (1, 1, 1, 1)) + np.array([0.5, -1, 0, 2])
    y = codes(y, 1 / 4, -128, 127) / 4
    z = np.concatenate([windows(y[..., [n]], depthwise[[n]] / 256, 1, (1, 1, 1, 1)) for n in range(4)], -1)
    z = codes(np.maximum(z, 0), 1 / 16, 0, 255) / 16
    z = codes(windows(z, second / 64, 1, (0, 0, 0, 0)), 1 / 4, -128, 127) / 4
    y = codes(np.maximum(y + z, 0), 1 / 4, 0, 127) / 4
    y = codes(np.sin(y), 1 / 32, -128, 127)
    y = pooled(y)
    y = np.moveaxis(y, 3, 1).reshape(len(y), -1)
    wanted = y @ last.T + bias
    assert (reference.run(lowered.network, images) == wanted).all()
    assert len(np.unique(wanted)) > 100


def test_zero_points_and_batch_norms():
    """Integer biases count in units of a sum, and a mean is on the grid of what it is the mean of."""
    rng = np.random.default_rng(2)
    weight, scale, bias = rng.integers(-20, 20, (5, 1, 1, 3)), rng.uniform(0.01, 0.02, 5), rng.integers(-99, 99, 5)
    factor, offset = rng.normal(size=5), rng.normal(size=5)
    x = inputs((2, 4, 3), 0.5, zero_point=-3, signed=True)
    x = x.convolution(weight, bias, scale=scale).affine(factor, offset).quantise(0.1, zero_point=7).mean_pool()
    lowered = x.dense(np.eye(5)).lowered("norms", exact=True, task="values")
    images = bytes_for(lowered.network)
    y = (images - 128.0 + 3) * 0.5
    y = (y @ weight[:, 0, 0].T + 0.5 * bias) * scale * factor + offset
    y = np.floor(np.clip(np.rint(y / 0.1) + 7, -128, 127).mean((1, 2)) + 0.5) - 7
    assert reference.run(lowered.network, images) * lowered.scale + lowered.offset == pytest.approx(y * 0.1)


ONES = np.ones((2, 3), int)
KERNEL = np.ones((2, 3, 3, 3), int)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda x: x.dense(ONES.astype(str), name="a"),
            TypeError,
            "a: weight must be integers or floats, not of type",
        ),
        (lambda x: x.dense(KERNEL), ValueError, r"dense1: weight must have 2 axes, not shape \(2, 3, 3, 3\)"),
        (
            lambda x: x.dense(np.ones((2, 4))),
            ValueError,
            "dense1: weight must be for 3 inputs, not for 4",
        ),
        (lambda x: x.dense(ONES * np.nan), ValueError, "dense1: weight must be finite"),
        (
            lambda x: x.dense(ONES * 0.3, scale=0.2),
            ValueError,
            r"dense1: weight\[0, 0\] must be an integer times its scale, not 0\.3",
        ),
        (
            lambda x: x.dense(ONES * [[1, 1, 128]]),
            ValueError,
            r"dense1: weight\[0, 2\] must be -128 to 127 times its scale, not 128",
        ),
        (lambda x: x.dense(ONES * 1e-30), ValueError, "dense1: weight must be integers, or floats with their scale"),
        (lambda x: x.dense(ONES, scale=[1, 2, 3]), ValueError, "dense1: scale must be one number or 2, not of shape"),
        (lambda x: x.dense(ONES, scale=-1), ValueError, "dense1: scale must be positive, not -1"),
        (lambda x: x.dense(ONES, np.ones(3)), ValueError, "dense1: bias must have 2 numbers, not 3"),
        (lambda x: x.dense(ONES, np.array([1, 1 << 31])), ValueError, r"dense1: bias must be below 2\^31 units"),
        (
            lambda x: x.dense(ONES).dense(np.ones((2, 2))),
            ValueError,
            r"dense2: its input must be codes: quantise\(\)",
        ),
        (lambda x: x.dense(ONES, name="input"), ValueError, "the name of a layer must be new, not 'input' again"),
        (lambda x: x.convolution(KERNEL), ValueError, "convolution1 must have windows that fit 1 x 1, not 3 x 3"),
        (lambda x: x.convolution(KERNEL, stride=0), ValueError, r"convolution1: stride\[0\] must be in \[1, 1024\]"),
        (lambda x: x.convolution(KERNEL, padding=3), ValueError, r"convolution1: padding\[0\] must be in \[0, 2\]"),
        (
            lambda x: x.convolution(KERNEL, padding=1, groups=3),
            ValueError,
            "convolution1: weight must have outputs in 3 groups, not 2",
        ),
        (
            lambda x: x.convolution(KERNEL[[0, 0, 0]], padding=1, groups=3),
            ValueError,
            "convolution1: weight must be for 3 inputs in 3 groups, not for 9",
        ),
        (lambda x: x.quantise(0.0), ValueError, r"quantise1: scale must be a positive number, not 0\.0"),
        (lambda x: x.quantise("a"), TypeError, "quantise1: scale must be a number, not 'a'"),
        (lambda x: x.quantise(1.0, bits=9), ValueError, r"quantise1: bits must be in \[2, 8\], not 9"),
        (
            lambda x: x.quantise(1.0, zero_point=128),
            ValueError,
            r"quantise1: zero_point must be in \[-128, 127\], not 128",
        ),
        (
            lambda x: x.quantise(1.0, rounding="up"),
            ValueError,
            "quantise1: rounding must be one of half even, .*'up'",
        ),
        (
            lambda x: x.dense(ONES).quantise(1.0, function=np.sin),
            ValueError,
            r"quantise1: a function needs codes: quantise\(\) its input first",
        ),
        (lambda x: x.quantise(1.0, function=np.log), ValueError, "quantise1: its function must give a finite number"),
        (lambda x: x.clip(1, 1), ValueError, "clip1: low must be below high, not 1 and 1"),
        (lambda x: x.affine([1, 2]), ValueError, "affine1: factor must be one number or 3, not of shape"),
        (lambda x: x + 1, TypeError, "a summand must be a Tensor, not 1"),
        (lambda x: x + inputs(3), ValueError, r"both summands must come from the same inputs\(\)"),
        (lambda x: x + x.dense(ONES), ValueError, r"add1 must add tensors of the same shape, not \(1, 1, 3\) and"),
        (lambda x: inputs((2, 2, 3)).dense(ONES), ValueError, r"dense1: its input must have a single .* not 2 x 2"),
        (lambda x: inputs((1, 3)), TypeError, r"shape must be a tuple of 3 integers, not \(1, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(call, kind, message):
    with np.errstate(divide="ignore"), pytest.raises(kind, match=message):
        call(inputs(3))
