"""Models of TensorFlow Lite: our operators against LiteRT's reference kernels, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from psahw.errors import UserError
from psahw.importing import operators as ops
from psahw.importing.unsupported import Unsupported
from tests.fuzz.mutations import with_edits

pytest.importorskip("ai_edge_litert", reason="the extra import is not installed")

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from psahw.importing import tflite_file, tflite_graph, tflite_reader
from psahw.importing.litert_check import tensors
from psahw.importing.tflite_reader import read

from .tflite_models import Builder, schema

SHARED = Path(__file__).parents[2].parent / "shared" / "models"
SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
INT8, UINT8, FLOAT = np.int8, np.uint8, np.float32
GRIDS = {INT8: (0.05, 12), UINT8: (0.04, 120), FLOAT: (None, 0)}
"""Scale and zero point of most activations."""


def litert(content, codes, kernels=OpResolverType.BUILTIN_REF):
    """Return all tensors that LiteRT's kernels compute for each image: {index: array}."""
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=kernels,
        experimental_preserve_all_tensors=kernels == OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    images = []
    for image in codes:
        interpreter.set_tensor(entry["index"], image.reshape(entry["shape"]).astype(entry["dtype"]))
        interpreter.invoke()
        images.append({})
        for tensor in interpreter.get_tensor_details():
            try:
                images[-1][tensor["index"]] = interpreter.get_tensor(tensor["index"])
            except ValueError:  # a kernel's scratch memory
                continue
    return {index: np.stack([image[index] for image in images]) for index in images[0]}


def random_input(model, rng, images=4):
    """Return real numbers of a model's input, and what LiteRT takes in their place."""
    quantiser, shape = model.input.quantiser, (images, *model.input.shape)
    if quantiser is None:
        values = rng.normal(0, 2, shape).astype(np.float32)
        return values.astype(float), values
    codes = rng.integers(quantiser.low, quantiser.high + 1, shape)
    return quantiser.values(codes), codes


def compare(tmp_path, builder, inputs, outputs, *, most=1, feed=None):
    """Read a model, compare all of its tensors with LiteRT's, and return it.

    Codes may differ by ``most``, real numbers by rounding to float32.
    """
    content = builder.content(inputs, outputs)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    model = read(path)
    values, codes = random_input(model, np.random.default_rng(1))
    expected = litert(content, codes if feed is None else feed(values))
    ours = ops.evaluate(model, values)
    grids = {step.output: step.quantiser for step in model.operators if isinstance(step, ops.Quantise)}
    if model.input.quantiser is not None:
        grids[model.input.name] = model.input.quantiser
    compared = 0
    for index, tensor in enumerate(builder.graph.tensors):
        if tensor.name not in ours or index not in expected or tensor.name == model.input.name:
            continue
        wanted = expected[index].reshape(ours[tensor.name].shape)
        if tensor.type == schema.TensorType.FLOAT32:
            assert np.abs(ours[tensor.name] - wanted).max() < 1e-6 * np.abs(wanted).max(), tensor.name
        else:
            # Not by our quantiser, which may be wrong: the codes are those of the file's scale and zero point.
            scale, zero = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
            difference = ours[tensor.name] / float(scale) + zero - wanted
            assert np.abs(difference).max() < most + 1e-6, tensor.name
        compared += 1
    assert compared and model.output in {tensor.name for tensor in builder.graph.tensors}
    return model


def convolution(builder, source, output, rng, kind, weight_shape, bias=True, per_channel=True, **options):
    """Add a convolution or a dense layer of random weights; the source's type is that of the layer."""
    tensor = builder.graph.tensors[source]
    axis = 3 if kind.startswith("DEPTHWISE") else 0
    outputs = weight_shape[axis]
    if tensor.type == schema.TensorType.FLOAT32:
        weight = builder.constant(rng.normal(0, 0.5, weight_shape).astype(np.float32))
        offset = builder.constant(rng.normal(0, 1, outputs).astype(np.float32))
    else:
        scale = rng.uniform(0.004, 0.02, outputs if per_channel else 1).astype(np.float32)
        if tensor.type == schema.TensorType.UINT8:
            weight = builder.constant(rng.integers(60, 160, weight_shape).astype(np.uint8), scale, 110)
        else:
            weight = builder.constant(rng.integers(-127, 128, weight_shape).astype(np.int8), scale, 0, axis)
        codes = rng.integers(-900, 900, outputs).astype(np.int32)
        offset = builder.constant(codes, tensor.quantization.scale[0] * scale)
    name = {"CONV_2D": "Conv2DOptions", "FULLY_CONNECTED": "FullyConnectedOptions"}
    inputs = [source, weight, offset] if bias else [source, weight, -1]
    builder.node(kind, inputs, [output], name.get(kind, "DepthwiseConv2DOptions"), **options)


