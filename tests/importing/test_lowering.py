"""Networks made from operators, against the operators themselves."""

import numpy as np
import pytest

from psahw.importing.lowering import InputFormat, lower
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
    Quantise,
    Quantiser,
    evaluate,
)
from psahw.importing.unsupported import Unsupported
from psahw.network import reference
from psahw.network.evaluation import predictions

PIXELS = Quantiser(np.array(0.25), zero_point=-128)


def convolution(name, source, rng, shape, padding=(0, 0, 0, 0), **options):
    """Return a convolution with random weights and, if its input has several channels, scales of its own."""
    weight = rng.integers(-9, 10, shape).astype(np.int8)
    scale, bias = rng.uniform(0.01, 0.02, shape[0]), rng.normal(size=shape[0])
    return Convolution(name, (source,), name, weight, scale, bias, padding=padding, **options)


def quantised(name, source, scale, **options):
    return Quantise(name, (source,), name, Quantiser(np.array(scale), **options))


def compare(lowered, model, count=20):
    """Return the model's output and that of the network, for random bytes."""
    network = lowered.network
    rng = np.random.default_rng(7)
    images = rng.integers(0, lowered.input_format.count, (count, *network.image, network.colours)).astype(np.uint8)
    right = evaluate(model, lowered.input_format.values()[images])[model.output].reshape(count, -1)
    return right, reference.run(network, images), images


def chain(*operators, shape=(6, 5, 2), quantiser=PIXELS):
    return Model("m", "test", Input("x", shape, quantiser), operators, operators[-1].output)


@pytest.mark.parametrize("exact", [True, False])
def test_a_convolutional_network(exact):
    """With thresholds, every code is right; without, halves of the last layer are rounded up, not to even codes."""
    rng = np.random.default_rng(1)
    model = chain(
        convolution("a", "x", rng, (4, 3, 3, 2), (1, 0, 1, 1), stride=(2, 1)),
        Clip("r", ("a",), "r"),
        quantised("q", "r", 0.05, zero_point=-128),
        convolution("d", "q", rng, (4, 3, 3, 1), (1, 1, 1, 1), groups=4),
        quantised("e", "d", 2.0**-6, bits=6, zero_point=3),
        MaxPool("p", ("e",), "p", (2, 2), (1, 1)),
        Flatten("f", ("p",), "f", channels_first=True),
        Convolution("h", ("f",), "h", rng.integers(-128, 128, (3, 1, 1, 32)).astype(np.int8), np.full(3, 0.125)),
        quantised("o", "h", 0.5),
    )
    lowered = lower(model, exact=exact)
    right, logits, _ = compare(lowered, model)
    codes = np.rint(right / lowered.scale)
    assert np.abs(logits - codes).max() <= (0 if exact else 2)
    assert all(line.exact for line in lowered.lines) == exact


def test_quantisers_of_few_bits_are_exact():
    """Batch norms with factors of both signs, two bits, and a last layer that nothing quantises."""
    rng = np.random.default_rng(2)
    norm = Affine("n", ("a",), "n", rng.normal(size=8), rng.normal(size=8))
    model = chain(
        quantised("i", "x", 16.0, bits=2, narrow=True),
        Flatten("f", ("i",), "f"),
        convolution("a", "f", rng, (8, 1, 1, 60)),
        norm,
        quantised("q", "n", 0.7, bits=2),
        Convolution("h", ("q",), "h", rng.integers(-1, 2, (3, 1, 1, 8)).astype(np.int8), np.array(0.5)),
    )
    lowered = lower(model)
    right, logits, _ = compare(lowered, model)
    assert logits * lowered.scale + lowered.offset == pytest.approx(right)
    assert len(np.unique(logits)) > 3


