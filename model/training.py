"""Train networks in floating point: on labels (`train`), or on teachers' answers and labels (`distill`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from psahw.errors import UserError
from psahw.files import output_directory

from . import checkpoint, data
from .config import ConvConfig, ModelConfig, TrainConfig, load_model_config
from .data import Dataset
from .processes import processes
from .progress import EpochLines, Log, Progress, ignore
from .quant import why_inexact
from .run_directory import provenance, refuse_other_files
from .teaching import Teaching, load_described_model
from .train import fit
from .transfer import adopt, narrow

__all__ = ["BLOCK_EPOCHS", "Start", "TrainingResult", "distill", "train"]

BLOCK_EPOCHS = 10  # unless others are asked for, where a student learns its teacher's blocks first

Start = Literal["random", "teacher", "blocks"]
Shape = str | Path | ModelConfig | ConvConfig


@dataclass(frozen=True)
class TrainingResult:
    """Result of `train` or `distill`.

    Loss and accuracy are None where nothing was measured: the loss if the run was finished before, the accuracy if
    the validation images were trained on.
    """

    model: Path  # file of the trained model; it exists once the run is finished
    config: TrainConfig  # the settings of the run
    epoch: int  # epochs so far, those of blocks included
    loss: float | None  # mean of the last epoch
    validation_accuracy: float | None  # in percent
    macs: int  # multiply-accumulates per image
    weights: int  # entries of all weight matrices that may be non-zero
    seconds: float  # of training, in all calls together

    @property
    def finished(self) -> bool:
        """True unless epochs are left, because of `stop_after`."""
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
    directory: str | Path,
    *,
    changes: Sequence[str] = (),
    stop_after: int | None = None,
    dataset: str | Dataset = "cifar10",
    data_directory: str | Path | None = None,
    log: Log = ignore,
    progress: Progress | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a network in floating point on labels, and write it into a run directory.

    Parameters
    ----------
    shape
        Name of a preset (`psahw.model.config.PRESETS`), JSON file, or configuration.
    directory
        Run directory to write. An unfinished run in it is resumed.
    changes
        Changes to the shape, each as "NAME=VALUE"; see `load_model_config`.
    stop_after
        Leave the run unfinished after this epoch.
    dataset
        Name of a data set (`psahw.model.data.DATASETS`), or a data set.
    data_directory
        Directory with the official files of the named data set; the cache or a download unless given.
    log
        Receives messages.
    progress
        Receives the progress. By default, `log` gets one line per epoch.
    settings
        Fields of `TrainConfig`, such as `epochs`, `batch` and `seed`.

    Raises
    ------
    UserError
        If a setting is wrong, the shape does not fit the data set, or the directory holds something else.
    CheckFailed
        If the loss is not finite.

    Examples
    --------
    >>> result = train("tiny", "runs/smoke", dataset="sample", epochs=2, batch=30)  # doctest: +SKIP
    >>> result.model  # doctest: +SKIP
    PosixPath('runs/smoke/model.safetensors')
    """
    config = TrainConfig.from_dict(settings)
    teaching = Teaching.load((), None)
    return _train(
        shape,
        changes,
        directory,
        config,
        teaching,
        "random",
        None,
        stop_after,
        dataset,
        data_directory,
        log,
        progress,
    )


