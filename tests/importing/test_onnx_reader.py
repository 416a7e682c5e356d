"""Operators, layouts and padding of float ONNX models, against onnxruntime."""

import numpy as np
import pytest

from psahw.importing.operators import Add, Affine, Convolution, Flatten, MaxPool, MeanPool

from .onnx_models import agree, node, save

pytest.importorskip("onnxruntime")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def images(rng, *shape, count=3):
    """Return images of multiples of 1/8, which float32 holds exactly."""
    return rng.integers(-64, 64, (count, *shape)) / 8


def numbers(rng, *shape):
    return rng.integers(-32, 32, shape).astype(np.float32) / 16


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3, 3), dict(pads=[1, 1, 1, 1])),
        ((3, 3), dict(pads=[0, 1, 1, 2], strides=[2, 1])),
        ((2, 3), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
        ((4, 2), dict(auto_pad="SAME_LOWER", strides=[2, 2])),
        ((3, 1), dict(auto_pad="VALID", dilations=[1, 5])),
        ((1, 1), dict(strides=[3, 2])),
    ],
)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution(tmp_path, rng, size, options, groups):
    constants = dict(w=numbers(rng, 8, 4 // groups, *size), b=numbers(rng, 8))
    path = save(tmp_path / "m.onnx", [node("Conv", "x w b", "y", group=groups, **options)], [1, 4, 7, 6], constants)
    assert agree(path, images(rng, 7, 6, 4)).operators[0].groups == groups


def test_convolution_of_a_signal(tmp_path, rng):
    constants = dict(w=numbers(rng, 5, 3, 4))
    nodes = [node("Conv", "x w", "y", pads=[2, 1], strides=[2]), node("Relu", "y", "z")]
    model = agree(save(tmp_path / "m.onnx", nodes, [1, 3, 9], constants), images(rng, 1, 9, 3))
    assert model.input.shape == (1, 9, 3)


def test_padding_before_a_convolution(tmp_path, rng):
    constants = dict(w=numbers(rng, 2, 3, 3, 3), pads=np.array([0, 0, 1, 0, 0, 0, 2, 1]))
    nodes = [
        node("Pad", "x pads", "p"),
        node("Relu", "p", "r"),
        node("Conv", "r w", "y", pads=[0, 1, 0, 0], strides=[2, 2]),
    ]
    model = agree(save(tmp_path / "m.onnx", nodes, ["batch", 3, 6, 5], constants), images(rng, 6, 5, 3))
    assert model.operators[-1].padding == (1, 2, 1, 1)


@pytest.mark.parametrize(
    ("kind", "options", "result"),
    [
        ("MaxPool", dict(kernel_shape=[2, 2], strides=[2, 2]), MaxPool),
        ("MaxPool", dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1]), MaxPool),
        ("MaxPool", dict(kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1), MaxPool),
        ("MaxPool", dict(kernel_shape=[2, 3], strides=[3, 3], ceil_mode=1, pads=[1, 0, 1, 0]), MaxPool),
        ("AveragePool", dict(kernel_shape=[7, 6]), MeanPool),
        ("AveragePool", dict(kernel_shape=[2, 3], strides=[2, 1]), Convolution),
        ("AveragePool", dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), Convolution),
        ("GlobalAveragePool", {}, MeanPool),
        ("GlobalMaxPool", {}, MaxPool),
        ("ReduceMean", dict(axes=[2, -1]), MeanPool),
        ("ReduceMean", dict(axes=[3, 2], keepdims=0), MeanPool),
    ],
)
def test_pooling(tmp_path, rng, kind, options, result):
    model = agree(save(tmp_path / "m.onnx", [node(kind, "x", "y", **options)], [1, 3, 7, 6]), images(rng, 7, 6, 3))
    assert [type(operator) for operator in model.operators] == [result]


@pytest.mark.parametrize("flatten", ["Flatten", "Reshape"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_flattening(tmp_path, rng, order, flatten):
    """A dense layer behind a convolution takes its numbers in the order of the file's layout."""
    constants = dict(w=numbers(rng, 4, 3, 2, 2), v=numbers(rng, 4 * 5 * 4, 6), c=numbers(rng, 6), s=np.array([0, -1]))
    nodes = [node("Conv", "x w", "a")]
    if order == "NHWC":
        nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "n")]
        nodes.append(node("Transpose", "n", "a", perm=[0, 2, 3, 1]))
    nodes.append(node("Flatten", "a", "f") if flatten == "Flatten" else node("Reshape", "a s", "f"))
    nodes.append(node("Gemm", "f v c", "y", alpha=0.5, beta=2.0))
    shape = [1, 3, 6, 5] if order == "NCHW" else [1, 6, 5, 3]
    model = agree(save(tmp_path / "m.onnx", nodes, shape, constants), images(rng, 6, 5, 3))
    assert model.input.shape == (6, 5, 3)
    assert [operator.channels_first for operator in model.operators if isinstance(operator, Flatten)] == [
        order == "NCHW"
    ]


