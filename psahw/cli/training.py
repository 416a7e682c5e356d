"""``psahw train``, ``distill``: networks in floating point, on labels or on teachers' answers."""

import click

from ..errors import UserError
from ..files import output_directory
from . import output
from .runs import (
    Teaching,
    check_fits,
    load_model,
    refuse_other_files,
    run_options,
    show,
    targets_option,
    teacher_option,
    train_config,
    unfinished,
)

__all__ = ["COMMANDS"]

_BLOCK_EPOCHS = 10
_shape_option = click.option(
    "--shape",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A change to the shape, as in --shape hidden=48 --shape activation=relu; a list has one value a stage.",
)


def _train(shape, directory, dataset, data, config, as_json, stop_after, teaching, start="random", source=None):
    """`shape` is a configuration's name and changes to it, `source` the model, with its description, that the student
    starts from."""
    import torch

    from ..model import checkpoint
    from ..model import data as datasets
    from ..model.config import ModelConfig, load_model_config
    from ..model.quant import too_long
    from ..model.train import fit, processes, provenance
    from ..model.transfer import adopt, narrow

    model_config = load_model_config(*shape)
    if isinstance(model_config, ModelConfig) and (reason := too_long(model_config)):
        output.note(f"this shape cannot be quantised later: {reason}")
    describe = {"model": model_config.to_dict(), "dataset": dataset, **teaching.describe}
    if teaching.describe:
        describe["start"] = start
    if source is not None:
        describe["from"] = source[1]
    refuse_other_files(directory)
    with output_directory(directory) as directory:
        images = datasets.load(dataset, data, log=output.note)
        check_fits(images, model_config, f"configuration {shape[0]}")
        teaching.check(images)
        torch.manual_seed(config.seed)
        model = checkpoint.make_model(model_config)
        blocks_of = None
        if start != "random":
            first = source[0] if source else teaching.teachers[0][1]
            if start == "teacher":
                narrow(first, model)
            else:
                adopt(first, model)
                blocks_of = first
        result = fit(
            model, images, config, directory, **teaching.options, blocks_of=blocks_of, describe=describe,
            stop_after=stop_after,
        )  # fmt: skip
    if processes()[0] != 0 or unfinished(config, result, as_json):
        return
    about = {
        "dataset": dataset,
        "train": config.to_dict(),
        "teacher": describe.get("teacher"),
        "targets": describe.get("targets"),
        "start": start,
        "from": describe.get("from"),
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
    show(shown, as_json)


@click.command()
@click.option("--config", "config_name", default="teacher", show_default=True, metavar="NAME|FILE",
              help="A shape by name (teacher, pyramid, plain, ...: docs/training.md) or a JSON file.")  # fmt: skip
@_shape_option
@run_options()
def train(config_name, changes, epochs, stop_after, batch, seed, settings, directory, dataset, data, as_json):
    """Train a network in floating point on labels.

    \b
    psahw train --config teacher --epochs 16 -o runs/teacher
    psahw train --config plain --shape hidden=48 --shape activation=relu --epochs 40 -o runs/relu48
    psahw train --config tiny --dataset sample --epochs 2 --set compile=false -o runs/smoke
    """
    config = train_config({}, settings, epochs=epochs, batch=batch, seed=seed)
    _train((config_name, changes), directory, dataset, data, config, as_json, stop_after, Teaching([], None, []))


@click.command()
@teacher_option
@targets_option
@click.option("--config", "config_name", default="psa", show_default=True, metavar="NAME|FILE",
              help="Shape of the student: a name as in train, or a JSON file.")  # fmt: skip
@_shape_option
@click.option("--start", type=click.Choice(["random", "teacher", "blocks"]),
              help="First weights: random; the teacher's, with the hidden neurons that matter most (the default "
              "where there is one --teacher or a --from); or each block learns what the teacher's does.")  # fmt: skip
@click.option("--from", "source_path", metavar="RUN", help="Start from this run instead of the teacher.")
@click.option("--block-epochs", type=click.IntRange(1), metavar="N",
              help=f"Epochs for --start blocks, before the others; {_BLOCK_EPOCHS} unless given.")  # fmt: skip
@run_options()
def distill(
    teacher_paths, targets_path, config_name, changes, start, source_path, block_epochs, epochs, stop_after, batch,
    seed, settings, directory, dataset, data, as_json,
):  # fmt: skip
    """Train a student from teachers' answers and the labels.

    The answers are computed in each step (--teacher), or were computed by psahw teach (--targets), for the same
    augmented images: then the settings of the augmentation come from there.

    \b
    psahw distill --teacher runs/teacher --config psa --epochs 10 -o runs/student
    psahw distill --teacher runs/a --teacher runs/b --start random --epochs 40 -o runs/student
    psahw distill --targets runs/answers --from runs/teacher --config psa --epochs 100 -o runs/student
    psahw distill --teacher runs/teacher --start blocks --block-epochs 20 --epochs 60 -o runs/student
    """
    if not teacher_paths and not targets_path:
        raise UserError("distill needs --teacher RUN or --targets DIR")
    teaching = Teaching.load(teacher_paths, targets_path)
    source = load_model(source_path) if source_path else None
    one = source is not None or len(teaching.teachers) == 1
    start = start or ("teacher" if one else "random")
    if start != "random" and not one:
        raise UserError(f"--start {start} needs one --teacher, or --from RUN")
    if start == "random" and source is not None:
        raise UserError("--from: a student that starts at random starts from no run")
    if start == "blocks":
        block_epochs = block_epochs or _BLOCK_EPOCHS
    elif block_epochs is not None:
        raise UserError("--block-epochs is for --start blocks")
    given = {"epochs": epochs, "block_epochs": block_epochs, "batch": batch, "seed": seed}
    config = train_config(teaching.augmentation, settings, **given)
    _train((config_name, changes), directory, dataset, data, config, as_json, stop_after, teaching, start, source)


COMMANDS = [train, distill]
