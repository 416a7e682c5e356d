"""Targets, losses and scores of the tasks, and trainings that end in networks for values and labels."""

import math

import numpy as np
import pytest
import torch

from psahw.model import checkpoint
from psahw.model.data import Source
from psahw.model.graphs.network import GraphNet
from psahw.model.graphs.topologies import Mlp
from psahw.model.quantize import quantize
from psahw.model.tasks import answers, loss_of, make_targets, score
from psahw.model.training import train
from psahw.network import file as network_file
from psahw.network.graph import Network

QUICK = {"batch": 50, "compile": False}


def model(mean=0.0, deviation=1.0):
    network = GraphNet(Mlp(image=(1, 1), colours=2, classes=2, widths=(2,), task="values"))
    network.target_mean.fill_(mean)
    network.target_deviation.fill_(deviation)
    return network


def test_targets():
    classes = make_targets(np.array([1, 0]), "class", 4, 0.2, model())
    assert torch.allclose(classes, torch.tensor([[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]))
    labels = make_targets(np.array([[1, 0]], np.uint8), "labels", 2, 0.2, model())
    assert torch.allclose(labels, torch.tensor([[0.9, 0.1]]))
    values = make_targets(np.array([[12.0, 8.0]], np.float32), "values", 2, 0.2, model(10, 2))
    assert torch.allclose(values, torch.tensor([[1.0, -1.0]]))


def test_losses():
    outputs = torch.tensor([[0.0, 1.0]])
    assert float(loss_of("class")(outputs, torch.tensor([[0.0, 1.0]]))) == pytest.approx(math.log(1 + math.exp(-1)))
    expected = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    assert float(loss_of("labels")(outputs, torch.tensor([[1.0, 1.0]]))) == pytest.approx(expected)
    assert float(loss_of("values")(outputs, torch.tensor([[2.0, 1.0]]))) == 2.0


def test_scores():
    outputs = np.array([[1.0, -1.0], [2.0, 3.0]])
    assert score(outputs, np.array([0, 0]), "class", model()) == 50
    assert score(outputs, np.array([[1, 1], [1, 1]]), "labels", model()) == 75
    right = np.array([[12.0, 8.0], [14.0, 16.0]], np.float32)
    assert score(outputs, right, "values", model(10, 2)) == pytest.approx(100)
    off = right + np.array([[0, 0], [0, 4]])
    assert score(outputs, off, "values", model(10, 2)) == pytest.approx(100 * (1 - 16 / 72 / 2))
    assert answers(outputs, "values", model(10, 2)).tolist() == right.tolist()
    assert answers(outputs, "labels", model()).tolist() == [[True, False], [True, True]]


@pytest.fixture(scope="module")
def motor(tmp_path_factory):
    """Return a data set of two values, far from 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (400, 3))
    y = np.stack((1000 + 3 * x[:, 0], 5 * x[:, 1] - 7), 1)
    path = tmp_path_factory.mktemp("motor") / "motor.npz"
    np.savez(path, x=x, y=y, classes=np.array(["torque", "speed"]))
    return Source(str(path), task="values")


def test_average_of_weights_leaves_the_targets_as_they_are(motor, tmp_path):
    from psahw.model.data import load

    result = train("mlp", tmp_path / "run", changes=["widths=[4]"], dataset=motor, epochs=1, ema=0.99, **QUICK)
    trained, _ = checkpoint.load_model(result.model)
    data = load(motor)
    labels = data.train_labels[data.split()[0]].astype(np.float64)
    assert trained.target_mean.tolist() == pytest.approx(labels.mean(0), rel=1e-5)
    assert trained.target_deviation.tolist() == pytest.approx(labels.std(0), rel=1e-4)


def test_few_bits_and_pruned_weights_survive_an_interruption(motor, tmp_path):
    """A resumed fine-tuning of a network with both ends with the same network as an uninterrupted one."""
    train("mlp", tmp_path / "float", changes=["widths=[6]"], dataset=motor, epochs=2, **QUICK)
    options = {"dataset": motor, "bits": "5", "prune": "0.4", "epochs": 2, **QUICK}
    whole = quantize(tmp_path / "float", "motor", tmp_path / "whole", **options)
    quantize(tmp_path / "float", "motor", tmp_path / "halves", stop_after=1, **options)
    halves = quantize(tmp_path / "float", "motor", tmp_path / "halves", **options)
    networks: list[Network] = [network_file.load(result.network) for result in (whole, halves)]
    assert len({network_file.digest(network) for network in networks}) == 1
    weights = [place.layer.weight for place in networks[0].linears()]
    assert all(np.abs(weight).max() <= 16 for weight in weights)
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros >= 0.4 * sum(weight.size for weight in weights) - 1
    assert whole.logits_compared > 0