def windows(grid, size, stride, padding):
    """Return rows and columns of the output."""
    if padding == SAME:
        return [-(-length // step) for length, step in zip(grid, stride, strict=True)]
    return [(length - window) // step + 1 for length, window, step in zip(grid, size, stride, strict=True)]


@pytest.mark.parametrize(
    ("dtype", "grid", "size", "stride", "padding", "activation"),
    [
        (INT8, (6, 5), (3, 3), (1, 1), SAME, RELU),
        (INT8, (8, 6), (3, 3), (2, 2), SAME, NONE),  # one row below, one column to the right, none in front
        (INT8, (7, 7), (2, 4), (2, 3), SAME, RELU_N1_TO_1),
        (INT8, (7, 6), (3, 2), (2, 1), VALID, RELU6),
        (INT8, (5, 4), (1, 1), (2, 2), SAME, NONE),
        (INT8, (1, 9), (1, 4), (1, 2), SAME, RELU),
        (UINT8, (6, 6), (3, 3), (2, 2), SAME, RELU),
        (FLOAT, (8, 6), (3, 3), (2, 2), SAME, RELU6),
        (FLOAT, (5, 5), (4, 4), (1, 1), SAME, NONE),
    ],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(tmp_path, dtype, grid, size, stride, padding, activation, groups):
    rng, builder = np.random.default_rng(0), Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, *grid, 4], dtype, scale, zero)
    output = builder.tensor([1, *windows(grid, size, stride, padding), 6], dtype, scale and 3 * scale, zero)
    convolution(
        builder, source, output, rng, "CONV_2D", (6, *size, 4 // groups), per_channel=dtype == INT8, padding=padding,
        strideH=stride[0], strideW=stride[1], fusedActivationFunction=activation,
    )  # fmt: skip
    model = compare(tmp_path, builder, [source], [output])
    assert model.operators[0].groups == groups
    assert model.operators[0].weight.dtype == (np.float64 if dtype == FLOAT else np.int8)
    kinds = [ops.Convolution, *[ops.Clip] * (activation != NONE), *[ops.Quantise] * (dtype != FLOAT)]
    assert [type(step) for step in model.operators] == kinds


@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
@pytest.mark.parametrize(("channels", "multiplier"), [(3, 1), (3, 2), (1, 4)])
def test_depthwise_convolutions(tmp_path, dtype, channels, multiplier):
    rng, builder = np.random.default_rng(0), Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, 8, 7, channels], dtype, scale, zero)
    output = builder.tensor([1, 4, 4, channels * multiplier], dtype, scale and 2 * scale, zero)
    convolution(
        builder, source, output, rng, "DEPTHWISE_CONV_2D", (1, 3, 3, channels * multiplier),
        per_channel=dtype == INT8, padding=SAME, strideH=2, strideW=2, depthMultiplier=multiplier,
        fusedActivationFunction=RELU,
    )  # fmt: skip
    assert compare(tmp_path, builder, [source], [output]).operators[0].groups == channels


@pytest.mark.parametrize("dtype", [INT8, FLOAT])
def test_padding_becomes_part_of_the_convolution(tmp_path, dtype):
    """Two paddings, one with a value that is stated, in front of windows without padding."""
    rng, builder = np.random.default_rng(0), Builder()
    scale, zero = GRIDS[dtype]
    source, first, second = (builder.tensor([1, *grid, 3], dtype, scale, zero) for grid in ((5, 5), (7, 6), (7, 8)))
    builder.node("PAD", [source, builder.constant(np.int32([[0, 0], [0, 2], [1, 0], [0, 0]]))], [first], "PadOptions")
    amounts = builder.constant(np.int32([[0, 0], [0, 0], [1, 1], [0, 0]]))
    value = builder.constant(np.full((), zero, dtype), scale, zero)
    builder.node("PADV2", [first, amounts, value], [second], "PadV2Options")
    output = builder.tensor([1, 3, 3, 4], dtype, scale and 3 * scale, zero)
    convolution(builder, second, output, rng, "CONV_2D", (4, 3, 3, 3), padding=VALID, strideH=2, strideW=2)
    model = compare(tmp_path, builder, [source], [output])
    assert model.operators[0].padding == (0, 2, 2, 1)


@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers_of_rows_and_of_images(tmp_path, dtype, bias):
    rng, builder = np.random.default_rng(0), Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, 2, 3, 4], dtype, scale, zero)
    middle = builder.tensor([1, 5], dtype, scale and 4 * scale, zero)
    output = builder.tensor([1, 3], dtype, scale and 9 * scale, zero)
    parameters = dict(bias=bias, per_channel=False)
    convolution(builder, source, middle, rng, "FULLY_CONNECTED", (5, 24), fusedActivationFunction=RELU, **parameters)
    convolution(builder, middle, output, rng, "FULLY_CONNECTED", (3, 5), **parameters)
    model = compare(tmp_path, builder, [source], [output])
    assert [step.name for step in model.operators if not isinstance(step, ops.Clip | ops.Quantise)] == [
        "fully_connected_0.flatten", "fully_connected_0", "fully_connected_1",
    ]  # fmt: skip


