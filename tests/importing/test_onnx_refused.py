"""ONNX models that are not supported, damaged, or meant to do harm."""

import os
import time

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.importing import onnx_file
from psahw.importing.onnx_reader import read
from psahw.importing.operators import Model
from psahw.importing.unsupported import Unsupported

from .onnx_models import QONNX, node, save

pytest.importorskip("onnx")


def weights(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def lstm():
    constants = dict(w=weights(1, 16, 3), r=weights(1, 16, 4))
    return [node("LSTM", "x w r", "y", hidden_size=4)], [5, 1, 3], constants


def attention():
    """One head: queries, keys and values from the same tokens."""
    constants = dict(q=weights(8, 8), k=weights(8, 8), v=weights(8, 8))
    nodes = [node("MatMul", f"x {name}", f"x{name}") for name in "qkv"]
    nodes += [node("Transpose", "xk", "t", perm=[0, 2, 1]), node("MatMul", "xq t", "scores")]
    nodes += [node("Softmax", "scores", "p"), node("MatMul", "p xv", "y")]
    return nodes, [1, 6, 8], constants


UNSUPPORTED = {
    "attention": (*attention(), ["scores (MatMul): one of its inputs must be a constant"]),
    "lstm": (*lstm(), ["y (LSTM): recurrent layers are not supported"]),
    "transposed convolution": (
        [node("ConvTranspose", "x w", "y")], [1, 3, 4, 4], dict(w=weights(3, 2, 2, 2)),
        ["y (ConvTranspose): this operator is not supported"],
    ),
    "open length": ([node("Relu", "x", "y")], [1, 3, "rows", "columns"], {},
        ["x (input): its shape must be one to four fixed lengths after the batch, not (1, 3, ?, ?)"]),
    "dilated": ([node("Conv", "x w", "y", dilations=[2, 2])], [1, 3, 8, 8], dict(w=weights(2, 3, 3, 3)),
        ["y (Conv): its dilations must be 1, not (2, 2)"]),
    "three dimensions": ([node("Conv", "x w", "y")], [1, 3, 8, 8, 8], dict(w=weights(2, 3, 3, 3, 3)),
        ["x (input): its shape must be one to four fixed lengths after the batch, not (1, 3, 8, 8, 8)"]),
    "inner softmax": ([node("Softmax", "x", "s"), node("Relu", "s", "y")], [1, 8], {},
        ["s (Softmax): it must be the last operator; in other places, it is not supported"]),
    "gates": ([node("Sigmoid", "x", "s"), node("LeakyRelu", "x", "l"), node("Mul", "s l", "y")], [1, 8], {},
        ["s (Sigmoid): it must be the last operator", "l (LeakyRelu): the activation must be Relu or Clip"]),
    "dynamic scales": (
        [node("DynamicQuantizeLinear", "x", "q"), node("Erf", "x", "e"), node("Add", "q e", "y")], [1, 8], {},
        ["q (DynamicQuantizeLinear): scales must be constants", "e (Erf): this operator is not supported"]),
    "spatial constant": ([node("Add", "x c", "y")], [1, 3, 4, 4], dict(c=weights(1, 1, 4, 4)),
        ["y (Add): its constant must be one number, or one for each channel"]),
    "foreign domain": ([node("Conv", "x w", "y", "my.domain")], [1, 3, 8, 8], dict(w=weights(2, 3, 3, 3)),
        ["y (my.domain.Conv): this operator is not supported"]),
    "rounding": (
        [node("Quant", "x s z b", "y", QONNX, rounding_mode="HALF_DOWN")], [1, 8],
        dict(s=np.float32(1), z=np.float32(0), b=np.float32(4)), ["y (Quant): its rounding_mode must be one of"]),
    "huge padding": ([node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[9, 9, 9, 9])], [1, 3, 8, 8], {},
        ["y (MaxPool): its padding must be smaller than its windows"]),
    "huge constant": (
        [node("ConstantOfShape", "n", "c"), node("Add", "x c", "y")], [1, 8], dict(n=np.array([1 << 40])),
        ["c (ConstantOfShape): its constant result must have at most"]),
    "stacked": ([node("Erf", "x", "e0"), *(node("Erf", f"e{k}", f"e{k + 1}") for k in range(13))], [1, 8], {},
        ["14 operators are not supported", "e9 (Erf)", "e13 (Erf)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported(tmp_path, name):
    """All operators that are not supported are listed in one error."""
    nodes, shape, constants, lines = UNSUPPORTED[name]
    path = save(tmp_path / "m.onnx", nodes, shape, constants)
    with pytest.raises(Unsupported) as error:
        read(path)
    for line in lines:
        assert line in str(error.value)
    assert len(str(error.value).splitlines()) == 1 + len(error.value.nodes)


def test_operators_that_no_output_needs_are_ignored(tmp_path):
    nodes = [node("Erf", "x", "e"), node("Relu", "x", "y")]
    assert len(read(save(tmp_path / "m.onnx", nodes, [1, 8])).operators) == 1


def network(path):
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
        node("Conv", "d w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]), node("Relu", "c", "r"),
        node("Reshape", "r n", "f"), node("Gemm", "f v", "g", transB=1), node("Softmax", "g", "y"),
    ]  # fmt: skip
    constants = dict(
        s=np.float32(0.5), z=np.int8(1), w=weights(4, 3, 3, 3), b=weights(4), n=np.array([1, -1]), v=weights(5, 36)
    )
    return save(path, nodes, [1, 3, 6, 6], constants)


def test_damaged_files(tmp_path):
    """Changed bytes and cut files give a model or an error, quickly."""
    rng = np.random.default_rng(3)
    data = network(tmp_path / "whole.onnx").read_bytes()
    outcomes = set()
    for case in range(150):
        changed = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            changed[place] = rng.integers(256)
        path = tmp_path / "m.onnx"
        path.write_bytes(changed if case % 10 else changed[: rng.integers(len(data))])
        start = time.perf_counter()
        try:
            outcomes.add(type(read(path)))
        except UserError as error:
            outcomes.add(UserError)
            assert all(line.isprintable() and len(line) < 400 for line in str(error).splitlines())
        assert time.perf_counter() - start < 10
    assert outcomes == {Model, UserError}


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x00" * 100, b"hello", b"\x3a\xff\xff\xff\xff\x0f"])
def test_not_onnx(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"m\.onnx is (neither a TensorFlow Lite nor an ONNX model|not usable)"):
        read(path)


def test_missing_and_large_files(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot read"):
        read(tmp_path / "absent.onnx")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="must have at most"):
        read(network(tmp_path / "m.onnx"))


def test_shape_that_its_data_does_not_have(tmp_path):
    import onnx

    path = network(tmp_path / "m.onnx")
    for dims in ([1 << 20, 1 << 20], [-1, 4], [5]):
        proto = onnx.load(path)
        tensor = next(t for t in proto.graph.initializer if t.name == "b")
        tensor.dims[:] = dims
        (tmp_path / "n.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(UserError, match="tensor 'b' must have"):
            read(tmp_path / "n.onnx")


# External data


def external(path, location, **entries):
    """Write a model whose weights are in another file."""
    import onnx

    proto = onnx.load(save(path, [node("MatMul", "x w", "y")], [1, 4], dict(w=weights(4, 2))))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in dict(location=location, **entries).items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1234" + weights(4, 2).tobytes())
    model = read(external(tmp_path / "m.onnx", "weights.bin", offset=4, length=32))
    np.testing.assert_array_equal(model.operators[0].weight[:, 0, 0].T, weights(4, 2))


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "..", ".", "", "sub/w.bin", "link", "pipe", "absent", "\0"]
)
def test_external_data_elsewhere(tmp_path, location):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "w.bin", folder / "sub" / "w.bin"):
        path.write_bytes(bytes(32))
    (folder / "link").symlink_to(tmp_path / "w.bin")
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match="external data"):
        read(external(folder / "m.onnx", location))


@pytest.mark.parametrize(
    "entries", [dict(offset=1), dict(length=33), dict(offset=-4), dict(offset="x"), dict(offset=1 << 70)]
)
def test_external_data_outside_of_its_file(tmp_path, entries):
    (tmp_path / "w.bin").write_bytes(bytes(32))
    with pytest.raises(UserError, match="external data"):
        read(external(tmp_path / "m.onnx", "w.bin", **entries))
