"""Networks of float models: the scales, the format of the input, the files, and what each operator became."""

from dataclasses import replace

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.importing import operators as ops
from psahw.importing.lowering import InputFormat

pytest.importorskip("torch")

from psahw.flow.calibrating import calibrated
from psahw.model.data import Columns, Dataset
from psahw.model.quantize import quantize
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.file import digest
from psahw.network.layers import Windows


def convolution(rng, name, source, shape, bias=True, **options):
    weight = rng.normal(size=shape)
    return ops.Convolution(name, (source,), name, weight, bias=rng.normal(size=shape[0]) if bias else None, **options)


def pictures(count=80):
    """Return images that differ in the brightness of each colour, and therefore in their classes."""
    rng = np.random.default_rng(2)
    return (rng.integers(0, 256, (count, 5, 4, 2)) * rng.uniform(0, 1, (count, 1, 1, 2))).astype(np.uint8)


def model_for(form):
    """Return a model whose outputs for images in a format have the mean 0, so that all classes occur."""
    rng = np.random.default_rng(1)
    operators = (
        convolution(rng, "conv", "x", (6, 3, 3, 2), padding=(1, 1, 1, 1)),
        ops.Clip("relu", ("conv",), "relu"),
        ops.MeanPool("mean", ("relu",), "mean"),
        convolution(rng, "dense", "mean", (3, 1, 1, 6), bias=False),
    )
    model = ops.Model("small", "test", ops.Input("x", (5, 4, 2)), operators, "dense")
    outputs = ops.evaluate(model, form.values()[pictures()])["dense"].reshape(-1, 3)
    last = replace(operators[-1], bias=-outputs.mean(0))
    return replace(model, operators=(*operators[:-1], last))


def dataset_for(model, form):
    """Return images whose classes are what the model says if bytes stand for a format."""
    images = pictures()
    labels = ops.evaluate(model, form.values()[images])[model.output].reshape(len(images), -1).argmax(1)
    assert len(np.unique(labels)) == 3
    parts = images[:-10], labels[:-10].astype(np.uint8), images[-10:], labels[-10:].astype(np.uint8)
    return Dataset("made", ("a", "b", "c"), *parts)


def test_a_named_data_set_that_does_not_fit(monkeypatch):
    """It is refused before it is downloaded."""
    monkeypatch.setattr("psahw.model.data.load", None)
    with pytest.raises(UserError, match=r"small .*mnist.*name one of the model's form"):
        calibrated(model_for(InputFormat(0, 1)), dataset="mnist")


@pytest.mark.parametrize("form", [InputFormat(0, 1), InputFormat(-1, 1)])
def test_the_format_of_the_input_is_found(form):
    messages, model = [], model_for(form)
    made = calibrated(model, dataset=dataset_for(model, form), images=40, log=messages.append)
    assert made.input_format == form and f"bytes stand for {form.low:g} to 1" in messages[0]
    assert made.float_model is None
    assert made.validation_float == 100


def test_files_and_lines(tmp_path):
    """The float model is one that `quantize` fine-tunes, and its network is the one of the same scales."""
    model = model_for(InputFormat(0, 255))
    data = dataset_for(model, InputFormat(0, 255))
    made = calibrated(
        model, dataset=data, images=30, seed=3, name="n", input_format=InputFormat(0, 255), directory=tmp_path / "run"
    )
    assert made.float_model == tmp_path / "run" / "model.safetensors"
    assert digest(network_file.load(tmp_path / "run" / "n.safetensors")) == digest(made.network)
    assert [(line.operator, line.layers, line.note) for line in made.lines] == [
        ("conv", ("layers.0",), "weights rounded to 8 bits and sums to codes of 8 bits"),
        ("relu", (), "part of the layers around it"),
        ("mean", ("layers.2",), "rounded to codes of 8 bits"),
        ("dense", ("layers.3",), "weights rounded to 8 bits and sums to codes of 16 bits"),
    ]
    (windows,) = [place.layer for place in made.network.places if isinstance(place.layer, Windows)]
    assert windows.code == -128  # byte 0, which is the number 0 of this format
    real = ops.evaluate(model, data.train_images.astype(float))["dense"].reshape(70, -1)
    logits = reference.run(made.network, data.train_images)
    assert np.corrcoef(real.ravel(), logits.ravel())[0, 1] > 0.99
    again = quantize(
        made.float_model, "n", tmp_path / "again", calibration=30, calibration_seed=3, epochs=0, dataset=data
    )
    assert digest(network_file.load(again.network)) == digest(made.network)
    options = dict(epochs=1, batch=16, compile=False, dataset=data, flip=False, crop=0)
    tuned = quantize(tmp_path / "run", "tuned", tmp_path / "tuned", **options)
    assert tuned.logits_compared == 3 * 7 and digest(network_file.load(tuned.network)) != digest(made.network)


def test_columns_of_a_table_have_their_own_numbers():
    """Byte 0 and the step of each column are those of the data set."""
    rng = np.random.default_rng(4)
    operators = (
        convolution(rng, "a", "x", (8, 1, 1, 2)),
        ops.Clip("r", ("a",), "r"),
        convolution(rng, "b", "r", (3, 1, 1, 8)),
    )
    model = ops.Model("table", "test", ops.Input("x", (1, 1, 2)), operators, "b")
    columns = Columns(("one", "two"), (-3.0, 100.0), (0.02, 1.0), (0.0, 0.0))
    images = rng.integers(0, 256, (90, 1, 1, 2)).astype(np.uint8)
    real = ops.evaluate(model, np.array(columns.offset) + np.array(columns.step) * images)["b"].reshape(90, -1)
    labels = real.argmax(1).astype(np.uint8)
    data = Dataset("t", ("a", "b", "c"), images, labels, images[:5], labels[:5], columns=columns)
    made = calibrated(model, dataset=data, images=60)
    assert made.input_format is None and made.validation_float == 100
    assert np.corrcoef(real.ravel(), reference.run(made.network, images).ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(images=0), "images must be 1 or more, not 0"),
        (dict(bits=9), r"bits must be in \[2, 8\], not 9"),
        (dict(input_format=InputFormat(0, 1, 16)), "a float model takes all 256 bytes, not 16"),
        (dict(dataset="digits"), r"small takes images of \(5, 4, 2\) in 3 classes; digits has \(8, 8, 1\) in 10"),
    ],
)
def test_wrong_options(options, message):
    model = model_for(InputFormat(0, 1))
    with pytest.raises(UserError, match=message):
        calibrated(model, **dict(dataset=dataset_for(model, InputFormat(0, 1))) | options)


def test_a_model_that_is_never_right_needs_a_format():
    model = model_for(InputFormat(0, 1))
    data = dataset_for(model, InputFormat(0, 1))
    never = replace(data, train_labels=np.full_like(data.train_labels, 3), classes=("a", "b", "c", "d"))
    last = model.operators[-1]
    weight, bias = np.concatenate((last.weight, last.weight[:1])), np.append(last.bias, -1e4)
    last = replace(last, weight=weight, bias=bias)
    with pytest.raises(UserError, match=r"small is right for at most .* give the numbers of byte 0 and byte 255"):
        calibrated(replace(model, operators=(*model.operators[:-1], last)), dataset=never)
