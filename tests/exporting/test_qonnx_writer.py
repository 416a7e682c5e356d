"""Test networks in QONNX: qonnx' executor gives the logits and every layer's codes as the integer model does."""

import sys

import numpy as np
import pytest

from psahw.architecture.geometry import neighbours
from psahw.errors import UserError
from psahw.exporting import qonnx_model, qonnx_writer
from psahw.exporting.execution import qonnx_logits
from psahw.network import reference
from psahw.network.file import load
from psahw.network.graph import Named, Network, Output, Residual
from psahw.network.layers import Linear, MeanPool, Table, Thresholds, TokenMixing, Windows
from psahw.network.random import KINDS, StageShape, random_graph, random_images, random_linear, random_network

pytest.importorskip("qonnx")
IDENTITY = np.arange(-128, 128).astype(np.int8)


@pytest.fixture
def noise(monkeypatch):
    """Allow as many thresholds as tables of noise need."""
    monkeypatch.setattr(qonnx_writer, "MAX_THRESHOLDS", 1 << 15)


def check(network: Network, images: np.ndarray) -> None:
    """Check logits and the codes behind every layer."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    taps: dict[str, np.ndarray] = {}
    expected = reference.run(network, images, taps=taps)
    model = ModelWrapper(qonnx_model(network, images=len(images)))
    inputs = images.transpose(0, 3, 1, 2).astype(np.float32).reshape(model.get_tensor_shape("image"))
    tensors = execute_onnx(model, {"image": inputs}, return_full_exec_context=True)
    last = {node.output[0].rpartition("_")[0]: node.output[0] for node in model.graph.node}
    for name, codes in taps.items():
        if (tensor := last.get(name.replace(".", "_"))) is not None:  # windows are parts of convolutions
            value = tensors[tensor]
            by_token = value.reshape(*value.shape[:2], -1).transpose(0, 2, 1)
            np.testing.assert_array_equal(by_token, codes.reshape(by_token.shape), err_msg=name)
    assert tensors["logits"].dtype == np.float32
    np.testing.assert_array_equal(tensors["logits"], expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind, noise):
    """Each kind of layer is exact, alone and mixed with others."""
    seed = checked = 0
    while checked < 2:
        rng = np.random.default_rng(seed)
        network = random_graph(rng, steps=3, kinds=(kind,) if seed % 2 else (kind, *KINDS))
        images = random_images(rng, network, 4)
        seed += 1
        try:
            qonnx_model(network)
        except UserError as error:
            assert "head: products with the multiplier, in outputs of " in str(error)
            continue
        check(network, images)
        checked += 1


@pytest.mark.filterwarnings("ignore")
def test_resmlp(noise):
    """Both kinds of mixing, stages and merging, with weights at the ends of their range."""
    rng = np.random.default_rng(2)
    local, shared = StageShape(8, 6, groups=4, kernel=3), StageShape(6, 4, groups=2, kernel=5, shared=True)
    network = random_network(rng, image=(8, 8), stages=(local, shared), extremes=True)
    check(network, random_images(rng, network, 2))


def layer_and_head(layer, channels: int = 4, image: tuple[int, int] = (3, 2)) -> Network:
    """Return a network of a layer that keeps the channels, a mean, and a linear layer."""
    head = random_linear(np.random.default_rng(0), 3, channels)
    series = (Named("layer", layer), Named("mean", MeanPool(2)), Named("head", head))
    return Network("n", image, np.tile(IDENTITY, (channels, 1)), series, Output("class", ("a", "b", "c")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [None, (3, 1)])
def test_mixing_with_multipliers(groups, kernel):
    """Multipliers whose products are not exact in float32 become thresholds, for each token and group."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (groups, 6, 6 if kernel is None else 3)).astype(np.int8)
    if kernel is not None:
        weight[:, neighbours((3, 2), kernel) < 0] = 0
    bias = rng.integers(-9999, 9999, (groups, 6)).astype(np.int32)
    multiplier = rng.integers(0, 65536, (groups, 6)).astype(np.uint32)
    multiplier[0, :2] = 0, 65535
    offset = rng.integers(-(1 << 22) + 1, 1 << 22, (groups, 6)).astype(np.int32)
    shift = np.full((groups, 6), 24, np.uint8)
    layer = TokenMixing(weight, bias, shift, kernel, multiplier=multiplier, offset=offset)
    network = layer_and_head(layer)
    assert sum(node.op_type == "MultiThreshold" for node in qonnx_model(network).graph.node) == 1
    check(network, random_images(rng, network, 20))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("signed", [False, True])
def test_thresholds_of_a_linear_layer(signed):
    """Every sum of a row is requantised exactly, with multipliers at the ends and biases that dominate."""
    weight = np.array([[1], [-128], [127], [5], [0], [3]], np.int8)
    bias = np.array([0, -7, 7, 1 << 23, -5, 2], np.int32)
    shift = np.array([16, 31, 23, 31, 0, 12], np.uint8)
    multiplier = np.array([65535, 65535, 65535, 33333, 1, 0], np.uint32)
    offset = np.array([0, 4194303, -4194303, 5, 3, 99], np.int32)
    head = Linear(weight, bias, shift, 8, signed, multiplier, offset)
    network = Network("n", (1, 1), IDENTITY[None], (Named("head", head),), Output("labels", tuple("abcdef")))
    check(network, np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1))


