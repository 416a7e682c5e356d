"""The quantised network in torch equals the integer model, logit for logit, and its tables equal their functions."""

import numpy as np
import pytest
import torch

from psahw.errors import UserError
from psahw.model import predict
from psahw.model.config import ModelConfig, StageConfig
from psahw.model.export import to_network
from psahw.model.presets import PRESETS
from psahw.model.quant import QuantizedResMLP
from psahw.model.quant_layers import rescale, table_residual
from psahw.model.resmlp import ResMLP
from psahw.network import file as network_file
from psahw.network import reference, samples
from tests.model.test_psa import _published

CLASSES = tuple("0123456789")
SHAPES = {
    "local": PRESETS["tiny"].model,
    "pyramid": ModelConfig(
        (StageConfig(8, 12, 1, groups=2, kernel=3), StageConfig(16, 8, 1)),
        patch_size=6, patch_padding=1, activation="gelu",
    ),
    "depthwise": ModelConfig(
        (StageConfig(8, 12, 2, groups=8, kernel=3, shared=True), StageConfig(12, 8, 1, 4, kernel=5, shared=True)),
        activation="psa_hidden", grid_size=10,
    ),
    "dense groups": ModelConfig((StageConfig(8, 12, 2, groups=2),), activation="psa_hidden"),
    "plain relu": ModelConfig((StageConfig(8, 8, 1),), patch_size=8, patch_stride=8, activation="relu"),
}  # fmt: skip