def test_dense_layer_of_each_step_of_a_signal(tmp_path):
    rng, builder = np.random.default_rng(0), Builder()
    source, output = builder.tensor([1, 6, 4], INT8, 0.05, 3), builder.tensor([1, 6, 5], INT8, 0.1, -4)
    convolution(builder, source, output, rng, "FULLY_CONNECTED", (5, 4), keepNumDims=True)
    model = compare(tmp_path, builder, [source], [output])
    assert model.input.shape == (6, 1, 4) and ops.shapes(model)[model.output] == (6, 1, 5)


@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
@pytest.mark.parametrize("activation", [NONE, RELU6])
def test_sums(tmp_path, dtype, activation):
    builder = Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, 4, 3, 2], dtype, scale, zero)
    other = builder.tensor([1, 4, 3, 2], dtype, scale and 0.7 * scale, zero)
    output = builder.tensor([1, 4, 3, 2], dtype, scale and 1.3 * scale, zero)
    if dtype == FLOAT:
        builder.node("RELU", [source], [other])
    else:
        builder.node("QUANTIZE", [source], [other], "QuantizeOptions")
    builder.node("ADD", [source, other], [output], "AddOptions", fusedActivationFunction=activation)
    model = compare(tmp_path, builder, [source], [output])
    assert any(isinstance(step, ops.Add) for step in model.operators)


@pytest.mark.parametrize("dtype", [INT8, FLOAT])
@pytest.mark.parametrize(
    ("kind", "first", "expected"),
    [("ADD", True, "x+c"), ("ADD", False, "x+c"), ("SUB", True, "x-c"), ("SUB", False, "c-x"), ("MUL", True, "x*c")],
)
def test_constants(tmp_path, dtype, kind, first, expected):
    builder = Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, 4, 3, 2], dtype, scale, zero)
    constant = builder.constant(np.array([[[[5, -8]]]]).astype(dtype), scale and 0.1, zero)
    output = builder.tensor([1, 4, 3, 2], dtype, scale and 3 * scale, zero)
    inputs = [source, constant] if first else [constant, source]
    builder.node(kind, inputs, [output], f"{kind.capitalize()}Options")
    model = compare(tmp_path, builder, [source], [output])
    numbers = np.array([5.0, -8.0]) if dtype == FLOAT else float(np.float32(0.1)) * (np.array([5, -8]) - zero)
    step = model.operators[0]
    at = 10 * step.factor + step.offset
    assert at == pytest.approx(
        {"x+c": 10 + numbers, "x-c": 10 - numbers, "c-x": numbers - 10, "x*c": 10 * numbers}[expected]
    )


@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MEAN", "MEAN of a signal"])
def test_means(tmp_path, dtype, kind):
    builder = Builder()
    scale, zero = GRIDS[dtype]
    signal = kind == "MEAN of a signal"
    source = builder.tensor([1, 12, 5] if signal else [1, 4, 3, 5], dtype, scale, zero)
    output = builder.tensor([1, 1, 1, 5] if kind == "AVERAGE_POOL_2D" else [1, 5], dtype, scale, zero)
    if kind == "AVERAGE_POOL_2D":
        builder.node(
            kind,
            [source],
            [output],
            "Pool2DOptions",
            filterHeight=4,
            filterWidth=3,
            strideH=4,
            strideW=3,
            padding=SAME,
        )
    else:
        axes = builder.constant(np.int32([1] if signal else [2, -3]))
        builder.node("MEAN", [source, axes], [output], "ReducerOptions", keepDims=False)
    assert isinstance(compare(tmp_path, builder, [source], [output]).operators[0], ops.MeanPool)


