"""Options that ``train``, ``teach``, ``distill`` and ``quantize`` share."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import documents
from ..errors import UserError
from ..quoting import quote
from . import output
from .data_options import data_options

__all__ = [
    "parse_settings", "run_options", "set_option", "targets_option", "teacher_option",
]  # fmt: skip

Command = TypeVar("Command", bound=Callable[..., Any])

_EPOCHS, _BATCH = 20, 256  # the defaults of TrainConfig, so that --help need not import it
_KINDS: dict[Any, tuple[Any, str]] = {  # of the values of --set, by the type of the field
    int: (int, "an integer"),
    float: (int | float, "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}


def set_option(text: str) -> Callable[[Command], Command]:
    """Return the option ``--set`` with this help text."""
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=text)


teacher_option = click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="RUN",
    help="Run directory or model.safetensors of a teacher. With several, the mean of their answers counts.",
)
targets_option = click.option(
    "--targets",
    "targets",
    metavar="DIR",
    help="Answers that psahw teach has computed, instead of a teacher.",
)


def run_options(*, epochs: int = _EPOCHS, fewest: int = 1) -> Callable[[Command], Command]:
    """Return the options of a command that trains.

    Parameters
    ----------
    epochs
        Default number of epochs, for the help text.
    fewest
        Smallest number of epochs that may be asked for.
    """
    options = [
        click.option(
            "--epochs",
            type=click.IntRange(fewest, output.COUNT.max),
            help=f"Passes over the training images; {epochs} unless given.",
        ),
        click.option(
            "--stop-after",
            type=output.COUNT,
            metavar="N",
            help="Leave the run unfinished after epoch N, to be resumed, also with other --epochs.",
        ),
        click.option("--batch", type=output.COUNT, help=f"Images per step; {_BATCH} unless given."),
        click.option("--seed", type=click.IntRange(0), help="Fixes initial weights, order and augmentation."),
        set_option(
            "Any other setting of the training, as in --set optimizer=adamw "
            "(see docs/reference/training-settings.md)."
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

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return data_options()(command)

    return decorate


def parse_settings(settings: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Return fields of `TrainConfig` from the values of ``--set``, overridden by options that are not None.

    Raises
    ------
    UserError
        If a name is unknown or a value has the wrong type.
    """
    from ..model.config import TrainConfig

    types = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or name not in types:
            raise UserError(f"--set needs NAME=VALUE with a name of {', '.join(types)}, not {quote(setting)}")
        accepted, kind = _KINDS.get(types[name], (list, "a list"))
        try:
            values[name] = text if accepted is str else documents.decode(text, f"--set {name}")
        except UserError:
            values[name] = None  # which is of no kind
        if not isinstance(values[name], accepted):
            raise UserError(f"--set {name} must be {kind}, not {quote(text)}")
    return values | {name: value for name, value in options.items() if value is not None}
