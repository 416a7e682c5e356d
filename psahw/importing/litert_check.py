"""All tensors of a TensorFlow Lite model, as LiteRT's reference kernels compute them."""

import os
from typing import TypeAlias

import numpy as np

from ..documents import read_bytes
from ..errors import UserError
from ..extras import install_hint
from ..processes import call_each
from ..quoting import printable
from .operators import shapes
from .tflite_file import MAX_BYTES, parse
from .tflite_reader import read

__all__ = ["tensors"]

_Job: TypeAlias = tuple[bytes, np.ndarray, list[int]]


def _compute(job: _Job) -> dict[int, np.ndarray]:
    """Return tensors by index, each of shape (images, its shape in the file)."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content, images, wanted = job
    interpreter = Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,  # others compute several nodes at once
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    computed: dict[int, np.ndarray] = {}
    for number, image in enumerate(images):
        interpreter.set_tensor(given["index"], image.reshape(given["shape"]).astype(given["dtype"]))
        interpreter.invoke()
        for index in wanted:
            values = interpreter.get_tensor(index)
            if number == 0:
                computed[index] = np.empty((len(images), *values.shape), values.dtype)
            computed[index][number] = values
    return computed


def tensors(path: str | os.PathLike, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return all tensors that LiteRT computes, by the names that `psahw.importing.tflite_reader.read` gives them.

    The interpreter runs in a process of its own, which a file can crash. It takes one image after another.

    Parameters
    ----------
    path
        A model that the reader can read.
    inputs
        Codes of the input if it has a quantiser, else real numbers, of shape (images, rows, columns, channels).

    Returns
    -------
    dict
        Codes as int8 or uint8, or float32, of shape (images, rows, columns, channels). A tensor that the reader's
        model does not have, such as that of a final softmax, has the axes of the file in place of the last three.

    Raises
    ------
    UserError
        If ai_edge_litert is not installed, the reader refuses the model, or LiteRT cannot compute it.
    """
    try:
        import ai_edge_litert  # noqa: F401
    except ImportError:
        message = f"computing a TensorFlow Lite model needs ai-edge-litert; {install_hint('ai_edge_litert')}"
        raise UserError(message) from None
    content = read_bytes(path, MAX_BYTES)
    model, graph = read(path), parse(content, path)
    known = shapes(model)
    given = graph.tensors[graph.inputs[0]]
    if inputs.shape[1:] != model.input.shape:
        raise ValueError(f"inputs must have the shape {model.input.shape} behind the images, not {inputs.shape[1:]}")
    if given.type == "FLOAT32" and model.input.quantiser is not None:  # the model begins by quantising it
        inputs = model.input.quantiser.values(inputs)
    wanted = [graph.inputs[0], *(index for node in graph.nodes for index in node.outputs)]
    try:
        ((_, computed),) = call_each(_compute, [(content, inputs, wanted)], workers=1)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"LiteRT cannot compute {path}: {printable(str(error), 120)}") from error
    by_name = {graph.tensors[index].name: values[:, 0] for index, values in computed.items()}
    return {
        name: values.reshape(len(values), *known[name]) if name in known else values
        for name, values in by_name.items()
    }
