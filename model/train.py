"""The training loop, the same for teacher, distilled student and quantisation-aware fine-tuning: only the
loss, the presence of a teacher, and the model's wrapper differ. A student may learn its teacher's blocks first: a
phase of the same loop with another loss.

A run is a directory: `checkpoint.safetensors` (all that resuming needs, after every epoch), `log.jsonl` (one
line an event), and at the end whatever the caller saves. Every random number of an epoch follows from the
seed and the epoch's number, so a resumed run ends with the same weights as an uninterrupted one.

Several processes (`torchrun`) share each batch: all draw the same random numbers, each makes and computes its slice,
gradients are averaged, norms see the whole batch. The result is that of one process, up to rounding, if that one does
not take the step in C (`fused.py`), whose gradients of PSA are of a sample.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psahw.errors import CheckFailed, UserError

from . import checkpoint, fused
from .augment import View, pack
from .config import TrainConfig, held_out
from .data import Dataset, split
from .losses import Distillation, cross_entropy, mean_answer, smooth_targets
from .native import can_compile
from .optim import Average, learning_rate, make_optimizers
from .processes import average_gradients, mean_over_processes, processes
from .progress import Log, Progress, ignore
from .run_directory import provenance
from .targets import Targets
from .transfer import block_loss

__all__ = ["Result", "accuracy", "fit", "predict"]

# Steps whose images are made at once, and after which their losses are read: a GPU is waited for each time.
AHEAD = {"cpu": 1, "cuda": 16}


@dataclass(frozen=True)
class Result:
    """What a run reached on the validation images, in percent, after how many epochs, and how long it took in
    all. The accuracy is None where validation images were trained on, loss and rate where no epoch was left."""

    epoch: int
    validation_accuracy: float | None
    loss: float | None
    seconds: float
    images_per_second: float | None


@torch.no_grad()
def predict(
    model: nn.Module, images: np.ndarray, *, batch: int = 500, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Logits [n, classes] in evaluation mode and float32."""
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    logits = []
    for start in range(0, len(images), batch):
        part = torch.from_numpy(images[start : start + batch]).to(device)
        logits.append(model(part).cpu().numpy())
        if progress is not None:
            progress(len(part))
    model.train(training)
    return np.concatenate(logits)


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 in percent, in evaluation mode and float32."""
    return 100 * float((predict(model, images).argmax(1) == labels).mean())


class _Run:
    """The state of one run: what a checkpoint holds."""

    def __init__(self, model: nn.Module, config: TrainConfig, directory: Path, describe: dict):
        self.model, self.config, self.describe = model, config, describe
        self.epoch, self.seconds = 0, 0.0
        self.path = directory / "checkpoint.safetensors"
        self.log_path = directory / "log.jsonl"
        self.forget()

    def forget(self) -> None:
        """Optimisers and average begin anew: what they know is of another loss."""
        self.optimizers = make_optimizers(self.model, self.config)
        self.average = Average(self.model, self.config.ema) if self.config.ema else None

    def save(self) -> None:
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors["rng"] = torch.get_rng_state()
        optimizers = []
        for i, optimizer in enumerate(self.optimizers):
            state, rest = checkpoint.pack_optimizer(optimizer)
            tensors |= {f"optimizer{i}/{name}": value for name, value in state.items()}
            optimizers.append(rest)
        average_steps = 0
        if self.average is not None:
            tensors |= {f"average/{name}": value for name, value in self.average.tensors.items()}
            average_steps = self.average.steps
        metadata = {
            "kind": "checkpoint",
            "epoch": self.epoch,
            "seconds": self.seconds,
            "train": self.config.to_dict(),
            "describe": self.describe,
            "optimizers": optimizers,
            "average_steps": average_steps,
        }
        checkpoint.write(self.path, tensors, metadata)

    def restore(self) -> None:
        tensors, metadata = checkpoint.read(self.path)
        if metadata.get("kind") != "checkpoint":
            raise UserError(f"{self.path} is no checkpoint")
        # The number of epochs may change: from here on the schedule is that of the new length. A setting that did
        # not exist when the checkpoint was written has its default.
        settings = TrainConfig().to_dict() | metadata["train"] | {"epochs": self.config.epochs}
        written = json.loads(json.dumps(metadata["describe"] | settings))
        asked = json.loads(json.dumps(self.describe | self.config.to_dict()))
        absent = object()
        keys = written.keys() | asked.keys()
        if different := sorted(key for key in keys if written.get(key, absent) != asked.get(key, absent)):
            raise UserError(f"{self.path} belongs to a run with another {', '.join(different)}")

        def under(prefix):
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.model.load_state_dict(under("model/"))
            for i, (optimizer, rest) in enumerate(zip(self.optimizers, metadata["optimizers"], strict=True)):
                checkpoint.unpack_optimizer(optimizer, under(f"optimizer{i}/"), rest)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.path} is of another version of psahw: begin anew in another directory") from error
        if self.average is not None:
            for name, tensor in under("average/").items():
                self.average.tensors[name].copy_(tensor)  # they stay on the model's device
            self.average.steps = metadata["average_steps"]
        torch.set_rng_state(tensors["rng"])
        self.epoch, self.seconds = metadata["epoch"], metadata["seconds"]

    def log(self, event: str, **values) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "a") as file:
            file.write(json.dumps({"event": event, "time": round(time.time(), 1), **values}) + "\n")


def _make_step(
    model: nn.Module, teachers: Sequence[nn.Module], config: TrainConfig, device: str, in_c: bool
) -> Callable:
    """images, targets, answers that were stored, number of the step -> loss; in C, or compiled if asked for."""
    distillation = Distillation(config.alpha, config.temperature)

    def logits_of(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            return model(images)

    def loss_of(logits: Tensor, targets: Tensor, answers: Tensor | None) -> Tensor:
        if answers is None:
            return cross_entropy(logits, targets)
        return distillation(logits, targets, answers)

    def student_loss(images: Tensor, targets: Tensor, answers: Tensor | None) -> Tensor:
        return loss_of(logits_of(images), targets, answers)

    def teach(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            return mean_answer([teacher(images) for teacher in teachers])

    if config.compile and teachers:
        teach = torch.compile(teach)
    if config.compile and not in_c:
        student_loss = torch.compile(student_loss)

    def step(images: Tensor, targets: Tensor, answers: Tensor | None, number: int) -> Tensor:
        if teachers:
            with torch.no_grad():
                answers = teach(images)
        if in_c:
            return loss_of(fused.forward(model, images, number), targets, answers)
        return student_loss(images, targets, answers)

    return step


def _make_block_step(model: nn.Module, teacher: nn.Module, config: TrainConfig, device: str) -> Callable:
    """As `_make_step`, with the loss of the blocks."""

    def loss(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            return block_loss(teacher, model, images)

    if config.compile:
        loss = torch.compile(loss)
    return lambda images, targets, answers, number: loss(images)


def _batches(view: View, answers: Tensor | None, order: Tensor, ahead: int) -> Iterator[tuple]:
    """Images, targets and, of the `answers` [n, classes], those to the images, of each step of an epoch; `order`
    [steps, B] says which. They are made for `ahead` steps at once."""
    for part in order.split(ahead):
        images, targets = (each.unflatten(0, part.shape) for each in view(part.flatten()))
        yield from zip(images, targets, [None] * len(part) if answers is None else answers[part], strict=True)


class _Phase(NamedTuple):
    """Epochs `start` to `start + epochs` of a run, with a loss and a schedule of their own."""

    name: str
    start: int
    epochs: int
    step: Callable


def fit(
    model: nn.Module,
    dataset: Dataset,
    config: TrainConfig,
    directory: Path,
    *,
    teachers: Sequence[nn.Module] = (),
    targets: Targets | None = None,
    blocks_of: nn.Module | None = None,
    describe: dict | None = None,
    before_epoch: Callable[[int], None] | None = None,
    stop_after: int | None = None,
    log: Log = ignore,
    progress: Progress | None = None,
) -> Result:
    """Trains `model` in place on the training images, or goes on from the run directory's checkpoint.

    The model must be made with the run's seed by the caller (`torch.manual_seed`). With `ema`, the averaged
    weights end up in the model. A student learns from the mean of its `teachers`' answers, or from `targets`, answers
    computed before, on their views; and in the `block_epochs` before, from the blocks of `blocks_of`. `describe` is
    what else identifies the run: a checkpoint with another one is refused. `before_epoch` is called with the number
    of each epoch, from 0; what it keeps belongs into the model's buffers. `stop_after` leaves the run unfinished
    after that many epochs.
    Raises CheckFailed when the loss is no longer finite.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rank, world = processes()
    if world > 1 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise UserError("a convolutional teacher is trained by one process: its norms do not see the others' images")
    if config.block_epochs and blocks_of is None:
        raise UserError("block_epochs need --start blocks: a teacher whose blocks are learned")
    if config.batch % world:
        raise UserError(f"batch must be a multiple of the {world} processes, not {config.batch}")
    model.to(device).train()
    for teacher in (*teachers, *([] if blocks_of is None else [blocks_of])):
        teacher.to(device).eval().requires_grad_(False)
    run = _Run(model, config, directory, describe or {})
    if run.path.exists():
        run.restore()

    train, validation = split(len(dataset.train_images), all_images=config.all_images)
    if (smallest := min(dataset.train_images.shape[1:3])) <= config.crop:
        raise UserError(f"crop must be less than the images' {smallest} pixels, not {config.crop}")
    if len(train) < world:
        raise UserError(f"{len(train)} training images are not enough for {world} processes")
    if targets is not None:
        targets.check(dataset, config)
    packed = pack(dataset.train_images[train]).to(device)
    labels = torch.from_numpy(dataset.train_labels[train]).long().to(device)
    labels = smooth_targets(labels, len(dataset.classes), config.label_smoothing)
    batch = min(config.batch, len(train) // world * world)
    steps = len(train) // batch
    # What does not change the result is not written into the run's settings: it may be resumed elsewhere.
    in_c = not config.bf16 and fused.usable(model, batch)
    compiled = config.compile and can_compile(device)
    if config.compile and not compiled and not in_c and rank == 0:
        log("no C++ compiler (g++, or $CXX) is found: trains without torch.compile, slower")
    settings = dataclasses.replace(config, compile=compiled, batch=batch)
    phases = [
        _Phase("train", config.block_epochs, config.epochs, _make_step(model, teachers, settings, device, in_c))
    ]
    if config.block_epochs:
        phases = [
            _Phase("blocks", 0, config.block_epochs, _make_block_step(model, blocks_of, settings, device)),
            *phases,
        ]
    share, ahead = batch // world, AHEAD[device]
    if rank == 0:
        run.log(
            "start" if run.epoch == 0 else "resume",
            epoch=run.epoch, **provenance(), torch=torch.__version__, device=device,
            processes=world, threads=torch.get_num_threads(), dataset=dataset.name,
            step="c" if in_c else "compiled" if compiled else "torch",
            train=config.to_dict(), describe=run.describe,
        )  # fmt: skip

    def judge() -> float | None:
        if not held_out([run.describe, config.to_dict()]):
            return None
        return accuracy(model, dataset.train_images[validation], dataset.train_labels[validation])

    mean_loss = rate = valid = None
    if progress is None or rank != 0:
        progress = Progress()
    with progress.training(config.all_epochs, steps * batch) as report:
        while run.epoch < min(config.all_epochs, stop_after or config.all_epochs):
            started = time.monotonic()
            phase = next(phase for phase in phases if run.epoch < phase.start + phase.epochs)
            factor = learning_rate(config, steps * phase.epochs)
            if run.epoch == phase.start > 0:
                run.forget()
            if before_epoch is not None:
                before_epoch(run.epoch)
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + run.epoch)
            order = torch.randperm(len(train), generator=generator)[: steps * batch].to(device)
            order = order.view(steps, world, share)[:, rank]
            seed, number = (config.seed, run.epoch) if targets is None else targets.view(run.epoch)
            view = View(packed, labels, config, seed, number)
            known = None if targets is None else targets.answers[number].to(device)
            total, losses = 0.0, []
            for i, (images, wanted, answers) in enumerate(_batches(view, known, order, ahead)):
                scale = factor((run.epoch - phase.start) * steps + i)
                for optimizer in run.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = group["peak_lr"] * scale
                    optimizer.zero_grad()
                loss = phase.step(images, wanted, answers, run.epoch * steps + i)
                loss.backward()
                if world > 1:
                    average_gradients(model, world)
                for optimizer in run.optimizers:
                    optimizer.step()
                if run.average is not None:
                    run.average.update(model)
                losses.append(loss.detach())
                if len(losses) < ahead and i + 1 < steps:
                    continue
                values = torch.stack(losses).tolist()
                losses.clear()
                for step, value in enumerate(values, i + 2 - len(values)):
                    if not math.isfinite(value):
                        raise CheckFailed(
                            f"the loss is {value} in epoch {run.epoch + 1}, step {step}; lower the learning rates. "
                            f"The last good state is {run.path}"
                        )
                total += sum(values)
                report.step(batch * len(values), values[-1])
            run.epoch += 1
            seconds = time.monotonic() - started
            run.seconds += seconds
            mean_loss, rate = mean_over_processes(total / steps, world, device), steps * batch / seconds
            trained = None
            if run.average is not None:
                trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
                model.load_state_dict(run.average.tensors)
            valid = judge()
            if trained is not None:
                model.load_state_dict(trained)
            if rank == 0:
                run.save()
                run.log(
                    "epoch", phase=phase.name, epoch=run.epoch, loss=round(mean_loss, 5),
                    validation_accuracy=_rounded(valid), lr_factor=round(scale, 5),
                    images_per_second=round(rate, 1), seconds=round(seconds, 1),
                )  # fmt: skip
            report.epoch(run.epoch, mean_loss, valid, rate)
    if run.average is not None and run.epoch >= config.all_epochs:
        model.load_state_dict(run.average.tensors)
    if valid is None:  # resumed when already finished
        valid = judge()
    if rank == 0:
        run.log("end", epoch=run.epoch, validation_accuracy=_rounded(valid), seconds=round(run.seconds, 1))
    return Result(run.epoch, valid, mean_loss, run.seconds, rate)


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 3)
