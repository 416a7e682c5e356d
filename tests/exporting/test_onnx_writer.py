"""Test the integer model as ONNX: onnxruntime gives the logits and every layer's codes as the integer model does."""

import json
import sys

import numpy as np
import pytest

from psahw.architecture.codes import Codes
from psahw.errors import UserError
from psahw.exporting import execution, onnx_model
from psahw.network import reference
from psahw.network.file import digest, load, shipped
from psahw.network.graph import Named, Network, Output, Residual
from psahw.network.layers import Linear, MeanPool, Thresholds, TokenMixing, Windows
from psahw.network.random import KINDS, StageShape, random_graph, random_images, random_network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def computed(model, images: np.ndarray, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Return outputs of onnxruntime by name, all of them unless names are given."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = names or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def last_tensors(model, layers: list[str]) -> dict[str, str]:
    """Return the tensor of each layer's codes: the last one whose name begins with the layer's."""
    tensors = {}
    for node in model.graph.node:
        layer = node.output[0].rpartition("_")[0]
        tensors[layer] = node.output[0]
    return {name: tensors[name.replace(".", "_")] for name in layers}


def check(network: Network, images: np.ndarray) -> None:
    """Check logits and the codes behind every layer."""
    taps: dict[str, np.ndarray] = {}
    expected = reference.run(network, images, taps=taps)
    model = onnx_model(network)
    onnx.checker.check_model(model, full_check=True)
    tensors = last_tensors(model, [name for name in taps if name != "input"])
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT32, None)
        for name in tensors.values()
        if name not in outputs
    )
    actual = computed(model, images)
    assert actual["logits"].dtype == np.int32
    np.testing.assert_array_equal(actual["logits"], expected)
    for layer, tensor in tensors.items():
        np.testing.assert_array_equal(actual[tensor], taps[layer], err_msg=layer)


@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind):
    """Each kind of layer is exact, alone and mixed with others."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        network = random_graph(rng, steps=3, kinds=(kind,) if seed < 2 else (kind, *KINDS))
        check(network, random_images(rng, network, 5))


@pytest.mark.parametrize("extremes", [False, True])
def test_resmlp(extremes):
    """Both kinds of mixing, stages and merging, with weights at the ends of their range."""
    rng = np.random.default_rng(2)
    stages = (
        StageShape(8, 6, groups=4, kernel=3),
        StageShape(6, 4, groups=2, kernel=5, shared=True),
        StageShape(4, 4),
    )
    network = random_network(rng, image=(16, 16), stages=stages, extremes=extremes)
    check(network, random_images(rng, network, 3))


def test_extremes():
    """Shifts of 31, multipliers and offsets of 22 bits, and codes of 31 bits are exact at both ends of the sums."""
    weight = np.array([[127] * 12, [-128] * 12, [1] + [0] * 11, [0] * 12], np.int8)
    bias = np.array([(1 << 29), -(1 << 29), -1, 3], np.int32)
    shift = np.array([31, 14, 1, 0], np.uint8)
    multiplier = np.array([4194303, 65535, 1, 0], np.uint32)
    offset = np.array([4194303, -4194303, 7, -1], np.int32)
    rng = np.random.default_rng(0)
    table = np.tile(np.arange(-128, 128).astype(np.int8), (12, 1))
    images = np.concatenate([np.zeros((1, 1, 1, 12)), np.full((1, 1, 1, 12), 255), np.eye(12)[:, None, None]])
    images = np.concatenate([images.astype(np.uint8), rng.integers(0, 256, (20, 1, 1, 12), np.uint8)])
    for signed in (False, True):
        for bits in (8, 31):
            for scaling in ((), (multiplier,), (multiplier, offset)):
                layers = (Named("head", Linear(weight, bias, shift, bits, signed, *scaling)),)
                check(Network("ends", (1, 1), table, layers, Output("class", tuple("abcd"))), images)


def test_a_thousand_tokens():
    """The mean of many tokens, mixed by weights of their own, is exact."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (1, 1, 15)).astype(np.int8)
    one = np.ones((1, 1), np.uint8)
    layers = (
        Named("mixing", TokenMixing(weight, one.astype(np.int32), 7 * one, (1, 15), True, 8, False)),
        Named("mean", MeanPool(31, 65535, 4194303)),
        Named("exact", Linear(np.array([[1], [-1]], np.int8), np.zeros(2, np.int32), np.zeros(2, np.uint8), 31)),
        Named("head", Thresholds(np.array([[-(1 << 31), 0, 7, 7], [0, 1, 2, (1 << 31) - 1]], np.int32))),
    )
    table = np.arange(-128, 128).astype(np.int8)[None]
    network = Network("long", (1, 1024), table, layers, Output("labels", ("a", "b")))
    check(network, random_images(rng, network, 3))


