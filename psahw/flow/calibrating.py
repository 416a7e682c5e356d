"""Make a network of a float model of another tool: convert it, and choose scales by some training images."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..callbacks import Log, Progress, silent
from ..display import counted
from ..errors import UserError
from ..files import output_directory
from ..importing.lowering import InputFormat, Line
from ..importing.operators import Model, shapes
from ..network import file as network_file
from ..network.graph import Network
from ..network.layers import Linear, TokenMixing
from ..scratch import scratch_directory

if TYPE_CHECKING:
    from ..model.data import Data, Dataset

__all__ = ["IMAGES", "Calibrated", "calibrated"]

IMAGES = 500
"""Training images that set the scales, unless the caller says otherwise."""

_FORMATS = (InputFormat(0, 1), InputFormat(0, 255), InputFormat(-1, 1), InputFormat(-128, 127))
"""Numbers that pixels usually stand for."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A network made of a float model.

    Parameters
    ----------
    network
        The integer network.
    float_model
        File of the float model, which `psahw.quantize` fine-tunes; None if no directory was given.
    lines
        What became of each operator.
    input_format
        The real numbers of the input bytes; None for a table, whose columns have their own.
    validation_float, validation_int8
        Score of the float model and of the network on the validation images in percent.
    """

    network: Network
    float_model: Path | None
    lines: tuple[Line, ...]
    input_format: InputFormat | None
    validation_float: float | None
    validation_int8: float | None


def calibrated(
    model: Model,
    *,
    dataset: "Data",
    data: str | os.PathLike | None = None,
    images: int = IMAGES,
    seed: int = 0,
    name: str | None = None,
    bits: int = 8,
    input_format: InputFormat | None = None,
    directory: str | os.PathLike | None = None,
    step: Callable[[str], None] = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> Calibrated:
    """Return the network of a float model, with scales that suit some training images.

    No test image is looked at. The scores are those on the validation images, on which psahw does not train. The
    other tool may have trained on them; then they are better than on test images.

    Parameters
    ----------
    model
        The model, whose weights are real numbers, without quantisers.
    dataset, data
        A data set (`psahw.model.data.load`), and a copy of it.
    images
        Number of training images, drawn at random, that set the scales.
    seed
        Seed of the draw.
    name
        Name of the network; by default that of the model.
    bits
        Bits of the weights, 2 to 8. Activations have 8.
    input_format
        The real numbers of the input bytes. By default those of a table's columns; or, for images in classes, those
        of a few usual formats with which the model is right most often.
    directory
        Directory to write: the float model as ``model.safetensors``, and the network as ``NAME.safetensors``.
    step, progress, log
        Called as described in `psahw.flow`.

    Raises
    ------
    Unsupported
        If operators cannot become layers. The message lists them.
    UserError
        If the model does not fit the data set, or nothing says what the bytes of its input stand for.
    CheckFailed
        If the network does not compute the integers of the quantised model.

    Examples
    --------
    >>> from psahw.importing.reading import read_model
    >>> model = read_model("resnet8.tflite")  # doctest: +SKIP
    >>> made = calibrated(model, dataset="cifar10", directory="runs/resnet8")  # doctest: +SKIP
    """
    from ..model import checkpoint
    from ..model import data as datasets
    from ..model.graphs.imported import from_operators
    from ..model.quantize import quantize
    from ..model.run_directory import model_file, provenance, refuse_other_files

    if images < 1:
        raise UserError(f"images must be 1 or more, not {images}")
    if not 2 <= bits <= 8:
        raise UserError(f"bits must be in [2, 8], not {bits}")
    name = name or model.name
    shape, outputs = model.input.shape, shapes(model)[model.output][2]
    step("load the data")
    named = getattr(dataset, "name", dataset)
    if named in datasets.DATASETS and not isinstance(dataset, datasets.Dataset):  # before it is downloaded
        datasets.check_named(named, datasets.Form(model.name, shape, outputs), "name one of the model's form")
    loaded = datasets.load(dataset, data, log)
    form = datasets.Form(model.name, shape, outputs, loaded.task)
    loaded = datasets.load(loaded, models=[form])
    step("convert the float model")
    offsets, steps, input_format = _bytes(model, loaded, input_format, images, seed, log)
    imported = from_operators(model, offsets, steps, task=loaded.task)
    origin = {"source": model.source, "input": None if input_format is None else asdict(input_format)}
    with ExitStack() as stack:
        if directory is None:
            folder = stack.enter_context(scratch_directory("psahw-calibrated-"))
        else:
            refuse_other_files(directory, f"{name}.safetensors")
            folder = stack.enter_context(output_directory(directory))
        path = model_file(folder)
        checkpoint.save_model(path, imported.network, imported.network.config, {"imported": origin, **provenance()})
        step(f"choose scales by {counted(images, 'training image')}")
        result = quantize(
            path, name, folder, calibration=images, calibration_seed=seed, bits=None if bits == 8 else str(bits),
            epochs=0, dataset=loaded, log=log, progress=progress,
        )  # fmt: skip
        assert result.network is not None  # as without epochs
        network = network_file.load(result.network)
    return Calibrated(
        network, None if directory is None else path, tuple(_lines(imported.lines, network, bits)), input_format,
        result.validation_float, result.validation_int8,
    )  # fmt: skip


def _bytes(
    model: Model, dataset: "Dataset", given: InputFormat | None, images: int, seed: int, log: Log
) -> tuple[np.ndarray, np.ndarray, InputFormat | None]:
    """Return the number of byte 0 and the step of each channel, and the format that they are from."""
    channels = model.input.shape[2]
    if given is not None and given.count != 256:
        raise UserError(f"a float model takes all 256 bytes, not {given.count}")
    if given is None and dataset.columns is not None:
        columns = dataset.columns
        log("bytes stand for the numbers of the table's columns")
        return np.array(columns.offset, np.float64), np.array(columns.step, np.float64), None
    if given is None:
        given = _likeliest(model, dataset, images, seed)
        log(f"bytes stand for {given.low:g} to {given.high:g}: of a few usual formats, the model is right most often")
    return np.full(channels, given.low), np.full(channels, given.step), given


def _likeliest(model: Model, dataset: "Dataset", images: int, seed: int) -> InputFormat:
    """Return the format of pixels with which a model is right most often for some training images."""
    from ..model.graphs.imported import from_operators
    from ..model.predict import predict

    must = "give the numbers of byte 0 and byte 255 (--input LOW:HIGH)"
    if dataset.task != "class":
        raise UserError(f"{model.name} does not state which numbers the bytes of its input stand for: {must}")
    training, _ = dataset.split()
    chosen = np.random.default_rng(seed).permutation(len(training))[:images]
    pixels, labels = dataset.train_images[training[chosen]], dataset.train_labels[training[chosen]]
    right = {}
    for form in _FORMATS:
        numbers = (np.full(model.input.shape[2], value) for value in (form.low, form.step))
        right[form] = float((predict(from_operators(model, *numbers).network, pixels).argmax(1) == labels).mean())
    best = max(right, key=lambda form: right[form])
    if right[best] < 2 / len(dataset.classes):
        tried = ", ".join(f"{form.low:g}:{form.high:g}" for form in _FORMATS)
        raise UserError(
            f"{model.name} is right for at most {100 * right[best]:.0f} % of {counted(len(labels), 'image')} with "
            f"{tried} as its input: {must}"
        )
    return best


def _lines(lines: Sequence[Line], network: Network, bits: int) -> list[Line]:
    """Return what became of each operator in the integer network."""
    places = {place.name: place for place in network.places}
    made = []
    for line in lines:
        layers = tuple(name for name in line.layers if name in places)
        if not layers:
            made.append(replace(line, layers=(), note="part of the layers around it"))
            continue
        place = places[layers[0]]
        codes = f"codes of {counted(place.output.codes.bits, 'bit')}"
        notes = [line.note] if not line.exact else []
        if isinstance(place.layer, Linear | TokenMixing):
            notes += [f"weights rounded to {bits} bits and sums to {codes}"]
        elif line.kind in ("Add", "MeanPool", "Affine"):
            notes += [f"rounded to {codes}"]
        made.append(replace(line, layers=layers, note="; ".join(notes) or "exact", exact=not notes))
    return made
