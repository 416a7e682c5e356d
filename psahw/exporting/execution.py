"""Compute the logits of exported models: with onnxruntime, and with qonnx' executor."""

import math
import warnings
from collections.abc import Callable

import numpy as np

from ..extras import require
from ..network.graph import Network, Place, Residual
from ..network.layers import MaxPool, Thresholds, TokenMixing
from .qonnx_writer import MAX_THRESHOLDS, qonnx_model

__all__ = ["onnx_logits", "qonnx_logits"]

MOST_ONNX_IMAGES = 10
"""Most images that onnxruntime takes at a time."""

MOST_QONNX_IMAGES = 25
"""Most images that qonnx' executor takes at a time. It needs more time for each node than for an image."""

_NUMBERS = 1 << 24  # in one array of onnxruntime, of 4 or 8 bytes each
_COMPARISONS = 1 << 28  # with thresholds, of a byte each, in one array of qonnx


def onnx_logits(
    network: Network, model: bytes, images: np.ndarray, *, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Return what onnxruntime computes, int32 of shape (images, outputs).

    Parameters
    ----------
    network
        The network, whose size determines how many images are taken at a time.
    model
        Its file, from `psahw.exporting.onnx_writer.onnx_model`.
    images
        uint8 of shape (images, rows, columns, colours).
    progress
        Called with the number of images of each finished batch.

    Raises
    ------
    UserError
        If onnxruntime is not installed.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # as many threads as processors, each bound to one, would complain in containers
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    batches = []
    size = max(1, min(MOST_ONNX_IMAGES, _NUMBERS // max(map(_widest, network.places))))
    for start in range(0, len(images), size):
        batches += session.run(["logits"], {"image": images[start : start + size]})
        if progress is not None:
            progress(len(batches[-1]))
    return np.concatenate(batches)


def _widest(place: Place) -> int:
    """Return how many numbers the largest array of a layer has, for one image."""
    match place.layer:
        case TokenMixing(kernel=(rows, columns)) | MaxPool(size=(rows, columns)):
            return rows * columns * place.output.size
        case Thresholds(values=values):
            return int(values.shape[1]) * place.output.size
    return max(place.input.size, place.output.size)


def _images_at_once(network: Network) -> int:
    """Return how many images fit into memory with the comparisons of each code with its thresholds."""
    sizes = (place.output.size for place in network.places if not isinstance(place.layer, Residual))
    return max(1, min(MOST_QONNX_IMAGES, _COMPARISONS // (max(sizes) * MAX_THRESHOLDS)))


def qonnx_logits(
    network: Network, images: np.ndarray, *, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Return what qonnx' executor computes of the QONNX form of a network, float32 of shape (images, outputs).

    The model is that of `psahw.exporting.qonnx_writer.qonnx_model` for several images at a time.

    Parameters
    ----------
    network
        The network.
    images
        uint8 of shape (images, rows, columns, colours).
    progress
        Called with the number of images of each finished batch.

    Raises
    ------
    UserError
        If onnx or qonnx is not installed, or if QONNX cannot express the network exactly.
    """
    require("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    parts = math.ceil(len(images) / _images_at_once(network))
    size = math.ceil(len(images) / parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the shapes of constants, among others
        model = ModelWrapper(qonnx_model(network, images=size))
        lengths = model.get_tensor_shape("image")
        logits = np.empty((len(images), len(network.classes)), np.float32)
        for start in range(0, len(images), size):
            some = images[start : start + size]
            batch = np.zeros((size, *images.shape[1:]), np.float32)
            batch[: len(some)] = some
            image = batch.transpose(0, 3, 1, 2).reshape(lengths)
            logits[start : start + len(some)] = execute_onnx(model, {"image": image})["logits"][: len(some)]
            if progress is not None:
                progress(len(some))
    return logits
