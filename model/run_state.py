"""The state of a training run: what a checkpoint holds, and the log beside it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from psahw import logs
from psahw.errors import CheckFailed, UserError

from . import checkpoint, finite
from .config import TrainConfig
from .optim import Average, make_optimizers

__all__ = ["RunState"]


class RunState:
    """A model with its optimisers, its average and its progress, in a run directory.

    Parameters
    ----------
    model
        The model that is trained.
    config
        The settings of the run.
    directory
        The run directory, with ``checkpoint.safetensors`` and ``log.jsonl``.
    describe
        What identifies the run besides its settings, as JSON. A checkpoint with another description is refused.

    Attributes
    ----------
    epoch
        Complete epochs.
    seconds
        Time of training so far, added over all calls.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, directory: Path, describe: dict[str, Any]):
        self.model, self.config, self.describe = model, config, describe
        self.epoch, self.seconds = 0, 0.0
        self.path = directory / "checkpoint.safetensors"
        self.log_path = directory / "log.jsonl"
        self.forget()

    def forget(self) -> None:
        """Begin with new optimisers and a new average, because the old ones followed another loss."""
        self.optimizers = make_optimizers(self.model, self.config)
        self.average = Average(self.model, self.config.ema) if self.config.ema else None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block, the model has the averaged weights if the run has an average."""
        if self.average is None:
            yield
            return
        trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.tensors)
        try:
            yield
        finally:
            self.model.load_state_dict(trained)

    def _tensors(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return the tensors of model, optimisers and average by name, and the rest of each optimiser as JSON."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        optimizers = []
        for i, optimizer in enumerate(self.optimizers):
            state, rest = checkpoint.pack_optimizer(optimizer)
            tensors |= {f"{checkpoint.OPTIMIZER}{i}/{name}": value for name, value in state.items()}
            optimizers.append(rest)
        if self.average is not None:
            tensors |= {f"average/{name}": value for name, value in self.average.tensors.items()}
        return tensors, optimizers

    def fail(self, problem: str) -> NoReturn:
        """Raise CheckFailed for a training that diverges, and name the checkpoint if there is one.

        Its numbers are good: those of every checkpoint are checked before it is written, and when it is read.
        """
        there = self.path.exists()
        last = f"The last good state is {self.path}" if there else "There is no checkpoint yet"
        raise CheckFailed(f"{problem}; lower the learning rates. {last}")

    def check(self) -> None:
        """Raise CheckFailed if model, optimisers or average hold a number that no model may hold."""
        bad = finite.find_bad_number(self._tensors()[0], unlimited=[checkpoint.OPTIMIZER])
        if bad is not None:
            self.fail(f"training diverges in epoch {self.epoch}: {bad}")

    def save(self) -> None:
        """Write the checkpoint, which replaces the one before as a whole.

        Raises UserError if it cannot be written. The one before then stays.
        """
        tensors, optimizers = self._tensors()
        tensors["rng"] = torch.get_rng_state()
        metadata = {
            "kind": "checkpoint",
            "epoch": self.epoch,
            "seconds": self.seconds,
            "train": self.config.to_dict(),
            "describe": self.describe,
            "optimizers": optimizers,
            "average_steps": 0 if self.average is None else self.average.steps,
        }
        checkpoint.write(self.path, tensors, metadata)

    def restore(self) -> None:
        """Read the checkpoint.

        Raises
        ------
        UserError
            If it is damaged, or belongs to a run with other settings or another description.
        """
        tensors, metadata = checkpoint.read(self.path)
        if metadata.get("kind") != "checkpoint":
            raise UserError(f"{self.path} must be a checkpoint of a run")
        self._check_same_run(metadata)

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.model.load_state_dict(part("model/"))
            for i, (optimizer, rest) in enumerate(zip(self.optimizers, metadata["optimizers"], strict=True)):
                checkpoint.unpack_optimizer(optimizer, part(f"{checkpoint.OPTIMIZER}{i}/"), rest)
            if self.average is not None:
                for name, tensor in part("average/").items():
                    self.average.tensors[name].copy_(tensor)  # in place, so that they stay on the model's device
                self.average.steps = metadata["average_steps"]
            torch.set_rng_state(tensors["rng"])
            self.epoch, self.seconds = int(metadata["epoch"]), float(metadata["seconds"])
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(
                f"{self.path} was written by another version of psahw: start again in another directory"
            ) from error

    def _check_same_run(self, metadata: dict[str, Any]) -> None:
        """Raise UserError if the checkpoint's settings or description differ from this run's."""
        # The number of epochs may change: the schedule then follows the new length. A setting that did not exist when
        # the checkpoint was written has its default.
        train, describe = metadata.get("train"), metadata.get("describe")
        if not isinstance(train, dict) or not isinstance(describe, dict):
            raise UserError(f"{self.path} must hold the settings and the description of its run")
        settings = TrainConfig().to_dict() | train | {"epochs": self.config.epochs}
        written = json.loads(json.dumps(describe | settings))
        expected = json.loads(json.dumps(self.describe | self.config.to_dict()))
        absent = object()
        keys = written.keys() | expected.keys()
        if different := sorted(key for key in keys if written.get(key, absent) != expected.get(key, absent)):
            raise UserError(
                f"{self.path} belongs to a run with another {', '.join(different)}: give another directory with -o, "
                "or delete this one"
            )

    def log(self, event: str, **values: Any) -> None:
        """Append one event to the log, with the time in seconds since 1970. Raises UserError if that fails."""
        logs.append(self.log_path, event, time=round(time.time(), 1), **values)
