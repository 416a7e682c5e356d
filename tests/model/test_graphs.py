"""Networks of any topology: the float network, its quantised form and the network file agree, and what is refused."""

import json

import numpy as np
import pytest
import torch

from psahw.errors import CheckFailed, UserError
from psahw.model import data as datasets
from psahw.model.graphs import config, topologies
from psahw.model.graphs.export import to_network
from psahw.model.graphs.network import Convolution, GraphNet, Mixing, windows
from psahw.model.graphs.quantised import QuantizedGraph
from psahw.model.models import config_from_dict, fitted
from psahw.model.presets import load_model_config
from psahw.network import reference
from psahw.network.graph import Residual
from tests.topologies import images_for, network_of, trained

SMALL = {
    "mlp": topologies.Mlp(image=(2, 3), colours=2, classes=3, widths=(9, 5), input_function=True),
    "mlp-relu": topologies.Mlp(image=(1, 1), colours=7, classes=3, widths=(9,), activation="relu", bits=5),
    "autoencoder": topologies.Autoencoder(image=(1, 1), colours=12, classes=12, widths=(6, 2, 6)),
    "convolutional": topologies.Convolutional(image=(9, 7), colours=1, classes=4, widths=(3, 4)),
    "signal": topologies.Convolutional(
        image=(1, 20), colours=2, classes=3, widths=(3, 4), size=(1, 5), pooling=True, activation="gelu"
    ),
    "mixer": topologies.Mixer(image=(8, 4), classes=3, patch=2, channels=6, hidden=5, blocks=2),
    "resnet": topologies.ResNet(image=(7, 6), classes=3, widths=(3, 5)),
    "resnet-psa": topologies.ResNet(image=(6, 5), classes=3, widths=(4, 4, 3), activation="psa"),
    "depthwise": topologies.DepthwiseSeparable(
        image=(11, 5), colours=1, classes=3, channels=5, blocks=2, size=(4, 3), task="labels"
    ),
    "limits": config.GraphConfig(
        image=(6, 5),
        classes=3,
        series=(
            config.Convolution(6, padding=(1, 1, 1, 1)),
            config.Norm(),
            config.Activation("relu6"),
            config.Residual((config.Linear(6), config.Activation("relu6"))),
            config.Activation("relu6"),
            config.Mixing(0, 3, True),
            config.Activation("relu6"),
            config.Mixing(2, 3, True),
            config.Activation("relu6", bits=6),
            config.Flatten(),
            config.Linear(3),
        ),
    ),
    "graph": config.GraphConfig(
        image=(4, 4),
        classes=2,
        colours=2,
        series=(
            config.Mixing(2, 3, True),
            config.Activation("relu", bits=5),
            config.Residual((config.MaxPool((2, 2), (1, 1), (0, 1, 0, 1)),), (config.Norm(),)),
            config.Residual(
                (config.Convolution(4, (2, 2), (2, 2)),), (config.Linear(4), config.MaxPool((2, 2), (2, 2)))
            ),
            config.Mixing(1, 3, False),
            config.Norm(),
            config.Flatten(),
            config.Norm(),
            config.Linear(2),
        ),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_integers_are_those_of_the_reference_model(name):
    shape = SMALL[name]
    shape.check(name)
    model, images = trained(shape), images_for(shape)
    inputs = torch.from_numpy(images)
    with torch.no_grad():
        expected = model(inputs)
        quantized = QuantizedGraph(model, images)
        observed = quantized.series.observe((inputs.float() - 128) / 64).flatten(1)
        assert torch.allclose(observed, expected, atol=1e-4)
        codes, outputs = quantized.codes(inputs).numpy(), quantized(inputs)
    network = to_network(quantized, name, tuple(f"c{n}" for n in range(shape.classes)))
    assert (reference.run(network, images) == codes).all()
    assert len(np.unique(codes)) > 20
    error = (outputs - expected).square().mean() / expected.square().mean()
    assert error < (0.1 if name in ("mlp-relu", "graph", "mixer") else 0.01)  # the first two have few bits
    assert list(quantized.layers()) == [place.name for place in network.linears()] == list(shape.terms())


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns_in_integers(name):
    shape = SMALL[name]
    quantized = QuantizedGraph(trained(shape), images_for(shape)).train()
    quantized(torch.from_numpy(images_for(shape))).square().sum().backward()
    without = [
        key for key, parameter in quantized.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_windows_are_those_of_the_reference_model():
    x = torch.from_numpy(np.random.default_rng(1).integers(-128, 128, (2, 5, 6, 3))).float()
    layer = config.Convolution(4, (3, 2), (2, 3), (1, 2, 1, 0))
    module = Convolution(layer, 3)
    by_windows = windows(x, layer.size, layer.stride, layer.padding) @ module.linear_weight.t() + module.bias
    assert torch.allclose(by_windows, module(x), atol=1e-3)


def test_relu_costs_no_table_and_norms_neither():
    network = network_of(SMALL["resnet"], "n")
    assert all(place.name.endswith(".rescale") for place in network.tables())
    assert all(place.layer.out_signed is False for place in network.places if isinstance(place.layer, Residual))


def test_shortcut_without_layers_is_shifted_at_most():
    network = network_of(SMALL["resnet-psa"], "n")
    (table,) = [place for place in network.tables() if place.name.endswith("shortcut.rescale")][:1]
    codes = np.arange(table.input.codes.low, table.input.codes.high + 1)
    for values in table.layer.values.astype(int):
        shift = min(range(-3, 8), key=lambda k: np.abs(values - np.floor(codes * 2.0**-k + 0.5)).max())
        limited = np.floor(codes * 2.0**-shift + 0.5).clip(table.output.codes.low, table.output.codes.high)
        assert np.abs(values - limited).max() <= 1  # torch rounds a half to the even neighbour


def test_values_are_in_the_units_of_the_targets():
    shape = SMALL["autoencoder"]
    model = trained(shape)
    model.target_mean.fill_(100)
    model.target_deviation.fill_(10)
    images = images_for(shape)
    quantized = QuantizedGraph(model, images)
    network = to_network(quantized, "n", tuple(f"v{n}" for n in range(12)))
    with torch.no_grad():
        expected = quantized(torch.from_numpy(images)).numpy() * 10.0 + 100
    codes = reference.run(network, images)
    assert network.output.kind == "values"
    assert np.allclose(codes * np.array(network.output.scale) + np.array(network.output.offset), expected, rtol=1e-5)


def test_sums_that_are_not_exact_are_refused():
    shape = config.GraphConfig(image=(1, 1), colours=4000, classes=2, series=(config.Linear(2),))
    model = GraphNet(shape)
    with torch.no_grad():
        model.head.linear_weight.fill_(1.0)
    with pytest.raises(UserError, match=r"layers\.0: its sums are too long to be exact in float32"):
        QuantizedGraph(model, images_for(shape))
    with torch.no_grad():
        model.head.linear_weight.zero_()
        model.head.linear_weight[:, 0] = 1.0
    quantized = QuantizedGraph(model, images_for(shape))
    with torch.no_grad():
        quantized.head.layer.linear_weight.fill_(1.0)
    with pytest.raises(CheckFailed, match=r"sums of layers\.0"):
        to_network(quantized, "n", ("a", "b"))


@pytest.mark.parametrize("name", SMALL)
def test_configurations_survive_json(name):
    assert config_from_dict(json.loads(json.dumps(SMALL[name].to_dict()))) == SMALL[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cnn"}, "kind must be one of conv, graph, mlp, .*, not 'cnn'"),
        ({"widths": [0]}, r"x: widths must be in \[1, 65536\], not 0"),
        ({"widths": []}, "x: widths must not be empty"),
        ({"widths": [4, "a"]}, r"x: widths\[1\] must be an integer"),
        ({"activation": "tanh"}, "activation must be one of relu, relu6, gelu, psa, not 'tanh'"),
        ({"bits": 9}, r"layer 3 \(Activation\): bits must be in \[2, 8\], not 9"),
        ({"depth": 3}, "depth"),
        ({"classes": 1}, r"classes must be in \[2, 65536\], not 1"),
        ({"image": [0, 4]}, r"image must be in \[1, 1024\], not 0"),
    ],
)
def test_impossible_configurations(change, message):
    data = {"kind": "mlp", "image": [2, 2], "classes": 3, "widths": [4]}
    with pytest.raises(UserError, match=message):
        config_from_dict(data | change, "x")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"layer": "convolution", "channels": 3, "size": [5, 5]}], r"layer 0 \(Convolution\)"),
        ([{"layer": "mixing", "groups": 2}], "groups must divide the 3 channels, not 2"),
        ([{"layer": "mixing", "shared": True}], "shared needs a kernel"),
        ([{"layer": "linear", "channels": 3}], "the last layer must give one token of 2 channels, not 4 x 4 x 3"),
        ([{"layer": "mean_pool"}], "one token of 2 channels, not 1 x 1 x 3"),
        ([{"layer": "linear", "channels": 2}, {"layer": "mean_pool"}], "the last layer must be linear"),
        ([{"layer": "dense"}], "dense"),
        ([], "the last layer must give one token of 2 channels, not 4 x 4 x 3"),
        (
            [{"layer": "residual", "branch": [{"layer": "linear", "channels": 2}]}],
            "layer 0: branch and shortcut must give the same shape, not 4 x 4 x 2 and 4 x 4 x 3",
        ),
        ([{"layer": "residual", "branch": [{"layer": "mixing", "kernel": 2}]}], "layer 0, branch, layer 0"),
    ],
)
def test_impossible_layers(layers, message):
    data = {"kind": "graph", "image": [4, 4], "classes": 2, "series": layers}
    with pytest.raises(UserError, match=message):
        config_from_dict(data, "x")