def test_flat_input_that_becomes_an_image(tmp_path, rng):
    constants = dict(s=np.array([-1, 2, 5, 4]), w=numbers(rng, 3, 2, 3, 3))
    nodes = [node("Reshape", "x s", "i"), node("Conv", "i w", "y")]
    model = agree(save(tmp_path / "m.onnx", nodes, [1, 40], constants), images(rng, 5, 4, 2))
    assert model.input.shape == (5, 4, 2)


def test_reshape_by_a_chain_of_constants(tmp_path, rng):
    constants = dict(zero=np.array(0), minus=np.array([-1]), axes=np.array([0]), w=numbers(rng, 60, 4))
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s zero", "g"), node("Unsqueeze", "g axes", "u"),
        node("Concat", "u minus", "c", axis=0), node("Reshape", "x c", "r"), node("MatMul", "r w", "y"),
    ]  # fmt: skip
    agree(save(tmp_path / "m.onnx", nodes, ["n", 3, 4, 5], constants), images(rng, 4, 5, 3))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [(), (5,), (1, 5), (1,)])
def test_gemm(tmp_path, rng, transposed, bias):
    constants = dict(w=numbers(rng, *((5, 8) if transposed else (8, 5))), b=numbers(rng, *bias))
    nodes = [node("Gemm", "x w b", "y", transB=int(transposed), alpha=-0.25)]
    agree(save(tmp_path / "m.onnx", nodes, [1, 8], constants), images(rng, 1, 1, 8))


@pytest.mark.parametrize(("shape", "weight", "left"), [((1, 6, 8), (8, 5), False), ((1, 8, 6), (5, 8), True)])
def test_matmul_at_each_position(tmp_path, rng, shape, weight, left):
    nodes = [node("MatMul", "w x" if left else "x w", "y"), node("Relu", "y", "z")]
    agree(save(tmp_path / "m.onnx", nodes, list(shape), dict(w=numbers(rng, *weight))), images(rng, 1, 6, 8))


@pytest.mark.parametrize(
    ("kind", "inputs", "constant"),
    [
        ("Add", "x c", (1, 3, 1, 1)), ("Add", "c x", ()), ("Sub", "x c", (3, 1, 1)), ("Sub", "c x", (1,)),
        ("Mul", "x c", (3, 1, 1)), ("Div", "x c", (1, 3, 1, 1)),
    ],
)  # fmt: skip
def test_arithmetic_with_constants(tmp_path, rng, kind, inputs, constant):
    constants = dict(c=rng.integers(1, 9, constant).astype(np.float32))
    model = agree(save(tmp_path / "m.onnx", [node(kind, inputs, "y")], [1, 3, 2, 4], constants), images(rng, 2, 4, 3))
    assert [type(operator) for operator in model.operators] == [Affine]


def test_batch_norm_bounds_and_sum(tmp_path, rng):
    constants = {name: numbers(rng, 3) for name in ("gamma", "beta", "mean")}
    constants |= dict(variance=rng.uniform(0.5, 2, 3).astype(np.float32), low=np.float32(-1), high=np.float32(6))
    nodes = [
        node("BatchNormalization", "x gamma beta mean variance", "n", epsilon=1e-3), node("Clip", "n low high", "c"),
        node("Neg", "c", "m"), node("Add", "m n", "s"), node("Sub", "s c", "d"), node("Max", "d low", "y"),
    ]  # fmt: skip
    model = agree(save(tmp_path / "m.onnx", nodes, [1, 3, 4, 4], constants), images(rng, 4, 4, 3))
    assert sum(isinstance(operator, Add) for operator in model.operators) == 2


def test_bounds_as_attributes(tmp_path, rng):
    nodes = [node("Clip", "x", "c", min=-0.5, max=2.5), node("Dropout", "c", "d"), node("Identity", "d", "y")]
    agree(save(tmp_path / "m.onnx", nodes, [1, 8], opset=9), images(rng, 1, 1, 8))


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax"])
def test_endings_are_dropped(tmp_path, rng, ending):
    from psahw.importing.onnx_reader import read

    nodes = [node("MatMul", "x w", "y"), node(ending, "y", "e"), node("Identity", "e", "z")]
    kind = "INT64" if ending == "ArgMax" else "FLOAT"
    path = save(tmp_path / "m.onnx", nodes, [1, 8], dict(w=numbers(rng, 8, 4)), output_type=kind)
    model = read(path)
    assert (model.output, model.dropped) == ("y", (f"{ending} e",))


def test_inputs_that_are_initialisers(tmp_path, rng):
    """In old files, initialisers are listed as inputs."""
    import onnx

    path = save(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], [1, 8], dict(w=numbers(rng, 8, 4)))
    proto = onnx.load(path)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 4]))
    path.write_bytes(proto.SerializeToString())
    assert agree(path, images(rng, 1, 1, 8)).input.name == "x"
