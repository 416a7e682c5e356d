"""Answers of teachers, computed once: their mean distribution for every training image of a number of views.

A directory holds a file a view, so that what is computed stays when the work is broken off, and more views can be
added. A student then trains without its teachers: its epoch e shows view e mod V, whose images follow from the seed
and the settings that the files name (see `augment.View`).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from psahw.errors import UserError

from . import checkpoint
from .augment import View, pack
from .config import TrainConfig
from .data import Dataset, split
from .losses import mean_answer, smooth_targets
from .native import can_compile
from .resmlp import ResMLP

__all__ = ["Targets", "compute_targets"]

BATCH = {"cpu": 100, "cuda": 500}  # on a CPU what fits the cache is faster by a fifth


@dataclass(frozen=True, eq=False)
class Targets:
    """What a directory of `teach` holds; `teachers` says how they were made."""

    answers: Tensor  # logarithms of probabilities, float16 [V, n, classes]
    dataset: str
    seed: int  # of the augmentation
    augmentation: dict
    teachers: list

    @property
    def views(self) -> int:
        return len(self.answers)

    def view(self, epoch: int) -> tuple[int, int]:
        """(seed, number) of the view that an epoch, counted from 0, shows."""
        return self.seed, epoch % self.views

    @classmethod
    def load(cls, directory: Path) -> "Targets":
        """Raises UserError unless the directory holds views of one kind."""
        answers, first = [], None
        while (path := _path(directory, len(answers))).is_file():
            answer, about = _read(path)
            first = first or about
            if different := sorted(key for key in about if about[key] != first[key]):
                raise UserError(f"{path} is of another {', '.join(different)} than {_path(directory, 0)}")
            answers.append(answer)
        if first is None:
            raise UserError(f"{directory} holds no teachers' answers: psahw teach writes them")
        return cls(torch.stack(answers), **first)

    def check(self, dataset: Dataset, config: TrainConfig) -> None:
        """Raises UserError unless these are answers for the images that a run would train on."""
        for name, value in config.augmentation().items():
            if value != self.augmentation[name]:
                raise UserError(f"{name} must be {self.augmentation[name]} as in the targets, not {value}")
        train, _ = split(len(dataset.train_images), all_images=config.all_images)
        images, classes = len(train), len(dataset.classes)
        if dataset.name != self.dataset or self.answers.shape[1:] != (images, classes):
            raise UserError(
                f"the targets are for {self.answers.shape[1]} images of {self.dataset} in "
                f"{self.answers.shape[2]} classes, not for {images} of {dataset.name} in {classes}"
            )


def _path(directory: Path, view: int) -> Path:
    return directory / f"view{view:04}.safetensors"


def _read(path: Path) -> tuple[Tensor, dict]:
    tensors, metadata = checkpoint.read(path)
    if metadata.get("kind") != "targets":
        raise UserError(f"{path} holds no teachers' answers")
    kind = {key: metadata[key] for key in ("dataset", "seed", "augmentation", "teachers")}
    kind["augmentation"] = TrainConfig().augmentation() | kind["augmentation"]  # a newer setting has its default
    return tensors["answers"], kind


@torch.inference_mode()
def compute_targets(
    teachers: Sequence[nn.Module],
    dataset: Dataset,
    config: TrainConfig,
    views: int,
    directory: Path,
    about: dict,
    *,
    progress: Callable[[int], None] = lambda images: None,
    written: Callable[[int, float], None] = lambda view, rate: None,
) -> None:
    """Writes the mean answers of `teachers` on `views` views of the training images; those that are there stay.

    Of `config` count the seed, the augmentation, bf16 and compile. `about` goes into every file; its "teachers" tell
    one set of answers from another. `progress` hears of images, `written` of a view and the images a second.
    Raises UserError when the directory holds answers of another kind.
    """
    train, _ = split(len(dataset.train_images), all_images=config.all_images)
    if (smallest := min(dataset.train_images.shape[1:3])) <= config.crop:
        raise UserError(f"crop must be less than the images' {smallest} pixels, not {config.crop}")
    kind = {
        "dataset": dataset.name,
        "seed": config.seed,
        "augmentation": config.augmentation(),
        "teachers": json.loads(json.dumps(about["teachers"])),  # as it comes back from a file
    }
    todo = []
    for view in range(views):
        if not (path := _path(directory, view)).exists():
            todo.append(view)
            continue
        _, found = _read(path)
        if different := sorted(key for key in kind if found[key] != kind[key]):
            raise UserError(f"{path} is of another {', '.join(different)}")
        progress(len(train))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for teacher in teachers:
        teacher.to(device).eval()
    if config.compile and can_compile(device):  # a ResMLP's answers come half again as fast, a ConvNet's do not
        teachers = [torch.compile(teacher) if isinstance(teacher, ResMLP) else teacher for teacher in teachers]
    packed = pack(dataset.train_images[train]).to(device)
    labels = torch.from_numpy(dataset.train_labels[train]).long().to(device)
    targets = smooth_targets(labels, len(dataset.classes), 0)
    for number in todo:
        started = time.monotonic()
        view, answers = View(packed, targets, config, config.seed, number), []
        for index in torch.arange(len(train), device=device).split(BATCH[device]):
            images, _ = view(index)
            with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
                logits = [teacher(images) for teacher in teachers]
            answers.append(mean_answer(logits).to("cpu", torch.float16))
            progress(len(index))
        checkpoint.write(
            _path(directory, number),
            {"answers": torch.cat(answers)},
            {"kind": "targets", "view": number, **about, **kind},
        )
        written(number, len(train) / (time.monotonic() - started))
