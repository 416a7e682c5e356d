"""Float models of other tools as float networks, against onnxruntime and LiteRT; and their integers."""

import numpy as np
import pytest
import torch

from psahw.errors import UserError
from psahw.importing import operators as ops
from psahw.importing.unsupported import Unsupported
from psahw.model.graphs.export import to_network
from psahw.model.graphs.imported import from_operators
from psahw.model.graphs.network import GraphNet
from psahw.model.graphs.quantised import QuantizedGraph
from psahw.model.models import config_from_dict
from psahw.network import reference


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def numbers(rng, *shape):
    return rng.normal(0, 1, shape).astype(np.float32)


def pixels(rng, *shape, count=12):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def outputs(network, images):
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


def check(model, wanted, images, low, step, *, exact=True):
    """Check the float network of a model against outputs, and its network against its integers; return it."""
    channels = model.input.shape[2]
    imported = from_operators(model, np.full(channels, low), np.full(channels, step))
    given = outputs(imported.network, images)
    if exact:
        np.testing.assert_allclose(given, wanted, atol=1e-4 * np.abs(wanted).max())
    assert all(line.exact for line in imported.lines) == exact
    again = GraphNet(config_from_dict(imported.network.config.to_dict())).eval()
    again.load_state_dict(imported.network.state_dict())
    assert (outputs(again, images) == given).all()
    quantised = QuantizedGraph(imported.network, images)
    network = to_network(quantised, "n", tuple(f"c{n}" for n in range(given.shape[1])))
    with torch.no_grad():
        codes = quantised.codes(torch.from_numpy(images)).numpy()
    assert (reference.run(network, images) == codes).all()
    assert len(np.unique(codes)) > 10
    error = np.square(codes * quantised.output_scale.numpy() - given).mean() / given.var()
    assert error < 0.02
    return imported.network


def onnx_check(path, images, low, step, **options):
    """Check an ONNX model against onnxruntime, and return the float network."""
    from psahw.importing.onnx_check import tensors
    from psahw.importing.onnx_reader import read

    model = read(path)
    wanted = tensors(path, low + step * images.astype(np.float32))[model.output].reshape(len(images), -1)
    return check(model, wanted, images, low, step, **options)


def test_a_residual_network_of_onnx(tmp_path, rng):
    """Channels first, batch norms of both signs, a depthwise convolution with a stride, and two shortcuts."""
    pytest.importorskip("onnxruntime")
    from tests.importing.onnx_models import node, save

    constants = dict(
        w1=numbers(rng, 4, 3, 3, 3), s=numbers(rng, 4), b=numbers(rng, 4), m=numbers(rng, 4),
        v=np.abs(numbers(rng, 4)) + 0.1, w2=numbers(rng, 4, 1, 3, 3), w3=numbers(rng, 6, 4, 1, 1), b3=numbers(rng, 6),
        w4=numbers(rng, 6, 4, 1, 1), w5=numbers(rng, 6, 2, 3, 3), w6=numbers(rng, 6 * 4 * 3, 5),
    )  # fmt: skip
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s b m v", "n"),
        node("Relu", "n", "r"),
        node("Conv", "r w2", "d", group=4, strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Relu", "d", "e"),
        node("Conv", "e w3 b3", "f"),
        node("Conv", "r w4", "g", strides=[2, 2]),
        node("Add", "f g", "h"),
        node("Relu", "h", "i"),
        node("Conv", "i w5", "j", group=3, pads=[1, 1, 1, 1]),
        node("Add", "i j", "k"),
        node("Relu", "k", "l"),
        node("Flatten", "l", "o"),
        node("MatMul", "o w6", "y"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 8, 6], constants)
    network = onnx_check(path, pixels(rng, 8, 6, 3), 0.0, 1 / 255)
    assert network.config.series[0].padding_byte == 0
    assert "mixing" in [layer["layer"] for layer in network.config.to_dict()["series"][2]["branch"]]


