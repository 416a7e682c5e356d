"""Damaged models of other tools: small valid files, and edits of their structure."""

import contextlib
import functools
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from psahw.cli import main
from psahw.errors import UserError
from psahw.importing.unsupported import MOST_LISTED

from .mutations import with_edits

__all__ = ["damaged_model", "damaged_models", "read_models", "refusal", "valid_models"]

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    127,
    128,
    255,
    256,
    65_536,
    1 << 24,
    (1 << 31) - 1,
    -(1 << 31),
    (1 << 63) - 1,
    -(1 << 63),
]
REALS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 3e38, float("inf"), float("-inf"), float("nan")]
TEXTS = ["", "x", "w1", "\x1b[31mred", "x" * 3000, "../../x", "\u202e", "Relu", "qonnx.custom_op.general", "LSTM"]
"""Fields that readers stumble over."""

EDITS = [1, 1, 1, 2, 3]  # most files with several are refused for the first that a reader looks at


# -- valid files


def _qonnx(path: Path) -> None:
    """Write a convolution and a dense layer as Brevitas does, with a batch norm between them."""
    from ..importing.onnx_models import QONNX, node, save

    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.25), "z": np.float32(0), "b8": np.float32(8), "b4": np.float32(4),
        "w": rng.integers(-2, 3, (2, 2, 2, 2)).astype(np.float32) / 4,
        "v": rng.integers(-2, 3, (8, 3)).astype(np.float32) / 4, "gamma": np.float32([1, 2]),
        "beta": np.float32([0.5, -1]), "mean": np.float32([0, 1]), "variance": np.float32([1, 4]),
        "shape": np.array([1, -1]), "bias": np.float32([0.5, 0, -0.25]),
    }  # fmt: skip
    nodes = [
        node("Quant", "x s z b8", "q", QONNX, signed=1, narrow=0, rounding_mode="ROUND"),
        node("Quant", "w s z b4", "wq", QONNX, signed=1, narrow=1, rounding_mode="ROUND"),
        node("Conv", "q wq", "c", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c gamma beta mean variance", "n"), node("Relu", "n", "r"),
        node("Quant", "r s z b4", "a", QONNX, signed=0, narrow=0, rounding_mode="ROUND"),
        node("MaxPool", "a", "p", kernel_shape=[1, 1], strides=[1, 1]), node("Reshape", "p shape", "f"),
        node("Quant", "v s z b4", "vq", QONNX, signed=1, narrow=1, rounding_mode="ROUND"),
        node("MatMul", "f vq", "m"), node("Add", "m bias", "y"),
    ]  # fmt: skip
    save(path, nodes, [1, 2, 2, 2], constants)


def _integer(path: Path) -> None:
    """Write two layers of integer operators, as onnxruntime does."""
    from ..importing.onnx_models import FIRST, SECOND, node, save

    constants = {
        "w1": FIRST, "w2": SECOND, "one": np.float32(1), "half": np.float32(0.5), "four": np.float32(4),
        "zero": np.int8(0),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x one zero", "xq"),
        node("QLinearMatMul", "xq one zero w1 half zero four zero", "q1"),
        node("MatMulInteger", "q1 w2 zero zero", "s"), node("Cast", "s", "y", to=1),
    ]  # fmt: skip
    save(path, nodes, [1, 4], constants)


def _tflite(path: Path) -> None:
    """Write a convolution, a sum, a mean and a dense layer with a softmax in int8."""
    from ..importing.tflite_models import Builder

    rng, builder = np.random.default_rng(0), Builder()

    def layer(kind: str, source: int, output: int, shape: tuple[int, ...], options: str, **fields: int) -> None:
        weight = builder.constant(rng.integers(-9, 10, shape).astype(np.int8), 0.125)
        bias = builder.constant(rng.integers(-9, 10, shape[0]).astype(np.int32), 0.0625)
        builder.node(kind, [source, weight, bias], [output], options, **fields)

    first, image, total = (builder.tensor([1, 4, 4, 2], np.int8, 0.5, -4) for _ in range(3))
    mean, dense = builder.tensor([1, 2], np.int8, 0.5, -4), builder.tensor([1, 3], np.int8, 0.5, 3)
    last = builder.tensor([1, 3], np.int8, 1 / 256, -128)
    layer("CONV_2D", first, image, (2, 3, 3, 2), "Conv2DOptions", strideH=1, strideW=1, fusedActivationFunction=1)
    builder.node("ADD", [first, image], [total], "AddOptions")
    builder.node("MEAN", [total, builder.constant(np.int32([1, 2]))], [mean], "ReducerOptions")
    layer("FULLY_CONNECTED", mean, dense, (3, 2), "FullyConnectedOptions")
    builder.node("SOFTMAX", [dense], [last], "SoftmaxOptions", beta=1)
    builder.save(path, [first], [last])


@functools.cache
def valid_models() -> list[dict[str, bytes]]:
    """Return a model of each kind."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    from ..importing.onnx_models import two_layers

    makers: list[Callable[[Path], object]] = [two_layers, _integer, _qonnx, _tflite]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        contents = []
        for make in makers:
            make(path)
            contents.append({"model": path.read_bytes()})
    return contents


def is_tflite(content: bytes) -> bool:
    """Return whether a file begins as one of TensorFlow Lite does."""
    return content[4:8] == b"TFL3"


# -- damage


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message of a protocol buffer, and all those in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "append") else [value]:
                yield from _messages(part)


@st.composite
def _edited_onnx(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a model with one to three fields changed, removed or doubled."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(draw(st.sampled_from(EDITS))):
        places = [(message, field) for message in _messages(model.graph) for field, _ in message.ListFields()]
        message, field = places[draw(st.integers(0, len(places) - 1))]
        _edit_field(draw, message, field)
    return model.SerializeToString()


def _edit_field(draw: st.DrawFn, message: Any, field: Any) -> None:
    """Change a field of a protocol buffer."""
    value = getattr(message, field.name)
    if hasattr(value, "append") and len(value):
        at = draw(st.integers(0, len(value) - 1))
        match draw(st.integers(0, 2)):
            case 0:
                del value[at]
            case 1:
                value.append(value[at])
            case 2 if field.message_type is None:
                value[at] = draw(_scalar(value[at]))
            case _:
                value[at].CopyFrom(value[draw(st.integers(0, len(value) - 1))])
    elif field.message_type is not None or draw(st.integers(0, 3)) == 0:
        message.ClearField(field.name)
    else:
        with contextlib.suppress(ValueError, TypeError):  # another range, as an enumeration has
            setattr(message, field.name, draw(_scalar(value)))


def _scalar(value: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values in place of one: such of the same type."""
    if isinstance(value, bytes):
        return with_edits(value)
    if isinstance(value, str):
        return st.sampled_from(TEXTS)
    return st.sampled_from(REALS if isinstance(value, float) else NUMBERS)


def _objects(item: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the objects of a flatbuffer and their fields, with their positions: (holder, attribute or index)."""
    if isinstance(item, list):
        for index, part in enumerate(item):
            yield item, index
            yield from _objects(part)
    elif hasattr(item, "__dict__"):
        for name, part in vars(item).items():
            yield item, name
            yield from _objects(part)


@st.composite
def _edited_tflite(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a model with one to three fields changed, removed or doubled."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for _ in range(draw(st.sampled_from(EDITS))):
        places = [*_objects(model.subgraphs), *_objects(model.buffers), *_objects(model.operatorCodes)]
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        _edit_object(draw, holder, key)
    builder = flatbuffers.Builder(len(content))
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:  # a value that no such file can hold
        return draw(with_edits(content))
    return bytes(builder.Output())


def _edit_object(draw: st.DrawFn, holder: Any, key: Any) -> None:
    """Change a field of a flatbuffer's object, or an entry of a list."""
    value = holder[key] if isinstance(holder, list) else getattr(holder, key)
    new: Any = None
    if isinstance(holder, list) and draw(st.booleans()):
        if draw(st.booleans()):
            del holder[key]
        else:
            holder.append(value)
        return
    if isinstance(value, np.ndarray) and value.size:
        new = value.copy()
        at = draw(st.integers(0, value.size - 1))
        if draw(st.integers(0, 3)) == 0:
            new = np.delete(new, at) if draw(st.booleans()) else np.append(new, new[at])
        else:
            with np.errstate(all="ignore"):
                new[at] = np.array(draw(_scalar(float(value[at]) if value.dtype.kind == "f" else 0))).astype(
                    value.dtype
                )
    elif isinstance(value, bool | int | float):
        new = type(value)(draw(_scalar(value)))
    elif isinstance(value, bytes | str):
        new = draw(_scalar(value))
    if isinstance(holder, list):
        holder[key] = new if new is not None else holder[draw(st.integers(0, len(holder) - 1))]
    else:
        setattr(holder, key, new)


@st.composite
def damaged_model(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage the structure of a model, or any of its bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(with_edits(content))
    return draw((_edited_tflite if is_tflite(content) else _edited_onnx)(content))


@st.composite
def damaged_models(draw: st.DrawFn) -> dict[str, bytes]:
    """Damage one of the valid models."""
    content = draw(st.sampled_from([case["model"] for case in valid_models()]))
    return {"model": draw(damaged_model(content))}


# -- the command


def read_models(case: dict[str, bytes], folder: Path) -> None:
    """Run ``psahw import``, in this process: status 0, or 1 or 2 with one line or a short list, and no file.

    LiteRT computes models in a process of its own, which takes too long for many cases: they are not compared.
    """
    tflite = is_tflite(case["model"])
    out, err = io.StringIO(), io.StringIO()
    arguments = ["import", str(folder / "model"), "-o", str(folder / "network"), "--check", "0" if tflite else "2"]
    arguments += ["--exact"] * (len(case["model"]) % 2)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    assert status in (0, 1, 2), err.getvalue()
    assert all(line.isprintable() for line in (out.getvalue() + err.getvalue()).splitlines())
    if status == 0:
        (folder / "network").unlink()
        return
    raise UserError(refusal(err.getvalue()))


def refusal(err: str) -> str:
    """Return the message of ``psahw import`` on standard error: its one line, or the first of a list.

    Raises AssertionError if there is anything else but the names of steps.
    """
    lines = err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("psahw: "))
    assert first <= 4 and "Traceback" not in err and "internal error" not in err, err
    assert len(lines) - first <= MOST_LISTED + 2 and all(line.startswith("  ") for line in lines[first + 1 :]), err
    assert all(line.isprintable() and len(line) < 400 for line in lines), err
    return lines[first]
