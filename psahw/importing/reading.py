"""Read a model from a file of any kind that there is a reader for."""

import os

from ..errors import UserError
from .operators import Model

__all__ = ["is_tflite", "read_model"]

_MARK = b"TFL3"  # behind the four bytes of a flatbuffer's root offset


def is_tflite(path: str | os.PathLike) -> bool:
    """Return whether a file begins as one of TensorFlow Lite does.

    Raises UserError if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(8)[4:] == _MARK
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def read_model(path: str | os.PathLike, name: str | None = None) -> Model:
    """Return the model in a file of TensorFlow Lite, ONNX or QONNX.

    Parameters
    ----------
    path
        The file. Its content, not its name, says of which kind it is.
    name
        Name of the model; by default that of the file, without its ending.

    Raises
    ------
    Unsupported
        If the model has operators that are not supported. The error lists all of them.
    UserError
        If the file cannot be read, is damaged, or is of no such kind, or if a package is not installed.
    """
    if is_tflite(path):
        from .tflite_reader import read
    else:
        from .onnx_reader import read
    return read(path, name)
