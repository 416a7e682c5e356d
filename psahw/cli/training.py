"""``psahw train``, ``distill``, ``quantize``, ``evaluate``: from images to an INT8 network file."""

import dataclasses
import json
from pathlib import Path

import click

from ..errors import UserError
from . import output

__all__ = ["COMMANDS"]


def _data_options(command):
    command = click.option("--data", metavar="DIR", help="Directory with the data set's official files.")(command)
    return click.option(
        "--dataset",
        default="cifar10",
        show_default=True,
        metavar="NAME",
        help="cifar10, svhn, or sample (the shipped hundred images, for smoke runs).",
    )(command)


def _run_options(command):
    options = [
        click.option("--epochs", type=click.IntRange(1), help="Passes over the training images."),
        click.option("--batch", type=click.IntRange(1), help="Images a step."),
        click.option("--seed", type=click.IntRange(0), help="Fixes initial weights, order and augmentation."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help="Any other setting of the training, as in --set optimizer=adamw (see docs/training.md).",
        ),
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
    for option in reversed(options):
        command = option(command)
    return _data_options(command)


def _train_config(defaults: dict, settings: tuple[str, ...], **given):
    """`TrainConfig` from a command's defaults, its --set options and the options that were given."""
    from model.config import TrainConfig

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


def _show(result: dict, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
    else:
        output.print_table(["", "value"], [[key.replace("_", " "), value] for key, value in result.items()])


def _train_float(config_name, directory, dataset, data, config, as_json, teacher_path=None):
    import torch

    from model import checkpoint
    from model import data as datasets
    from model.config import load_model_config
    from model.resmlp import ResMLP
    from model.train import fit

    model_config = load_model_config(config_name)
    teacher, describe = None, {"model": model_config.to_dict(), "dataset": dataset}
    if teacher_path is not None:
        teacher, about = checkpoint.load_model(_model_file(teacher_path))
        describe["teacher"] = {"model": teacher.config.to_dict(), "about": about}
    images = datasets.load(dataset, data, log=output.note)
    torch.manual_seed(config.seed)
    model = ResMLP(model_config)
    result = fit(model, images, config, Path(directory), teacher=teacher, describe=describe, quiet=as_json)
    path = Path(directory) / "model.safetensors"
    about = {
        "dataset": dataset,
        "train": config.to_dict(),
        "teacher": describe.get("teacher"),
        "validation_accuracy": result.validation_accuracy,
        "seconds": result.seconds,
    }
    checkpoint.save_model(path, model, model_config, about)
    shown = {
        "model": str(path),
        "epochs": config.epochs,
        "loss": result.loss,
        "validation_accuracy": result.validation_accuracy,
        "macs": model_config.macs(),
        "weights": model_config.weights(),
        "seconds": result.seconds,
    }
    _show(shown, as_json)


def _model_file(path: str) -> Path:
    """A run directory stands for the model in it."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


@click.command()
@click.option("--config", "config_name", default="teacher", show_default=True, metavar="NAME|FILE",
              help="A shape by name (teacher, psa, gelu, plain, plain-half, tiny) or a JSON file.")  # fmt: skip
@_run_options
def train(config_name, epochs, batch, seed, settings, directory, dataset, data, as_json):
    """Train a network in floating point on labels.

    \b
    psahw train --config teacher --epochs 16 -o runs/teacher
    psahw train --config tiny --dataset sample --epochs 2 -o runs/smoke
    """
    config = _train_config({}, settings, epochs=epochs, batch=batch, seed=seed)
    _train_float(config_name, directory, dataset, data, config, as_json)


@click.command()
@click.option("--teacher", required=True, metavar="RUN", help="Run directory or model.safetensors of the teacher.")
@click.option("--config", "config_name", default="psa", show_default=True, metavar="NAME|FILE",
              help="Shape of the student: a name as in train, or a JSON file.")  # fmt: skip
@_run_options
def distill(teacher, config_name, epochs, batch, seed, settings, directory, dataset, data, as_json):
    """Train a student from a teacher's answers and the labels.

    \b
    psahw distill --teacher runs/teacher --config psa --epochs 30 -o runs/student
    """
    config = _train_config({}, settings, epochs=epochs, batch=batch, seed=seed)
    _train_float(config_name, directory, dataset, data, config, as_json, teacher_path=teacher)


COMMANDS = [train, distill]
