"""Turn a model of another tool into a network, and compare the two."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks import Log, Progress, counter, silent
from ..display import counted
from ..errors import CheckFailed, UserError
from ..files import writing
from ..importing.comparison import Comparison, compare
from ..importing.flattening import flattened
from ..importing.lowering import InputFormat, Line, Lowered, lower
from ..importing.operators import Model, shapes
from ..importing.reading import read_model
from ..importing.unsupported import Unsupported
from ..importing.witness import testify
from ..network import reference
from ..network.evaluation import score
from ..network.file import digest, save
from ..network.graph import Network
from ..network.random import random_images
from ..quoting import printable, quote
from .images import LabelledImages, load_test_images

if TYPE_CHECKING:
    from ..model.data import Source

__all__ = ["CHECKED", "Accuracy", "ImportResult", "import_model", "read_inputs"]

CHECKED = 100
"""Inputs that are compared unless the caller says otherwise."""

_BATCH = 250  # images that are compared at once, whose tensors are in memory
_MAX_INPUT_BYTES = 1 << 30


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of the network and of the model on test images, in percent; for values, their R² times 100.

    Parameters
    ----------
    dataset
        Name of the data set.
    images
        Number of test images.
    network, model
        The accuracies of the integer network, and of the model as the other tool computes it.
    same
        Images with the same answer of both, in percent.
    """

    dataset: str
    images: int
    network: float
    model: float
    same: float


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
        The real numbers of the input bytes.
    lines
        What became of each operator.
    dropped
        What was left out at the end, because it changes no class.
    comparison
        How far the network is from the other tool's computation of the model; None if nothing was compared.
    accuracy
        The accuracy on test images; None if no data set was named.
    """

    file: Path
    network: str
    digest: str
    source: str
    input_format: InputFormat
    lines: tuple[Line, ...]
    dropped: tuple[str, ...]
    comparison: Comparison | None = None
    accuracy: Accuracy | None = None

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
    if array.size * 8 > _MAX_INPUT_BYTES:
        raise UserError(f"{path} must hold at most {_MAX_INPUT_BYTES // 8:,} numbers, not {array.size:,}")
    reals = np.array(array, np.float64).reshape(len(array), *shape)
    if not np.isfinite(reals).all():
        index = np.argwhere(~np.isfinite(reals))[0].tolist()
        raise UserError(f"{path}: the number at {index} is not finite")
    return reals


def _input_format(model: Model, given: InputFormat | None, inputs: np.ndarray | None, log: Log) -> InputFormat:
    """Return the real numbers of the bytes: as given, as the model states them, or those that the inputs span."""
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
    if inputs is None:
        raise UserError(
            f"{model.name} does not state which numbers the bytes of its input stand for: give the lowest and the "
            "highest (--input LOW:HIGH), or inputs that span them (--inputs FILE)"
        )
    low, high = float(inputs.min()), float(inputs.max())
    if low == high:
        raise UserError(f"all numbers of the inputs are {low:g}: give the lowest and the highest (--input LOW:HIGH)")
    log(f"bytes stand for numbers from {low:g} to {high:g}, as the inputs have them")
    return InputFormat(low, high)


def _bytes(reals: np.ndarray, form: InputFormat) -> np.ndarray:
    """Return the nearest bytes of real numbers."""
    return np.clip(np.rint((reals - form.low) / form.step), 0, form.count - 1).astype(np.uint8)


def _compared(
    path: str | os.PathLike, model: Model, lowered: Lowered, images: np.ndarray, progress: Progress
) -> tuple[Comparison, np.ndarray, np.ndarray]:
    """Return the comparison on images, the outputs of the network, and those that the other tool computes."""
    report = counter(progress, len(images))
    comparisons, ours, theirs = [], [], []
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        grids = some.reshape(len(some), *model.input.shape)  # one row, if the input is flat
        tool, tensors = testify(path, model, lowered.input_format, grids)
        activations: dict[str, np.ndarray] = {}
        ours.append(reference.run(lowered.network, some, taps=activations))
        theirs.append(tensors[model.output].reshape(len(some), -1))
        comparisons.append(compare(lowered, ours[-1], activations, tool, tensors, model.output))
        report(len(some))
    return sum(comparisons[1:], comparisons[0]), np.concatenate(ours), np.concatenate(theirs)


def _check(comparison: Comparison, lowered: Lowered, path: str | os.PathLike) -> None:
    """Raise CheckFailed if an exact network differs by more than the other tool's own rounding of a code."""
    if all(line.exact for line in lowered.lines) and comparison.outputs.largest > 1 + 1 / 16:
        first = comparison.first_different
        assert first is not None
        raise CheckFailed(
            f"{path} was not written: every operator is exact, but {comparison.tool} computes other outputs; "
            f"tensor {quote(first.tensor)} of layer {first.layer} differs first, by {first.largest:g} codes"
        )


