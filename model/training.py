"""Train networks in floating point: on labels (`train`), or on teachers' answers and labels (`distill`)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from psahw.callbacks import Log, silent
from psahw.errors import UserError
from psahw.files import output_directory

from . import checkpoint
from . import data as datasets
from .config import ConvConfig, ModelConfig, TrainConfig
from .data import Data, Dataset, Form
from .datasets.source import Task
from .graphs.config import Shaped
from .models import Config, Model, fitted, make_model, task_of
from .presets import load_model_config, takes_form
from .processes import processes
from .progress import EpochLines, TrainingObserver
from .quant import why_inexact
from .run_directory import model_file, provenance, refuse_other_files
from .teaching import Teaching, load_described_model
from .training_loop import FitResult, fit
from .transfer import adopt, narrow

__all__ = ["BLOCK_EPOCHS", "Shape", "Start", "TrainingResult", "distill", "train"]

BLOCK_EPOCHS = 10
"""Epochs in which a student learns its teacher's blocks first, unless the caller says otherwise."""

Shape = str | os.PathLike | ModelConfig | ConvConfig | Shaped
"""A preset's name, a JSON or TOML file, or a configuration."""

Start = Literal["random", "teacher", "blocks"]
"""First weights of a student."""


@dataclass(frozen=True)
class TrainingResult:
    """Result of `train` or `distill`.

    Parameters
    ----------
    model
        File of the trained model, which exists once the run is finished.
    config
        The settings of the run.
    epoch
        Complete epochs, including those in which blocks are learned.
    loss
        Mean loss of the last epoch; None if all epochs were complete before.
    validation_accuracy
        Score in percent: top-1 accuracy, the labels that are right, or for values R², the share of the variance that
        is explained, which may be negative. None if the validation images were trained on.
    macs
        Multiply-accumulates per image.
    weights
        Entries of all weight matrices that may be non-zero.
    seconds
        Time of training, added over all calls.
    task
        What the model says: "class", "values" or "labels".
    """

    model: Path
    config: TrainConfig
    epoch: int
    loss: float | None
    validation_accuracy: float | None
    macs: int
    weights: int
    seconds: float
    task: Task = "class"

    @property
    def finished(self) -> bool:
        """True once all epochs are complete; `stop_after` may leave some."""
        return self.epoch >= self.config.all_epochs

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw train --json`` and ``psahw distill --json`` print."""
        if not self.finished:
            return {"finished": False, "epoch": self.epoch, "epochs": self.config.all_epochs}
        return {
            "model": str(self.model),
            "epochs": self.config.epochs,
            "loss": self.loss,
            "validation_accuracy": self.validation_accuracy,
            "macs": self.macs,
            "weights": self.weights,
            "seconds": self.seconds,
        }


def train(
    shape: Shape,
    directory: str | os.PathLike,
    *,
    changes: Sequence[str] = (),
    stop_after: int | None = None,
    dataset: Data = "cifar10",
    data: str | os.PathLike | None = None,
    log: Log = silent,
    observer: TrainingObserver | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a network in floating point on labels, and write it into a run directory.

    Parameters
    ----------
    shape
        Name of a preset (`psahw.model.presets.PRESETS`), JSON or TOML file, or configuration.
    directory
        Run directory to write. An unfinished run in it is resumed.
    changes
        Changes to the shape, each as "NAME=VALUE"; see `load_model_config`.
    stop_after
        Leave the run unfinished after this epoch.
    dataset
        A data set, or its name or path (`psahw.model.data.load`).
    data
        File or directory with a copy of the named data set.
    log
        Called with messages.
    observer
        Receives the progress. By default, `log` is called with one line per epoch.
    settings
        Fields of `TrainConfig`, such as `epochs`, `batch` and `seed`.

    Raises
    ------
    UserError
        If a setting is wrong, the shape does not fit the data set, or the directory holds other files or a run with
        other settings.
    CheckFailed
        If the loss is not finite.

    Examples
    --------
    >>> result = train("tiny", "runs/smoke", dataset="sample", epochs=2, batch=30)  # doctest: +SKIP
    >>> result.model  # doctest: +SKIP
    PosixPath('runs/smoke/model.safetensors')
    """
    return _train(
        shape, changes, directory, TrainConfig.from_dict(settings), Teaching.load((), None), "random", None,
        stop_after=stop_after, dataset=dataset, data=data, log=log, observer=observer,
    )  # fmt: skip


