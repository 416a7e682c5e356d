"""Test `psahw.demo`: arguments that are refused before any long work, and data other than the shipped images."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest

import psahw
from psahw.errors import UserError
from psahw.network import reference
from psahw.network.graph import Output
from psahw.network.random import random_images, random_network


@pytest.mark.parametrize("images", [1, 101])
def test_number_of_images(images, network, tmp_path):
    with pytest.raises(ValueError, match=rf"^images must be in \[2, 100\], not {images}$"):
        psahw.demo(network, tmp_path, images=images)


def test_other_images(tmp_path):
    pytest.importorskip("cocotb")
    small = random_network(np.random.default_rng(0), image=(8, 8), name="small")
    form = re.escape("small takes images of (8, 8, 3) in 5 classes; sample has (32, 32, 3) in 10")
    with pytest.raises(UserError, match=f"^{form}; name a data set of this form with --dataset, or random$"):
        psahw.demo(small, tmp_path)
    assert os.listdir(tmp_path) == []


def test_other_data(tmp_path, monkeypatch):
    """Test images of the user's own data are evaluated, up to a hundred of them, and simulated."""
    pytest.importorskip("cocotb")
    network = random_network(np.random.default_rng(0), image=(8, 8), name="small")
    images = random_images(np.random.default_rng(1), network, 30)
    labels = np.arange(30) % 5
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images[:7], y_test=labels[:7])
    result = psahw.demo(network, tmp_path / "out", dataset=str(tmp_path / "own.npz"))
    result.check()
    assert result.simulation.images == result.evaluation["images"] == 7
    right = int((reference.run(network, images[:7]).argmax(1) == labels[:7]).sum())
    assert result.evaluation["correct"] == result.simulation.correct == right


def test_random_images(tmp_path):
    """They fit a network for values, whose accuracy on them is not measured."""
    pytest.importorskip("cocotb")
    network = random_network(np.random.default_rng(0), image=(8, 8), classes=2, name="small")
    values = Output("values", ("a", "b"), (0.5, 2.0), (0.0, 1.0))
    result = psahw.demo(dataclasses.replace(network, output=values), tmp_path, images=3, dataset="random")
    result.check()
    assert result.simulation.images == 3 and result.evaluation is None
    assert json.loads((tmp_path / "evaluation.json").read_text()) is None
    assert "wrong outputs in 3 simulated images" in (tmp_path / "report.html").read_text()