def test_presets_take_the_form_of_the_data():
    shape = fitted(load_model_config("mlp", ["widths=[7]"]), datasets.load("sample"), "mlp")
    assert (shape.image, shape.colours, shape.classes, shape.widths) == ((32, 32), 3, 10, (7,))


def test_changes_of_a_preset_are_checked_with_the_form_of_the_data():
    """Patches of 7 pixels do not divide the preset's own image of 32 x 32, but that of MNIST."""
    shape = load_model_config("mixer", ["patch=7"])
    with pytest.raises(UserError, match="patch must divide the image of 32 x 32, not 7"):
        fitted(shape, datasets.load("sample"), "mixer")
    images = np.zeros((20, 28, 28, 1), np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 2
    mnist = datasets.Dataset("mnist", ("a", "b"), images, labels, images, labels)
    assert fitted(shape, mnist, "mixer").image == (28, 28)
    with pytest.raises(UserError, match="patch must divide the image of 32 x 32, not 7"):
        load_model_config("mixer", ["patch=7", "classes=3"])


@pytest.mark.parametrize("activation", ["relu", "psa"])
def test_every_operation_is_near_its_float_layers(activation):
    """Channels that share weights have scales in proportion, and the same bias, however different they are."""
    shape = topologies.Mixer(image=(8, 4), classes=3, patch=2, channels=6, hidden=5, blocks=2, activation=activation)
    model = trained(shape)
    with torch.no_grad():
        model.series.layers[0].linear_weight.mul_(torch.logspace(-1, 1, 6)[:, None])
        for module in model.modules():
            if isinstance(module, Mixing):
                module.bias.add_(0.5)
        for batch in range(20):
            model.train()(torch.from_numpy(images_for(shape, seed=batch)))
    model.eval()
    quantized = QuantizedGraph(model, images_for(shape, 200))
    x = (torch.from_numpy(images_for(shape)).float() - 128) / 64
    # Behind the pool, a norm divides by the small deviation of means, and with it the rounding of the pooled codes.
    for operation in list(quantized.series)[:-1]:
        with torch.no_grad():
            expected = operation.observe(x)
            codes = operation((x / operation.in_scale).round().clamp(operation.before.low, operation.before.high))
        error = (codes * operation.out_scale - expected).square().mean((0, 1, 2)).sqrt()
        assert (error < 0.1 * expected.square().mean((0, 1, 2)).sqrt() + 2 * operation.out_scale).all(), (
            operation.name
        )
        x = expected


def test_sums_of_a_large_pool_are_refused():
    series = (config.MeanPool(), config.Linear(2))
    shape = config.GraphConfig(image=(512, 512), colours=1, classes=2, series=series)
    with pytest.raises(UserError, match=r"layers\.0: its sums are too long"):
        QuantizedGraph(GraphNet(shape).eval(), images_for(shape, 2))


def test_outputs_are_so_coarse_that_no_weight_saturates():
    """Products of large weights that cancel give small outputs, which 16 bits would resolve too finely."""
    shape = config.GraphConfig(image=(1, 1), colours=2, classes=2, series=(config.Linear(2),))
    model = GraphNet(shape)
    with torch.no_grad():
        model.head.linear_weight.copy_(torch.tensor([[50.0, -50.0], [-30.0, 30.0]]))
    images = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None, None], 2, 3)
    images[::2, ..., 1] ^= 1
    with torch.no_grad():
        expected = model(torch.from_numpy(images))
        given = QuantizedGraph(model, images)(torch.from_numpy(images))
    assert (given - expected).abs().max() < 0.01 * expected.abs().max()


def test_a_limit_is_the_saturation_of_codes():
    """The greatest code stands for at most 6, also behind large sums."""
    model = trained(SMALL["limits"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "weight" in name:
                parameter.mul_(20)
    images = images_for(SMALL["limits"])
    quantized = QuantizedGraph(model, images)
    limited = [operation for operation in quantized.operations() if operation.limit == 6]
    assert len(limited) == 3
    for operation in limited:
        assert (operation.out_scale * operation.after.high <= 6.0001).all()
        assert (operation.out_scale * operation.after.high > 5).any()