@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
@pytest.mark.parametrize(
    ("grid", "size", "stride", "padding", "activation"),
    [
        ((6, 6), (3, 3), (2, 2), SAME, NONE),
        ((5, 4), (2, 1), (1, 2), VALID, RELU),
        ((4, 4), (2, 2), (2, 2), SAME, RELU6),
    ],
)
def test_maxima_are_exact(tmp_path, dtype, grid, size, stride, padding, activation):
    builder = Builder()
    scale, zero = GRIDS[dtype]
    source = builder.tensor([1, *grid, 2], dtype, scale, zero)
    output = builder.tensor([1, *windows(grid, size, stride, padding), 2], dtype, scale, zero)
    builder.node(
        "MAX_POOL_2D", [source], [output], "Pool2DOptions", filterHeight=size[0], filterWidth=size[1],
        strideH=stride[0], strideW=stride[1], padding=padding, fusedActivationFunction=activation,
    )  # fmt: skip
    model = compare(tmp_path, builder, [source], [output], most=0)
    quantises = any(isinstance(step, ops.Quantise) for step in model.operators)
    assert quantises == (activation == RELU6 and dtype != FLOAT)  # 6 need not be on the grid; 0 is


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize("dtype", [INT8, UINT8, FLOAT])
def test_activations(tmp_path, kind, dtype):
    builder = Builder()
    scale, zero = GRIDS[dtype]
    source, same = (builder.tensor([1, 3, 3, 2], dtype, scale, zero) for _ in range(2))
    other = builder.tensor([1, 3, 3, 2], dtype, scale and 0.5 * scale, zero)
    builder.node(kind, [source], [same])
    builder.node(kind, [same], [other])
    model = compare(tmp_path, builder, [source], [other])
    assert [type(step).__name__ for step in model.operators[:1]] == ["Clip"]


def test_reshaping_names_flattens_or_shapes_the_input(tmp_path):
    """A row becomes a signal, gets an axis and loses it again, and is flattened."""
    builder = Builder()
    shapes = [1, 12], [1, 6, 2], [1, 6, 1, 2], [1, 6, 2], [1, 6, 1, 2], [1, 3, 1, 2], [1, 6]
    indices = [builder.tensor(shape, INT8, 0.5, -3) for shape in shapes]
    kinds = "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "RESHAPE"
    for kind, source, output in zip(kinds, indices[:4], indices[1:5], strict=True):
        inputs = [source]
        if kind != "SQUEEZE":
            inputs.append(builder.constant(np.int32(2) if kind == "EXPAND_DIMS" else np.int32(shapes[output])))
        options = "SqueezeOptions" if kind == "SQUEEZE" else None
        builder.node(kind, inputs, [output], options, **({"squeezeDims": [2]} if options else {}))
    builder.node(
        "MAX_POOL_2D", [4], [5], "Pool2DOptions", filterHeight=2, filterWidth=1, strideH=2, strideW=1, padding=VALID
    )
    builder.node("RESHAPE", [5, builder.constant(np.int32([-1, 6]))], [6])
    model = compare(tmp_path, builder, [0], [6], most=0)
    assert model.input.shape == (6, 1, 2) and model.input.name == "t1"
    assert [step.name for step in model.operators] == ["max_pool_2d_4", "reshape_5"]
    assert isinstance(model.operators[1], ops.Flatten)


@pytest.mark.parametrize("last", ["SOFTMAX", "LOGISTIC", None])
def test_quantisers_at_both_ends_and_what_is_dropped(tmp_path, last):
    rng, builder = np.random.default_rng(0), Builder()
    start = builder.tensor([1, 8], FLOAT)
    source, middle = builder.tensor([1, 8], INT8, 0.05, 12), builder.tensor([1, 4], INT8, 0.1, -5)
    builder.node("QUANTIZE", [start], [source], "QuantizeOptions")
    convolution(builder, source, middle, rng, "FULLY_CONNECTED", (4, 8), per_channel=False)
    end = middle
    if last is not None:
        end = builder.tensor([1, 4], INT8, 1 / 256, -128)
        builder.node(
            last,
            [middle],
            [end],
            *(("SoftmaxOptions",) if last == "SOFTMAX" else ()),
            **({"beta": 1.0} if last == "SOFTMAX" else {}),
        )
    output = builder.tensor([1, 4], FLOAT)
    builder.node("DEQUANTIZE", [end], [output], "DequantizeOptions")
    model = compare(tmp_path, builder, [start], [output], feed=np.float32)
    assert (model.input.name, model.output) == ("t1", "t2")
    assert model.input.quantiser.zero_point == 12
    wanted = () if last is None else (f"{last.lower()}_2 ({last}), which does not change the order of the outputs",)
    assert model.dropped == wanted