def distill(
    shape: Shape,
    directory: str | os.PathLike,
    *,
    teachers: Sequence[str | os.PathLike] = (),
    targets: str | os.PathLike | None = None,
    start: Start | None = None,
    source: str | os.PathLike | None = None,
    block_epochs: int | None = None,
    changes: Sequence[str] = (),
    stop_after: int | None = None,
    dataset: Data = "cifar10",
    data: str | os.PathLike | None = None,
    log: Log = silent,
    observer: TrainingObserver | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a student from teachers' answers and the labels, and write it into a run directory.

    The answers are computed in each step, or were computed by `psahw.model.teaching.teach`, for the same augmented
    images.

    Parameters
    ----------
    shape, directory, changes, stop_after, dataset, data, log, observer
        As for `train`.
    teachers
        Run directories or ``model.safetensors`` files. With several, the mean of their distributions counts.
    targets
        Directory that `teach` has written, in place of teachers. It prescribes the settings of the augmentation.
    start
        First weights: "random"; "teacher", which takes the teacher's weights with the hidden neurons that matter
        most; or "blocks", where each block first learns what the teacher's block does. The default is "teacher" with
        one teacher or a source, and "random" otherwise.
    source
        Run directory or model file to start from, in place of the teacher.
    block_epochs
        Epochs in which the blocks are learned, before the others; `BLOCK_EPOCHS` unless given.
    settings
        Other fields of `TrainConfig`.

    Raises
    ------
    UserError, CheckFailed
        As for `train`, and if the student cannot start from its teacher.
    """
    if not teachers and not targets:
        raise UserError("distill needs teachers or targets (--teacher RUN, --targets DIR)")
    teaching = Teaching.load(teachers, targets)
    loaded_source = load_described_model(source) if source else None
    has_one = loaded_source is not None or len(teaching.teachers) == 1
    start = start or ("teacher" if has_one else "random")
    if start != "random" and not has_one:
        raise UserError(f"a student with --start {start} needs one --teacher, or --from RUN")
    if start == "random" and loaded_source is not None:
        raise UserError("a student that starts at random starts from no run (--start random, --from)")
    if start == "blocks":
        settings["block_epochs"] = block_epochs or BLOCK_EPOCHS
    elif block_epochs:
        raise UserError("block_epochs need --start blocks, with a teacher whose blocks are learned")
    config = TrainConfig.from_dict(teaching.augmentation | settings)
    return _train(
        shape, changes, directory, config, teaching, start, loaded_source,
        stop_after=stop_after, dataset=dataset, data=data, log=log, observer=observer,
    )  # fmt: skip


def _train(
    shape: Shape,
    changes: Sequence[str],
    directory: str | os.PathLike,
    config: TrainConfig,
    teaching: Teaching,
    start: Start,
    source: tuple[Model, dict] | None,
    *,
    stop_after: int | None,
    dataset: Data,
    data: str | os.PathLike | None,
    log: Log,
    observer: TrainingObserver | None,
) -> TrainingResult:
    """Train a network, and save it if all epochs are complete.

    `source` is a model to start from in place of the teacher, with its description.
    """
    model_config = load_model_config(shape, changes)
    if isinstance(model_config, ModelConfig) and (reason := why_inexact(model_config)):
        log(f"this shape cannot be quantised later: {reason}")
    is_open = takes_form(shape, changes)
    refuse_other_files(directory)
    with output_directory(directory) as output:
        name = f"configuration {shape}" if isinstance(shape, str | os.PathLike) else "the configuration"
        images = _load(name, model_config, is_open, dataset, data, teaching, log)
        if is_open:
            assert isinstance(model_config, Shaped)  # see `takes_form`
            model_config = fitted(model_config, images, name)
        describe: dict[str, Any] = {
            "model": model_config.to_dict(), **datasets.describe(dataset), **teaching.describe,
        }  # fmt: skip
        if teaching.described:
            describe["start"] = start
        if source is not None:
            describe["from"] = source[1]
        torch.manual_seed(config.seed)
        model = make_model(model_config)
        origin: nn.Module | None = None
        if start != "random":
            origin = source[0] if source else teaching.models[0]
            (narrow if start == "teacher" else adopt)(origin, model)
        result = fit(
            model, images, config, output, teachers=teaching.models, targets=teaching.targets,
            block_teacher=origin if start == "blocks" else None, describe=describe, stop_after=stop_after, log=log,
            observer=observer or EpochLines(log),
        )  # fmt: skip
    path = model_file(output)
    if result.epoch >= config.all_epochs and processes()[0] == 0:
        checkpoint.save_model(path, model, model_config, _about(describe, config, start, result))
    return TrainingResult(
        model=path,
        config=config,
        epoch=result.epoch,
        loss=result.loss,
        validation_accuracy=result.validation_accuracy,
        macs=model_config.macs(),
        weights=model_config.weights(),
        seconds=result.seconds,
        task=task_of(model_config),
    )


def _load(
    name: str,
    config: Config,
    is_open: bool,
    dataset: Data,
    data: str | os.PathLike | None,
    teaching: Teaching,
    log: Log,
) -> Dataset:
    """Return the data set, which teachers and, unless its shape is still open, the model must fit."""
    forms = list(teaching.forms)
    if not is_open:
        shape = (*config.image, config.colours)
        forms.insert(0, Form(name, shape, config.classes, task_of(config), is_free=True))
    return datasets.load(dataset, data, log, models=forms)


def _about(describe: dict[str, Any], config: TrainConfig, start: Start, result: FitResult) -> dict[str, Any]:
    """Return the description of a training that its model's file holds."""
    return {
        **{key: describe[key] for key in ("dataset", "data_options") if key in describe},
        "train": config.to_dict(),
        "teacher": describe.get("teacher"),
        "targets": describe.get("targets"),
        "start": start,
        "from": describe.get("from"),
        "validation_accuracy": result.validation_accuracy,
        "seconds": result.seconds,
        **provenance(),
    }
