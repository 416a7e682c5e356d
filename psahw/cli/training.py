"""``psahw train``, ``distill``, ``quantize``, ``evaluate``: from images to an INT8 network file."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import CheckFailed, UserError
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
    fewest = 0 if command.__name__ == "quantize" else 1
    options = [
        click.option("--epochs", type=click.IntRange(fewest), help="Passes over the training images."),
        click.option(
            "--stop-after",
            type=click.IntRange(1),
            metavar="N",
            help="Leave the run unfinished after epoch N, to be resumed, also with other --epochs.",
        ),
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


def _train_float(
    config_name, directory, dataset, data, config, as_json, stop_after, teacher_path=None, start="random"
):
    import torch

    from model import checkpoint
    from model import data as datasets
    from model.config import load_model_config
    from model.resmlp import ResMLP
    from model.train import fit, processes
    from model.transfer import narrow

    model_config = load_model_config(config_name)
    teacher, describe = None, {"model": model_config.to_dict(), "dataset": dataset}
    if teacher_path is not None:
        teacher, about = checkpoint.load_model(_model_file(teacher_path))
        describe["teacher"] = {"model": teacher.config.to_dict(), "about": about}
        describe["start"] = start
    images = datasets.load(dataset, data, log=output.note)
    torch.manual_seed(config.seed)
    model = ResMLP(model_config)
    if start == "teacher":
        narrow(teacher, model)
    result = fit(
        model,
        images,
        config,
        Path(directory),
        teacher=teacher,
        describe=describe,
        stop_after=stop_after,
        quiet=as_json,
    )
    path = Path(directory) / "model.safetensors"
    about = {
        "dataset": dataset,
        "train": config.to_dict(),
        "teacher": describe.get("teacher"),
        "start": start,
        "validation_accuracy": result.validation_accuracy,
        "seconds": result.seconds,
    }
    if processes()[0] != 0 or _unfinished(config, stop_after):
        return
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


def _unfinished(config, stop_after: int | None) -> bool:
    if stop_after is None or stop_after >= config.epochs:
        return False
    output.note(f"stopped after epoch {stop_after} of {config.epochs}; the same command without --stop-after goes on")
    return True


def _model_file(path: str) -> Path:
    """A run directory stands for the model in it."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


@click.command()
@click.option("--config", "config_name", default="teacher", show_default=True, metavar="NAME|FILE",
              help="A shape by name (teacher, psa, gelu, plain, plain-half, tiny) or a JSON file.")  # fmt: skip
@_run_options
def train(config_name, epochs, stop_after, batch, seed, settings, directory, dataset, data, as_json):
    """Train a network in floating point on labels.

    \b
    psahw train --config teacher --epochs 16 -o runs/teacher
    psahw train --config tiny --dataset sample --epochs 2 -o runs/smoke
    """
    config = _train_config({}, settings, epochs=epochs, batch=batch, seed=seed)
    _train_float(config_name, directory, dataset, data, config, as_json, stop_after)


@click.command()
@click.option("--teacher", required=True, metavar="RUN", help="Run directory or model.safetensors of the teacher.")
@click.option("--config", "config_name", default="psa", show_default=True, metavar="NAME|FILE",
              help="Shape of the student: a name as in train, or a JSON file.")  # fmt: skip
@click.option("--start", type=click.Choice(["random", "teacher"]), default="teacher", show_default=True,
              help="First weights: random, or the teacher's with the hidden neurons that matter most.")  # fmt: skip
@_run_options
def distill(
    teacher, config_name, start, epochs, stop_after, batch, seed, settings, directory, dataset, data, as_json
):
    """Train a student from a teacher's answers and the labels.

    \b
    psahw distill --teacher runs/teacher --config psa --epochs 10 -o runs/student
    psahw distill --teacher runs/teacher --config plain-half --start random --epochs 40 -o runs/half
    """
    config = _train_config({}, settings, epochs=epochs, batch=batch, seed=seed)
    _train_float(
        config_name, directory, dataset, data, config, as_json, stop_after, teacher_path=teacher, start=start
    )


