"""Options that choose a data set, and say how the user's own files are read."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UserError

if TYPE_CHECKING:
    from ..model.datasets.source import Source, Task

__all__ = ["data_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES = "cifar10, cifar100, svhn, mnist, fashion-mnist, digits, dry-bean, sample (the shipped hundred images)"


def data_options(
    default: str | None = "cifar10", *, argument: bool = False, optional: str | None = None
) -> Callable[[Command], Command]:
    """Return the options that choose a data set and say how it is read.

    The command receives the arguments ``data``, and ``dataset``, a `Source` if any of the options but ``--dataset``
    and ``--data`` is given.

    Parameters
    ----------
    default
        The data set if none is named. With None, it is ``sample`` for up to 100 images, and otherwise ``cifar10``,
        and ``random`` stands for random images.
    argument
        The command has an argument ``dataset`` in place of the option.
    optional
        For a command that needs no data set: what it does with one. There is no ``--task`` then.
    """
    unnamed = "" if default else " Or random, for random bytes. By default sample for up to 100 images, else cifar10."
    if optional is not None:
        default, unnamed = None, f" {optional}"
    options = [
        click.option(
            "--dataset",
            default=default,
            show_default=default is not None,
            metavar="NAME|PATH",
            help=f"{_NAMES}; or your own: "
            f"a folder of class folders or IDX files, .npz, .csv, .parquet, .xlsx.{unnamed}",
        ),
        click.option("--data", metavar="PATH", help="A copy of the named data set's official files."),
        click.option(
            "--target",
            metavar="COLUMN",
            help="Column of a table that holds the classes; for values or labels columns, with commas between them.",
        ),
        click.option(
            "--task",
            type=click.Choice(["class", "values", "labels"]),
            help="What a table or an .npz file is about: one class (the default), numbers, or labels of 0 and 1.",
        ),
        click.option("--size", metavar="HxW", help="Cut and scale the pictures of a folder to so many pixels."),
        click.option(
            "--colours",
            type=click.Choice(["1", "3"]),
            help="Read the pictures of a folder as grey (1) or RGB (3); by default grey if all are.",
        ),
        click.option(
            "--group",
            metavar="REGEX|COLUMN",
            help="Keep examples of a group together when they are divided: what REGEX finds in a picture's name, "
            "or a column of a table.",
        ),
    ]

    if argument:
        del options[0]
    parts = ["dataset", "target", "task", "size", "colours", "group"]
    if optional is not None:
        del options[3]
        parts.remove("task")

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_data(*arguments: Any, **values: Any) -> Any:
            chosen = _chosen(**{name: values.pop(name) for name in parts})
            return command(*arguments, dataset=chosen, **values)

        decorated: Any = with_data
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _chosen(
    dataset: str | None,
    target: str | None = None,
    task: "Task | None" = None,
    size: str | None = None,
    colours: str | None = None,
    group: str | None = None,
) -> "Source | str | None":
    """Return what the options say: the data set with its options, or its name alone if it has none.

    Raises
    ------
    UserError
        If an option has an impossible value, or options are given without a data set.
    """
    given = {"target": target, "task": task, "size": size, "colours": colours, "group": group}
    if all(value is None for value in given.values()):
        return dataset
    if dataset is None:
        name = next(name for name, value in given.items() if value is not None)
        raise UserError(f"--{name} needs --dataset PATH, the data that it is about")
    from ..model.datasets.source import Source, parse_size

    return Source(
        dataset,
        target=target,
        task=task or "class",
        size=None if size is None else parse_size(size),
        colours=None if colours is None else int(colours),
        group=group,
    )