@pytest.mark.parametrize("kind", ["class", "values", "labels"])
def test_answers(kind):
    """The second output says what the logits mean."""
    numbers = ((0.1, -2.0, 3e5), (0.7, 0.0, -1e-9)) if kind == "values" else ((), ())
    rng = np.random.default_rng(1)
    weight = np.repeat(rng.integers(-2, 3, (1, 4)).astype(np.int8), 3, axis=0)  # all logits are equal
    weight[2] = -weight[0]
    head = Linear(weight, np.zeros(3, np.int32), np.full(3, 3, np.uint8))
    table = rng.integers(-128, 128, (4, 256)).astype(np.int8)
    network = Network("n", (1, 1), table, (Named("head", head),), Output(kind, ("a", "b", "c"), *numbers))
    images = random_images(rng, network, 50)
    logits = reference.run(network, images)
    expected = {
        "class": logits.argmax(1),
        "values": logits * np.array(numbers[0] or 1) + np.array(numbers[1] or 0),
        "labels": logits > 0,
    }[kind]
    actual = computed(onnx_model(network), images)
    assert list(actual) == ["logits", kind]
    np.testing.assert_array_equal(actual[kind], expected)
    assert kind != "class" or (0 in expected and 1 not in expected)


def test_by_the_specification():
    """The evaluator of onnx, which is written from the operators' specification, gives the same integers."""
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(7)
    for kinds in (("convolution", "mixing", "thresholds"), ("residual", "shortcut", "max_pool", "table")):
        network = random_graph(rng, steps=3, kinds=kinds)
        images = random_images(rng, network, 3)
        logits = ReferenceEvaluator(onnx_model(network)).run(["logits"], {"image": images})[0]
        np.testing.assert_array_equal(logits, reference.run(network, images))


def test_metadata():
    network = load("mnist-psa")
    model = onnx_model(network)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {
        "name": "mnist-psa",
        "digest": digest(network),
        "output": "class",
        "classes": json.dumps(network.classes),
    }
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}


def test_names_with_dots():
    """Layers whose names end like a role, and residual connections inside of others, have tensors of their own."""
    rng = np.random.default_rng(0)

    def linear(outputs: int, inputs: int) -> Linear:
        return Linear(rng.integers(-9, 9, (outputs, inputs)).astype(np.int8), np.zeros(outputs, np.int32),
                      np.full(outputs, 3, np.uint8))  # fmt: skip

    inner = Residual((Named("a.b.MatMul", linear(3, 3)),), (Named("a.b.weight1", linear(3, 3)),), 5, False)
    layers = (
        Named("logits", linear(3, 3)),
        Named("a", Residual((Named("a.b", inner),))),
        Named("a_MatMul", linear(2, 3)),
    )
    table = rng.integers(-128, 128, (3, 256)).astype(np.int8)
    network = Network("n", (1, 1), table, layers, Output("class", ("x", "y")))
    check(network, random_images(rng, network, 9))
    assert network.places[2].layer.codes == Codes(5, False)


@pytest.mark.parametrize("name", shipped())
def test_shipped(name):
    network = load(name)
    images = random_images(np.random.default_rng(0), network, 3)
    np.testing.assert_array_equal(computed(onnx_model(network), images)["logits"], reference.run(network, images))


def test_windows_over_all_padding():
    """Windows with another padding on each side read its code there."""
    rng = np.random.default_rng(0)
    windows = Windows((3, 4), (2, 1), (2, 1, 0, 3), -77)
    linear = Linear(rng.integers(-128, 128, (2, 24)).astype(np.int8), np.zeros(2, np.int32), np.full(2, 9, np.uint8))
    layers = (Named("conv.windows", windows), Named("conv", linear), Named("mean", MeanPool(4)))
    table = rng.integers(-128, 128, (2, 256)).astype(np.int8)
    network = Network("n", (5, 6), table, layers, Output("values", ("x", "y"), (1, 1), (0, 0)))
    check(network, random_images(rng, network, 5))


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"^this needs onnx, which is not installed: install psahw with its extra"):
        onnx_model(load("dry-bean-psa"))


def test_large_layers_take_fewer_images(monkeypatch):
    """The number of images at a time follows from the largest array, whatever layer has it."""
    rng = np.random.default_rng(0)
    one = np.ones((1, 1), np.uint8)
    mixing = TokenMixing(one.repeat(9)[None, None].astype(np.int8), one.astype(np.int32), one, (3, 3), True)
    head = Linear(np.ones((1, 1), np.int8), np.zeros(1, np.int32), np.zeros(1, np.uint8))
    layers = (Named("mixing", mixing), Named("mean", MeanPool(6)), Named("head", head))
    table = np.arange(-128, 128).astype(np.int8)[None]
    network = Network("n", (8, 8), table, layers, Output("labels", ("x",)))
    images = random_images(rng, network, 8)
    monkeypatch.setattr(execution, "_NUMBERS", 3 * 9 * 64)
    sizes: list[int] = []
    logits = execution.onnx_logits(network, onnx_model(network).SerializeToString(), images, progress=sizes.append)
    np.testing.assert_array_equal(logits, reference.run(network, images))
    assert sizes == [3, 3, 2]
