"""Accuracy on the test images of a data set, of an integer network or of a float model."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from psahw.callbacks import Log, Progress, counter, silent
from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.network.evaluation import evaluate as integer_score
from psahw.network.evaluation import score
from psahw.network.graph import Network

from . import data as datasets
from .data import Columns, Data, Form
from .run_directory import is_float_model, model_file

__all__ = ["EvaluationResult", "evaluate"]


@dataclass(frozen=True)
class EvaluationResult:
    """Result of `evaluate`.

    Parameters
    ----------
    network
        Name of the network, or of the float model.
    dataset
        Name of the data set.
    images
        Test images that were classified.
    task
        What the network says: "class", "values" or "labels".
    correct
        Images that were classified correctly, or of which all labels are right; None for values.
    accuracy
        Top-1 accuracy, or the labels that are right, in percent; None for values.
    r2
        Share of the variance that is explained, the mean over the values; None for classes and labels.
    confusion
        Number of images of each class (rows) that were taken for each class (columns); None for values and labels.
    outputs
        The figures of each class, value or label; see `psahw.network.evaluation.score`.
    worst, residuals
        The worst errors with their images, and right and predicted values; see `psahw.network.mistakes.mistakes`.
        None for a float model; `residuals` also for classes and labels.
    """

    network: str
    dataset: str
    images: int
    task: str = "class"
    correct: int | None = None
    accuracy: float | None = None
    r2: float | None = None
    confusion: list[list[int]] | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    worst: list[dict[str, Any]] | None = field(default=None, repr=False)  # images are long texts
    residuals: list[dict[str, Any]] | None = field(default=None, repr=False)

    @classmethod
    def from_score(cls, score: dict[str, Any]) -> "EvaluationResult":
        """Return the result for what `psahw.network.evaluation.score` or `evaluate` returns."""
        named = dict(score)
        outputs = next(named.pop(name) for name in ("classes", "values", "labels") if name in named)
        return cls(**named, outputs=outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw evaluate --json`` prints, which leaves out what is None."""
        named = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        named[_OUTPUTS[self.task]] = named.pop("outputs")
        return named


_OUTPUTS = {"class": "classes", "values": "values", "labels": "labels"}


def evaluate(
    network: Network | str | os.PathLike,
    *,
    images: int | None = None,
    record: bool = False,
    dataset: Data = "cifar10",
    data: str | os.PathLike | None = None,
    log: Log = silent,
    progress: Progress = silent,
) -> EvaluationResult:
    """Measure the accuracy of a network on the test images of a data set.

    Parameters
    ----------
    network
        A network, the name of a shipped one, or a network file: the integer model is evaluated. A run directory or
        ``model.safetensors`` names a float model, which needs torch.
    images
        Number of test images to classify, from the first one; all unless given.
    record
        Write the accuracy into the metadata of the network file.
    dataset
        A data set, or its name or path (`psahw.model.data.load`).
    data
        File or directory with a copy of the named data set.
    log
        Called with messages.
    progress
        Called with the number of images that are classified, and of all.

    Raises
    ------
    UserError
        If the network does not fit the data set, or its accuracy cannot be recorded.
    ValueError
        If `images` is not positive.

    Examples
    --------
    >>> evaluate("cifar10-psa-small", dataset="sample", images=20).accuracy
    95.0
    """
    if isinstance(network, Network):
        if record:
            raise UserError("record needs the name of a network file, not a network")
        name, classifier = network.name, _integer_classifier(network)
    else:
        name = os.fspath(network)
        in_float = is_float_model(name)
        if record and os.path.exists(name) and not os.path.isfile(name) and not in_float:
            raise UserError(f"--record needs a network file that can be written, not the pipe {name}")
        if record and (in_float or images is not None):
            raise UserError("--record needs a network file and all test images: no float model, no --images")
        if record and name in network_file.shipped():
            raise UserError(f"--record: {name} ships with psahw; to record into it, give {network_file.find(name)}")
        classifier = _float_classifier(name) if in_float else _integer_classifier(network_file.load(name))
    form = Form(name, classifier.shape, classifier.classes, classifier.task)
    test = datasets.load(dataset, data, log, models=[form], columns=classifier.columns)
    if images is not None and images < 1:
        raise ValueError(f"images must be positive, not {images}")
    available = len(test.test_images)
    if images is not None and images > available:
        raise UserError(f"images must be at most the {available} test images of {test.name}, not {images}")
    pixels, labels = test.test_images[:images], test.test_labels[:images]
    scored = classifier.score(pixels, labels, test, counter(progress, len(pixels)))
    result = EvaluationResult.from_score(scored)
    if record:
        figure = result.accuracy if result.accuracy is not None else 100 * (result.r2 or 0.0)
        log(_record(name, f"{test.name} test INT8", max(figure, 0.0)))
    return result


def _record(name: str, key: str, accuracy: float) -> str:
    """Write an accuracy in percent into the metadata of a network file, and return a message about it."""
    network = network_file.load(name)
    known = network.metadata.get("accuracy")
    recorded = (known if isinstance(known, dict) else {}) | {key: accuracy}
    path = network_file.find(name)
    network_file.save(dataclasses.replace(network, metadata=network.metadata | {"accuracy": recorded}), path)
    return f"recorded {key} {accuracy:g} % in {path}"


_Score = Callable[[np.ndarray, np.ndarray, datasets.Dataset, Callable[[int], None]], dict[str, Any]]


@dataclass(frozen=True)
class _Classifier:
    """An integer network or a float model, ready to classify images."""

    shape: tuple[int, ...]  # of an image: height, width, colours
    classes: int
    task: str
    columns: Columns | None  # how the values of a table become bytes
    score: _Score  # (images, right answers, data set that they are of, called per batch) -> score


def _integer_classifier(network: Network) -> _Classifier:
    columns = datasets.recorded_columns(network)

    def run(images: np.ndarray, right: np.ndarray, test: datasets.Dataset, advance: Callable[[int], None]) -> dict:
        raw = columns.values if columns is not None else None
        return integer_score(network, images, right, test.name, advance, raw)

    shape = (*network.image, network.colours)
    return _Classifier(shape, len(network.classes), network.output.kind, columns, run)


def _float_classifier(path: str) -> _Classifier:
    from . import checkpoint  # here, so that integer networks can be evaluated without torch
    from .models import task_of
    from .predict import predict
    from .tasks import answers

    model, _ = checkpoint.load_model(model_file(path))
    config = model.config
    task = task_of(config)

    def run(images: np.ndarray, right: np.ndarray, test: datasets.Dataset, advance: Callable[[int], None]) -> dict:
        answered = answers(predict(model, images, progress=advance), task, model)
        return score(f"{path} (float)", test.name, answered, right, test.classes, task)

    return _Classifier((*config.image, config.colours), config.classes, task, None, run)