# Fine-tuning of a trained network: small learning rates, and float32 because codes must stay exact.
_QUANTIZE_DEFAULTS = {
    "epochs": 2,
    "muon_lr": 0.0025,
    "adamw_lr": 4e-4,
    "bf16": False,
    "label_smoothing": 0.1,
}


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="Name of the network, written into its file.")
@click.option(
    "--network",
    "network_path",
    metavar="FILE",
    help="Network file to write; NAME.safetensors in the run directory unless given.",
)
@click.option("--teacher", metavar="RUN", help="Distil while fine-tuning, too.")
@click.option(
    "--calibration",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Training images that set the scales.",
)
@_run_options
def quantize(
    run,
    name,
    network_path,
    teacher,
    calibration,
    epochs,
    stop_after,
    batch,
    seed,
    settings,
    directory,
    dataset,
    data,
    as_json,
):
    """Fine-tune the float model of RUN as an INT8 network and write the network file.

    The forward pass of the fine-tuning is the integer model itself; with --epochs 0 scales are set and nothing
    is trained.

    \b
    psahw quantize runs/student --teacher runs/teacher --name cifar10-psa -o runs/int8
    psahw quantize runs/smoke --dataset sample --epochs 1 --name smoke -o runs/smoke-int8
    """
    import numpy as np
    import torch

    from model import checkpoint
    from model import data as datasets
    from model.export import to_network
    from model.quant import QuantizedResMLP
    from model.train import accuracy, fit, processes

    from .. import networkfile, reference

    tuned = epochs != 0
    config = _train_config(_QUANTIZE_DEFAULTS, settings, epochs=epochs or None, batch=batch, seed=seed)
    if config.bf16:
        raise UserError("--set bf16: bfloat16 cannot hold the codes of a quantised network; leave it false")
    path = Path(network_path or Path(directory) / f"{name}.safetensors")
    model, about = checkpoint.load_model(_model_file(run))
    describe = {"model": model.config.to_dict(), "dataset": dataset, "float": about, "calibration": calibration}
    teacher_model = None
    if teacher is not None:
        teacher_model, describe["teacher"] = checkpoint.load_model(_model_file(teacher))
    images = datasets.load(dataset, data, log=output.note)
    train_part, validation_part = datasets.split(len(images.train_images))
    validation, labels = images.train_images[validation_part], images.train_labels[validation_part]
    float_accuracy = accuracy(model, validation, labels)
    quantized = QuantizedResMLP(model, images.train_images[train_part[:calibration]])
    untuned_accuracy = accuracy(quantized, validation, labels)
    seconds = 0.0
    if tuned:
        result = fit(
            quantized, images, config, Path(directory), teacher=teacher_model, describe=describe, quiet=as_json
        )
        seconds = result.seconds
    if processes()[0] != 0 or _unfinished(config, stop_after):
        return
    metadata = {
        "dataset": dataset,
        "preprocessing": "code = pixel - 128",
        "model": model.config.to_dict(),
        "float_training": about,
        "quantisation": {
            "train": config.to_dict() if tuned else None,
            "calibration_images": calibration,
            "seconds": seconds,
        },
        "accuracy": {"validation float": float_accuracy, "validation INT8 before fine-tuning": untuned_accuracy},
    }
    quantized.eval()
    network = to_network(quantized, name, images.classes, metadata)
    with torch.no_grad():
        codes = np.concatenate(
            [
                quantized.codes(torch.from_numpy(part)).numpy()
                for part in np.array_split(validation, max(1, len(validation) // 500))
            ]
        )
    logits = reference.run(network, validation)
    if not (codes == logits).all():
        raise CheckFailed(f"{int((codes != logits).sum())} logits of the torch model differ from the integer model's")
    metadata["accuracy"]["validation INT8"] = 100 * float((logits.argmax(1) == labels).mean())
    path.parent.mkdir(parents=True, exist_ok=True)
    networkfile.save(dataclasses.replace(network, metadata=metadata), path)
    shown = {
        "network": str(path),
        "validation_float": float_accuracy,
        "validation_before_tuning": untuned_accuracy,
        "validation_int8": metadata["accuracy"]["validation INT8"],
        "logits_compared": codes.size,
        "logits_different": 0,
        "seconds": seconds,
    }
    _show(shown, as_json)


@click.command()
@output.network_argument
@_data_options
@click.option("--images", type=click.IntRange(1), help="Only the first N test images.")
@click.option("--record", is_flag=True, help="Write the accuracy into the network file; needs all images.")
@output.json_option
def evaluate(network, dataset, data, images, record, as_json):
    """Accuracy of a network's integer model on the test images of a data set.

    NETWORK may also be a run directory of train or distill: then it is its float model's accuracy.

    \b
    psahw evaluate cifar10-psa
    psahw evaluate runs/int8/mine.safetensors --record
    psahw evaluate runs/teacher
    """
    from model import data as datasets

    if record and (images is not None or not Path(network).is_file()):
        raise UserError("--record needs a network file and all test images")
    loaded = _load_float(network) if Path(network).is_dir() else _load_integer(network)
    test = datasets.load(dataset, data, log=output.note)
    if test.test_images.shape[1:] != loaded.shape or len(test.classes) != loaded.classes:
        raise UserError(
            f"{network} takes images of {loaded.shape} in {loaded.classes} classes; "
            f"{dataset} has {test.test_images.shape[1:]} in {len(test.classes)}"
        )
    pixels, labels = test.test_images[:images], test.test_labels[:images]
    with output.progress("images", len(pixels)) as advance:
        logits = loaded.run(pixels, advance)
    correct = int((logits.argmax(1) == labels).sum())
    result = {
        "network": loaded.name,
        "dataset": dataset,
        "images": len(pixels),
        "correct": correct,
        "accuracy": 100 * correct / len(pixels),
    }
    if record:
        _record(network, {f"{dataset} test INT8": result["accuracy"]})
    _show(result, as_json)


def _record(path: str, accuracy: dict[str, float]) -> None:
    from .. import networkfile

    network = networkfile.load(path)
    known = network.metadata.get("accuracy", {})
    metadata = network.metadata | {"accuracy": known | accuracy}
    networkfile.save(dataclasses.replace(network, metadata=metadata), path)


class _Loaded(NamedTuple):
    """A network of either kind: `run(images, progress)` returns logits."""

    name: str
    shape: tuple[int, ...]
    classes: int
    run: Callable


def _load_integer(name: str) -> _Loaded:
    from .. import networkfile, reference

    network = networkfile.load(name)
    return _Loaded(
        network.name,
        (*network.image, network.colours),
        len(network.classes),
        lambda images, progress: reference.run(network, images, progress=progress),
    )


def _load_float(directory: str) -> _Loaded:
    from model import checkpoint
    from model.train import predict

    model, _ = checkpoint.load_model(_model_file(directory))
    config = model.config
    return _Loaded(
        f"{directory} (float)",
        (*config.image, 3),
        config.classes,
        lambda images, progress: predict(model, images, progress=progress),
    )


COMMANDS = [train, distill, quantize, evaluate]