@pytest.mark.parametrize("identity", [True, False])
def test_residual_connection(identity):
    """Summands on three grids, one with a zero point. Rounding them first changes a code by one at most."""
    rng = np.random.default_rng(3)
    first = (
        convolution("s", "x", rng, (3, 1, 1, 2)),
        Clip("sr", ("s",), "sr"),
        quantised("t", "sr", 0.04, zero_point=-128),
    )
    branch = (convolution("a", "t", rng, (3, 3, 3, 3), (1, 1, 1, 1)), quantised("b", "a", 0.03, zero_point=5))
    other = () if identity else (convolution("c", "t", rng, (3, 1, 1, 3)), quantised("e", "c", 0.011, zero_point=-7))
    end = "t" if identity else "e"
    last = (
        Add("add", (end, "b"), "add"),
        Clip("r", ("add",), "r"),
        quantised("u", "r", 0.05, zero_point=-128),
        MeanPool("m", ("u",), "m"),
        quantised("v", "m", 0.05, zero_point=-128, rounding="half up"),
    )
    model = chain(*first, *branch, *other, *last)
    lowered = lower(model, exact=True, task="values")
    right, logits, _ = compare(lowered, model)
    assert np.abs(logits - np.rint(right / 0.05)).max() <= 1


@pytest.mark.parametrize(
    ("zero", "options"),
    [
        (-128, {"zero_point": -128, "rounding": "half away from code 0"}),
        (-5, {"zero_point": -5, "rounding": "half away from code 0"}),
        (-128, {"zero_point": -128, "rounding": "half up"}),
        (4, {"zero_point": -20, "rounding": "half up", "bits": 7}),
    ],
)
@pytest.mark.parametrize("scale", [0.25, 0.3])
def test_means_are_exact(zero, options, scale):
    """Also halves, which TensorFlow Lite rounds away from the code 0."""
    pixels = Quantiser(np.array(0.25), zero_point=zero)
    model = chain(
        MeanPool("m", ("x",), "m"), quantised("q", "m", scale, **options),
        Convolution("h", ("q",), "h", np.eye(2, dtype=np.int8).reshape(2, 1, 1, 2)),
        shape=(4, 8, 2), quantiser=pixels,
    )  # fmt: skip
    lowered = lower(model)
    assert all(line.exact for line in lowered.lines)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (999, 1, 1, 2)) + rng.integers(-9, 10, (999, 4, 8, 2))
    images = images.clip(0, 255).astype(np.uint8)
    assert ((images.astype(int).sum((1, 2)) % 32) == 16).any()
    right = evaluate(model, lowered.input_format.values()[images])["h"].reshape(999, 2)
    logits = reference.run(lowered.network, images)
    assert np.array_equal(np.rint((lowered.scale * logits + lowered.offset) / scale), np.rint(right / scale))


def test_labels_and_an_input_of_two_numbers():
    rng = np.random.default_rng(4)
    model = chain(
        Convolution(
            "h", ("x",), "h", rng.integers(-3, 4, (1, 1, 1, 2)).astype(np.int8), np.array(0.3), np.array([0.1])
        ),
        Bipolar("b", ("h",), "b", np.array(1.0)),
        shape=(1, 1, 2),
        quantiser=None,
    )
    with pytest.raises(Unsupported, match="give an input format"):
        lower(model)
    lowered = lower(model, input_format=InputFormat(-1, 1, 2))
    right, logits, _ = compare(lowered, model)
    assert lowered.network.output.kind == "labels"
    assert np.array_equal(np.where(logits > 0, 1, -1), right)


def test_what_is_not_quantised_is_refused():
    rng = np.random.default_rng(5)
    model = chain(convolution("a", "x", rng, (3, 1, 1, 2)), convolution("b", "a", rng, (3, 1, 1, 3)))
    with pytest.raises(Unsupported, match=r"b .*: its input is not quantised"):
        lower(model)


@pytest.mark.parametrize(
    "arguments", [(1, 1), (2, 1), (0, float("nan")), (0, 1, 1), (0, 1, 257), (-1e308, 1e308), (0, 1e39), (0, 1e-39)]
)
def test_wrong_input_format(arguments):
    with pytest.raises(ValueError, match="input format"):
        InputFormat(*arguments)