def test_input_of_uint8_for_a_model_of_int8(tmp_path):
    """The codes differ by 128, the numbers do not, so nothing is quantised."""
    rng, builder = np.random.default_rng(0), Builder()
    start, source = builder.tensor([1, 8], UINT8, 0.05, 140), builder.tensor([1, 8], INT8, 0.05, 12)
    output = builder.tensor([1, 4], INT8, 0.1, -5)
    builder.node("QUANTIZE", [start], [source], "QuantizeOptions")
    convolution(builder, source, output, rng, "FULLY_CONNECTED", (4, 8), per_channel=False)
    model = compare(tmp_path, builder, [start], [output])
    assert model.input.name == "t0" and not model.input.quantiser.signed
    assert [type(step) for step in model.operators] == [ops.Convolution, ops.Quantise]


def test_weights_of_float16(tmp_path):
    rng, builder = np.random.default_rng(0), Builder()
    source, output = builder.tensor([1, 8], FLOAT), builder.tensor([1, 4], FLOAT)
    half = builder.constant(rng.normal(size=(4, 8)).astype(np.float16))
    weight = builder.tensor([4, 8], FLOAT)
    builder.node("DEQUANTIZE", [half], [weight], "DequantizeOptions")
    builder.node("FULLY_CONNECTED", [source, weight, -1], [output], "FullyConnectedOptions")
    compare(tmp_path, builder, [source], [output])


@pytest.mark.parametrize("zero", [0, 3, -128])
@pytest.mark.parametrize(
    "kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "QUANTIZE", "ADD", "AVERAGE_POOL_2D", "MEAN", "float"]
)
def test_halves_are_rounded_as_by_the_default_kernels(tmp_path, kind, zero):
    """Sums of halves of codes, positive and negative, so that each way to round them gives other codes."""
    builder = Builder()
    codes = np.arange(-20, 20)
    shape = [1, 40, 1] if kind == "FULLY_CONNECTED" else [1, 40, 1, 1]
    if kind in ("AVERAGE_POOL_2D", "MEAN"):
        shape, codes = [1, 2, 1, 20], np.stack([np.arange(-20, 20, 2), np.arange(-19, 20, 2)])
        source, output = builder.tensor(shape, INT8, 1, zero), builder.tensor([1, 1, 1, 20], INT8, 1, zero)
    else:
        source = builder.tensor(shape, FLOAT if kind == "float" else INT8, None if kind == "float" else 0.5)
        output = builder.tensor(shape, INT8, 1, zero)
    axis = 3 if kind.startswith("DEPTHWISE") else 0
    one = [
        builder.constant(np.ones((1,) * (2 if kind == "FULLY_CONNECTED" else 4), np.int8), 1, 0, axis),
        builder.constant(np.int32([0]), 0.5),
    ]
    match kind:
        case "CONV_2D":
            builder.node(kind, [source, *one], [output], "Conv2DOptions", strideH=1, strideW=1)
        case "DEPTHWISE_CONV_2D":
            options = dict(strideH=1, strideW=1, depthMultiplier=1)
            builder.node(kind, [source, *one], [output], "DepthwiseConv2DOptions", **options)
        case "FULLY_CONNECTED":
            builder.node(kind, [source, *one], [output], "FullyConnectedOptions", keepNumDims=True)
        case "QUANTIZE":
            builder.node("QUANTIZE", [source], [output], "QuantizeOptions")
        case "float":
            builder.node("QUANTIZE", [source], [output], "QuantizeOptions")
            last = builder.tensor(shape, INT8, 1, zero)
            builder.node("RELU", [output], [last])
        case "ADD":
            positive = builder.tensor(shape, INT8, 0.5)
            builder.node("RELU", [source], [positive])
            builder.node("ADD", [source, positive], [output], "AddOptions")
        case "AVERAGE_POOL_2D":
            window = dict(filterHeight=2, filterWidth=1, strideH=1, strideW=1, padding=VALID)
            builder.node(kind, [source], [output], "Pool2DOptions", **window)
        case "MEAN":
            axes = builder.constant(np.int32([1, 2]))
            builder.node(kind, [source, axes], [output], "ReducerOptions", keepDims=True)
    if kind == "float":  # becomes part of the input
        content, model = (
            builder.content([source], [output]),
            read(builder.save(tmp_path / "m.tflite", [source], [last])),
        )
        expected = litert(content, codes[None] / 2, OpResolverType.AUTO)[output].ravel()
        assert model.input.quantiser.codes(codes / 2).tolist() == expected.tolist()
        return
    path = builder.save(tmp_path / "m.tflite", [source], [output])
    model = read(path)
    expected = litert(path.read_bytes(), codes[None], OpResolverType.AUTO)[output].ravel()
    values = model.input.quantiser.values(codes.reshape(1, *model.input.shape))
    computed = ops.evaluate(model, values)[model.output].ravel() + zero
    assert computed.tolist() == expected.tolist()


