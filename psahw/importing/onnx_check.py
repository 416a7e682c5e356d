"""Compute an ONNX model with the interpreters of others: onnxruntime, and qonnx's executor for QONNX.

The results are in the layout and in the numbers of the `Model` that the reader makes of the file, so that they can be
compared with `psahw.importing.operators.evaluate` tensor by tensor.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import require
from ..quoting import printable
from .onnx_file import load, numpy_type
from .onnx_layout import View, as_images, as_stored
from .onnx_reader import is_qonnx, read_proto

__all__ = ["is_qonnx", "tensors"]

_Arrays = list[np.ndarray]

_BATCH = 256  # images that qonnx computes at once


def tensors(path: str | os.PathLike, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tensors of a model as another tool computes them.

    Parameters
    ----------
    path
        The ONNX file. It must be one that `psahw.importing.onnx_reader.read` takes.
    inputs
        Real numbers of shape (images, rows, columns, channels).

    Returns
    -------
    dict
        float64 of shape (images, rows, columns, channels), by the names of the model's tensors. Tensors that have no
        counterpart in the file are left out, such as the sums inside of ``QLinearConv``.

    Raises
    ------
    UserError
        If the file cannot be read, a package is not installed, or the other tool refuses the model.
    """
    proto = load(path)
    model, views = read_proto(proto, path)
    produced = {name for node in proto.graph.node for name in node.output} | {model.input.name}
    sources = _sources(views, produced)
    start = views[model.input.name]
    stored = [as_stored(start, image) for image in np.asarray(inputs, np.float64)]
    package = "qonnx" if is_qonnx(proto) else "onnxruntime"
    require(package)
    try:
        compute = _qonnx if package == "qonnx" else _onnxruntime
        results = compute(proto, start, {name: views[name] for name in sources.values()}, stored)
    except Exception as error:  # these packages raise exceptions of many kinds, and Exception itself
        reason = printable(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"{package} does not compute {path}: {reason}") from None
    return {
        tensor: np.concatenate([as_images(views[name], result[name]) for result in results])
        for tensor, name in sources.items()
    }


def _sources(views: Mapping[str, View], produced: Container[str]) -> dict[str, str]:
    """Return the tensor of the file for each of the model that has one; of several, one of the same name."""
    sources: dict[str, str] = {}
    for name, view in views.items():
        if name in produced and not any(view.padding) and (view.tensor == name or view.tensor not in sources):
            sources[view.tensor] = name
    return sources


def _open_batch(proto: Any, name: str, length: int) -> Any:
    """Return a copy of a model with another batch, and without shapes that the batch is part of."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    value = next(value for value in copy.graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    if len(dims) > 1:
        dims[0].dim_value = length
    if length > 1:
        del copy.graph.value_info[:]
        for output in copy.graph.output:
            output.type.tensor_type.ClearField("shape")
    return copy


def _onnxruntime(proto: Any, start: View, views: Mapping[str, View], stored: _Arrays) -> list[dict[str, np.ndarray]]:
    import onnx
    import onnxruntime

    copy = _open_batch(proto, start.tensor, 1)
    asked = [name for name in views if name != start.tensor]
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as the file says
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its messages would go to the terminal
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    dtype = _input_type(proto, start)
    return [
        dict(zip(asked, session.run(asked, {start.tensor: x.astype(dtype)}), strict=True)) | {start.tensor: x}
        for x in stored
    ]


def _qonnx(proto: Any, start: View, views: Mapping[str, View], stored: _Arrays) -> list[dict[str, np.ndarray]]:
    """Compute all images at once if the model lets its batch be changed, because each run is slow."""
    dtype = _input_type(proto, start)
    if len(stored) > 2 and len(start.shape) > 1:
        results: list[dict[str, np.ndarray]] = []
        with contextlib.suppress(Exception):
            for first in range(0, len(stored), _BATCH):
                part = np.concatenate(stored[first : first + _BATCH]).astype(dtype)
                run = _qonnx_executor(_open_batch(proto, start.tensor, len(part)))
                values = run({start.tensor: part})
                shapes = {name: (len(part), *view.shape[1:]) for name, view in views.items()}
                if any(values[name].shape != shape for name, shape in shapes.items()):
                    raise ValueError("the batch is fixed inside of the model")
                results += [{name: values[name][[k]] for name in views} for k in range(len(part))]
            return results
    run = _qonnx_executor(_open_batch(proto, start.tensor, 1))
    return [run({start.tensor: x.astype(dtype)}) for x in stored]


def _qonnx_executor(proto: Any) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return execute_onnx(model, inputs, return_full_exec_context=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ModelWrapper(proto).transform(InferShapes())
    return run


def _input_type(proto: Any, start: View) -> np.dtype:
    value = next(value for value in proto.graph.input if value.name == start.tensor)
    return numpy_type(value.type.tensor_type.elem_type)