def _accuracy(
    path: str | os.PathLike, model: Model, lowered: Lowered, test: LabelledImages, progress: Progress
) -> Accuracy:
    """Return the accuracy of the network and of the model on labelled images."""
    network = lowered.network
    labels = test.labels
    if labels is None:
        raise UserError(f"the accuracy of {network.output.words[1]} is not compared: name a data set of classes")
    comparison, ours, theirs = _compared(path, model, lowered, test.pixels, progress)

    def right(outputs: np.ndarray) -> float:
        return score(network.name, test.dataset, outputs.argmax(1), labels, network.classes)["accuracy"]

    share = 100 * comparison.same_answers / comparison.inputs
    return Accuracy(test.dataset, len(test), right(ours), right(theirs), share)


def import_model(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    name: str | None = None,
    input_format: InputFormat | None = None,
    inputs: str | os.PathLike | None = None,
    flat: bool = False,
    exact: bool = False,
    task: str | None = None,
    outputs: Sequence[str] | None = None,
    check: int = CHECKED,
    seed: int = 0,
    dataset: "str | Source | None" = None,
    data: str | os.PathLike | None = None,
    images: int | None = None,
    step: Callable[[str], None] = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> ImportResult:
    """Turn a model of another tool into a network file, and compare the two.

    Parameters
    ----------
    path
        A model of TensorFlow Lite, ONNX or QONNX with quantised weights and activations.
    output
        The network file to write.
    name
        Name of the network; by default that of the model's file, without its ending.
    input_format
        The real numbers of the input bytes, for a model that does not state them.
    inputs
        A ``.npy`` file with inputs to compare (`read_inputs`), in place of random ones. If nothing else states the
        numbers of the input bytes, they span those of the file.
    flat
        Take the input as one row of values, for a model that flattens a grid at once (`flattened`).
    exact
        Compute each step as the model does, with thresholds where a multiplier and a shift would round otherwise.
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
        A data set whose test images give accuracies, and a copy of it.
    images
        Number of test images, by default all.
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
    if os.path.exists(output) and os.path.samefile(path, output):
        raise UserError(f"{output} is the model itself: write the network to another file")
    step("read the model")
    model = read_model(path, name)
    given = None if inputs is None else read_inputs(inputs, model.input.shape)
    form = _input_format(model, input_format, given, log)
    if outputs is not None and len(outputs) != (count := shapes(model)[model.output][2]):
        raise UserError(f"{model.name} has {counted(count, 'output')}: give as many names, not {len(outputs)}")
    step("find the integers")
    source = flattened(model) if flat else model
    try:
        lowered = lower(source, name=name, input_format=form, exact=exact, outputs=outputs, task=task)
    except Unsupported as error:
        raise Unsupported(error.nodes, path) from None
    except ValueError as error:  # a limit of networks
        raise UserError(f"{path} cannot become a network: {printable(str(error), 200)}") from None
    lowered = replace(lowered, network=_described(lowered.network, path, model, form))
    comparison = None
    if check:
        step("compare with the other tool")
        rng = np.random.default_rng(seed)
        compared = random_images(rng, lowered.network, check) if given is None else _bytes(given[:check], form)
        comparison, *_ = _compared(path, model, lowered, compared, progress)
        _check(comparison, lowered, output)
    accuracy = None
    if dataset is not None:
        step("accuracy on test images")
        test = load_test_images(lowered.network, images, most=sys.maxsize, dataset=dataset, data=data, log=log)
        accuracy = _accuracy(path, model, lowered, test, progress)
    with writing(output):
        save(lowered.network, output)
    return ImportResult(
        Path(output), lowered.network.name, digest(lowered.network), model.source, form, lowered.lines, model.dropped,
        comparison, accuracy,
    )  # fmt: skip


def _described(network: Network, path: str | os.PathLike, model: Model, form: InputFormat) -> Network:
    """Return a network whose metadata say where it comes from."""
    origin = {"file": Path(path).name[:100], "source": model.source, "input": asdict(form)}
    return replace(network, metadata=network.metadata | {"imported": origin})
