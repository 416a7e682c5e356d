"""``psahw train`` and ``psahw distill``: networks in floating point, on labels or on teachers' answers."""

import click

from . import output
from .training_options import parse_settings, run_options, targets_option, teacher_option
from .training_output import TrainingBar, print_run_result

__all__ = ["COMMANDS"]

_BLOCK_EPOCHS = 10  # the library's, so that --help need not import torch
_shape_option = click.option(
    "--shape",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A change to the shape, as in --shape hidden=48 --shape activation=relu; a list has one value per stage.",
)


@click.command()
@click.option("--config", "shape", default="teacher", show_default=True, metavar="NAME|FILE",
              help="A shape by name (teacher, pyramid, plain, ...; see docs/reference/training-settings.md), "
                   "or a JSON or TOML file.")  # fmt: skip
@_shape_option
@run_options()
def train(shape, changes, epochs, stop_after, batch, seed, settings, directory, dataset, data, as_json):
    """Train a network in floating point on labels.

    \b
    psahw train --config teacher --epochs 16 -o runs/teacher
    psahw train --config plain --shape hidden=48 --shape activation=relu --epochs 40 -o runs/relu48
    psahw train --config tiny --dataset sample --epochs 2 --set compile=false -o runs/smoke
    """
    from ..model import training

    result = training.train(
        shape, directory, changes=changes, stop_after=stop_after, dataset=dataset, data=data,
        log=output.note, observer=TrainingBar(),
        **parse_settings(settings, epochs=epochs, batch=batch, seed=seed),
    )  # fmt: skip
    print_run_result(result.to_dict(), as_json, result.task)


@click.command()
@teacher_option
@targets_option
@click.option("--config", "shape", default="psa", show_default=True, metavar="NAME|FILE",
              help="Shape of the student: a name as in train, or a JSON or TOML file.")  # fmt: skip
@_shape_option
@click.option("--start", type=click.Choice(["random", "teacher", "blocks"]),
              help="First weights: random; the teacher's, with the hidden neurons that matter most (the default "
              "with one --teacher or a --from); or each block first learns what the teacher's does.")  # fmt: skip
@click.option("--from", "source", metavar="RUN", help="Start from this run instead of the teacher.")
@click.option("--block-epochs", type=output.COUNT, metavar="N",
              help=f"Epochs for --start blocks, before the others; {_BLOCK_EPOCHS} unless given.")  # fmt: skip
@run_options()
def distill(
    teachers, targets, shape, changes, start, source, block_epochs, epochs, stop_after, batch, seed, settings,
    directory, dataset, data, as_json,
):  # fmt: skip
    """Train a student from teachers' answers and the labels.

    The answers are computed in each step (--teacher), or were computed by psahw teach (--targets), for the same
    augmented images. Targets prescribe the settings of the augmentation.

    \b
    psahw distill --teacher runs/teacher --config psa --epochs 10 -o runs/student
    psahw distill --teacher runs/a --teacher runs/b --start random --epochs 40 -o runs/student
    psahw distill --targets runs/answers --from runs/teacher --config psa --epochs 100 -o runs/student
    psahw distill --teacher runs/teacher --start blocks --block-epochs 20 --epochs 60 -o runs/student
    """
    from ..model import training

    given = {"epochs": epochs, "block_epochs": block_epochs, "batch": batch, "seed": seed}
    result = training.distill(
        shape, directory, teachers=teachers, targets=targets, start=start, source=source, changes=changes,
        stop_after=stop_after, dataset=dataset, data=data, log=output.note, observer=TrainingBar(),
        **parse_settings(settings, **given),
    )  # fmt: skip
    print_run_result(result.to_dict(), as_json, result.task)


COMMANDS = [train, distill]
