"""Compute an ONNX model with the interpreters of others: onnxruntime, and qonnx's executor for QONNX.

The results are in the layout and in the numbers of the `Model` that the reader makes of the file, so that they can be
compared with `psahw.importing.operators.evaluate` tensor by tensor.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import install_hint
from .onnx_file import load, numpy_type
from .onnx_layout import View, as_images, as_stored
from .onnx_reader import is_qonnx, read_proto

__all__ = ["is_qonnx", "tensors"]

_Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]


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
    wanted = {name: view for name, view in views.items() if view.tensor == name and not any(view.padding)}
    start = views[model.input.name]
    for dim in next(value for value in proto.graph.input if value.name == start.tensor).type.tensor_type.shape.dim:
        if not dim.HasField("dim_value") or dim.dim_value < 1:
            dim.dim_value = 1
    produced = {name for node in proto.graph.node for name in node.output} | {start.tensor}
    wanted = {name: view for name, view in wanted.items() if name in produced}
    if views.keys().isdisjoint([model.output]):  # a flattened output: the file's own tensor has its numbers
        last = views[proto.graph.output[0].name]
        wanted[model.output] = last
    package = "qonnx" if is_qonnx(proto) else "onnxruntime"
    try:
        run = (_qonnx if package == "qonnx" else _onnxruntime)(proto, start, list(wanted))
        results = [run(as_stored(start, image)) for image in np.asarray(inputs, np.float64)]
    except ImportError:
        raise UserError(f"the check needs {package}, which is not installed: {install_hint(package)}") from None
    except Exception as error:  # these packages raise exceptions of many kinds, and Exception itself
        raise UserError(f"{package} does not compute {path}: {str(error).splitlines()[0][:200]}") from None
    return {
        name: np.concatenate([as_images(view, result[name]) for result in results]) for name, view in wanted.items()
    }


def _onnxruntime(proto: Any, start: View, names: list[str]) -> _Run:
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    asked = [name for name in names if name != start.tensor]
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as the file says
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    dtype = _input_type(proto, start)

    def run(stored: np.ndarray) -> Mapping[str, np.ndarray]:
        values = session.run(asked, {start.tensor: stored.astype(dtype)})
        return dict(zip(asked, values, strict=True)) | {start.tensor: stored}

    return run


def _qonnx(proto: Any, start: View, names: list[str]) -> _Run:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.fold_constants import FoldConstants
    from qonnx.transformation.infer_shapes import InferShapes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ModelWrapper(proto, make_deepcopy=True).transform(InferShapes())
        model = model.transform(FoldConstants())
    dtype = _input_type(proto, start)

    def run(stored: np.ndarray) -> Mapping[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return execute_onnx(model, {start.tensor: stored.astype(dtype)}, return_full_exec_context=True)

    return run


def _input_type(proto: Any, start: View) -> np.dtype:
    value = next(value for value in proto.graph.input if value.name == start.tensor)
    return numpy_type(value.type.tensor_type.elem_type)
