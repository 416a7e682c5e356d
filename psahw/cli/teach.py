"""``psahw teach``: teachers' answers, computed once for many students."""

import time

import click

from ..errors import UserError
from ..files import output_directory, refuse_foreign
from . import output
from .runs import Teaching, data_options, set_option, show, teacher_option, train_config

__all__ = ["COMMANDS"]


@click.command()
@teacher_option
@click.option("--views", type=click.IntRange(1, 9999), required=True, metavar="V",
              help="Augmented passes over the training images; epoch e of a student shows pass e mod V.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Fixes the augmentation.")
@set_option("A setting of the augmentation, as in --set cutmix=0.5, or bf16=true on a GPU (see docs/training.md).")
@click.option("-o", "--output", "directory", required=True, metavar="DIR",
              help="A file a view. Those that are there stay: broken-off work goes on.")  # fmt: skip
@data_options
@output.json_option
def teach(teacher_paths, views, seed, settings, directory, dataset, data, as_json):
    """Compute what teachers answer to augmented training images, for psahw distill --targets.

    Of several teachers the mean of their distributions is written.

    \b
    psahw teach --teacher runs/conv --views 20 --set cutmix=0.5 -o runs/answers
    psahw distill --targets runs/answers --config psa --epochs 100 -o runs/student
    """
    from ..model import data as datasets
    from ..model import targets
    from ..model.config import AUGMENTATION
    from ..model.train import provenance

    if not teacher_paths:
        raise UserError("teach needs --teacher RUN")
    known = (*AUGMENTATION, "bf16", "compile")
    for setting in settings:
        if (name := setting.partition("=")[0]) not in known:
            raise UserError(f"--set {name} is no setting of the teachers' answers; those are {', '.join(known)}")
    config = train_config({}, settings, seed=seed)
    teaching = Teaching.load(teacher_paths, None)
    refuse_foreign(directory, lambda path: any(path.glob("view*.safetensors")), "teachers' answers")
    started = time.monotonic()
    with output_directory(directory) as directory:
        images = datasets.load(dataset, data, log=output.note)
        teaching.check(images)
        count = len(datasets.split(len(images.train_images), all_images=config.all_images)[0])
        with output.progress("images", views * count) as advance:
            targets.teach(
                teaching.options["teachers"], images, config, views, directory,
                {"teachers": teaching.described, **provenance()}, progress=advance,
                written=lambda view, rate: output.note(f"view {view + 1}/{views}  {rate:,.0f} images/s"),
            )  # fmt: skip
    shown = {
        "targets": str(directory),
        "views": views,
        "images": count,
        "classes": len(images.classes),
        "seconds": time.monotonic() - started,
    }
    show(shown, as_json)


COMMANDS = [teach]
