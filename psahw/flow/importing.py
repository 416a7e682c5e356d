"""Turn a model of another tool into a network, and compare the two."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks import Log, Progress, silent
from ..display import counted
from ..errors import UserError
from ..files import write_error, writing
from ..importing.comparison import Comparison
from ..importing.flattening import flattened
from ..importing.lowering import InputFormat, Line, Lowered, lower
from ..importing.operators import Bipolar, Convolution, Model, MultiThreshold, Quantise, shapes
from ..importing.reading import read_model
from ..importing.unsupported import Unsupported
from ..model import data as datasets
from ..network.file import digest, save
from ..network.graph import Network
from ..quoting import printable
from . import import_comparison as comparisons
from .calibrating import IMAGES, calibrated
from .images import load_test_images
from .import_comparison import Accuracy
from .import_inputs import choose_format, columns_of, nearest_bytes, read_inputs

if TYPE_CHECKING:
    from ..model.data import Columns, Source

__all__ = ["CHECKED", "Calibration", "ImportResult", "import_model"]

CHECKED = 100
"""Inputs that are compared unless the caller says otherwise."""


@dataclass(frozen=True)
class Calibration:
    """How the scales of a float model were chosen.

    Parameters
    ----------
    images
        Number of training images that set the scales.
    validation_float, validation_int8
        Score of the float model and of the network on the validation images, in percent; None if there are none.
    float_model
        File of the float model for `psahw.quantize`; None if it was not kept.
    """

    images: int
    validation_float: float | None
    validation_int8: float | None
    float_model: Path | None


@dataclass(frozen=True)
class ImportResult:
    """A model that became a network.

    Parameters
    ----------
    file
        The network file.
    network, digest
        Name of the network, and the hash of everything that determines its outputs.
    source
        What the model was read from, such as ``"TensorFlow Lite"``.
    input_format
        The real numbers of the input bytes; None if each column of a table has its own.
    lines
        What became of each operator.
    dropped
        What was left out at the end, because it changes no class.
    comparison
        How far the network is from the other tool's computation of the model; None if nothing was compared.
    accuracy
        The accuracy on test images; None if no data set was named.
    calibration
        How the scales of a float model were chosen; None for a model that is quantised.
    """

    file: Path
    network: str
    digest: str
    source: str
    input_format: InputFormat | None
    lines: tuple[Line, ...]
    dropped: tuple[str, ...]
    comparison: Comparison | None = None
    accuracy: Accuracy | None = None
    calibration: Calibration | None = None

    @property
    def exact(self) -> bool:
        """Return whether every operator became layers that compute it exactly."""
        return all(line.exact for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw import --json`` prints."""
        result = asdict(self) | {"file": str(self.file), "exact": self.exact}
        if self.comparison is not None:
            first = self.comparison.first_different
            result["comparison"]["first_different"] = None if first is None else asdict(first)
        return {name: value for name, value in result.items() if value is not None}