def distill(
    shape: Shape,
    directory: str | Path,
    *,
    teachers: Sequence[str | Path] = (),
    targets: str | Path | None = None,
    start: Start | None = None,
    source: str | Path | None = None,
    block_epochs: int | None = None,
    changes: Sequence[str] = (),
    stop_after: int | None = None,
    dataset: str | Dataset = "cifar10",
    data_directory: str | Path | None = None,
    log: Log = ignore,
    progress: Progress | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a student from teachers' answers and the labels, and write it into a run directory.

    The answers are computed in each step, or were computed by `psahw.model.teaching.teach`, for the same augmented
    images.

    Parameters
    ----------
    shape, directory, changes, stop_after, dataset, data_directory, log, progress
        As for `train`.
    teachers
        Run directories or ``model.safetensors`` files. With several, the mean of their distributions counts.
    targets
        Directory that `teach` has written, in place of teachers. It prescribes the settings of the augmentation.
    start
        First weights: "random"; "teacher", the teacher's, with the hidden neurons that matter most; or "blocks",
        where each block first learns what the teacher's block does. "teacher" is the default with one teacher or
        a source, "random" otherwise.
    source
        Run directory or model file to start from in place of the teacher.
    block_epochs
        Epochs in which the blocks are learned, before the others; `BLOCK_EPOCHS` unless given.
    settings
        Other fields of `TrainConfig`.

    Raises
    ------
    UserError, CheckFailed
        As for `train`; also if the student cannot start from its teacher.
    """
    if not teachers and not targets:
        raise UserError("distill needs teachers or targets (--teacher RUN, --targets DIR)")
    teaching = Teaching.load(teachers, targets)
    origin = load_described_model(source) if source else None
    one = origin is not None or len(teaching.teachers) == 1
    start = start or ("teacher" if one else "random")
    if start != "random" and not one:
        raise UserError(f"a student with --start {start} needs one --teacher, or --from RUN")
    if start == "random" and origin is not None:
        raise UserError("a student that starts at random starts from no run (--start random, --from)")
    if start == "blocks":
        settings["block_epochs"] = block_epochs or BLOCK_EPOCHS
    elif block_epochs:
        raise UserError("--block-epochs is for --start blocks")
    config = TrainConfig.from_dict(teaching.augmentation | settings)
    return _train(
        shape, changes, directory, config, teaching, start, origin, stop_after, dataset, data_directory, log, progress
    )


def _train(
    shape: Shape,
    changes: Sequence[str],
    directory: str | Path,
    config: TrainConfig,
    teaching: Teaching,
    start: Start,
    source: tuple[nn.Module, dict] | None,
    stop_after: int | None,
    dataset: str | Dataset,
    data_directory: str | Path | None,
    log: Log,
    progress: Progress | None,
) -> TrainingResult:
    """Train a network, and save it if no epochs are left. `source` is a model to start from, with its description."""
    model_config = load_model_config(shape, changes)
    if isinstance(model_config, ModelConfig) and (reason := why_inexact(model_config)):
        log(f"this shape cannot be quantised later: {reason}")
    dataset_name = dataset if isinstance(dataset, str) else dataset.name
    describe = {"model": model_config.to_dict(), "dataset": dataset_name, **teaching.describe}
    if teaching.described:
        describe["start"] = start
    if source is not None:
        describe["from"] = source[1]
    refuse_other_files(directory)
    with output_directory(directory) as output:
        images = data.load(dataset, data_directory, log)
        name = f"configuration {shape}" if isinstance(shape, str | Path) else "the configuration"
        images.check((*model_config.image, 3), model_config.classes, name)
        teaching.check(images)
        torch.manual_seed(config.seed)
        model = checkpoint.make_model(model_config)
        blocks_of = None
        if start != "random":
            first = source[0] if source else teaching.models[0]
            if start == "teacher":
                narrow(first, model)
            else:
                adopt(first, model)
                blocks_of = first
        result = fit(
            model, images, config, output, teachers=teaching.models, targets=teaching.targets, blocks_of=blocks_of,
            describe=describe, stop_after=stop_after, log=log, progress=progress or EpochLines(log),
        )  # fmt: skip
    path = output / "model.safetensors"
    if result.epoch >= config.all_epochs and processes()[0] == 0:
        about = {
            "dataset": dataset_name,
            "train": config.to_dict(),
            "teacher": describe.get("teacher"),
            "targets": describe.get("targets"),
            "start": start,
            "from": describe.get("from"),
            "validation_accuracy": result.validation_accuracy,
            "seconds": result.seconds,
            **provenance(),
        }
        checkpoint.save_model(path, model, model_config, about)
    return TrainingResult(
        model=path,
        config=config,
        epoch=result.epoch,
        loss=result.loss,
        validation_accuracy=result.validation_accuracy,
        macs=model_config.macs(),
        weights=model_config.weights(),
        seconds=result.seconds,
    )