@pytest.mark.filterwarnings("ignore")
def test_offsets_where_products_are_exact():
    """A fraction of the bias needs no thresholds if products fit float32. One row only adds, and one only scales."""
    weight = np.array([[1], [-3], [7]], np.int8)
    scaling = np.array([1, 5, 300], np.uint32), np.array([3, -17, 0], np.int32)
    head = Linear(weight, np.array([0, 1, -9], np.int32), np.array([0, 4, 8], np.uint8), 8, True, *scaling)
    network = Network("n", (1, 1), IDENTITY[None], (Named("head", head),), Output("labels", tuple("abc")))
    assert "MultiThreshold" not in {node.op_type for node in qonnx_model(network).graph.node}
    check(network, np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("function", "operators"),
    [
        (lambda x: np.maximum(x, 0), {"Add", "Quant"}),
        (lambda x: np.clip(x + np.array([[3], [-9]]), -64, 63), {"Add", "Quant"}),
        (lambda x: x // 2, {"MultiThreshold"}),
        (lambda x: -x // 2, {"MultiThreshold", "Sub"}),
        (lambda x: np.abs(x) // 2, {"MultiThreshold", "Sub"}),
        (lambda x: np.where(x < 5, -3, 3) * np.array([[1], [-1]]), {"MultiThreshold", "Sub"}),
        (lambda x: np.array([[7], [-8]]) + 0 * x, {"MultiThreshold"}),
    ],
)
def test_tables(function, operators):
    """A ReLU is a quantiser, and other functions are differences of thresholds."""
    values = np.broadcast_to(function(np.arange(-128, 128)[None]), (2, 256)).astype(np.int8)
    network = layer_and_head(Table(values), 2, (4, 64))
    nodes = [node for node in qonnx_model(network).graph.node if node.name.startswith("layer_")]
    assert {node.op_type for node in nodes} == operators
    images = np.arange(256, dtype=np.uint8).reshape(1, 4, 64, 1).repeat(2, 3)
    check(network, images)


def test_everything_that_cannot_be_written_is_listed():
    """The message has every layer with its reason, also those within residual connections."""
    rng = np.random.default_rng(0)
    wide = Linear(np.full((4, 4), 127, np.int8), np.full(4, 1 << 25, np.int32), np.full(4, 20, np.uint8))
    exact = Linear(np.eye(4, dtype=np.int8), np.full(4, 1 << 28, np.int32), np.zeros(4, np.uint8), 31)
    noisy = Table(rng.integers(-128, 128, (4, 256)).astype(np.int8))
    layers = (
        Named("res", Residual((Named("res.wide", wide),), (Named("res.table", noisy),))),
        Named("exact", exact),
        Named("steps", Thresholds(np.zeros((4, 3), np.int32))),
        Named("windows", Windows((2, 2), (1, 1))),
        Named("mean", MeanPool(2)),
        Named("head", Linear(np.full((1, 16), 9, np.int8), np.zeros(1, np.int32), np.full(1, 20, np.uint8), 16,
                             multiplier=np.full(1, 65535, np.uint32))),
    )  # fmt: skip
    network = Network("odd", (3, 2), np.tile(IDENTITY, (4, 1)), layers, Output("labels", ("x",)))
    steps = np.diff(noisy.values.astype(int), axis=1)
    rising = np.maximum(steps, 0).sum(1) + noisy.values[:, 0] - noisy.values[:, 0].min()
    needed = max(rising.max(), np.maximum(-steps, 0).sum(1).max())
    with pytest.raises(UserError) as caught:
        qonnx_model(network)
    assert str(caught.value) == (
        "odd cannot be written in QONNX: "
        "res.wide: sums up to 33619456 are not exact in float32, which QONNX computes with; "
        f"res.table: the function needs {needed} thresholds, of which there may be 1023; "
        "exact: sums up to 268435583 are not exact in float32, which QONNX computes with; "
        "steps: inputs of up to 31 bits are not exact in float32; "
        "head: products with the multiplier, in outputs of int16, are not exact in float32"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dry-bean-psa", "mnist-psa"])
def test_shipped(name):
    network = load(name)
    images = random_images(np.random.default_rng(0), network, 3)
    np.testing.assert_array_equal(qonnx_logits(network, images), reference.run(network, images))


def test_images_in_parts(monkeypatch):
    """The last part may have fewer images."""
    monkeypatch.setattr("psahw.exporting.execution.MOST_QONNX_IMAGES", 4)
    network = load("dry-bean-psa")
    images = random_images(np.random.default_rng(0), network, 10)
    sizes: list[int] = []
    np.testing.assert_array_equal(
        qonnx_logits(network, images, progress=sizes.append), reference.run(network, images)
    )
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("package", ["onnx", "qonnx"])
def test_missing_package(package, monkeypatch):
    network = load("dry-bean-psa")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=f"^this needs {package}, which is not installed: install psahw with its extra"
    ):
        qonnx_logits(network, random_images(np.random.default_rng(0), network, 1))