# What is refused.


def small(**changes):
    """Return a builder with a convolution from tensor 0 to tensor 1, weights 2 and bias 3."""
    builder = Builder()
    builder.tensor([1, 4, 4, 2], INT8, 0.5, 3)
    builder.tensor([1, 4, 4, 3], INT8, 1.0, -4)
    options = dict(padding=SAME, strideH=1, strideW=1, fusedActivationFunction=RELU) | changes
    convolution(builder, 0, 1, np.random.default_rng(0), "CONV_2D", (3, 3, 3, 2), **options)
    return builder


def refusal(tmp_path, builder, outputs=(1,), error=UserError):
    """Return the message for a model."""
    with pytest.raises(error) as caught:
        read(builder.save(tmp_path / "m.tflite", [0], list(outputs)))
    message = str(caught.value)
    assert str(tmp_path) in message and all(line.isprintable() for line in message.split("\n"))
    return message.replace(str(tmp_path), "")


def test_all_unsupported_nodes_are_listed(tmp_path):
    builder = small(dilationHFactor=2)
    after = builder.tensor([1, 4, 4, 3], INT8, 1.0, -4)
    builder.node("HARD_SWISH", [1], [after])
    long = builder.tensor([1, 4, 4, 3], np.int16, 1.0)
    builder.node("RELU", [after], [long])
    last = builder.tensor([1, 8, 8, 3], INT8, 1.0, -4)
    builder.node("CUSTOM", [long], [last])
    builder.model.operatorCodes[-1].customCode = "Mine\x1b[31m"
    unused = builder.tensor([1, 4, 4, 3], INT8, 1.0, -4)
    builder.node("ELU", [1], [unused])  # which does not matter: the output does not depend on it
    assert refusal(tmp_path, builder, [last], Unsupported).split("\n") == [
        "/m.tflite: 4 operators are not supported:",
        "  conv_2d_0 (CONV_2D): dilation of 2 x 1",
        "  hard_swish_1 (HARD_SWISH): no such operator is known here",
        "  relu_2 (RELU): 't5' has the type INT16",
        r"  custom_mine\x1b[31m_3 (CUSTOM Mine\x1b[31m): no such operator is known here",
    ]


def set_tensor(index, **fields):
    """Return a change of a tensor."""

    def change(builder):
        for name, value in fields.items():
            setattr(builder.graph.tensors[index], name, value)

    return change


def set_quantisation(index, **fields):
    """Return a change of a tensor's quantisation."""

    def change(builder):
        for name, value in fields.items():
            setattr(builder.graph.tensors[index].quantization, name, value)

    return change


