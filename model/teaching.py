"""Teachers: what a student learns from, and `teach`, which computes their answers once for many students."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from psahw.callbacks import Log, Progress, counter, silent
from psahw.errors import UserError
from psahw.files import output_directory, refuse_foreign

from . import checkpoint
from . import data as datasets
from .config import AUGMENTATION, TrainConfig
from .data import Data, Form
from .models import Model, form
from .run_directory import model_file, provenance
from .targets import Targets, compute_targets

__all__ = ["TeachResult", "Teaching", "load_described_model", "teach"]


def load_described_model(path: str | os.PathLike) -> tuple[Model, dict]:
    """Load the float model of a run directory or file, and return it with its description.

    The description has the shape of the model ("model") and how it was trained ("about"). It becomes part of the
    checkpoints and results of all that starts from this model.
    """
    model, about = checkpoint.load_model(model_file(path))
    return model, {"model": model.config.to_dict(), "about": about}


@dataclass(frozen=True)
class Teaching:
    """The teachers of a student, or the targets that teachers left, or neither."""

    teachers: list[tuple[str, Model]]  # with their names for error messages
    targets: Targets | None  # answers that were computed before, in place of teachers
    described: list[dict]  # one description per teacher, including the teachers that computed the targets

    @classmethod
    def load(cls, teachers: Sequence[str | os.PathLike], targets: str | os.PathLike | None) -> "Teaching":
        """Load teachers from run directories or model files, or targets from a directory.

        Raises
        ------
        UserError
            If both teachers and targets are given, or a file cannot be read.
        """
        if teachers and targets:
            raise UserError("a student learns from teachers or from targets, not from both (--teacher, --targets)")
        if targets:
            answers = Targets.load(Path(targets))
            return cls([], answers, answers.teachers)
        loaded = [(os.fspath(path), *load_described_model(path)) for path in teachers]
        return cls([(path, model) for path, model, _ in loaded], None, [about for _, _, about in loaded])

    @property
    def models(self) -> list[nn.Module]:
        """The teachers' models."""
        return [model for _, model in self.teachers]

    @property
    def describe(self) -> dict:
        """Entries for the description of a run: the teacher, or a list of several, and the targets."""
        if not self.described:
            return {}
        describe: dict[str, Any] = {"teacher": self.described[0] if len(self.described) == 1 else self.described}
        if self.targets is not None:
            describe["targets"] = {"seed": self.targets.seed, "views": self.targets.views}
        return describe

    @property
    def augmentation(self) -> dict[str, Any]:
        """Settings that the targets prescribe."""
        return {} if self.targets is None else self.targets.augmentation

    @property
    def forms(self) -> list[Form]:
        """The images and classes of the teachers, which a data set must fit."""
        return [form(model, f"teacher {path}") for path, model in self.teachers]


@dataclass(frozen=True)
class TeachResult:
    """Result of `teach`.

    Parameters
    ----------
    directory
        Directory with one file per view.
    views
        Augmented passes over the training images.
    images
        Training images per view.
    classes
        Classes of the data set.
    seconds
        Time of this call.
    """

    directory: Path
    views: int
    images: int
    classes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw teach --json`` prints."""
        return {
            "targets": str(self.directory),
            "views": self.views,
            "images": self.images,
            "classes": self.classes,
            "seconds": self.seconds,
        }


def teach(
    teachers: Sequence[str | os.PathLike],
    directory: str | os.PathLike,
    views: int,
    *,
    dataset: Data = "cifar10",
    data: str | os.PathLike | None = None,
    log: Log = silent,
    progress: Progress = silent,
    **settings: Any,
) -> TeachResult:
    """Compute what teachers answer to augmented training images, for students that learn from these targets.

    Views that the directory already holds stay, so an interrupted call continues where it stopped. With several
    teachers, the mean of their distributions is written.

    Parameters
    ----------
    teachers
        Run directories or ``model.safetensors`` files.
    directory
        Directory to write, with one file per view.
    views
        Number of augmented passes over the training images. Epoch e of a student shows pass e mod `views`.
    dataset
        A data set, or its name or path (`psahw.model.data.load`).
    data
        File or directory with a copy of the named data set.
    log
        Called with messages: the speed of each view, and downloads.
    progress
        Called with the number of images that are complete, and of all, in all views.
    settings
        Fields of `TrainConfig`: `seed`, those of the augmentation (`AUGMENTATION`), `bf16` and `compile`.

    Raises
    ------
    UserError
        If a setting or a teacher does not fit, or the directory holds answers of another kind.
    """
    if not teachers:
        raise UserError("teach needs at least one teacher (--teacher RUN)")
    known = ("seed", *AUGMENTATION, "bf16", "compile")
    for name in settings:
        if name not in known:
            raise UserError(f"{name} must be a setting of the teachers' answers, which are {', '.join(known)}")
    config = TrainConfig.from_dict(settings)
    teaching = Teaching.load(teachers, None)
    refuse_foreign(directory, lambda path: any(path.glob("view*.safetensors")), "teachers' answers")
    started = time.monotonic()
    with output_directory(directory) as output:
        images = datasets.load(dataset, data, log, models=teaching.forms)
        train, _ = images.split(all_images=config.all_images)
        compute_targets(
            teaching.models, images, config, views, output, {"teachers": teaching.described, **provenance()},
            progress=counter(progress, views * len(train)),
            written=lambda view, rate: log(f"view {view + 1}/{views}  {rate:,.0f} images/s"),
        )  # fmt: skip
    return TeachResult(output, views, len(train), len(images.classes), time.monotonic() - started)
