"""The accuracy and the confusion matrix of the integer model, and its worst errors."""

import base64
import io

import numpy as np
from PIL import Image

from psahw.network.evaluation import evaluate, predictions
from psahw.network.graph import Output
from psahw.network.mistakes import mistakes
from psahw.network.random import random_images, random_network
from psahw.report.results import MOST_BYTES

RIGHT = np.array([[0.0, 10, 5], [2, 10, 6], [4, 10, 7], [6, 10, 8]])
NAMES = ("x", "y", "z")
NOISE = np.random.default_rng(0).integers(0, 256, (4, 300, 200, 3), np.uint8)


def test_evaluate():
    rng = np.random.default_rng(1)
    network = random_network(rng)
    images, labels = random_images(rng, network, 40), rng.integers(0, 5, 40)
    result = evaluate(network, images, labels, "some")
    assert sum(map(sum, result["confusion"])) == 40
    assert sum(result["confusion"][i][i] for i in range(5)) == result["correct"]
    assert result["accuracy"] == 100 * result["correct"] / 40
    assert [sum(row) for row in result["confusion"]] == np.bincount(labels, minlength=5).tolist()


def _mistakes(output, codes, right, images=NOISE, raw=None):
    return mistakes(output, codes, predictions(output, codes), images, right, raw)


def test_worst_classes():
    """An error is as bad as the answer exceeds the right class; the picture is reduced to 96 pixels at most."""
    codes = np.array([[5, 1, 0], [0, 9, 1], [3, 3, 1], [9, 1, 8]])
    found = _mistakes(Output("class", NAMES), codes, np.array([1, 1, 1, 2]))
    assert found.keys() == {"worst"}
    assert [(e["index"], e["right"], e["answer"]) for e in found["worst"]] == [
        (0, "y", "x"), (3, "z", "x"), (2, "y", "x")
    ]  # fmt: skip
    content = found["worst"][0]["image"]
    assert len(content) <= MOST_BYTES
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert picture.size == (50, 75)
        block = NOISE[0, :4, :4].mean((0, 1))
        assert np.abs(np.asarray(picture)[0, 0] - block).max() <= 1


def test_worst_labels():
    codes = np.array([[5, -1, 1], [-7, 9, 1], [3, 3, 1], [1, 1, 1]])
    right = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]], np.uint8)
    found = _mistakes(Output("labels", NAMES), codes, right, NOISE[:, :4, :2, :1])["worst"]
    assert [(error["index"], error["right"], error["answer"]) for error in found] == [
        (1, {"y": False, "x": True}, {"y": True, "x": False}),
        (3, {"z": False}, {"z": True}),
    ]
    with Image.open(io.BytesIO(base64.b64decode(found[0]["image"]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), NOISE[1, :4, :2, 0])


def test_worst_values_and_residuals():
    """The scale is 1/2, and the first image is wrong by 3 in x, which varies by sqrt(5), and by 1 in y."""
    output = Output("values", NAMES, (0.5,) * 3, (1.0,) * 3)
    codes = np.array([[4, 20, 8], [2, 18, 10], [6, 18, 12], [10, 18, 14]])
    rows = NOISE[:, :1, :1].copy()
    found = _mistakes(output, codes, RIGHT, rows, lambda row: {"a": row[0] / 2, "b": 1 / 3})
    (error,) = found["worst"]
    assert error == {
        "index": 0, "right": {"x": 0.0, "y": 10.0}, "answer": {"x": 3.0, "y": 11.0},
        "row": {"a": rows[0, 0, 0, 0] / 2, "b": 0.333333},
    }  # fmt: skip
    assert found["residuals"][0] == {"name": "x", "right": [0, 2, 4, 6], "predicted": [3, 2, 4, 6]}
    assert [one["name"] for one in found["residuals"]] == ["x", "y", "z"]
    assert _mistakes(output, codes, RIGHT, rows)["worst"][0]["row"] == rows[0, 0, 0].tolist()


def test_mistakes_are_bounded():
    count, images = 1001, 1001
    output = Output("values", tuple(f"v{n}" for n in range(count)), (1.0,) * count, (0.0,) * count)
    codes = np.arange(images)[:, None] * (np.arange(count) == 700)
    found = _mistakes(output, codes, np.zeros((images, count)), np.zeros((images, 1, 90, 1), np.uint8))
    assert [error["index"] for error in found["worst"]] == list(range(1000, 984, -1))
    assert found["worst"][0]["answer"] == {"v700": 1000.0} and len(found["worst"][0]["row"]) == 64
    assert len(found["residuals"]) == 6 and "v700" in [one["name"] for one in found["residuals"]]
    assert [len(one["right"]) for one in found["residuals"]] == [334] * 6
