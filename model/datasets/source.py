"""A data set as the user names it: its name or path, and how its files are to be read."""

import os
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from psahw.errors import UserError
from psahw.files import real_path
from psahw.quoting import printable, quote

__all__ = ["Source", "Task", "parse_size"]

Task = Literal["class", "values", "labels"]
"""Purpose of a model: one class, numbers (regression), or any set of labels."""

MAX_SIDE = 1024
MAX_TITLE = 100


@dataclass(frozen=True)
class Source:
    """A data set that is still to be read.

    Parameters
    ----------
    name
        One of `psahw.model.data.DATASETS`, or the path of the user's own data: a folder of class folders with
        pictures, a folder of IDX files, or a file with the suffix .npz, .csv, .tsv, .parquet or .xlsx.
    data
        A file or folder with a copy of the named data set.
    target
        Column of a table that holds the classes. For the tasks "values" and "labels", columns separated by commas.
    size
        Height and width to which pictures are cut and scaled.
    colours
        1 for grey pictures, 3 for RGB; by default grey if all of them are.
    group
        What keeps examples together when data are divided: a regular expression that finds the group in the name of
        a picture, or a column of a table.
    task
        What is to be learned: "class", "values" (regression) or "labels" (any of several). The latter two are for
        tables and arrays.
    """

    name: str
    data: str | os.PathLike | None = None
    target: str | None = None
    size: tuple[int, int] | None = None
    colours: int | None = None
    group: str | None = None
    task: Task = "class"

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise UserError(f"task must be one of {', '.join(get_args(Task))}, not {quote(self.task)}")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise UserError(f"--size must be 1 to {MAX_SIDE} pixels each way, not {self.size[0]}x{self.size[1]}")
        if self.colours not in (None, 1, 3):
            raise UserError(f"--colours must be 1 or 3, not {self.colours}")

    @property
    def title(self) -> str:
        """Name of the data set in results: the last part of a path, without its suffix."""
        if not set(self.name) & {"/", "\\", "."}:
            return self.name
        return printable(real_path(self.name).stem, MAX_TITLE) or "data"

    def options(self) -> dict[str, Any]:
        """Return the options that are set, except `data`, by the names that the command line has for them."""
        size = None if self.size is None else f"{self.size[0]}x{self.size[1]}"
        given: dict[str, Any] = {"target": self.target, "size": size, "colours": self.colours, "group": self.group}
        given["task"] = None if self.task == "class" else self.task
        return {name: value for name, value in given.items() if value is not None}

    def check_options(self, allowed: set[str], kind: str) -> None:
        """Raise UserError for an option that a kind of data set does not have."""
        for name in self.options():
            if name not in allowed:
                raise UserError(f"--{name} does not go with {kind} ({quote(self.name)})")

    def group_pattern(self) -> re.Pattern[str] | None:
        """Return the compiled regular expression of `group`. Raises UserError if it is none."""
        if self.group is None:
            return None
        try:
            return re.compile(self.group)
        except re.error as error:
            raise UserError(f"--group must be a regular expression, not {quote(self.group)}: {error}") from None


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width from text such as "28x28". Raises UserError for other text."""
    if not (match := re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)):
        raise UserError(f"--size must be HEIGHTxWIDTH in pixels, such as 32x48, not {quote(text)}")
    return int(match[1]), int(match[2])