def test_a_norm_of_each_pixel(tmp_path, rng):
    """A batch norm behind a flattening has its channels in the order of the model."""
    pytest.importorskip("onnxruntime")
    from tests.importing.onnx_models import node, save

    constants = dict(
        s=numbers(rng, 60), b=numbers(rng, 60), m=numbers(rng, 60), v=np.abs(numbers(rng, 60)) + 0.1,
        w=numbers(rng, 60, 5),
    )  # fmt: skip
    nodes = [
        node("Flatten", "x", "f"),
        node("BatchNormalization", "f s b m v", "n"),
        node("Relu", "n", "r"),
        node("MatMul", "r w", "y"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [1, 3, 4, 5], constants)
    onnx_check(path, pixels(rng, 4, 5, 3), 0.0, 1 / 255)


def test_a_mean_that_is_subtracted(tmp_path, rng):
    """Its zero is between two bytes, so padding of the first layer holds the nearest one."""
    pytest.importorskip("onnxruntime")
    from tests.importing.onnx_models import node, save

    constants = dict(mean=np.float32([[[0.299]]]), w=numbers(rng, 8, 1, 3, 3), v=numbers(rng, 8, 4))
    nodes = [
        node("Sub", "x mean", "a"),
        node("Conv", "a w", "b", pads=[1, 1, 1, 1]),
        node("Relu", "b", "c"),
        node("GlobalAveragePool", "c", "d"),
        node("Flatten", "d", "e"),
        node("MatMul", "e v", "y"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [1, 1, 7, 6], constants)
    network = onnx_check(path, pixels(rng, 7, 6, 1), 0.0, 1 / 255, exact=False)
    assert network.config.series[0].padding_byte == 76  # 0.299 · 255 = 76.2


def test_norms_that_stand_alone(tmp_path, rng):
    """A batch norm in front of a function, and one of an input that is flattened."""
    pytest.importorskip("onnxruntime")
    from tests.importing.onnx_models import node, save

    constants = dict(
        zero=np.float32(0),
        six=np.float32(6),
        f=numbers(rng, 1, 2, 1, 1),
        w=numbers(rng, 20, 9),
        b=numbers(rng, 9),
        g=numbers(rng, 9),
        v=numbers(rng, 9, 3),
    )
    nodes = [
        node("Mul", "x f", "a"),
        node("Flatten", "a", "c"),
        node("Gemm", "c w b", "d"),
        node("Relu", "d", "e"),
        node("Mul", "e g", "h"),
        node("Clip", "h zero six", "i"),
        node("MatMul", "i v", "y"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [1, 2, 2, 5], constants)
    onnx_check(path, pixels(rng, 2, 5, 2), -1.0, 2 / 255)


def test_a_model_of_tensorflow_lite(tmp_path, rng):
    pytest.importorskip("ai_edge_litert")
    from psahw.importing.litert_check import tensors
    from psahw.importing.tflite_reader import read
    from tests.importing.tflite_models import Builder

    builder = Builder()
    float32 = np.float32
    x = builder.tensor((1, 8, 7, 3), float32)
    w, b = builder.constant(numbers(rng, 5, 3, 3, 3)), builder.constant(numbers(rng, 5))
    y, z = builder.tensor((1, 4, 4, 5), float32), builder.tensor((1, 3, 3, 5), float32)
    builder.node(
        "CONV_2D", [x, w, b], [y], "Conv2DOptions", padding=0, strideH=2, strideW=2, dilationHFactor=1,
        dilationWFactor=1, fusedActivationFunction=1,
    )  # fmt: skip
    builder.node(
        "MAX_POOL_2D", [y], [z], "Pool2DOptions", padding=1, strideH=1, strideW=1, filterHeight=2, filterWidth=2
    )
    v, c = builder.constant(numbers(rng, 4, 45)), builder.constant(numbers(rng, 4))
    end = builder.tensor((1, 4), float32)
    builder.node("FULLY_CONNECTED", [z, v, c], [end], "FullyConnectedOptions", keepNumDims=False)
    path = tmp_path / "m.tflite"
    path.write_bytes(builder.content([x], [end]))
    model, images = read(path), pixels(rng, 8, 7, 3)
    wanted = tensors(path, images.astype(np.float32))[model.output].reshape(len(images), -1)
    assert check(model, wanted, images, 0.0, 1.0).config.series[0].padding_byte == 0


def chain(*operators, shape=(1, 1, 3)):
    return ops.Model("m", "test", ops.Input("x", shape), operators, operators[-1].output)


def dense(name, source, outputs=2, inputs=3):
    return ops.Convolution(name, (source,), name, np.ones((outputs, 1, 1, inputs)))


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        (
            [dense("a", "x"), ops.Clip("b", ("a",), "b", -1, 1), ops.Bipolar("d", ("b",), "d", np.ones(()))],
            r"(?s)2 operators are not.*b \(Clip\): .* or 0 and 6, but not -1 and 1.*d \(Bipolar\): the model is",
        ),
        (
            [ops.Quantise("a", ("x",), "a", ops.Quantiser(np.array(1.0))), dense("b", "a")],
            "the model is quantised already",
        ),
        (
            [dense("a", "x"), dense("b", "x"), dense("c", "x"), ops.Add("d", ("a", "b"), "d")],
            r"x \(tensor\): several operators take it, and no sum ends what they begin",
        ),
        (
            [dense("a", "x"), dense("b", "x"), ops.Add("d", ("a", "b"), "d"), ops.Add("e", ("d", "a"), "e")],
            "several operators take it|more than two series|sums of the same tensor",
        ),
    ],
)
def test_what_is_not_supported_is_named(operators, message):
    with pytest.raises(Unsupported, match=message):
        from_operators(chain(*operators), np.zeros(3), np.ones(3))


def test_a_model_must_end_with_weights():
    with pytest.raises(UserError, match="m: the last layer must be linear or a convolution, in the float network"):
        from_operators(chain(dense("a", "x"), ops.Clip("b", ("a",), "b")), np.zeros(3), np.ones(3))


def test_only_the_first_layer_has_a_padding_byte():
    layer = {"layer": "convolution", "channels": 2, "padding": [1, 1, 1, 1], "padding_byte": 0}
    shape = {"kind": "graph", "image": [4, 4], "colours": 2, "classes": 2}
    end = [{"layer": "mean_pool"}, {"layer": "linear", "channels": 2}]
    config_from_dict(shape | {"series": [layer, *end]})
    with pytest.raises(UserError, match=r"layers\.1: only the first layer may have a padding_byte"):
        config_from_dict(shape | {"series": [layer, layer, *end]})
    with pytest.raises(UserError, match=r"layer 0 \(Convolution\): padding_byte must be in \[0, 255\], not 256"):
        config_from_dict(shape | {"series": [layer | {"padding_byte": 256}, *end]})


@pytest.mark.parametrize("factor", [np.nan, 1e300])
def test_weights_that_float32_does_not_hold(factor):
    operator = ops.Convolution("a", ("x",), "a", np.ones((2, 1, 1, 3)) * factor)
    with pytest.raises(UserError, match="the float network of m: "):
        from_operators(chain(operator), np.zeros(3), np.ones(3))


def test_long_and_deep_models_are_refused_in_time():
    """A chain of a thousand layers is too long for no walk, and residual connections may be at most 16 deep."""
    operators = [dense("a0", "x", 3)]
    operators += [ops.Clip(f"a{n}", (f"a{n - 1}",), f"a{n}") for n in range(1, 2000)]
    from_operators(chain(*operators, dense("b", "a1999")), np.zeros(3), np.ones(3))
    deep = [dense(f"a{n}", f"a{n - 1}" if n else "x", 3) for n in range(18)]
    deep += [ops.Add("s0", ("a17", "a16"), "s0")]
    deep += [ops.Add(f"s{n}", (f"s{n - 1}", f"a{16 - n}"), f"s{n}") for n in range(1, 17)]
    with pytest.raises(Unsupported, match="residual connections more than 16 deep"):
        from_operators(chain(*deep, dense("b", "s16")), np.zeros(3), np.ones(3))