@pytest.mark.parametrize(
    ("scales", "bits"), [((0.5, 0.5), 0), ((0.5, 0.125), 2), ((1.0, 2.0), 0), ((0.9717, 0.9373), None)]
)
@pytest.mark.parametrize("zero", [0, 100])
def test_sums_of_codes(scales, bits, zero):
    """Summands have the fewest more bits with which they are exact; the note counts pairs of codes that differ."""
    model = chain(
        quantised("s", "x", scales[0], rounding="half up"),
        Convolution("c", ("s",), "c", np.array([[1, 2], [-3, 1]], np.int8).reshape(2, 1, 1, 2), np.full(2, 0.25)),
        quantised("b", "c", scales[1], zero_point=3),
        Add("a", ("s", "b"), "a"),
        quantised("q", "a", 0.5, rounding="half up", zero_point=zero),
        Convolution("h", ("q",), "h", np.eye(2, dtype=np.int8).reshape(2, 1, 1, 2)),
        shape=(1, 1, 2),
        quantiser=Quantiser(np.array(1.0), zero_point=-100),
    )
    lowered = lower(model, exact=True)
    (line,) = (line for line in lowered.lines if line.operator == "a")
    added = lowered.network.place("a").layer
    right, logits, _ = compare(lowered, model, 2000)
    wrong = (np.rint(right / 0.5) != np.rint((logits * lowered.scale + lowered.offset) / 0.5)).mean()
    if bits is None:
        # The note is about all pairs of codes, of which only some occur here.
        share = 0 if line.exact else float(line.note.split("; ")[1].split(" %")[0])
        assert added.shift > 8 and wrong < 0.001 and share < 0.05
    else:
        assert (added.shift, line.note, wrong) == (bits, "exact", 0)


def test_all_that_is_not_supported_is_listed():
    """Also behind the first: float weights, a sum that nothing quantises, and wide codes, in the model's order."""
    rng = np.random.default_rng(6)
    model = chain(
        quantised("i", "x", 0.5),
        Convolution("a", ("i",), "a", rng.normal(size=(2, 1, 1, 2))),
        quantised("b", "a", 0.5),
        Add("s", ("i", "b"), "s"),
        Convolution("c", ("s",), "c", rng.integers(-9, 9, (2, 1, 1, 2)).astype(np.int8)),
        quantised("w", "c", 0.5, bits=12),
        MaxPool("p", ("w",), "p", (2, 2), (1, 1)),
        quantised("o", "p", np.array([0.5, 1.0])),
    )
    with pytest.raises(Unsupported) as caught:
        lower(model)
    assert [node[:2] for node in caught.value.nodes] == [
        ("a", "Convolution"), ("s", "Add"), ("w", "Quantise"), ("o", "Quantise")
    ]  # fmt: skip
    reasons = [node[2] for node in caught.value.nodes]
    assert "not integers" in reasons[0] and "no quantiser" in reasons[1]
    assert "12 bits" in reasons[2] and "for each channel" in reasons[3]


@pytest.mark.parametrize("channels_first", [False, True])
def test_functions_of_each_channel_behind_a_flattening(channels_first):
    rng = np.random.default_rng(11)
    model = chain(
        convolution("a", "x", rng, (3, 3, 3, 2)),
        quantised("q", "a", 0.25),
        Flatten("f", ("q",), "f", channels_first=channels_first),
        Affine("n", ("f",), "n", rng.uniform(0.5, 2, 36), rng.uniform(-2, 2, 36)),
        quantised("c", "n", 0.125),
        Convolution("h", ("c",), "h", rng.integers(-9, 10, (4, 1, 1, 36)).astype(np.int8), np.ones(4)),
    )
    lowered = lower(model, exact=True)
    right, logits, _ = compare(lowered, model)
    assert np.array_equal(logits * lowered.scale, right)


def test_a_grouped_convolution_behind_a_flattening():
    rng = np.random.default_rng(12)
    model = chain(
        convolution("a", "x", rng, (4, 3, 3, 2)),
        quantised("q", "a", 0.25),
        Flatten("f", ("q",), "f", channels_first=True),
        Convolution("h", ("f",), "h", rng.integers(-9, 10, (4, 1, 1, 24)).astype(np.int8), np.ones(4), groups=2),
    )
    lowered = lower(model, exact=True)
    right, logits, _ = compare(lowered, model)
    assert np.array_equal(logits * lowered.scale, right)


def test_outputs_of_which_channels_come_first():
    rng = np.random.default_rng(13)
    model = chain(
        convolution("a", "x", rng, (3, 3, 3, 2)),
        quantised("q", "a", 0.25),
        Flatten("f", ("q",), "f", channels_first=True),
    )
    with pytest.raises(Unsupported, match="f \\(Flatten\\): channels come first, and no dense layer follows"):
        lower(model)


def test_a_model_without_operators():
    with pytest.raises(Unsupported, match="x \\(tensor\\): it is the input and the output: nothing is computed"):
        lower(Model("m", "test", Input("x", (6, 5, 2), PIXELS), (), "x"))


