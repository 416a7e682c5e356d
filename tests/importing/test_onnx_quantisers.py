"""QONNX, QDQ and integer operators, against qonnx's executor and onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

from psahw.importing.onnx_check import is_qonnx, tensors
from psahw.importing.onnx_file import load
from psahw.importing.onnx_reader import read
from psahw.importing.operators import Convolution, Quantise, evaluate

from .onnx_models import QONNX, agree, node, save

pytest.importorskip("qonnx")
pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[3] / "shared" / "models"


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def real(value):
    return np.array(value, np.float32)


# QONNX


@pytest.mark.parametrize(
    ("mode", "zero", "options"),
    [
        ("ROUND", 0, dict(signed=1, narrow=0)), ("HALF_EVEN", 3, dict(signed=1, narrow=1)),
        ("FLOOR", 3, dict(signed=0, narrow=0)), ("CEIL", 0, dict(signed=0, narrow=1)),
        ("HALF_UP", -2, dict(signed=1, narrow=0)), ("DOWN", 0, dict(signed=1, narrow=0)),
    ],
)  # fmt: skip
def test_quant_of_a_tensor(tmp_path, mode, zero, options):
    constants = dict(s=real(0.25), z=real(zero), b=real(4))
    nodes = [node("Quant", "x s z b", "y", QONNX, rounding_mode=mode, **options)]
    numbers = np.arange(-40, 40).reshape(1, 1, 1, -1) / 16  # all quarters of a step, halves included
    agree(save(tmp_path / "m.onnx", nodes, [1, 80], constants), numbers, exact=True)


@pytest.mark.parametrize(
    "scale", [real(0.25), np.array([0.25, 0.5, 1, 0.125, 2], np.float32).reshape(5, 1, 1, 1)], ids=["one", "each"]
)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_quantised_weights(tmp_path, rng, scale, bits):
    constants = dict(w=rng.normal(size=(5, 3, 2, 2)).astype(np.float32), s=scale, z=real(0), b=real(bits))
    nodes = [node("Quant", "w s z b", "q", QONNX, signed=1, narrow=1), node("Conv", "x q", "y")]
    model = agree(save(tmp_path / "m.onnx", nodes, [1, 3, 4, 4], constants), rng.integers(-8, 8, (3, 4, 4, 3)) / 1.0)
    assert model.operators[0].weight.dtype == np.int8
    assert model.operators[0].scale.size == scale.size
    assert np.abs(model.operators[0].weight).max() <= 2 ** (bits - 1)


def test_bipolar_and_thresholds(tmp_path, rng):
    thresholds = rng.integers(-8, 8, (3, 7)).astype(np.float32)
    constants = dict(s=real(0.5), t=np.sort(thresholds, 1))
    nodes = [
        node("MultiThreshold", "x t", "m", QONNX, out_dtype="INT4", out_scale=2.0, out_bias=-7.0),
        node("BipolarQuant", "m s", "y", QONNX),
    ]
    agree(save(tmp_path / "m.onnx", nodes, [1, 3, 4, 2], constants), rng.integers(-9, 9, (4, 4, 2, 3)), exact=True)


@pytest.mark.parametrize(
    ("annotation", "low", "high", "scale"),
    [("INT5", -16, 15, 1), ("UINT8", 0, 255, 1), ("BINARY", 0, 1, 1), ("BIPOLAR", -1, 1, 1),
     ("FIXED<8,3>", -128, 127, 1 / 32)],
)  # fmt: skip
def test_annotated_input(tmp_path, annotation, low, high, scale):
    import onnx

    path = save(tmp_path / "m.onnx", [node("Relu", "x", "y")], [1, 4])
    proto = onnx.load(path)
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=annotation)
    proto.graph.quantization_annotation.append(
        onnx.TensorAnnotation(tensor_name="x", quant_parameter_tensor_names=[entry])
    )
    path.write_bytes(proto.SerializeToString())
    quantiser = read(path).input.quantiser
    assert (quantiser.low, quantiser.high, float(quantiser.scale)) == (low, high, scale)


@pytest.mark.parametrize(
    ("name", "low", "high", "step"),
    [("TFC_2W2A", 0, 255, 1 / 255), ("unsw_nb15-mlp-w2a2", 0, 1, 2), ("qkeras_jettagging", -512, 511, 1 / 64)],
)
def test_models_of_others(rng, name, low, high, step):
    """Outputs equal those of qonnx's executor on 20 random inputs; other tensors, within float32."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model = read(path)
    codes = rng.integers(low, high + 1, (20, *model.input.shape))
    images = codes * 2.0 - 1 if name.startswith("unsw") else codes * step
    expected, values = tensors(path, images), evaluate(model, images)
    for operator in model.operators:
        if operator.output in expected:
            reference = expected[operator.output]
            tolerance = 1e-5 * np.abs(reference).max()
            np.testing.assert_allclose(values[operator.output], reference, 0, tolerance, err_msg=operator.name)
    assert all(op.weight.dtype == np.int8 for op in model.operators if isinstance(op, Convolution))
    assert is_qonnx(load(path)) and model.source == "QONNX"


