"""Compare an imported network with the model that it was made from."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..callbacks import Progress, counter
from ..errors import CheckFailed, UserError
from ..importing.comparison import Comparison, compare
from ..importing.lowering import Lowered
from ..importing.operators import Model
from ..importing.witness import testify
from ..network import reference
from ..network.evaluation import score
from ..network.graph import Network
from ..quoting import quote
from .images import LabelledImages

__all__ = ["Accuracy", "accuracy", "check", "compared"]

_BATCH = 250  # images that are compared at once, whose tensors are in memory
# Share of the values of a tensor that the other tool may round otherwise, in float32. Many means are in the middle
# between two codes, and float32 is on either side of it.
_ROUNDED = 1 / 16


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


def compared(
    path: str | os.PathLike, model: Model, lowered: Lowered, images: np.ndarray, progress: Progress
) -> Comparison:
    """Return how far a network is from what another tool computes for its model.

    Parameters
    ----------
    path, model
        The file of the model, and what was read from it.
    lowered
        The network.
    images
        uint8 of shape (images, rows, columns, channels).
    progress
        Called with the number of images that are compared, and of all.
    """
    report = counter(progress, len(images))
    comparisons = []
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        reals = lowered.input_format.values()[some]
        tool, tensors = testify(path, model, reals.reshape(len(some), *model.input.shape))  # a row, if it is flat
        activations: dict[str, np.ndarray] = {}
        logits = reference.run(lowered.network, some, taps=activations)
        comparisons.append(compare(lowered, logits, activations, tool, tensors, model.output))
        report(len(some))
    return sum(comparisons[1:], comparisons[0])


def check(comparison: Comparison, lowered: Lowered, path: str | os.PathLike) -> None:
    """Raise CheckFailed if an exact network differs by more than what the other tool's rounding explains.

    That rounding moves few values of the first tensor that differs, each by one code. Behind it, more may differ.
    """
    first = comparison.first_different
    if first is None or not all(line.exact for line in lowered.lines):
        return
    if first.largest > 1.5 or first.different > max(1, _ROUNDED * first.values):
        raise CheckFailed(
            f"{path} was not written: every operator is exact, but {comparison.tool} computes other outputs; "
            f"tensor {quote(first.tensor)} of layer {first.layer} differs first, in {first.different:,} of "
            f"{first.values:,} values, by up to {first.largest:g} codes"
        )


def accuracy(
    path: str | os.PathLike,
    model: Model,
    network: Network,
    reals_of: Callable[[np.ndarray], np.ndarray],
    test: LabelledImages,
    progress: Progress,
) -> Accuracy:
    """Return the accuracies of a network and of its model, as another tool computes it, on labelled images.

    Parameters
    ----------
    path, model
        The file of the model, and what was read from it.
    network
        The network.
    reals_of
        Maps uint8 images to the real numbers that the model takes.
    test
        The images.
    progress
        Called with the number of images that are classified, and of all.

    Raises
    ------
    UserError
        If the images have no classes.
    """
    labels = test.labels
    if labels is None:
        raise UserError(f"the accuracy of {network.output.words[1]} is not compared: name a data set of classes")
    report = counter(progress, len(test))
    answers = []
    for start in range(0, len(test), _BATCH):
        some = test.pixels[start : start + _BATCH]
        _, tensors = testify(path, model, reals_of(some).reshape(len(some), *model.input.shape))
        theirs = tensors[model.output].reshape(len(some), -1).argmax(1)
        answers.append((reference.run(network, some).argmax(1), theirs))
        report(len(some))
    ours, theirs = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    right = [
        score(network.name, test.dataset, classes, labels, network.classes)["accuracy"] for classes in (ours, theirs)
    ]
    return Accuracy(test.dataset, len(test), right[0], right[1], 100 * float((ours == theirs).mean()))
