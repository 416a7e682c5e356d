"""Other tools' computation of a model, as real numbers: LiteRT, onnxruntime, or the executor of qonnx."""

import os
from typing import NamedTuple

import numpy as np

from . import litert_check, onnx_check
from .onnx_file import load
from .operators import Bipolar, Model, MultiThreshold, Quantise, Quantiser
from .reading import is_tflite

__all__ = ["Witness", "testify"]


class Witness(NamedTuple):
    """The tensors of a model as another tool computes them.

    Parameters
    ----------
    tool
        Name of the tool.
    tensors
        float64 of shape (images, rows, columns, channels), by the names of the model's tensors. Steps that have no
        tensor in the file are missing.
    """

    tool: str
    tensors: dict[str, np.ndarray]


def testify(path: str | os.PathLike, model: Model, images: np.ndarray) -> Witness:
    """Return what another tool computes for images.

    Parameters
    ----------
    path
        The file that the model was read from.
    model
        The model.
    images
        Real numbers of shape (images, rows, columns, channels), on the grid of the input if it has one.

    Raises
    ------
    UserError
        If a package is not installed, or the tool does not compute the model.
    """
    if not is_tflite(path):
        tool = "qonnx" if onnx_check.is_qonnx(load(path)) else "onnxruntime"
        return Witness(
            tool, {name: np.asarray(x, np.float64) for name, x in onnx_check.tensors(path, images).items()}
        )
    quantiser = model.input.quantiser
    given = litert_check.tensors(path, images if quantiser is None else quantiser.codes(images))
    quantisers = _quantisers(model)
    tensors = {}
    for name, values in given.items():
        if values.ndim == 2:  # a file's output behind what was dropped
            continue
        known = quantisers.get(name) if values.dtype.kind in "iu" else None
        tensors[name] = values.astype(np.float64) if known is None else known.values(values.astype(np.int64))
    return Witness("LiteRT", tensors)


def _quantisers(model: Model) -> dict[str, Quantiser]:
    """Return the grid of each tensor of a model that has codes."""
    found = {} if model.input.quantiser is None else {model.input.name: model.input.quantiser}
    for operator in model.operators:
        if isinstance(operator, Quantise):
            found[operator.output] = operator.quantiser
        elif not isinstance(operator, Bipolar | MultiThreshold) and operator.inputs[0] in found:
            found[operator.output] = found[operator.inputs[0]]  # a maximum or a flattening
    return found
