"""Accuracy on the test images of a data set, of an integer network or of a float model."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.evaluation import score

from . import data
from .data import Dataset
from .progress import Log, Progress, ignore
from .run_directory import is_float_model, model_file

__all__ = ["EvaluationResult", "evaluate"]


@dataclass(frozen=True)
class EvaluationResult:
    """Result of `evaluate`."""

    network: str  # name of the network, or of a float model
    dataset: str
    images: int  # test images that were classified
    correct: int  # images whose class was recognised
    accuracy: float  # in percent
    confusion: list[list[int]]  # [true class][answer], numbers of images

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw evaluate --json`` prints."""
        return dataclasses.asdict(self)


def evaluate(
    network: str | Path,
    *,
    images: int | None = None,
    record: bool = False,
    dataset: str | Dataset = "cifar10",
    data_directory: str | Path | None = None,
    log: Log = ignore,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Measure the accuracy of a network on the test images of a data set.

    Parameters
    ----------
    network
        Name of a shipped network, or a network file: its integer model is evaluated. Or a run directory or
        ``model.safetensors`` of a float model, which needs torch.
    images
        Evaluate only this many of the test images, the first ones.
    record
        Write the accuracy into the metadata of the network file.
    dataset
        Name of a data set (`psahw.model.data.DATASETS`), or a data set.
    data_directory
        Directory with the official files of the named data set; the cache or a download unless given.
    log
        Receives messages.
    progress
        Receives the number of classified images.

    Raises
    ------
    UserError
        If the network does not fit the data set, or its accuracy cannot be recorded.
    """
    name = str(network)
    in_float = is_float_model(name)
    if record and (in_float or images is not None):
        raise UserError("--record needs a network file and all test images: no float model, no --images")
    if record and name in network_file.shipped():
        raise UserError(f"--record: {name} ships with psahw; to record into it, give {network_file.find(name)}")
    loaded = _load_float(name) if in_float else _load_integer(name)
    test = data.load(dataset, data_directory, log)
    test.check(loaded.shape, loaded.classes, name)
    if images is not None and images > len(test.test_images):
        raise UserError(
            f"images must be at most the {len(test.test_images)} test images of {test.name}, not {images}"
        )
    pixels, labels = test.test_images[:images], test.test_labels[:images]
    with (progress or Progress()).counting("images", len(pixels)) as advance:
        logits = loaded.run(pixels, advance)
    result = EvaluationResult(**score(loaded.name, test.name, logits, labels))
    if record:
        log(_record(name, f"{test.name} test INT8", result.accuracy))
    return result


def _record(name: str, key: str, accuracy: float) -> str:
    """Write an accuracy in percent into the metadata of a network file, and return a message about it."""
    network = network_file.load(name)
    known = network.metadata.get("accuracy")
    recorded = (known if isinstance(known, dict) else {}) | {key: accuracy}
    path = network_file.find(name)
    network_file.save(dataclasses.replace(network, metadata=network.metadata | {"accuracy": recorded}), path)
    return f"recorded {key} {accuracy:g} % in {path}"


@dataclass(frozen=True)
class _Loaded:
    """A network of either kind."""

    name: str
    shape: tuple[int, ...]  # of an image: height, width, colours
    classes: int
    run: Callable[[np.ndarray, Callable[[int], None]], np.ndarray]  # images and progress to logits [n, classes]


def _load_integer(name: str) -> _Loaded:
    network = network_file.load(name)
    return _Loaded(
        network.name,
        (*network.image, network.colours),
        len(network.classes),
        lambda images, progress: reference.run(network, images, progress=progress),
    )


def _load_float(path: str) -> _Loaded:
    from . import checkpoint  # only here, because torch takes seconds to import
    from .train import predict

    model, _ = checkpoint.load_model(model_file(path))
    config = model.config
    return _Loaded(
        f"{path} (float)",
        (*config.image, 3),
        config.classes,
        lambda images, progress: predict(model, images, progress=progress),
    )
