"""``psahw teach``: teachers' answers, computed once for many students."""

import click

from . import output
from .data_options import data_options
from .training_options import parse_settings, set_option, teacher_option
from .training_output import print_result

__all__ = ["COMMANDS"]


@click.command()
@teacher_option
@click.option("--views", type=click.IntRange(1, 9999), required=True, metavar="V",
              help="Augmented passes over the training images; epoch e of a student shows pass e mod V.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Fixes the augmentation.")
@set_option(
    "A setting of the augmentation, as in --set cutmix=0.5, or bf16=true on a GPU "
    "(see docs/reference/training-settings.md)."
)
@click.option("-o", "--output", "directory", required=True, metavar="DIR",
              help="One file per view. Those that exist stay, so interrupted work continues.")  # fmt: skip
@data_options()
@output.json_option
def teach(teachers, views, seed, settings, directory, dataset, data, as_json):
    """Compute what teachers answer to augmented training images, for psahw distill --targets.

    With several teachers, the mean of their distributions is written.

    \b
    psahw teach --teacher runs/conv --views 20 --set cutmix=0.5 -o runs/answers
    psahw distill --targets runs/answers --config psa --epochs 100 -o runs/student
    """
    from ..model import teaching

    with output.progress("images") as progress:
        result = teaching.teach(
            teachers, directory, views, dataset=dataset, data=data, log=output.note, progress=progress,
            **parse_settings(settings, seed=seed),
        )  # fmt: skip
    print_result(result.to_dict(), as_json)


COMMANDS = [teach]
