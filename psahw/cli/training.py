"""``psahw train``, ``distill``, ``quantize``, ``evaluate``: from images to an INT8 network file."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import CheckFailed, UserError
from ..evaluation import score
from ..files import output_directory, refuse_foreign, writable_directory
from . import output

__all__ = ["COMMANDS"]


# Fine-tuning of a trained network: small learning rates, and float32 because codes must stay exact.
_QUANTIZE_DEFAULTS = {
    "epochs": 2,
    "muon_lr": 0.0025,
    "adamw_lr": 4e-4,
    "bf16": False,
    "label_smoothing": 0.1,
}
_EPOCHS, _BATCH = 20, 256  # those of TrainConfig, which --help can do without


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
    fewest, epochs = (0, _QUANTIZE_DEFAULTS["epochs"]) if command.__name__ == "quantize" else (1, _EPOCHS)
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
    from model.config import ModelConfig, load_model_config
    from model.quant import too_long
    from model.train import fit, processes, provenance
    from model.transfer import narrow

    model_config = load_model_config(config_name)
    if isinstance(model_config, ModelConfig) and (reason := too_long(model_config)):
        output.note(f"this shape cannot be quantised later: {reason}")
    teacher, describe = None, {"model": model_config.to_dict(), "dataset": dataset}
    if teacher_path is not None:
        teacher, about = checkpoint.load_model(_model_file(teacher_path))
        describe["teacher"] = {"model": teacher.config.to_dict(), "about": about}
        describe["start"] = start
    _refuse_foreign(directory)
    with output_directory(directory) as directory:
        images = datasets.load(dataset, data, log=output.note)
        _check_fits(images, model_config, f"configuration {config_name}")
        if teacher is not None:
            _check_fits(images, teacher.config, f"teacher {teacher_path}")
        torch.manual_seed(config.seed)
        model = checkpoint.make_model(model_config)
        if start == "teacher":
            narrow(teacher, model)
        result = fit(model, images, config, directory, teacher=teacher, describe=describe, stop_after=stop_after)
    if processes()[0] != 0 or _unfinished(config, result, as_json):
        return
    about = {
        "dataset": dataset,
        "train": config.to_dict(),
        "teacher": describe.get("teacher"),
        "start": start,
        "validation_accuracy": result.validation_accuracy,
        "seconds": result.seconds,
        **provenance(),
    }
    path = directory / "model.safetensors"
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


def _refuse_foreign(directory: str, *results: str) -> None:
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


def _check_fits(images, model_config, what: str) -> None:
    images.check((*model_config.image, 3), model_config.classes, what)


def _unfinished(config, result, as_json: bool) -> bool:
    """Whether --stop-after left epochs to do; then it says so."""
    if result.epoch >= config.epochs:
        return False
    epochs = f"{result.epoch} of {config.epochs}"
    output.note(f"stopped after epoch {epochs}; the same command without --stop-after goes on")
    if as_json:
        output.print_json({"finished": False, "epoch": result.epoch, "epochs": config.epochs})
    return True


def _model_file(path: str) -> Path:
    """A run directory stands for the model in it."""
    return Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)


@click.command()
@click.option("--config", "config_name", default="teacher", show_default=True, metavar="NAME|FILE",
              help="A shape by name (teacher, conv, psa, gelu, plain, plain-half, tiny) or a JSON file.")  # fmt: skip
@_run_options
def train(config_name, epochs, stop_after, batch, seed, settings, directory, dataset, data, as_json):
    """Train a network in floating point on labels.

    \b
    psahw train --config teacher --epochs 16 -o runs/teacher
    psahw train --config tiny --dataset sample --epochs 2 --set compile=false -o runs/smoke
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
    psahw quantize runs/smoke --dataset sample --epochs 1 --set compile=false --name smoke -o runs/smoke-int8
    """
    import numpy as np

    from model import checkpoint
    from model import data as datasets
    from model.config import ModelConfig
    from model.export import to_network
    from model.quant import QuantizedResMLP
    from model.train import accuracy, fit, processes, provenance

    from .. import networkfile, reference

    tuned = epochs != 0
    config = _train_config(_QUANTIZE_DEFAULTS, settings, epochs=epochs or None, batch=batch, seed=seed)
    if config.bf16:
        raise UserError("--set bf16: bfloat16 cannot hold the codes of a quantised network; leave it false")
    model, about = checkpoint.load_model(_model_file(run))
    if not isinstance(model.config, ModelConfig):
        raise UserError(f"{run}: a convolutional teacher is never quantised")
    describe = {"model": model.config.to_dict(), "dataset": dataset, "float": about, "calibration": calibration}
    teacher_model = None
    if teacher is not None:
        teacher_model, describe["teacher"] = checkpoint.load_model(_model_file(teacher))
    _refuse_foreign(directory, f"{name}.safetensors")
    with output_directory(directory) as directory:
        path = Path(network_path or directory / f"{name}.safetensors")
        if not path.parent.is_dir():
            raise UserError(f"--network: directory {path.parent} does not exist")
        writable_directory(path.parent)
        images = datasets.load(dataset, data, log=output.note)
        _check_fits(images, model.config, f"run {run}")
        if teacher is not None:
            _check_fits(images, teacher_model.config, f"teacher {teacher}")
        train_part, validation_part = datasets.split(len(images.train_images))
        validation, labels = images.train_images[validation_part], images.train_labels[validation_part]
        float_accuracy = accuracy(model, validation, labels)
        quantized = QuantizedResMLP(model, images.train_images[train_part[:calibration]])
        untuned_accuracy = accuracy(quantized, validation, labels)
        seconds = 0.0
        if tuned:
            result = fit(
                quantized, images, config, directory, teacher=teacher_model, describe=describe, stop_after=stop_after
            )
            seconds = result.seconds
            if processes()[0] != 0 or _unfinished(config, result, as_json):
                return
    metadata = {
        "dataset": dataset,
        "preprocessing": "code = pixel - 128",
        "model": model.config.to_dict(),
        "macs": model.config.macs(),
        "weights": model.config.weights(),
        "float_training": about,
        "teacher": describe.get("teacher"),
        "quantisation": {
            "train": config.to_dict() if tuned else None,
            "calibration_images": calibration,
            "seed": config.seed,
            "seconds": seconds,
            **provenance(),
        },
        "accuracy": {"validation float": float_accuracy, "validation INT8 before fine-tuning": untuned_accuracy},
    }
    quantized.cpu().eval()  # the integers are read out and compared on the CPU, wherever they were trained
    network = to_network(quantized, name, images.classes, metadata)
    codes = np.concatenate(
        [_codes(quantized, part) for part in np.array_split(validation, -(-len(validation) // 500))]
    )
    logits = reference.run(network, validation)
    if not (codes == logits).all():
        raise CheckFailed(f"{int((codes != logits).sum())} logits of the torch model differ from the integer model's")
    metadata["accuracy"]["validation INT8"] = 100 * float((logits.argmax(1) == labels).mean())
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


def _codes(quantized, images):
    import torch

    with torch.no_grad():
        return quantized.codes(torch.from_numpy(images)).numpy()


@click.command()
@output.network_argument
@_data_options
@click.option("--images", type=click.IntRange(1), help="Only the first N test images.")
@click.option("--record", is_flag=True, help="Write the accuracy into the network file's metadata.")
@output.json_option
def evaluate(network, dataset, data, images, record, as_json):
    """Accuracy of a network's integer model on the test images of a data set.

    NETWORK may also be a run directory of train or distill: then it is its float model's accuracy. With --json the
    confusion matrix comes along: true classes in rows, answers in columns.

    \b
    psahw evaluate cifar10-psa
    psahw evaluate runs/int8/mine.safetensors --dataset sample --json
    psahw evaluate runs/teacher
    """
    from model import data as datasets

    from .. import networkfile

    is_run = Path(network).is_dir()
    if record and (is_run or images is not None):
        raise UserError("--record needs a network file and all test images: no run directory, no --images")
    if record and network in networkfile.shipped():
        raise UserError(f"--record: {network} ships with psahw; to record into it, give {networkfile.find(network)}")
    loaded = _load_float(network) if is_run else _load_integer(network)
    test = datasets.load(dataset, data, log=output.note)
    test.check(loaded.shape, loaded.classes, network)
    if images is not None and images > len(test.test_images):
        raise UserError(f"--images: {dataset} has {len(test.test_images)} test images, not {images}")
    pixels, labels = test.test_images[:images], test.test_labels[:images]
    with output.progress("images", len(pixels)) as advance:
        logits = loaded.run(pixels, advance)
    result = score(loaded.name, dataset, logits, labels)
    if record:
        _record(network, f"{dataset} test INT8", result["accuracy"])
    if as_json:
        output.print_json(result)
    else:
        _show({key: value for key, value in result.items() if key != "confusion"}, as_json)


def _record(name: str, what: str, accuracy: float) -> None:
    from .. import networkfile

    network = networkfile.load(name)
    known = network.metadata.get("accuracy")
    recorded = (known if isinstance(known, dict) else {}) | {what: accuracy}
    metadata = network.metadata | {"accuracy": recorded}
    path = networkfile.find(name)
    networkfile.save(dataclasses.replace(network, metadata=metadata), path)
    output.note(f"recorded {what} {accuracy:g} % in {path}")


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
