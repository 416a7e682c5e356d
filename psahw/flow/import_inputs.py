"""The inputs of imported models: numbers from files, and the real numbers that bytes stand for."""

import os

import numpy as np

from ..callbacks import Log
from ..errors import UserError
from ..importing.lowering import InputFormat
from ..importing.operators import Model, shapes
from ..model import data as datasets
from ..model.data import Columns, Source
from ..quoting import quote

__all__ = ["choose_format", "columns_of", "nearest_bytes", "read_inputs"]

_MAX_NUMBERS = 1 << 27


def read_inputs(path: str | os.PathLike, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the inputs of a ``.npy`` file: float64 of shape (inputs, rows, columns, channels).

    Parameters
    ----------
    path
        The file. Its array has the shape (inputs, rows, columns, channels), or (inputs, values).
    shape
        Rows, columns and channels of the model's input.

    Raises
    ------
    UserError
        If the file cannot be read, or its array has another shape or numbers that are not finite.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise UserError(f"{path} must be a .npy file with one array, not an .npz file")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a .npy file of numbers: {quote(str(error))}") from None
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path} must hold numbers, not {array.dtype}")
    if array.ndim < 2 or not len(array) or int(np.prod(array.shape[1:])) != int(np.prod(shape)):
        raise UserError(f"{path} must have the shape (inputs, {', '.join(map(str, shape))}), not {array.shape}")
    if array.ndim != 2 and array.shape[1:] != shape:
        raise UserError(f"{path} must have the shape (inputs, {', '.join(map(str, shape))}), not {array.shape}")
    if array.size > _MAX_NUMBERS:
        raise UserError(f"{path} must hold at most {_MAX_NUMBERS:,} numbers, not {array.size:,}")
    reals = np.array(array, np.float64).reshape(len(array), *shape)
    if not np.isfinite(reals).all():
        index = np.argwhere(~np.isfinite(reals))[0].tolist()
        raise UserError(f"{path}: the number at {index} is not finite")
    return reals


def choose_format(
    model: Model, given: InputFormat | None, inputs: np.ndarray | None, columns: Columns | None, log: Log
) -> InputFormat:
    """Return the real numbers of a quantised model's input bytes.

    They are what the model states, what is given, or what spans the inputs or the columns of a table.

    Raises UserError if nothing says what they are, or if the model states others than those given.
    """
    if model.input.quantiser is not None:
        try:
            stated = InputFormat.of(model.input.quantiser)
        except ValueError as error:
            raise UserError(f"the input of {model.name} does not fit into bytes: {error}") from None
        if given is not None and given != stated:
            raise UserError(
                f"{model.name} states the format of its input, {stated}: it cannot be another one, such as {given}"
            )
        return stated
    if given is not None:
        return given
    if inputs is None and columns is not None:
        low = min(columns.offset)
        high = max(offset + 255 * step for offset, step in zip(columns.offset, columns.step, strict=True))
    elif inputs is not None:
        low, high = float(inputs.min()), float(inputs.max())
    else:
        raise UserError(
            f"{model.name} does not state which numbers the bytes of its input stand for: give the lowest and the "
            "highest (--input LOW:HIGH), or inputs that span them (--inputs FILE)"
        )
    if low == high:
        raise UserError(f"all numbers of the inputs are {low:g}: give the lowest and the highest (--input LOW:HIGH)")
    what = "columns" if inputs is None else "inputs"
    try:
        form = InputFormat(low, high)
    except ValueError as error:
        raise UserError(f"the {what} do not fit into bytes: {error}") from None
    log(f"bytes stand for numbers from {low:g} to {high:g}, as the {what} have them")
    return form


def columns_of(model: Model, dataset: str | Source, data: str | os.PathLike | None, log: Log) -> Columns | None:
    """Return how the values of a data set's table become bytes, or None if it is no table.

    Raises UserError if there is no such data set. A named one that does not fit the model is refused before it is
    downloaded.
    """
    named = dataset if isinstance(dataset, str) else dataset.name
    if named in datasets.DATASETS:
        form = datasets.Form(model.name, model.input.shape, shapes(model)[model.output][2])
        datasets.check_named(named, form, "name one of the model's form")
    return datasets.load(dataset, data, log).columns


def nearest_bytes(reals: np.ndarray, form: InputFormat) -> np.ndarray:
    """Return the nearest bytes of real numbers."""
    return np.clip(np.rint((reals - form.low) / form.step), 0, form.count - 1).astype(np.uint8)
