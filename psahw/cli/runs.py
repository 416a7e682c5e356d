"""What ``train``, ``teach``, ``distill``, ``quantize``, ``evaluate`` share: options, run directories, teachers."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import click
from safetensors import SafetensorError, safe_open

from ..errors import UserError
from ..files import refuse_foreign
from . import output

__all__ = [
    "Teaching",
    "check_fits",
    "data_options",
    "is_float",
    "load_model",
    "model_file",
    "refuse_other_files",
    "run_options",
    "set_option",
    "show",
    "targets_option",
    "teacher_option",
    "train_config",
    "unfinished",
]  # fmt: skip

_EPOCHS, _BATCH = 20, 256  # those of TrainConfig, which --help can do without


def data_options(command):
    command = click.option("--data", metavar="DIR", help="Directory with the data set's official files.")(command)
    return click.option(
        "--dataset",
        default="cifar10",
        show_default=True,
        metavar="NAME",
        help="cifar10, svhn, or sample (the shipped hundred images, for smoke runs).",
    )(command)


def set_option(what: str):
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=what)


def run_options(*, epochs: int = _EPOCHS, fewest: int = 1):
    """The options of a command that trains; `epochs` unless the user gives another number."""
    options = [
        click.option(
            "--epochs",
            type=click.IntRange(fewest),
            help=f"Passes over the training images; {epochs} unless given.",
        ),
        click.option(
            "--stop-after",
            type=click.IntRange(1),
            metavar="N",
            help="Leave the run unfinished after epoch N, to be resumed, also with other --epochs.",
        ),
        click.option("--batch", type=click.IntRange(1), help=f"Images a step; {_BATCH} unless given."),
        click.option("--seed", type=click.IntRange(0), help="Fixes initial weights, order and augmentation."),
        set_option("Any other setting of the training, as in --set optimizer=adamw (see docs/training.md)."),
        click.option(
            "-o",
            "--output",
            "directory",
            required=True,
            metavar="DIR",
            help="Run directory: log, checkpoint, result. An unfinished run in it is resumed.",
        ),
        output.json_option,
    ]

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return data_options(command)

    return decorate


def train_config(defaults: dict, settings: tuple[str, ...], **given):
    """`TrainConfig` from a command's defaults, its --set options and the options that were given."""
    from ..model.config import TrainConfig

    types = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    values = dict(defaults)
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or name not in types:
            raise UserError(f"--set needs NAME=VALUE with a name of {', '.join(types)}, not {setting!r}")
        kind = types[name]
        try:
            values[name] = text if kind is str else json.loads(text)
        except ValueError:
            raise UserError(f"--set {name}: {text!r} is no {kind.__name__}") from None
        wanted = (int, float) if kind is float else (kind if isinstance(kind, type) else list)
        if not isinstance(values[name], wanted):
            raise UserError(f"--set {name}: {text!r} is no {getattr(kind, '__name__', 'list')}")
    values |= {name: value for name, value in given.items() if value is not None}
    return TrainConfig.from_dict(values)


def show(result: dict, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
    else:
        output.print_table(["", "value"], [[key.replace("_", " "), value] for key, value in result.items()])


def refuse_other_files(directory: str, *results: str) -> None:
    """Raises UserError unless the directory is absent, empty, or a run's."""

    def is_run(path: Path) -> bool:
        names = ("checkpoint.safetensors", "model.safetensors", *results)
        return _is_log(path / "log.jsonl") or any((path / name).is_file() for name in names)

    refuse_foreign(directory, is_run, "run of psahw")


def _is_log(path: Path) -> bool:
    try:
        with open(path) as file:
            return "event" in json.loads(file.readline(1 << 20))
    except (OSError, ValueError, TypeError):
        return False


def check_fits(images, model_config, what: str) -> None:
    images.check((*model_config.image, 3), model_config.classes, what)


def unfinished(config, result, as_json: bool) -> bool:
    """Whether --stop-after left epochs to do; then it says so."""
    if result.epoch >= config.all_epochs:
        return False
    epochs = f"{result.epoch} of {config.all_epochs}"
    output.note(f"stopped after epoch {epochs}; the same command without --stop-after goes on")
    if as_json:
        output.print_json({"finished": False, "epoch": result.epoch, "epochs": config.all_epochs})
    return True


def load_model(path: str) -> tuple:
    """(model, what describes it) of a run directory or a model file."""
    from ..model import checkpoint

    model, about = checkpoint.load_model(model_file(path))
    return model, {"model": model.config.to_dict(), "about": about}


teacher_option = click.option(
    "--teacher",
    "teacher_paths",
    multiple=True,
    metavar="RUN",
    help="Run directory or model.safetensors of a teacher. Of several the mean of their answers counts.",
)
targets_option = click.option(
    "--targets",
    "targets_path",
    metavar="DIR",
    help="Answers that psahw teach has computed, instead of a teacher.",
)


class Teaching(NamedTuple):
    """What a student learns from: teachers, or the targets that they left."""

    teachers: list  # of (path, model)
    targets: object  # Targets or None
    described: list  # the teachers, in either case

    @classmethod
    def load(cls, teacher_paths: tuple[str, ...], targets_path: str | None) -> "Teaching":
        """Raises UserError for teachers and targets together."""
        from ..model.targets import Targets

        if teacher_paths and targets_path:
            raise UserError("--teacher and --targets exclude each other")
        if targets_path:
            targets = Targets.load(Path(targets_path))
            return cls([], targets, targets.teachers)
        loaded = [(path, *load_model(path)) for path in teacher_paths]
        return cls([(path, model) for path, model, _ in loaded], None, [about for _, _, about in loaded])

    @property
    def describe(self) -> dict:
        """What a run says of it: one teacher, or a list."""
        if not self.described:
            return {}
        describe = {"teacher": self.described[0] if len(self.described) == 1 else self.described}
        if self.targets is not None:
            describe["targets"] = {"seed": self.targets.seed, "views": self.targets.views}
        return describe

    @property
    def augmentation(self) -> dict:
        """Settings that the targets bring along."""
        return {} if self.targets is None else self.targets.augmentation

    @property
    def options(self) -> dict:
        """For `psahw.model.train.fit`."""
        return {"teachers": [model for _, model in self.teachers], "targets": self.targets}

    def check(self, images) -> None:
        for path, model in self.teachers:
            check_fits(images, model.config, f"teacher {path}")


def model_file(path: str) -> Path:
    """A run directory stands for the model in it."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


def is_float(path: str) -> bool:
    """Whether this is a run directory or a model.safetensors, not a network: told by the header, without torch."""
    if Path(path).is_dir():
        return True
    try:
        with safe_open(path, framework="numpy") as file:
            return type(json.loads((file.metadata() or {})["psahw"])["format"]) is int
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return False  # nor a network, but what is wrong with it says whoever reads it as one