def set_node(**fields):
    """Return a change of the convolution."""

    def change(builder):
        for name, value in fields.items():
            setattr(builder.graph.operators[0], name, value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_tensor(1, shapeSignature=np.int32([-1, -1, 4, 3])), "the shape of 't1' is open in axis 1"),
        (set_tensor(0, shapeSignature=np.int32([-1, 4, -1, 2])), "input of .* is not supported: .* open in axis 2"),
        (set_tensor(1, shape=np.int32([2, 4, 4, 3])), "'t1' must have a batch of 1"),
        (set_tensor(1, shape=np.int32([1, 4, 5, 3])), r"damaged: 't1' has the shape \(4, 5, 3\), but \(4, 4, 3\) is"),
        (set_tensor(1, shape=np.int32([1, 1 << 20, 1 << 20, 3])), "'t1' has more than 16777216 numbers"),
        (set_tensor(2, shape=np.int32([3, 3, 3, 1])), "damaged: 't2' has 54 bytes for the shape"),
        (set_tensor(2, shape=np.int32([1 << 30, 1 << 30, 1 << 30, 1 << 30])), "damaged: 't2' has 54 bytes"),
        (set_tensor(2, shape=np.int32([3, -3, -3, 2])), "damaged: 't2' has 54 bytes"),
        (set_tensor(2, buffer=77), "the tensor 't2' has buffer 77"),
        (set_tensor(2, buffer=0), "damaged: conv_2d_0 takes 't2' before it is computed"),
        (set_tensor(2, type=schema.TensorType.INT4), "'t2' must be a constant of the type INT8 or UINT8"),
        (set_tensor(0, type=schema.TensorType.UINT8), "inputs and output have the types UINT8, INT8"),
        (set_quantisation(0, scale=np.float32([0.0])), "the scales of 't0' must be positive"),
        (set_quantisation(1, scale=np.float32([np.nan])), "the scales of 't1' must be positive"),
        (set_quantisation(1, zeroPoint=np.int64([200])), "'t1' has the zero point 200, which is no INT8"),
        (set_quantisation(2, zeroPoint=np.int64([0, 1, 0])), "its weights must have the zero point 0"),
        (set_quantisation(2, quantizedDimension=3), "scales along axis 0, not 3"),
        (set_quantisation(3, scale=np.float32([1, 1, 1])), "the scale of its bias must be that of the input"),
        (set_node(inputs=np.int32([0, 2, 99])), "inputs name tensor 99 of 4"),
        (set_node(inputs=np.int32([0, -2, 3])), "inputs name tensor -2 of 4"),
        (set_node(inputs=np.int32([1, 2, 3])), "damaged: conv_2d_0 takes 't1' before it is computed"),
        (set_node(outputs=np.int32([0])), "damaged: conv_2d_0 gives 't0', which is computed already"),
        (set_node(opcodeIndex=5), "node 0 has operator code 5 of 1"),
        (set_node(builtinOptionsType=schema.BuiltinOptions.AddOptions), "not a TensorFlow Lite model"),
        (lambda b: setattr(b.model, "version", 2), "version 2 of the schema in place of 3"),
        (lambda b: b.model.subgraphs.append(b.graph), "must have 1 graph, not 2"),
        (lambda b: setattr(b.graph.operators[0].builtinOptions, "strideH", 0), "damaged: .* the stride \\(0, 1\\)"),
        (lambda b: setattr(b.graph.operators[0].builtinOptions, "fusedActivationFunction", 4), "activation has the"),
    ],
)  # fmt: skip
def test_refused_files(tmp_path, change, message):
    builder = small()
    compare(tmp_path, builder, [0], [1])  # it is right before the change
    change(builder)
    with pytest.raises(UserError, match=message):
        read(builder.save(tmp_path / "m.tflite", [0], [1]))


def test_two_outputs(tmp_path):
    assert refusal(tmp_path, small(), [1, 1]) == "/m.tflite must have 1 output, not 2"


def test_padding_in_front_of_something_else(tmp_path):
    builder = Builder()
    source, output = builder.tensor([1, 4, 4, 2], INT8, 0.5, 3), builder.tensor([1, 6, 6, 2], INT8, 0.5, 3)
    amounts = builder.constant(np.int32([[0, 0], [1, 1], [1, 1], [0, 0]]))
    builder.node("PAD", [source, amounts], [output], "PadOptions")
    assert "pad_0 (PAD): padding must come in front of a convolution" in refusal(tmp_path, builder)


def test_uint8_weights_that_do_not_fit_int8(tmp_path):
    builder = Builder()
    source, output = builder.tensor([1, 2], UINT8, 0.5, 3), builder.tensor([1, 2], UINT8, 0.5, 3)
    weight = builder.constant(np.uint8([[0, 90], [100, 200]]), 0.1, 10)
    builder.node("FULLY_CONNECTED", [source, weight, -1], [output], "FullyConnectedOptions")
    assert "(FULLY_CONNECTED): its weights minus the zero point 10 do not fit int8" in refusal(tmp_path, builder)


def test_weights_in_int8_for_float_inputs(tmp_path):
    builder = Builder()
    source, output = builder.tensor([1, 2], FLOAT), builder.tensor([1, 2], FLOAT)
    weight = builder.constant(np.int8([[0, 90], [100, -100]]), 0.1)
    builder.node("FULLY_CONNECTED", [source, weight, -1], [output], "FullyConnectedOptions")
    assert "its weights are INT8 for float inputs" in refusal(tmp_path, builder)


def test_bounds(tmp_path, monkeypatch):
    builder = small()
    path = builder.save(tmp_path / "m.tflite", [0], [1])
    for module, name, value, message in (
        (tflite_reader, "MAX_BYTES", 100, "more than 100 bytes, which is too large"),
        (tflite_graph, "_MAX_CONSTANT_BYTES", 60, "constants take more than 60 bytes"),
        (tflite_graph, "MAX_ELEMENTS", 30, "'t0' has more than 30 numbers"),
        (tflite_file, "MAX_TENSORS", 3, "has 4 tensors, and at most 3 are read"),
        (tflite_file, "MAX_NODES", 0, "has 1 operator codes, and at most 0 are read"),
    ):
        with monkeypatch.context() as patch, pytest.raises(UserError, match=message):
            patch.setattr(module, name, value)
            read(path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"\xff" * 5000, b"\x08\x00\x00\x00ONNX" * 9])