# QDQ and integer operators


def quantised_input(**constants):
    """Return nodes that quantise ``x`` to ``q``, and constants for them."""
    return [node("QuantizeLinear", "x xs xz", "q")], dict(xs=real(0.25), xz=np.int8(-3)) | constants


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
def test_codes_of_quantize_linear(tmp_path, kind):
    constants = dict(s=real(0.25), z=kind(7))
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    numbers = np.arange(-400, 400).reshape(1, 1, 1, -1) / 8
    model = agree(save(tmp_path / "m.onnx", nodes, [1, 800], constants, opset=21), numbers, exact=True)
    assert [type(operator) for operator in model.operators] == [Quantise]
    assert model.input.quantiser is model.operators[0].quantiser


def test_convolution_between_qdq(tmp_path, rng):
    nodes, constants = quantised_input(
        w=rng.integers(-127, 128, (4, 3, 3, 3), np.int8), ws=real([0.5, 0.25, 1, 0.125]), wz=np.zeros(4, np.int8),
        b=rng.integers(-99, 99, 4, np.int32), bs=real([0.125, 0.0625, 0.25, 0.03125]), bz=np.zeros(4, np.int32),
        ys=real(2.0), yz=np.int8(5),
    )  # fmt: skip
    nodes += [
        node("DequantizeLinear", "q xs xz", "dx"), node("DequantizeLinear", "w ws wz", "dw", axis=0),
        node("DequantizeLinear", "b bs bz", "db", axis=0), node("Conv", "dx dw db", "c", auto_pad="SAME_UPPER"),
        node("Relu", "c", "r"), node("QuantizeLinear", "r ys yz", "o"), node("DequantizeLinear", "o ys yz", "y"),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 5, 6], constants)
    model = agree(path, rng.integers(-64, 64, (4, 5, 6, 3)) / 8, exact=True)
    convolution = next(operator for operator in model.operators if isinstance(operator, Convolution))
    assert convolution.weight.dtype == np.int8 and convolution.scale.shape == (4,)


def test_qlinear_conv_and_pool(tmp_path, rng):
    nodes, constants = quantised_input(
        w=rng.integers(-127, 128, (4, 3, 2, 2), np.int8), ws=real([0.125, 0.25, 0.5, 1]), wz=np.zeros(4, np.int8),
        b=rng.integers(-99, 99, 4, np.int32), ys=real(4.0), yz=np.int8(5), ps=real(0.5), pz=np.int8(1),
    )  # fmt: skip
    nodes += [
        node("QLinearConv", "q xs xz w ws wz ys yz b", "c", pads=[0, 0, 1, 1]), node("MaxPool", "c", "m",
        kernel_shape=[2, 2], strides=[2, 2]), node("DequantizeLinear", "m ys yz", "y"),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 6, 4], constants)
    agree(path, rng.integers(-64, 64, (4, 6, 4, 3)) / 8, exact=True)


def test_operators_of_onnxruntime(tmp_path, rng):
    nodes, constants = quantised_input(
        w=rng.integers(-128, 128, (5, 3), np.int8), ws=real(0.125), wz=np.int8(0),
        b=rng.integers(-99, 99, 5, np.int32), ys=real(1.0), yz=np.int8(5), ps=real(0.5), pz=np.int8(1),
    )  # fmt: skip
    ms = "com.microsoft"
    nodes += [
        node("QLinearGlobalAveragePool", "q xs xz ps pz", "p", ms, channels_last=0), node("Flatten", "p", "f"),
        node("QGemm", "f ps pz w ws wz b ys yz", "g", ms, transB=1),
        node("QLinearAdd", "g ys yz g ys yz ys yz", "a", ms),
        node("DequantizeLinear", "a ys yz", "y"),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 4, 4], constants)
    agree(path, rng.integers(-64, 64, (4, 4, 4, 3)) / 8, exact=True)


