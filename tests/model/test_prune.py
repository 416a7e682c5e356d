"""Which weights are pruned, by NumPy; that they are 0 in the file; that a resumed run has the same."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from psahw.model import data, train
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
    return {name: int(np.count_nonzero(layer.weight)) for name, layer, _ in _network(model).linears()}


def _network(model):
    return to_network(model, "test", CLASSES)


def test_cubic():
    """1 - (1 - t)^3 at the end of each epoch, in exact fractions."""
    found = [cubic(epoch, 4) for epoch in range(4)]
    assert found == [float(1 - (1 - Fraction(epoch, 4)) ** 3) for epoch in range(1, 5)]
    assert cubic(0, 1) == 1


def test_own_fraction_keeps_the_largest():
    model = _quantized()
    name = "stages.0.blocks.0.channel_mixing.linear1"
    before = _folded(model)
    Pruning(model, 0.0, {name: 0.75}).prune()
    kept = model.layers()[name].rows.kept.numpy()
    assert kept.sum() == 64
    assert np.abs(before[name][kept]).min() > np.abs(before[name][~kept]).max()
    assert all(
        layer.rows.kept.sum() == np.count_nonzero(before[n]) for n, layer in model.layers().items() if n != name
    )


def test_common_fraction_is_of_all_other_layers_together():
    """Relative to the layers' root mean squares; outside the grid of a local mixing nothing is counted."""
    model = _quantized("pyramid")
    before = _folded(model)
    Pruning(model, 0.6, {"head": 0.0}).prune()
    others = [name for name in before if name != "head"]
    relative = np.concatenate([np.abs(before[n]).ravel() / np.sqrt(np.square(before[n]).mean()) for n in others])
    kept = np.concatenate([model.layers()[name].rows.kept.numpy().ravel() for name in others])
    assert kept.sum() == round(0.4 * np.count_nonzero(relative))
    assert relative[kept].min() >= relative[~kept].max()
    assert model.layers()["head"].rows.kept.all()


def test_pruned_is_zero_in_the_file_and_stays_pruned():
    model, images = _quantized(), samples.load()[0]
    pruning = Pruning(model, 0.5, {})
    pruning.prune(0.5)
    first = {name: layer.rows.kept.clone() for name, layer in model.layers().items()}
    with torch.no_grad():  # what is trained in the meantime cannot bring a weight back
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    pruning.prune()
    network = _network(model)
    for name, layer, _ in network.linears():
        kept = model.layers()[name].rows.kept
        assert (layer.weight[~kept.numpy()] == 0).all()
        assert (first[name] | ~kept).all()
    assert sum(int(layer.rows.kept.sum()) for layer in model.layers().values()) == round(
        sum(pruning.total.values()) / 2
    )
    codes = model.codes(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_array_equal(codes, reference.run(network, images))
    pruning.restart()
    assert all(layer.rows.kept.sum() == pruning.total[name] for name, layer in model.layers().items())


def test_gradient_of_what_is_pruned_is_zero():
    model = _quantized()
    Pruning(model, 0.5, {}).prune()
    model(torch.from_numpy(samples.load()[0])).square().mean().backward()
    for linear, name in ((model.head, "head"), (model.embed, "embed")):
        gradient, kept = linear.weight.grad, model.layers()[name].rows.kept
        assert (gradient[~kept] == 0).all() and (gradient[kept] != 0).any()


def _fit(directory, config=QUICK, **options):
    model = _quantized()
    pruning = Pruning(model, 0.5, {"embed": 0.25})
    seen = []

    def before_epoch(epoch):
        pruning.prune(cubic(epoch, config.epochs))
        seen.append((epoch, sum(int(layer.rows.kept.sum()) for layer in model.layers().values())))

    train.fit(model, data.load("sample"), config, directory, before_epoch=before_epoch, **options)
    return model, pruning, seen


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resumed_equals_uninterrupted(tmp_path, ema):
    config = dataclasses.replace(QUICK, ema=ema)
    whole, pruning, seen = _fit(tmp_path / "whole", config)
    _fit(tmp_path / "parts", config, stop_after=1)
    parts, _, rest = _fit(tmp_path / "parts", config)
    assert rest == seen[1:]
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    finished, _, nothing = _fit(tmp_path / "parts", config)
    assert nothing == []
    for (name, a), b in zip(whole.state_dict().items(), finished.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    totals = sum(pruning.total.values()), pruning.total["embed"]
    for epoch, kept in seen:
        done = 1 - (1 - Fraction(epoch + 1, 3)) ** 3
        assert kept == pytest.approx((totals[0] - totals[1]) * (1 - done / 2) + totals[1] * (1 - done / 4), abs=1.1)
    assert 0 < sum(_nonzero(whole).values()) <= seen[-1][1]


def test_average_takes_masks_as_they_are():
    model = _quantized()
    pruning = Pruning(model, 0.5, {})
    average = Average(model, 0.9)
    pruning.prune()
    average.update(model)
    assert torch.equal(average.tensors["head_rows.kept"], model.head_rows.kept)
    assert not average.tensors["head_rows.kept"].all()
