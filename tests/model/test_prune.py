"""Tests of pruning against NumPy: which weights are pruned, that they are 0 in the file, and resumed runs."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from psahw.model import data, training_loop
from psahw.model.config import TrainConfig
from psahw.model.export import to_network
from psahw.model.optim import Average
from psahw.model.prune import Pruning, cubic
from psahw.model.quant import QuantizedResMLP
from psahw.network import reference, samples
from tests.model.test_quant import CLASSES, SHAPES, _trained

QUICK = TrainConfig(epochs=3, batch=16, bf16=False, compile=False, muon_lr=0.0025, adamw_lr=4e-4)


def _quantized(shape="local"):
    return QuantizedResMLP(_trained(SHAPES[shape]), samples.load()[0])


def _folded(model):
    return {name: layer.folded()[0].detach().numpy() for name, layer in model.layers().items()}


def _nonzero(model):
    return {name: int(np.count_nonzero(layer.weight)) for name, layer, *_ in _network(model).linears()}


def _network(model):
    return to_network(model, "test", CLASSES)


def test_cubic():
    """The schedule is 1 - (1 - t)^3 at the end of each epoch, computed here in exact fractions."""
    schedule = [cubic(epoch, 4) for epoch in range(4)]
    assert schedule == [float(1 - (1 - Fraction(epoch, 4)) ** 3) for epoch in range(1, 5)]
    assert cubic(0, 1) == 1


def test_fraction_of_one_layer_keeps_the_largest():
    model = _quantized()
    name = "stages.0.blocks.0.channel_mixing.linear1"
    before = _folded(model)
    Pruning(model, 0.0, {name: 0.75}).prune()
    mask = model.layers()[name].rows.kept.numpy()
    assert mask.sum() == 64
    assert np.abs(before[name][mask]).min() > np.abs(before[name][~mask]).max()
    assert all(
        layer.rows.kept.sum() == np.count_nonzero(before[n]) for n, layer in model.layers().items() if n != name
    )


def test_common_fraction_is_of_all_other_layers_together():
    """Weights count relative to their layer's root mean square; those outside the grid of a mixing do not count."""
    model = _quantized("pyramid")
    before = _folded(model)
    Pruning(model, 0.6, {"head": 0.0}).prune()
    others = [name for name in before if name != "head"]
    relative = np.concatenate([np.abs(before[n]).ravel() / np.sqrt(np.square(before[n]).mean()) for n in others])
    mask = np.concatenate([model.layers()[name].rows.kept.numpy().ravel() for name in others])
    assert mask.sum() == round(0.4 * np.count_nonzero(relative))
    assert relative[mask].min() >= relative[~mask].max()
    assert model.layers()["head"].rows.kept.all()


def test_pruned_is_zero_in_the_file_and_stays_pruned():
    model, images = _quantized(), samples.load()[0]
    pruning = Pruning(model, 0.5, {})
    pruning.prune(0.5)
    first = {name: layer.rows.kept.clone() for name, layer in model.layers().items()}
    with torch.no_grad():  # training cannot bring a weight back
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    pruning.prune()
    network = _network(model)
    for name, layer, *_ in network.linears():
        mask = model.layers()[name].rows.kept
        assert (layer.weight[~mask.numpy()] == 0).all()
        assert (first[name] | ~mask).all()
    assert sum(int(layer.rows.kept.sum()) for layer in model.layers().values()) == round(
        sum(pruning.total.values()) / 2
    )
    codes = model.codes(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_array_equal(codes, reference.run(network, images))
    pruning.restart()
    assert all(layer.rows.kept.sum() == pruning.total[name] for name, layer in model.layers().items())


def test_pruned_weights_have_no_gradient():
    model = _quantized()
    Pruning(model, 0.5, {}).prune()
    model(torch.from_numpy(samples.load()[0])).square().mean().backward()
    for linear, name in ((model.head, "head"), (model.embed, "embed")):
        gradient, mask = linear.weight.grad, model.layers()[name].rows.kept
        assert (gradient[~mask] == 0).all() and (gradient[mask] != 0).any()


def _fit(directory, config=QUICK, **options):
    model = _quantized()
    pruning = Pruning(model, 0.5, {"embed": 0.25})
    counts = []

    def before_epoch(epoch):
        pruning.prune(cubic(epoch, config.epochs))
        counts.append((epoch, sum(int(layer.rows.kept.sum()) for layer in model.layers().values())))

    training_loop.fit(model, data.load("sample"), config, directory, before_epoch=before_epoch, **options)
    return model, pruning, counts


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resumed_equals_uninterrupted(tmp_path, ema):
    config = dataclasses.replace(QUICK, ema=ema)
    whole, pruning, counts = _fit(tmp_path / "whole", config)
    _fit(tmp_path / "parts", config, stop_after=1)
    parts, _, later_counts = _fit(tmp_path / "parts", config)
    assert later_counts == counts[1:]
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    finished, _, no_counts = _fit(tmp_path / "parts", config)
    assert no_counts == []
    for (name, a), b in zip(whole.state_dict().items(), finished.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    totals = sum(pruning.total.values()), pruning.total["embed"]
    for epoch, count in counts:
        progress = 1 - (1 - Fraction(epoch + 1, 3)) ** 3
        expected = (totals[0] - totals[1]) * (1 - progress / 2) + totals[1] * (1 - progress / 4)
        assert count == pytest.approx(expected, abs=1.1)
    assert 0 < sum(_nonzero(whole).values()) <= counts[-1][1]


def test_average_copies_masks():
    model = _quantized()
    pruning = Pruning(model, 0.5, {})
    average = Average(model, 0.9)
    pruning.prune()
    average.update(model)
    assert torch.equal(average.tensors["head_rows.kept"], model.head_rows.kept)
    assert not average.tensors["head_rows.kept"].all()
