"""Models that ``psahw import`` refuses: a line or a short list each, exit status 2, and no file."""

import numpy as np
import pytest

from psahw.cli import main

pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")

from tests.fuzz.models import refusal
from tests.importing.onnx_models import save
from tests.importing.test_onnx_refused import UNSUPPORTED
from tests.importing.tflite_models import Builder


def activations(builder, *shapes):
    """Add int8 tensors of these shapes, and return their indices."""
    return [builder.tensor([1, *shape], np.int8, 0.5, 3) for shape in shapes]


def weights(builder, *shape):
    """Add int8 weights, and return their index."""
    return builder.constant(np.ones(shape, np.int8), 0.1)


def lstm(builder):
    x, y = activations(builder, (5, 3), (5, 4))
    gates = [weights(builder, 4, 3) for _ in range(4)] + [weights(builder, 4, 4) for _ in range(4)]
    optional = [-1] * 15
    builder.node("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *gates, *optional], [y], "UnidirectionalSequenceLSTMOptions")
    return x, y


def attention(builder):
    x, scores, shares, y = activations(builder, (6, 8), (6, 6), (6, 6), (6, 8))
    builder.node("BATCH_MATMUL", [x, x], [scores], "BatchMatMulOptions", adjY=True)
    builder.node("SOFTMAX", [scores], [shares], "SoftmaxOptions", beta=1)
    builder.node("BATCH_MATMUL", [shares, x], [y], "BatchMatMulOptions")
    return x, y


def transposed_convolution(builder):
    x, y = activations(builder, (4, 4, 2), (8, 8, 3))
    shape = builder.constant(np.int32([1, 8, 8, 3]))
    builder.node("TRANSPOSE_CONV", [shape, weights(builder, 3, 2, 2, 2), x], [y], "TransposeConvOptions", strideH=2)
    return x, y


def open_shape(builder):
    x, y = activations(builder, (4, 4, 2), (4, 4, 2))
    builder.node("RELU", [x], [y])
    for tensor in builder.graph.tensors:
        tensor.shapeSignature = np.int32([-1, -1, -1, 2])
    return x, y


def branches(builder):
    x, y = activations(builder, (4, 4, 2), (4, 4, 4))
    builder.node("CONCATENATION", [x, x], [y], "ConcatenationOptions", axis=3)
    return x, y


def resized(builder):
    x, y = activations(builder, (4, 4, 2), (8, 8, 2))
    builder.node("RESIZE_NEAREST_NEIGHBOR", [x, builder.constant(np.int32([8, 8]))], [y])
    return x, y


TFLITE = {
    "lstm": (lstm, ["unidirectional_sequence_lstm_0 (UNIDIRECTIONAL_SEQUENCE_LSTM): no such operator"]),
    "attention": (
        attention, ["3 operators are not supported", "batch_matmul_0 (BATCH_MATMUL): ", "softmax_1 (SOFTMAX): "]
    ),
    "transposed convolution": (transposed_convolution, ["transpose_conv_0 (TRANSPOSE_CONV): no such operator"]),
    "open shape": (open_shape, ["is open in axis 1"]),
    "concatenation": (branches, ["concatenation_0 (CONCATENATION): no such operator"]),
    "resize": (resized, ["resize_nearest_neighbor_0 (RESIZE_NEAREST_NEIGHBOR): no such operator"]),
}  # fmt: skip


def refused(folder, monkeypatch, capfd):
    """Import the model in a directory, and return what is printed on standard error."""
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(["import", "model", "-o", "network", "--check", "5"]) == 2
    out, err = capfd.readouterr()
    assert out == "" and refusal(err)
    assert sorted(folder.rglob("*")) == before
    return err


@pytest.mark.parametrize("name", TFLITE)
def test_tflite(name, tmp_path, monkeypatch, capfd):
    build, lines = TFLITE[name]
    builder = Builder()
    x, y = build(builder)
    builder.save(tmp_path / "model", [x], [y])
    message = refused(tmp_path, monkeypatch, capfd)
    assert all(line in message for line in lines), message


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_onnx(name, tmp_path, monkeypatch, capfd):
    nodes, shape, constants, lines = UNSUPPORTED[name]
    save(tmp_path / "model", nodes, shape, constants)
    message = refused(tmp_path, monkeypatch, capfd)
    assert all(line in message for line in lines), message


def test_float_models_of_tensorflow_lite(tmp_path, monkeypatch, capfd):
    """Real numbers between the layers."""
    builder = Builder()
    x, h, y = (builder.tensor([1, 2], np.float32) for _ in range(3))
    for source, output in ((x, h), (h, y)):
        weight = builder.constant(np.ones((2, 2), np.float32))
        builder.node("FULLY_CONNECTED", [source, weight, -1], [output], "FullyConnectedOptions")
    builder.save(tmp_path / "model", [x], [y])
    assert "is a float model: name a dataset" in refused(tmp_path, monkeypatch, capfd)