def import_model(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    name: str | None = None,
    input_format: InputFormat | None = None,
    inputs: str | os.PathLike | None = None,
    flat: bool = False,
    exact: bool = False,
    thresholds: bool = False,
    task: str | None = None,
    outputs: Sequence[str] | None = None,
    check: int = CHECKED,
    seed: int = 0,
    dataset: "str | Source | None" = None,
    data: str | os.PathLike | None = None,
    images: int | None = None,
    calibration: int = IMAGES,
    bits: int = 8,
    float_directory: str | os.PathLike | None = None,
    step: Callable[[str], None] = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> ImportResult:
    """Turn a model of another tool into a network file, and compare the two.

    Parameters
    ----------
    path
        A model of TensorFlow Lite, ONNX or QONNX. Its weights and activations are quantised, or all are real numbers.
    output
        The network file to write.
    name
        Name of the network; by default that of the model's file, without its ending.
    input_format
        The real numbers of the input bytes, for a model that does not state them. Columns of a table are taken to
        span them by default, and for a float model see `psahw.flow.calibrating.calibrated`.
    inputs
        A ``.npy`` file with inputs to compare (`read_inputs`), in place of random ones. If nothing else states the
        numbers of the input bytes, they span those of the file.
    flat
        Take the input as one row of values, for a model that flattens a grid at once (`flattened`).
    exact
        Compute each step as the model does, with thresholds where a multiplier and a shift would round otherwise.
    thresholds
        Use thresholds in place of all multipliers, so that adder graphs can compute the layers.
    task
        What the outputs are: ``"class"``, ``"values"`` or ``"labels"``; by default labels for a model that ends with
        +1 or -1, and otherwise a class.
    outputs
        A name for each output.
    check
        Number of inputs to compare with what onnxruntime, qonnx' executor or LiteRT computes; 0 for none.
    seed
        Seed of random inputs.
    dataset, data
        A data set whose test images give accuracies, and a copy of it. Training images of it choose the scales of a
        float model.
    images
        Number of test images, by default all.
    calibration, bits, float_directory
        For a float model: the number of training images that set the scales, bits of the weights, and a directory
        that keeps the float model for `psahw.quantize`.
    step, progress, log
        Called as described in `psahw.flow`.

    Returns
    -------
    ImportResult
        What became of the model.

    Raises
    ------
    Unsupported
        If the model has operators that are not supported. The message lists them.
    UserError
        If the model cannot be read, its input has no format, or the network cannot be written.
    CheckFailed
        If every operator became exact, but the other tool computes other outputs. Then nothing is written.

    Examples
    --------
    >>> import psahw
    >>> result = psahw.import_model("resnet8.tflite", "resnet8.safetensors")  # doctest: +SKIP
    >>> result.comparison.same_answers  # doctest: +SKIP
    100
    """
    if check < 0:
        raise UserError(f"check must be 0 inputs or more, not {check}")
    if images is not None and dataset is None:
        raise UserError("images limits the test images of a dataset: name one")
    _check_output(path, output)
    step("read the model")
    model = read_model(path, name)
    if outputs is not None and len(outputs) != (count := shapes(model)[model.output][2]):
        raise UserError(f"{model.name} has {counted(count, 'output')}: give as many names, not {len(outputs)}")
    if _is_float(model):
        if dataset is None:
            raise UserError(f"{path} is a float model: name a dataset, whose training images choose the scales")
        if inputs is not None or flat or exact or thresholds or task is not None:
            message = "inputs, flat, exact, thresholds and task are for quantised ones"
            raise UserError(f"{path} is a float model: {message}")
        try:
            made = calibrated(
                model, dataset=dataset, data=data, images=calibration, seed=seed, name=name, bits=bits,
                input_format=input_format, directory=float_directory, step=step, progress=progress, log=log,
            )  # fmt: skip
        except Unsupported as error:
            raise Unsupported(error.nodes, path) from None
        network = _described(made.network, path, model, made.input_format)
        form, lines, comparison = made.input_format, made.lines, None
        chosen = Calibration(calibration, made.validation_float, made.validation_int8, made.float_model)
    else:
        if float_directory is not None or bits != 8 or calibration != IMAGES:
            options = "calibration, bits, and a directory to keep"
            raise UserError(f"{path} is quantised already: {options}, are for float models")
        given = None if inputs is None else read_inputs(inputs, model.input.shape)
        columns = None if dataset is None else columns_of(model, dataset, data, log)
        form = choose_format(model, input_format, given, columns, log)
        step("find the integers")
        lowered = _lowered(
            path, flattened(model) if flat else model, name=name, input_format=form, exact=exact,
            thresholds=thresholds, outputs=outputs, task=task,
        )  # fmt: skip
        network = _described(lowered.network, path, model, form, columns)
        lowered, lines, comparison, chosen = replace(lowered, network=network), lowered.lines, None, None
        if check:
            step("compare with the other tool")
            shape = (*network.image, network.colours)
            if given is None:  # bytes in use only: all above stand for the same number as the last one
                shaped = np.random.default_rng(seed).integers(0, form.count, (check, *shape)).astype(np.uint8)
            else:
                shaped = nearest_bytes(given[:check], form).reshape(-1, *shape)
            comparison = comparisons.compared(path, model, lowered, shaped, progress)
            comparisons.check(comparison, lowered, output)
    if outputs is not None:
        network = replace(network, output=replace(network.output, names=tuple(outputs)))
    accuracy = None
    if dataset is not None:
        step("accuracy on test images")
        test = load_test_images(network, images, most=sys.maxsize, dataset=dataset, data=data, log=log)
        accuracy = comparisons.accuracy(path, model, network, _reals(network, form), test, progress)
    with writing(output):
        save(network, output)
    return ImportResult(
        Path(output), network.name, digest(network), model.source, form, lines, model.dropped, comparison, accuracy,
        chosen,
    )  # fmt: skip


def _check_output(path: str | os.PathLike, output: str | os.PathLike) -> None:
    """Raise UserError if a network file cannot be written there, before anything is computed in vain."""
    if os.path.exists(path) and os.path.exists(output) and os.path.samefile(path, output):
        raise UserError(f"{output} is the model itself: write the network to another file")
    is_directory = os.path.isdir(output)
    if is_directory or not Path(output).absolute().parent.is_dir():
        number = errno.EISDIR if is_directory else errno.ENOENT
        raise write_error(output, OSError(number, os.strerror(number)))


def _is_float(model: Model) -> bool:
    """Return whether a model has weights, none of which are integers, and no quantisers."""
    if model.input.quantiser is not None or any(
        isinstance(each, Quantise | Bipolar | MultiThreshold) for each in model.operators
    ):
        return False
    weights = [operator.weight.dtype.kind for operator in model.operators if isinstance(operator, Convolution)]
    return bool(weights) and set(weights) == {"f"}


def _lowered(path: str | os.PathLike, model: Model, **options: Any) -> Lowered:
    """Return the network of a quantised model. Errors name the file."""
    try:
        return lower(model, **options)
    except Unsupported as error:
        raise Unsupported(error.nodes, path) from None
    except ValueError as error:  # a limit of networks
        raise UserError(f"{path} cannot become a network: {printable(str(error), 200)}") from None


def _reals(network: Network, form: InputFormat | None) -> Callable[[np.ndarray], np.ndarray]:
    """Return what maps the bytes of images to the real numbers that they stand for."""
    if form is not None:
        return lambda images: form.values()[images]
    columns = datasets.recorded_columns(network)
    assert columns is not None  # which a network without a format has
    return lambda images: np.array(columns.offset) + np.array(columns.step) * images


def _described(
    network: Network,
    path: str | os.PathLike,
    model: Model,
    form: InputFormat | None,
    columns: "Columns | None" = None,
) -> Network:
    """Return a network whose metadata say where it comes from, and which values of a table its bytes stand for."""
    origin = {"file": Path(path).name[:100], "source": model.source}
    metadata = network.metadata | {"imported": origin | ({} if form is None else {"input": asdict(form)})}
    if form is not None and columns is not None:
        count = len(columns.names)
        same = replace(columns, offset=(form.low,) * count, step=(form.step,) * count)
        metadata |= {"columns": same.to_dict()}
    return replace(network, metadata=metadata)
