"""Figures, residuals and the worst errors of each task are on the page, escaped and with nothing left out unsaid."""

import dataclasses
import re

import numpy as np
import pytest

from psahw.network.evaluation import evaluate
from psahw.network.graph import Output
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.resmlp import Patch
from psahw.network.summary import summarise
from psahw.report.functions import table_functions
from psahw.report.page import render
from tests.report import NASTY
from tests.report.test_page import parse

PICTURES = {"image": (16, 16), "stages": (StageShape(8, 6, 1),)}
ROWS = {"image": (1, 1), "stages": (StageShape(8, 6, 1),), "patch": Patch(1, 1)}


def answered(kind, classes=3, data=PICTURES):
    """Return a network for a task, whose first output has a nasty name, and its evaluation on random images."""
    rng = np.random.default_rng(2)
    network = random_network(rng, classes=classes, name="n", **data)
    units = ((0.5,) * classes, (1.0,) * classes) if kind == "values" else ()
    network = dataclasses.replace(network, output=Output(kind, (NASTY, *map(str, range(1, classes))), *units))
    images, right = random_images(rng, network, 40), rng.integers(0, classes, 40)
    if kind != "class":
        right = rng.integers(0, 2, (40, classes)) if kind == "labels" else rng.normal(size=(40, classes))
    return network, evaluate(network, images, right, "photos")


def page(network, evaluation):
    return render(summarise(network), table_functions(network), evaluation=evaluation)


@pytest.mark.parametrize("kind", ["class", "labels", "values"])
@pytest.mark.parametrize("data", [PICTURES, ROWS], ids=["pictures", "rows"])
def test_every_task(kind, data):
    network, evaluation = answered(kind, data=data)
    html = page(network, evaluation)
    parser = parse(html)
    text = "".join(parser.text)
    assert "<script" not in html and NASTY in text
    shown = html.count("<figure") if data is PICTURES else html.count('data-label="input"')
    assert shown == len(evaluation["worst"]) > 2
    figures = re.findall(r'<td class="number" data-label="recall, %">([^<]*)<', html)
    if kind == "values":
        assert f"explains, is {100 * evaluation['r2']:.2f} % for 40 images of photos" in text
        assert html.count('class="cloud"') == 2 * 2 * 3  # points and legend of two charts of three values
        assert len(re.findall(r"M[\d. ]+h0", html)) == 2 * 3 * (40 + 1)
        assert f"{evaluation['values'][1]['rmse']:.4g}" in text and "accuracy, 40 images" not in text
    else:
        outputs = evaluation["classes" if kind == "class" else "labels"]
        assert figures == [f"{one['recall']:.1f}" for one in outputs]
        assert ('class="confusion"' in html) == (kind == "class")
        assert f"{evaluation['accuracy']:.2f} %" in text


@pytest.mark.parametrize(("kind", "words"), [("class", "logits"), ("labels", "outputs"), ("values", "outputs")])
def test_words_of_a_simulation(kind, words):
    """Only a network that chooses a class has logits and classes."""
    network, _ = answered(kind, 3)
    cycles = {"frame_interval": 9, "frame_interval_predicted": 9, "latency": 20, "latency_predicted": 20}
    simulated = {"images": 5, "mismatched_logits": 0, "mismatched_classes": 0, **cycles}
    text = "".join(parse(render(summarise(network), table_functions(network), simulation=simulated)).text)
    assert f"wrong {words} in 5 simulated images" in text
    assert ("wrong classes" in text) == (kind == "class")


def test_many_values_and_labels():
    """The worst are shown, and the page says so."""
    text = "".join(parse(page(*answered("values", 50))).text)
    assert "Of 50 values, the 40 whose R² is lowest." in text
    assert "Of 50 values, the 6 with the largest errors are drawn." in text
    html = page(*answered("labels", 50))
    assert "Of 50 labels, the 40 whose recall is lowest." in html and html.count('data-label="recall, %"') == 40


def test_older_evaluations():
    """An evaluation without figures of each class and without errors has a page, too."""
    network, evaluation = answered("class")
    older = {name: evaluation[name] for name in ("images", "correct", "accuracy", "dataset", "confusion")}
    text = "".join(parse(page(network, older)).text)
    assert "The rows are the true classes" in text and "Worst errors" not in text
