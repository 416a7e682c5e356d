"""The training loop. It serves teachers, distilled students and quantisation-aware fine-tuning alike.

Only the loss, the teachers and the model's wrapper differ between them. A student may first learn its teacher's
blocks, in a phase of the same loop with another loss.

A run is a directory: `checkpoint.safetensors` has all that resuming needs and is written after every epoch,
`log.jsonl` has one event per line, and the caller adds the result. All random numbers of an epoch follow from the
seed and the number of the epoch, so a resumed run ends with the same weights as an uninterrupted one.

Several processes (`torchrun`) share each batch: all draw the same random numbers, each augments and computes its
slice, gradients are averaged, and norms see the whole batch. Up to rounding, the result is that of one process that
does not use the step in C: the gradients of PSA in `fused.py` come from a sample of the values.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from psahw.callbacks import Log, silent
from psahw.errors import UserError

from . import finite, fused
from .augment import View, check_augmentation, pack
from .config import TrainConfig, held_out
from .data import Dataset
from .native import can_compile, reason_against_compiling
from .optim import learning_rate
from .processes import average_gradients, mean_over_processes, processes
from .progress import TrainingObserver
from .resmlp import ResMLP
from .run_directory import provenance
from .run_state import RunState
from .steps import Step, make_block_step, make_step
from .targets import Targets
from .tasks import loss_of, make_targets, model_score, set_targets

__all__ = ["FitResult", "fit"]

# Steps whose images are augmented at once, and after which their losses are read, because each read waits for a GPU.
AHEAD = {"cpu": 1, "cuda": 16}


@dataclass(frozen=True)
class FitResult:
    """Result of `fit`.

    Parameters
    ----------
    epoch
        Complete epochs of the run.
    validation_accuracy
        Score on the validation images in percent, see `tasks`: accuracy, for a classifier. None if these images were
        trained on.
    loss
        Mean loss of the last epoch; None if all epochs were complete before.
    seconds
        Time of training, added over all calls.
    images_per_second
        Training images per second in the last epoch; None if all epochs were complete before.
    """

    epoch: int
    validation_accuracy: float | None
    loss: float | None
    seconds: float
    images_per_second: float | None


@dataclass(frozen=True)
class _Phase:
    """Epochs of a run that have a loss and a learning rate schedule of their own."""

    name: str
    start: int  # the first epoch, counted from 0
    epochs: int
    step: Step


@dataclass(frozen=True, eq=False)
class _Setup:
    """Everything of a run that stays the same from epoch to epoch."""

    config: TrainConfig
    dataset: Dataset
    targets: Targets | None
    device: str
    rank: int
    processes: int
    packed: Tensor  # training images int32 [n, h, w], see `pack`
    labels: Tensor  # what is learned, [n, classes], see `make_targets`
    validation: np.ndarray  # indices of the validation images
    batch: int  # images per step, all processes together
    phases: tuple[_Phase, ...]
    step_kind: str  # for the log: "c", "compiled" or "torch"

    @property
    def steps(self) -> int:
        """Steps per epoch; images that do not fill a batch are left out."""
        return len(self.packed) // self.batch

    @property
    def images(self) -> int:
        """Images per epoch."""
        return self.steps * self.batch

    def phase(self, epoch: int) -> _Phase:
        """Return the phase of an epoch, counted from 0."""
        return next(phase for phase in self.phases if epoch < phase.start + phase.epochs)


def fit(
    model: nn.Module,
    dataset: Dataset,
    config: TrainConfig,
    directory: Path,
    *,
    teachers: Sequence[nn.Module] = (),
    targets: Targets | None = None,
    block_teacher: nn.Module | None = None,
    describe: dict[str, Any] | None = None,
    before_epoch: Callable[[int], None] | None = None,
    stop_after: int | None = None,
    log: Log = silent,
    observer: TrainingObserver | None = None,
) -> FitResult:
    """Train a model in place on the training images, from the run directory's checkpoint if there is one.

    Parameters
    ----------
    model
        The model, initialised by the caller with the run's seed (`torch.manual_seed`). With `config.ema`, it has the
        averaged weights in the end.
    dataset
        The data set. Its test images are not used.
    config
        The settings.
    directory
        The run directory.
    teachers
        Models from the mean of whose answers the student learns.
    targets
        Answers of teachers that were computed before, in place of `teachers`. The student sees their views.
    block_teacher
        The model from whose blocks the student learns in the first `config.block_epochs` epochs.
    describe
        What identifies the run besides its settings, as JSON. A checkpoint with another description is refused.
    before_epoch
        Called with the number of each epoch, counted from 0. State that it changes must be in buffers of the model.
    stop_after
        Leave the run unfinished after this epoch.
    log
        Called with messages.
    observer
        Receives the progress; with several processes, only that of the first one.

    Raises
    ------
    UserError
        If the settings do not fit the data set or the number of processes, the checkpoint is of another run, or a
        file cannot be written. The checkpoint before then stays, and the run can be resumed.
    CheckFailed
        If the loss or a parameter is not finite.
    """
    rank, world = processes()
    _check(model, config, block_teacher, world)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    for teacher in (*teachers, *([] if block_teacher is None else [block_teacher])):
        teacher.to(device).eval().requires_grad_(False)
        finite.require("a teacher", teacher.state_dict(), error=UserError)
    set_targets(model, dataset, dataset.split(all_images=config.all_images)[0])  # before an average begins with it
    run = RunState(model, config, directory, describe or {})
    if run.path.exists():
        run.restore()
    setup = _prepare(model, dataset, config, teachers, targets, block_teacher, device, rank, world)
    if rank != 0 or observer is None:
        observer = TrainingObserver()
    if rank == 0:
        if config.compile and setup.step_kind == "torch":
            log(f"{reason_against_compiling(device)}: trains without torch.compile, slower")
        _log_start(run, setup)

    result = None
    observer.start(config.all_epochs, setup.images)
    try:
        while run.epoch < min(config.all_epochs, stop_after or config.all_epochs):
            started = time.monotonic()
            phase = setup.phase(run.epoch)
            if run.epoch == phase.start > 0:
                run.forget()
            if before_epoch is not None:
                before_epoch(run.epoch)
            process_loss, lr_factor = run_epoch(run, setup, phase, observer)
            seconds = time.monotonic() - started
            run.epoch += 1
            run.seconds += seconds
            run.check()
            loss, rate = mean_over_processes(process_loss, world, device), setup.images / seconds
            with run.averaged():
                result = FitResult(run.epoch, _validate(run, setup), loss, run.seconds, rate)
            if rank == 0:
                run.save()
                _log_epoch(run, phase, result, lr_factor, seconds)
            observer.epoch(run.epoch, loss, result.validation_accuracy, rate)
    finally:
        observer.stop()
    if run.average is not None and run.epoch >= config.all_epochs:
        model.load_state_dict(run.average.tensors)
    if result is None:  # no epoch was left
        result = FitResult(run.epoch, _validate(run, setup), None, run.seconds, None)
    if rank == 0:
        _log_end(run, result)
    return result


def _check(model: nn.Module, config: TrainConfig, block_teacher: nn.Module | None, world: int) -> None:
    """Raise UserError if a run is not possible with these models and processes."""
    if world > 1 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise UserError(
            "a convolutional teacher is trained by one process, because its norms do not see the others' images"
        )
    if config.block_epochs and not (isinstance(model, ResMLP) and isinstance(block_teacher, ResMLP)):
        raise UserError("block_epochs need --start blocks, with a teacher whose blocks are learned")
    if config.batch % world:
        raise UserError(f"batch must be a multiple of the {world} processes, not {config.batch}")


def _prepare(
    model: nn.Module,
    dataset: Dataset,
    config: TrainConfig,
    teachers: Sequence[nn.Module],
    targets: Targets | None,
    block_teacher: nn.Module | None,
    device: str,
    rank: int,
    world: int,
) -> _Setup:
    """Load the training images onto the device, and choose batch and steps.

    Raises UserError if the settings do not fit the data set.
    """
    if dataset.task != "class" and (teachers or targets is not None):
        raise UserError(f"distillation needs classes; {dataset.name} has {dataset.task}")
    if dataset.task == "values" and config.cutmix:
        raise UserError(f"cutmix must be 0 for values, not {config.cutmix:g}")
    train, validation = dataset.split(all_images=config.all_images)
    check_augmentation(dataset.shape, config)
    if len(train) < world:
        raise UserError(f"{len(train)} training images are not enough for {world} processes")
    if targets is not None:
        targets.check(dataset, config)
    labels = make_targets(
        dataset.train_labels[train], dataset.task, len(dataset.classes), config.label_smoothing, model
    )
    batch = min(config.batch, len(train) // world * world)
    in_c = not config.bf16 and fused.usable(model, batch)
    compiled = config.compile and can_compile(device)
    # These do not change the result, so they are not among the settings that a checkpoint must agree with: the run
    # may be resumed on another machine.
    settings = dataclasses.replace(config, compile=compiled, batch=batch)
    step = make_step(model, teachers, settings, device, in_c, loss_of(dataset.task))
    phases: tuple[_Phase, ...] = (_Phase("train", config.block_epochs, config.epochs, step),)
    if config.block_epochs:
        assert isinstance(model, ResMLP) and isinstance(block_teacher, ResMLP)  # see `_check`
        block_step = make_block_step(model, block_teacher, settings, device)
        phases = (_Phase("blocks", 0, config.block_epochs, block_step), *phases)
    return _Setup(
        config=config,
        dataset=dataset,
        targets=targets,
        device=device,
        rank=rank,
        processes=world,
        packed=pack(dataset.train_images[train]).to(device),
        labels=labels.to(device),
        validation=validation,
        batch=batch,
        phases=phases,
        step_kind="c" if in_c else "compiled" if compiled else "torch",
    )


def run_epoch(run: RunState, setup: _Setup, phase: _Phase, observer: TrainingObserver) -> tuple[float, float]:
    """Train one epoch.

    Returns
    -------
    loss
        Mean over the steps, of this process's images.
    lr_factor
        Factor on the peak learning rates in the last step.

    Raises
    ------
    CheckFailed
        If the loss of a step is not finite.
    """
    steps, ahead = setup.steps, AHEAD[setup.device]
    factor = learning_rate(setup.config, steps * phase.epochs)
    lr_factor, total, losses = 0.0, 0.0, []
    for i, (images, targets, answers) in enumerate(_batches(run.epoch, setup, ahead)):
        lr_factor = factor((run.epoch - phase.start) * steps + i)
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * lr_factor
            optimizer.zero_grad()
        loss = phase.step(images, targets, answers, run.epoch * steps + i)
        loss.backward()
        if setup.processes > 1:
            average_gradients(run.model, setup.processes)
        for optimizer in run.optimizers:
            optimizer.step()
        if run.average is not None:
            run.average.update(run.model)
        losses.append(loss.detach())
        if len(losses) == ahead or i + 1 == steps:
            values = torch.stack(losses).tolist()
            _check_finite(values, i + 2 - len(values), run)
            total += sum(values)
            observer.step(setup.batch * len(values), values[-1])
            losses.clear()
    return total / steps, lr_factor


def _check_finite(losses: list[float], first: int, run: RunState) -> None:
    """Raise CheckFailed if the loss of a step is not finite. `first` is the step of the first one, counted from 1."""
    for step, value in enumerate(losses, first):
        if not math.isfinite(value):
            run.fail(f"the loss is {value} in epoch {run.epoch + 1}, step {step}")


def _batches(epoch: int, setup: _Setup, ahead: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield images, targets and stored answers of each step of an epoch, for this process's slice of the batch.

    They are augmented for `ahead` steps at once. Stored answers are None without `setup.targets`.
    """
    config, stored = setup.config, setup.targets
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    order = torch.randperm(len(setup.packed), generator=generator)[: setup.images].to(setup.device)
    order = order.view(setup.steps, setup.processes, -1)[:, setup.rank]  # [steps, images of this process]
    seed, number = (config.seed, epoch) if stored is None else stored.view(epoch)
    view = View(setup.packed, setup.labels, config, seed, number, setup.dataset.shape[2])
    answers = None if stored is None else stored.answers[number].to(setup.device)
    for part in order.split(ahead):
        images, targets = (tensor.unflatten(0, part.shape) for tensor in view(part.flatten()))
        yield from zip(images, targets, [None] * len(part) if answers is None else answers[part], strict=True)


