"""Tensors of a TensorFlow Lite model as LiteRT computes them: the other tool's own witness.

LiteRT has two sets of kernels, whose codes differ. Its default ones (XNNPACK) round a sum once, as the operators of
`psahw.importing.operators` do, so that nearly all codes are equal. Its reference kernels round the sums of
convolutions twice, first to a fraction of a code. There, about one code in a thousand differs by one in each layer.
"""

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

_Job: TypeAlias = tuple[bytes, np.ndarray, list[int], bool]


def _expose(content: bytes, wanted: list[int]) -> bytes:
    """Return a model that gives the wanted tensors as outputs; LiteRT does not keep others."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.subgraphs[0].outputs = np.array(wanted, np.int32)
    model.signatureDefs = []  # they name the outputs that were
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _compute(job: _Job) -> dict[int, np.ndarray]:
    """Return tensors by index, each of shape (images, its shape in the file).

    Standard error is closed first, because LiteRT writes there which kernels it uses. This process does nothing else.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content, images, wanted, reference = job
    interpreter = Interpreter(
        model_content=_expose(content, wanted),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO,
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


def tensors(path: str | os.PathLike, inputs: np.ndarray, *, reference: bool = False) -> dict[str, np.ndarray]:
    """Return what LiteRT computes for the tensors of `psahw.importing.tflite_reader.read`, and for the file's output.

    The interpreter runs in a process of its own, which a file can crash. It takes one image after another.

    Parameters
    ----------
    path
        A model that the reader can read.
    inputs
        Codes of the input if it has a quantiser, else real numbers, of shape (images, rows, columns, channels).
    reference
        Whether to use the reference kernels in place of the default ones.

    Returns
    -------
    dict
        Codes as int8 or uint8, or float32, of shape (images, rows, columns, channels), by the tensors' names. Steps
        inside of a node are missing. An output behind a dropped softmax has the axes of the file in place of the last
        three.

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
    wanted = list(graph.outputs)
    for index, tensor in enumerate(graph.tensors):
        if tensor.name in known and index not in (*graph.inputs, *graph.outputs):
            wanted.append(index)
    try:
        ((_, computed),) = call_each(_compute, [(content, inputs, wanted, reference)], workers=1)
    except Exception as error:  # the reader looks at what it needs; unpacking all of a file may raise anything
        raise UserError(f"LiteRT cannot compute {path}: {printable(str(error), 120)}") from error
    named = {graph.tensors[index].name: values for index, values in computed.items()}
    return {
        name: values.reshape(len(values), *known[name]) if name in known else values[:, 0]
        for name, values in named.items()
    }