@pytest.mark.parametrize("scales", [(1.0, 0.5, 2.0, 0.0), (0.003, 0.002, 0.0025, 1.0), (1.0, 0.5, 0.25, 1e-6)])
def test_factors_of_outputs_far_apart(scales):
    """The bias of an output counts, even if its sums are nothing beside those of the others, or all 0."""
    rng = np.random.default_rng(14)
    weight = rng.integers(-9, 10, (4, 1, 1, 6)).astype(np.int8)
    weight[3] = 0 if scales[3] == 1 else weight[3]
    bias = np.array([0.5, -0.25, 0.125, 3.0]) * (100 if scales[0] == 1 else 1)
    model = chain(Convolution("h", ("x",), "h", weight, np.array(scales), bias), shape=(1, 1, 6))
    lowered = lower(model)
    right, logits, _ = compare(lowered, model, 200)
    unit = PIXELS.scale * max(scales[:3])  # of the largest sum, to which biases are rounded
    assert np.abs(logits * lowered.scale + lowered.offset - right).max() < 1.5 * unit


@pytest.mark.parametrize("bipolar", [False, True])
@pytest.mark.parametrize("number", [None, {"zero_point": -100}, {"zero_point": 100, "signed": False}, {"bits": 4}])
def test_labels_are_signs(number, bipolar):
    """Labels are present where outputs are above 0, or +1, whatever the code of 0 is."""
    rng = np.random.default_rng(15)
    weight = rng.integers(-9, 10, (3, 1, 1, 6)).astype(np.int8)
    operators = [Convolution("h", ("x",), "h", weight, np.full(3, 0.5), np.array([1, -2, 3]) / 8)]
    if number is not None:
        operators.append(quantised("q", "h", 2.0, **number))
    if bipolar:
        operators.append(Bipolar("b", (operators[-1].output,), "b", np.ones(())))
    model = chain(*operators, shape=(1, 1, 6))
    lowered = lower(model, task="labels")
    right, logits, _ = compare(lowered, model, 500)
    assert np.array_equal(predictions(lowered.network.output, logits), right > 0) and (right > 0).any(0).all()


def test_labels_with_one_bias():
    weight = np.random.default_rng(16).integers(-9, 10, (3, 1, 1, 6)).astype(np.int8)
    model = chain(
        Convolution("h", ("x",), "h", weight, np.full(3, 0.5), np.full(3, 7.25)),
        shape=(1, 1, 6),
        quantiser=Quantiser(np.array(0.25), bits=7, signed=False),
    )
    lowered = lower(model, task="labels")
    right, logits, _ = compare(lowered, model, 500)
    assert np.array_equal(predictions(lowered.network.output, logits), right > 0)


def test_means_without_a_quantiser_are_rounded():
    """They are within half a code of the model's."""
    rng = np.random.default_rng(17)
    model = chain(
        convolution("a", "x", rng, (3, 3, 3, 2)),
        quantised("q", "a", 0.25),
        MeanPool("m", ("q",), "m"),
    )
    lowered = lower(model, exact=True)
    right, logits, _ = compare(lowered, model)
    assert 0 < np.abs(logits * lowered.scale - right).max() <= 0.125
    (line,) = (line for line in lowered.lines if line.kind == "MeanPool")
    assert (line.exact, line.note) == (False, "means rounded to codes of the input")


def test_codes_of_0_and_minus_1():
    """One bit with the zero point 1 has no type of its own: signed codes have two bits at least."""
    rng = np.random.default_rng(18)
    model = chain(
        convolution("a", "x", rng, (4, 1, 1, 6)),
        quantised("q", "a", 2.0, bits=1, signed=False, zero_point=1),
        Convolution("h", ("q",), "h", rng.integers(-9, 10, (3, 1, 1, 4)).astype(np.int8), np.ones(3)),
        shape=(1, 1, 6),
    )
    lowered = lower(model)
    right, logits, _ = compare(lowered, model)
    assert np.array_equal(logits * lowered.scale + lowered.offset, right) and len(np.unique(right)) > 3


def test_an_unknown_task():
    model = chain(convolution("a", "x", np.random.default_rng(19), (3, 1, 1, 6)), shape=(1, 1, 6))
    with pytest.raises(ValueError, match=r"^task must be one of class, values, labels, not 'classes'$"):
        lower(model, task="classes")