def _validate(run: RunState, setup: _Setup) -> float | None:
    """Return the score on the validation images in percent, or None if they were trained on."""
    if not held_out([run.describe, setup.config.to_dict()]):
        return None
    images, labels = setup.dataset.train_images, setup.dataset.train_labels
    return model_score(run.model, images[setup.validation], labels[setup.validation], setup.dataset.task)


def _log_start(run: RunState, setup: _Setup) -> None:
    run.log(
        "start" if run.epoch == 0 else "resume",
        epoch=run.epoch, **provenance(), torch=torch.__version__, device=setup.device,
        processes=setup.processes, threads=torch.get_num_threads(), dataset=setup.dataset.name,
        step=setup.step_kind, train=setup.config.to_dict(), describe=run.describe,
    )  # fmt: skip


def _log_epoch(run: RunState, phase: _Phase, result: FitResult, lr_factor: float, seconds: float) -> None:
    run.log(
        "epoch", phase=phase.name, epoch=run.epoch, loss=_rounded(result.loss, 5),
        validation_accuracy=_rounded(result.validation_accuracy, 3), lr_factor=round(lr_factor, 5),
        images_per_second=_rounded(result.images_per_second, 1), seconds=round(seconds, 1),
    )  # fmt: skip


def _log_end(run: RunState, result: FitResult) -> None:
    run.log(
        "end", epoch=run.epoch, validation_accuracy=_rounded(result.validation_accuracy, 3),
        seconds=round(run.seconds, 1),
    )  # fmt: skip


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