@pytest.mark.parametrize("left", [False, True])
def test_qlinear_matmul(tmp_path, rng, left):
    nodes, constants = quantised_input(
        w=rng.integers(-128, 128, (6, 6), np.int8), ws=real(0.125), wz=np.int8(2), ys=real(2.0), yz=np.int8(0)
    )
    first, second = "q xs xz", "w ws wz"
    nodes += [
        node("QLinearMatMul", f"{second if left else first} {first if left else second} ys yz", "m"),
        node("DequantizeLinear", "m ys yz", "y"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [1, 6, 6] if left else [1, 6], constants)
    agree(path, rng.integers(-64, 64, (4, 1, 6 if left else 1, 6)) / 8, exact=True)


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger"])
def test_integer_sums(tmp_path, rng, kind):
    """Sums of integers, with scale and bias behind a cast."""
    size = (5, 3, 2, 2) if kind == "ConvInteger" else (3, 5)
    nodes, constants = quantised_input(
        w=rng.integers(-127, 128, size, np.int8), wz=np.int8(1), f=real(0.5),
        b=rng.normal(size=(5, 1, 1) if kind == "ConvInteger" else 5).astype(np.float32), xs=real(0.25),
        xz=np.uint8(100),
    )  # fmt: skip
    nodes += [
        node(kind, "q w xz wz", "i"), node("Cast", "i", "c", to=1), node("Mul", "c f", "m"), node("Add", "m b", "y")
    ]  # fmt: skip
    shape = [1, 3, 4, 4] if kind == "ConvInteger" else [1, 3]
    grid = (4, 4, 3) if kind == "ConvInteger" else (1, 1, 3)
    agree(save(tmp_path / "m.onnx", nodes, shape, constants), rng.integers(-64, 64, (4, *grid)) / 8)


def test_input_of_integers(tmp_path, rng):
    """The grid of an input of integers is that of the operator that takes it."""
    constants = dict(s=real(0.5), z=np.uint8(3), w=rng.normal(size=(6, 2)).astype(np.float32))
    nodes = [node("DequantizeLinear", "x s z", "d"), node("MatMul", "d w", "y")]
    path = save(tmp_path / "m.onnx", nodes, [1, 6], constants, dtype="UINT8")
    model = agree(path, (rng.integers(0, 256, (4, 1, 1, 6)) - 3) / 2)
    assert (float(model.input.quantiser.scale), model.input.quantiser.zero_point) == (0.5, 3)


def test_pixels_that_are_cast_and_scaled(tmp_path, rng):
    constants = dict(d=real(255.0), w=rng.normal(size=(2, 3, 1, 1)).astype(np.float32))
    nodes = [node("Cast", "x", "c", to=1), node("Div", "c d", "f"), node("Conv", "f w", "y")]
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 4, 4], constants, dtype="UINT8")
    model = agree(path, rng.integers(0, 256, (4, 4, 4, 3)) / 1.0)
    assert (model.input.quantiser.low, model.input.quantiser.high) == (0, 255)


@pytest.mark.parametrize("operators", [False, True], ids=["QDQ", "integer operators"])
def test_static_quantisation_by_onnxruntime(tmp_path, rng, operators):
    """A residual network, as onnxruntime quantises it, gives the same codes."""
    from onnxruntime import quantization

    def draw(*size):
        return (rng.normal(size=size) / np.sqrt(np.prod(size[1:]))).astype(np.float32)

    constants = dict(
        w1=draw(8, 3, 3, 3), b1=draw(8), w2=draw(8, 2, 3, 3), w3=draw(6, 8, 3, 3), w4=draw(5, 6), b4=draw(5)
    )
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
        node("Conv", "r1 w2 b1", "c2", pads=[1, 1, 1, 1], group=4), node("Add", "c2 r1", "a"),
        node("Relu", "a", "r2"),
        node("MaxPool", "r2", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w3", "c3", auto_pad="SAME_UPPER", strides=[2, 2]), node("GlobalAveragePool", "c3", "m"),
        node("Flatten", "m", "f"), node("Gemm", "f w4 b4", "g", transB=1), node("Softmax", "g", "y"),
    ]  # fmt: skip
    path = save(tmp_path / "float.onnx", nodes, [1, 3, 8, 8], constants)

    class Calibration(quantization.CalibrationDataReader):
        left = 4

        def get_next(self):
            self.left -= 1
            return dict(x=10 * draw(1, 3, 8, 8)) if self.left >= 0 else None

    quantization.quantize_static(
        path, tmp_path / "m.onnx", Calibration(), per_channel=True,
        quant_format=quantization.QuantFormat.QOperator if operators else quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    model = agree(tmp_path / "m.onnx", rng.normal(size=(10, 8, 8, 3)), exact=True)
    assert len(model.dropped) == 1
    assert model.input.quantiser is not None