def test_files_of_something_else(tmp_path, content):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a TensorFlow Lite model"):
        read(path)


def test_missing_package(tmp_path, monkeypatch):
    path = small().save(tmp_path / "m.tflite", [0], [1])
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    with pytest.raises(UserError, match="needs ai-edge-litert; install psahw with its extra import"):
        read(path)


def one_line_or_a_model(path):
    """Read a file. Anything but a model, or an error for the user in short lines, fails."""
    try:
        model = read(path)
    except UserError as error:
        lines = str(error).split("\n")
        assert len(lines) == 1 or isinstance(error, Unsupported)
        assert len(lines) <= 12 and all(line.isprintable() and len(line) < 400 for line in lines)
    else:
        ops.shapes(model)


EXAMPLE = small().content([0], [1])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(with_edits(EXAMPLE))
def test_damaged_files(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(content)
    one_line_or_a_model(path)


# Models that others have trained.

MODELS = ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "pretrainedResnet"]


def shared_model(name):
    """Return the path of a model, or skip the test."""
    path = SHARED / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"there is no {path}")
    return path


@pytest.mark.parametrize(
    ("name", "reference"), [*((name, False) for name in MODELS), ("kws_ref_model", True), ("ad01_int8", True)]
)
def test_each_operator_of_a_real_model(name, reference):
    """Operators take what LiteRT has computed, so that one that differs cannot hide behind another."""
    path = shared_model(name)
    model = read(path)
    values, codes = random_input(model, np.random.default_rng(0), 2 if "Resnet" in name else 10)
    expected = tensors(path, codes, reference=reference)
    known = {model.input.name: values}
    compared = 0
    for step in model.operators:
        known[step.output] = ops.apply(step, [known[source] for source in step.inputs])
        if step.output not in expected:
            continue
        compared += 1
        wanted = expected[step.output]
        if isinstance(step, ops.Quantise):
            difference = np.abs(step.quantiser.codes(known[step.output]) - wanted)
            # One in 10,000 for sums that are close to a half in float32, and one in 100 for two roundings.
            most = 0.01 if reference else 1e-4
            assert difference.max() <= 1 and (difference > 0).mean() <= most, step.name
            known[step.output] = step.quantiser.values(wanted.astype(np.int64))
        else:
            assert np.abs(known[step.output] - wanted).max() < 3e-6 * np.abs(wanted).max(), step.name
            known[step.output] = wanted.astype(float)
    assert compared == {"ad01_int8": 10, "kws_ref_model": 11}.get(name, 14)


@pytest.mark.parametrize("name", MODELS)
def test_damaged_real_models(name, tmp_path):
    """Bytes of the structure at the end of the file, among which few are weights, are replaced."""
    content = shared_model(name).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "m.tflite"
    for _ in range(12):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = len(damaged) - 1 - rng.integers(0, 12_000, 3)
        damaged[places] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        one_line_or_a_model(path)


def test_tensors_of_a_file_that_litert_refuses(tmp_path):
    """LiteRT knows no operator of that version, which the reader does not look at."""
    builder = Builder()
    source, output = builder.tensor([1, 2], INT8, 0.5, 3), builder.tensor([1, 2], INT8, 0.5, 3)
    builder.node("RELU", [source], [output])
    builder.model.operatorCodes[0].version = 99
    path = builder.save(tmp_path / "m.tflite", [source], [output])
    model = read(path)
    with pytest.raises(UserError, match=f"LiteRT cannot compute {path}: "):
        tensors(path, np.zeros((1, *model.input.shape), int))


def test_a_damaged_part_that_the_reader_does_not_look_at(tmp_path):
    """The place of a table of metadata is outside of the file, which flatbuffers takes for a wrong type."""
    builder = small()
    builder.model.metadata = [schema.MetadataT(name="m")]
    content = builder.content([0], [1])
    path = tmp_path / "m.tflite"
    table = schema.Model.GetRootAs(content, 0).Metadata(0)._tab.Pos
    (at,) = (n for n in range(0, len(content), 4) if n + int.from_bytes(content[n : n + 4], "little") == table)
    path.write_bytes(content[:at] + b"\xff\xff\xff\x8f" + content[at + 4 :])
    model = read(path)
    with pytest.raises(UserError, match=f"LiteRT cannot compute {path}: "):
        tensors(path, np.zeros((1, *model.input.shape), int))
