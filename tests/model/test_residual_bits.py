"""Rounding only the residual stream gives the right values at the right places."""

from pathlib import Path

import numpy as np
import pytest
import torch

from psahw.model.predict import predict
from psahw.model.quant import QuantizedResMLP
from psahw.model.residual_bits import main, rounded, rounded_stream, scan
from psahw.network import reference, samples
from psahw.network.resmlp import Patch
from tests.model.test_quant import SHAPES, _trained

ROOT = Path(__file__).parents[2]


def test_eight_bits_are_int8_codes():
    x = torch.tensor([[-100.0, 0.24, 0.25, 0.74, 63.4, 64.0, 100.0]]).t()
    codes = rounded(x, torch.tensor([0.5]), 8) / 0.5
    assert codes.flatten().tolist() == [-128, 0, 1, 1, 127, 127, 127]


@pytest.mark.parametrize("bits", range(2, 10))
def test_each_bit_halves_the_step_and_keeps_the_least_code(bits):
    step = 0.5 * 2.0 ** (8 - bits)
    values = rounded(torch.arange(-70, 70, 0.125)[:, None], torch.tensor([0.5]), bits).unique()
    assert values.tolist() == [step * code for code in range(-(2 ** (bits - 1)), 2 ** (bits - 1))]


@pytest.mark.parametrize("shape", ["pyramid", "depthwise"])
def test_every_value_of_the_stream_is_a_code_at_its_own_scale(shape):
    """This holds after embedding, patch merging and each sublayer, with a different scale at each of them."""
    images = samples.load()[0]
    model = _trained(SHAPES[shape])
    stages = QuantizedResMLP(model, images).stages
    for stage in stages:
        stage.halvings.fill_(1)
        stage.residual_scale /= 2 ** len(stage.halvings)
    scales = [stage.scales() for stage in stages]
    seen = []
    with rounded_stream(model, scales, 8):
        for stage in model.stages:
            blocks = [part for block in stage.blocks for part in (block.token_mixing, block.channel_mixing)]
            for module in (stage.merge or model.embed, *blocks):
                module.register_forward_hook(lambda module, inputs, output: seen.append(output))
        model(torch.from_numpy(images))
    expected = [scale for stage in scales for scale in stage]
    assert len(seen) == len(expected) == sum(1 + 2 * len(stage.blocks) for stage in model.stages)
    for output, scale in zip(seen, expected, strict=True):
        values = (output / scale).detach()
        codes = values.round()
        torch.testing.assert_close(values, codes, rtol=0, atol=1e-3)
        assert codes.min() >= -128 and codes.max() <= 127
        assert codes.remainder(2).any(), "these would be codes at twice the scale"


def test_embedded_tokens_equal_numpy():
    images = samples.load()[0][:5]
    config = SHAPES["pyramid"]
    model = _trained(config)
    scales = [stage.scales() for stage in QuantizedResMLP(model, samples.load()[0]).stages]
    entry = scales[0][0].numpy()
    seen = []
    with rounded_stream(model, scales, 8):
        model.embed.register_forward_hook(lambda module, inputs, output: seen.append(output))
        model(torch.from_numpy(images))
    windows = Patch(config.patch_size, config.patch_stride, config.patch_padding).windows
    codes = (images.astype(int) - 128).astype(np.int8)
    pixels = reference.im2col(windows, images.shape[1:3], codes.reshape(len(codes), -1, codes.shape[3])) / 64
    weight, bias = (part.detach().numpy().astype(float) for part in (model.embed.weight, model.embed.bias))
    codes = np.clip(np.floor((pixels @ weight.T + bias) / entry + 0.5), -128, 127)
    differing = np.rint(seen[0].detach().numpy().transpose(1, 0, 2) / entry) != codes
    assert differing.mean() < 1e-3  # float32 and float64 may round values near a half differently


def test_many_bits_cost_nothing_and_few_do():
    images, _ = samples.load()
    model = _trained(SHAPES["pyramid"])
    plain = predict(model, images)
    scales = [stage.scales() for stage in QuantizedResMLP(model, images).stages]
    wide = [[16 * scale for scale in stage] for stage in scales]  # nothing saturates
    error = {}
    for bits in (4, 8, 16):
        with rounded_stream(model, wide, bits):
            error[bits] = np.abs(predict(model, images) - plain).mean() / np.abs(plain).mean()
    assert error[16] < 0.01 < error[8] < error[4]
    np.testing.assert_array_equal(predict(model, images), plain)


def test_scales_of_another_network_leave_no_hook():
    images = samples.load()[0]
    model = _trained(SHAPES["pyramid"])
    plain = predict(model, images)
    first, second = (stage.scales() for stage in QuantizedResMLP(model, images).stages)
    with pytest.raises(ValueError), rounded_stream(model, [first, second[:-1]], 4):
        pass
    np.testing.assert_array_equal(predict(model, images), plain)


@pytest.mark.parametrize(
    "path, message",
    [
        ("nonesuch", "cannot read nonesuch"),
        (ROOT / "trained" / "conv.safetensors", "must be a ResMLP, not a convolutional teacher"),
        (
            ROOT / "psahw" / "networks" / "cifar10-psa-small.safetensors",
            "must be a run directory or its model.safetensors, not a network file",
        ),
    ],
)
def test_file_without_a_resmlp_is_refused_in_one_line(path, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["residual_bits", str(path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1


def test_scan_names_what_it_measured():
    images = samples.load()[0]
    model = _trained(SHAPES["local"])
    predicted = predict(model, images).argmax(1)
    accuracies = scan(model, [2, 16], images, images, predicted)
    assert list(accuracies) == ["float", "2", "16"]
    assert accuracies["float"] == 100 > accuracies["2"] and accuracies["16"] > accuracies["2"]
