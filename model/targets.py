"""Answers of teachers that are computed once: their mean distribution for every training image of several views.

A directory holds one file per view, so that nothing is lost when the work is interrupted, and views can be added. A
student then trains without its teachers: its epoch e shows view e mod V, whose images follow from the seed and the
settings that the files record (see `augment.View`).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from psahw import documents
from psahw.callbacks import silent
from psahw.errors import UserError

from . import checkpoint, finite
from .augment import View, check_augmentation, pack
from .config import TrainConfig
from .data import Dataset
from .losses import mean_answer, smooth_targets
from .native import can_compile
from .predict import images_at_once
from .resmlp import ResMLP

__all__ = ["Targets", "compute_targets"]

LEAST = torch.finfo(torch.float16).min
BATCH = {"cpu": 100, "cuda": 500}  # on a CPU, a batch that fits into the cache is faster by a fifth


@dataclass(frozen=True, eq=False)
class Targets:
    """Stored answers of teachers.

    Parameters
    ----------
    answers
        Logarithms of probabilities, float16 [V, n, classes] for V views of n training images.
    dataset
        Name of the data set.
    seed
        Seed of the augmentation.
    augmentation
        Settings of the augmentation (`TrainConfig.augmentation`).
    teachers
        One description per teacher.
    """

    answers: Tensor
    dataset: str
    seed: int
    augmentation: dict[str, Any]
    teachers: list[dict[str, Any]]

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.answers)

    def view(self, epoch: int) -> tuple[int, int]:
        """Return seed and number of the view that an epoch, counted from 0, shows."""
        return self.seed, epoch % self.views

    @classmethod
    def load(cls, directory: Path) -> "Targets":
        """Load all views of a directory.

        Raises
        ------
        UserError
            If the directory holds no views, or views of different kinds.
        """
        answers: list[Tensor] = []
        first: dict[str, Any] | None = None
        while (path := _path(directory, len(answers))).is_file():
            answer, kind = _read(path)
            first = first or kind
            if different := sorted(key for key in kind if kind[key] != first[key]):
                raise UserError(f"{path} has another {', '.join(different)} than {_path(directory, 0)}")
            if answers and answer.shape != answers[0].shape:
                raise UserError(f"{path} has answers of another shape than {_path(directory, 0)}")
            answers.append(answer)
        if first is None:
            raise UserError(f"{directory} holds no teachers' answers: psahw teach writes them")
        return cls(torch.stack(answers), **first)

    def check(self, dataset: Dataset, config: TrainConfig) -> None:
        """Raise UserError unless these are answers to the images that a run would train on."""
        for name, value in config.augmentation().items():
            if value != self.augmentation[name]:
                raise UserError(f"{name} must be {self.augmentation[name]} as in the targets, not {value}")
        train, _ = dataset.split(all_images=config.all_images)
        images, classes = len(train), len(dataset.classes)
        if dataset.name != self.dataset or self.answers.shape[1:] != (images, classes):
            raise UserError(
                f"the targets are for {self.answers.shape[1]} images of {self.dataset} in "
                f"{self.answers.shape[2]} classes, not for {images} of {dataset.name} in {classes}"
            )


def _path(directory: Path, view: int) -> Path:
    return directory / f"view{view:04}.safetensors"


class _About(msgspec.Struct):
    """The entries that all views of a directory share."""

    dataset: str
    seed: int
    augmentation: dict[str, Any]
    teachers: list[dict[str, Any]]


def _read(path: Path) -> tuple[Tensor, dict[str, Any]]:
    """Return the answers of a file, and the entries that all views of a directory share."""
    tensors, metadata = checkpoint.read(path)
    if metadata.get("kind") != "targets":
        raise UserError(f"{path} holds no teachers' answers")
    about = documents.convert(metadata, _About, path)
    if (answers := tensors.get("answers")) is None or answers.dtype != torch.float16 or answers.ndim != 2:
        raise UserError(f"{path}: answers must be a matrix of float16")
    # A setting that did not exist when the file was written has its default.
    kind = msgspec.structs.asdict(about) | {"augmentation": TrainConfig().augmentation() | about.augmentation}
    return answers, kind


@torch.inference_mode()
def compute_targets(
    teachers: Sequence[nn.Module],
    dataset: Dataset,
    config: TrainConfig,
    views: int,
    directory: Path,
    about: dict[str, Any],
    *,
    progress: Callable[[int], None] = silent,
    written: Callable[[int, float], None] = silent,
) -> None:
    """Write the mean answers of teachers to views of the training images. Views that exist already stay.

    Parameters
    ----------
    teachers
        The models.
    dataset
        The data set, whose training images are used.
    config
        The settings. The seed, the augmentation, `bf16` and `compile` count.
    views
        Number of views.
    directory
        Where the files go, one per view.
    about
        Metadata for every file. Its entry "teachers" describes the teachers.
    progress
        Called with the number of images that have been completed since the last call, also for existing views.
    written
        Called with the number of a view that has been written, and with the images per second.

    Raises
    ------
    UserError
        If the directory holds answers of another kind, the settings do not fit the images, or a file cannot be
        written.
    CheckFailed
        If a teacher's answer is not finite.
    """
    train, _ = dataset.split(all_images=config.all_images)
    check_augmentation(dataset.shape, config)
    kind = {
        "dataset": dataset.name,
        "seed": config.seed,
        "augmentation": config.augmentation(),
        "teachers": json.loads(json.dumps(about["teachers"])),  # as a file returns it
    }
    missing = []
    for number in range(views):
        if not (path := _path(directory, number)).exists():
            missing.append(number)
            continue
        _, existing = _read(path)
        if different := sorted(key for key in kind if existing[key] != kind[key]):
            raise UserError(f"{path} has another {', '.join(different)}")
        progress(len(train))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for teacher in teachers:
        teacher.to(device).eval()
        finite.require("a teacher", teacher.state_dict(), error=UserError)
    models: list[Callable[[Tensor], Tensor]] = list(teachers)
    if config.compile and can_compile(device):  # a ResMLP answers half again as fast, a ConvNet does not
        models = [torch.compile(teacher) if isinstance(teacher, ResMLP) else teacher for teacher in teachers]
    packed = pack(dataset.train_images[train]).to(device)
    labels = torch.from_numpy(dataset.train_labels[train]).long().to(device)
    targets = smooth_targets(labels, len(dataset.classes), 0)
    batch = min(images_at_once(teacher, BATCH[device]) for teacher in teachers)
    for number in missing:
        started = time.monotonic()
        view, answers = View(packed, targets, config, config.seed, number, dataset.shape[2]), []
        for index in torch.arange(len(train), device=device).split(batch):
            images, _ = view(index)
            with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
                logits = [model(images) for model in models]
            # The logarithm of a probability near 0 may be below what float16 holds.
            answers.append(mean_answer(logits).clamp(min=LEAST).to("cpu", torch.float16))
            progress(len(index))
        checkpoint.write(
            _path(directory, number),
            {"answers": torch.cat(answers)},
            {"kind": "targets", "view": number, **about, **kind},
        )
        written(number, len(train) / (time.monotonic() - started))