def _trained(config):
    """Return a network as if it was trained: every parameter is perturbed, and the norms have statistics."""
    torch.manual_seed(6)
    model = ResMLP(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        images = torch.from_numpy(samples.load()[0])
        for _ in range(20):
            model(images)
    return model.eval()


@pytest.fixture(params=[(shape, halved) for shape in SHAPES for halved in (False, True)], ids=str)
def quantized(request):
    """A quantised network of each shape, as calibrated, and with a residual stream that every sublayer halves."""
    shape, halved = request.param
    model = QuantizedResMLP(_trained(SHAPES[shape]), samples.load()[0])
    for stage in model.stages if halved else ():
        stage.halvings.fill_(1)
        stage.residual_scale /= 2 ** len(stage.halvings)
    return model


def test_equals_the_integer_model(quantized):
    """The forward pass is the same in training mode, and after a step of training."""
    images = samples.load()[0]
    optimizer = torch.optim.SGD(quantized.parameters(), lr=1e-3)
    for _ in range(2):
        network = to_network(quantized, "test", CLASSES)
        expected = reference.run(network, images)
        assert len(np.unique(expected.argmax(1))) > 1
        for training in (False, True):
            quantized.train(training)
            codes = quantized.codes(torch.from_numpy(images))
            np.testing.assert_array_equal(codes.detach().numpy(), expected)
        torch.nn.functional.cross_entropy(quantized(torch.from_numpy(images)), torch.arange(100) % 10).backward()
        optimizer.step()


@pytest.mark.parametrize("parts", [1, 3])
def test_scales_are_quantiles_over_all_images(parts, monkeypatch):
    """Also if the images are taken in parts, because their activations are large."""
    config = SHAPES["dense groups"]
    model, images = _trained(config), samples.load()[0][:99]
    monkeypatch.setattr(predict, "LARGEST", 99 // parts * config.largest_activation())
    assert predict.images_at_once(model, 500) == 99 // parts
    seen = []
    with torch.no_grad():
        block = model.stages[0].blocks[0]
        block.token_mixing.norm.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
        model(torch.from_numpy(images))
        largest = np.sort(np.abs(seen[0]).reshape(-1, 8), 0)
        needed = QuantizedResMLP(model, images).stages[0].token_mixing[0].needed_scale
    count = round(0.0001 * len(largest))
    assert count >= 1
    np.testing.assert_allclose(needed, largest[-count] / 127, rtol=1e-5)
    assert len(seen) >= 1 + parts and max(output.shape[1] for output in seen[1:]) == 99 // parts


def test_survives_the_file(quantized, tmp_path):
    network = to_network(quantized, "test", CLASSES, {"dataset": "sample"})
    network_file.save(network, tmp_path / "test.safetensors")
    loaded = network_file.load(str(tmp_path / "test.safetensors"))
    images = samples.load()[0][:10]
    np.testing.assert_array_equal(reference.run(loaded, images), reference.run(network, images))
    assert loaded.metadata["dataset"] == "sample"


def test_close_to_the_float_network():
    for config in SHAPES.values():
        model = _trained(config)
        images = torch.from_numpy(samples.load()[0])
        logits = model(images).detach()
        quantized = QuantizedResMLP(model, samples.load()[0])
        error = (quantized(images) - logits).abs().mean() / logits.abs().mean()
        assert error < 0.1


def test_gradient_reaches_every_parameter(quantized):
    quantized.train()
    quantized(torch.from_numpy(samples.load()[0])).square().mean().backward()
    for name, parameter in quantized.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_norms_stay_frozen(quantized):
    before = {k: v.clone() for k, v in quantized.named_buffers()}
    quantized.train()
    quantized(torch.from_numpy(samples.load()[0]))
    for name, value in quantized.named_buffers():
        assert torch.equal(value, before[name]), name


def test_psa_tables_equal_the_layer_at_all_codes():
    """In float64: the published formula at the grid's points, with straight lines between and beyond them.

    The norm and the scales, which are folded into the table, are applied here by hand.
    """
    quantized = QuantizedResMLP(_trained(SHAPES["local"]), samples.load()[0])
    network = to_network(quantized, "test", CLASSES)
    stage, layer = quantized.stages[0], quantized.stages[0].channel_mixing[0]
    table = network.place("stages.0.blocks.0.channel_mixing.table_in").layer.values
    scale, offset = (part.detach().double().numpy() for part in layer.layer.norm.affine())
    stream, unit = stage.scales()[1].double().numpy(), layer.input_scale.double().numpy()
    grid, psa = np.linspace(-4, 4, 64), layer.layer.act_in
    for neuron in range(16):
        x = np.arange(-128, 128) * stream[neuron] * scale[neuron] + offset[neuron]
        y = np.array([_published(psa, neuron, value) for value in grid])
        steps = np.floor((x + 4) / (8 / 63)).astype(int).clip(0, 62)
        expected = (y[steps] + (x - grid[steps]) * (y[steps + 1] - y[steps]) / (8 / 63)) / unit[neuron]
        # float32 may round a value near a half the other way.
        assert np.abs(expected.clip(-128, 127) - table[neuron]).max() < 0.51


def test_gradient_of_a_halved_stream():
    """The gradient is that of the division at every code, and the codes are those of the table in the file."""
    codes = torch.arange(-128.0, 128.0)[:, None].requires_grad_()
    one = torch.ones(1)
    for after, gradient, expected in ((one, 1.0, codes), (2 * one, 0.5, (codes.detach().int() + 1) >> 1)):
        codes.grad = None
        out = rescale(codes, one, after)
        out.sum().backward()
        assert torch.equal(out, expected.float()) and (codes.grad == gradient).all()
        assert torch.equal(table_residual(one, after), out)


def test_residual_stream_is_halved_where_it_grows():
    """The last sublayer adds far more than was there before, so the codes before it can be finer."""
    model = _trained(SHAPES["plain relu"])
    with torch.no_grad():
        for parameter in model.stages[0].blocks[0].channel_mixing.linear2.parameters():
            parameter *= 64
        for _ in range(60):  # until the norms' statistics have followed
            model.train()(torch.from_numpy(samples.load()[0]))
    model.eval()
    quantized = QuantizedResMLP(model, samples.load()[0])
    halvings = int(quantized.stages[0].halvings.sum())
    tables = [table for name, table, *_ in to_network(quantized, "test", CLASSES).tables() if "residual" in name]
    assert halvings == len(tables) > 0
    codes = np.arange(-128, 128)
    for table in tables:
        np.testing.assert_array_equal(table.values, np.broadcast_to((codes + 1) >> 1, table.values.shape))


def test_autocast_does_not_reach_the_codes():
    quantized = QuantizedResMLP(_trained(SHAPES["local"]), samples.load()[0])
    images = torch.from_numpy(samples.load()[0])
    with torch.autocast("cpu", torch.bfloat16):
        logits = quantized(images)
    assert torch.equal(logits, quantized(images))


@pytest.mark.slow  # a minute of compilation
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from torch.compile itself
def test_compiled_equals_the_integer_model():
    """Fine-tuning compiles forward and backward pass; the operations that a compiler fuses must round alike."""
    quantized = QuantizedResMLP(_trained(SHAPES["local"]), samples.load()[0]).train()
    images = samples.load()[0]
    expected = reference.run(to_network(quantized, "test", CLASSES), images)
    logits = torch.compile(quantized)(torch.from_numpy(images))
    logits.square().mean().backward()
    np.testing.assert_array_equal((logits / quantized.logit_scale).round().detach().numpy(), expected)


def test_model_that_is_too_wide():
    """The error is raised before anything is trained."""
    stages = (StageConfig(176, 8, 1, kernel=1), StageConfig(8, 8, 1, kernel=1))
    model = ResMLP(ModelConfig(stages, patch_size=8, patch_stride=8))
    message = "^merging before stage 1 must have at most 703 inputs to be quantised exactly in float32, not 704$"
    with pytest.raises(UserError, match=message):
        QuantizedResMLP(model, samples.load()[0])
