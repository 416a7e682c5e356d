"""Tables with one example per row: CSV, TSV, Parquet and Excel files.

The first line of a text file has the names of the columns. Cells are separated by the comma, semicolon or tab that is
most frequent in that line, and decimals have a point. One column holds the class, by name or by an integer; every
other column holds numbers, which become bytes as `columns` says. An empty cell is a missing value, and no other sign
is. Only an empty target is refused.

A folder with `train.csv` and `test.csv` (or the like) is a table that the user has divided; one table is divided by
`split.split_test`. Text is read whole; of Parquet, one column at a time. Only one column at a time is in floating
point.
"""

import csv
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from psahw.errors import UserError
from psahw.extras import install_hint
from psahw.quoting import printable, quote

from .columns import Columns, fit_column
from .dataset import Dataset, check_class_names, check_size, encode_labels
from .source import Source, Task
from .split import split_test

if TYPE_CHECKING:
    import polars

__all__ = ["SUFFIXES", "Table", "dataset", "find", "load", "open_table"]

SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")
_SEPARATORS = ",;\t"
_HINT = (
    "a column must hold numbers with a decimal point; leave a missing value empty, write a category as one column "
    "of 0 and 1 per value, or leave the column out"
)


@dataclass(frozen=True, eq=False)
class Table:
    """An open table.

    Parameters
    ----------
    path
        Its file.
    names
        Names of its columns.
    rows
        Number of its rows, without the line of names.
    first
        Number of the first row, as programs for tables count: 2 if there is a line of names, otherwise 1.
    frame
        All columns, or None if each is read when it is needed.
    """

    path: Path
    names: tuple[str, ...]
    rows: int
    first: int
    frame: "polars.DataFrame | None"

    def column(self, name: str) -> "polars.Series":
        """Return a column. Raises UserError if there is none with this name."""
        if name not in self.names:
            there = printable(", ".join(self.names), 80)
            raise UserError(f"{self.path} has no column {quote(name)}; it has {there}")
        if self.frame is not None:
            return self.frame[name]
        polars = _polars()
        with _reading(self.path):
            series: Any = polars.read_parquet(self.path, columns=[name], glob=False)[name]
        return series

    def at(self, row: int, name: str) -> str:
        """Return how messages call a cell; rows count from 0 here."""
        return f"{self.path}, row {row + self.first}, column {quote(name)}"

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 [rows], with NaN where a value is missing.

        Raises UserError for text and for numbers that are not finite.
        """
        polars, series = _polars(), self.column(name)
        absent = series.is_null().to_numpy()
        if series.dtype == polars.String:
            text = series.str.strip_chars()
            absent = absent | (text == "").fill_null(True).to_numpy()
            numbers = text.cast(polars.Float64, strict=False)
            if len(wrong := np.flatnonzero(numbers.is_null().to_numpy() & ~absent)):
                raise UserError(
                    f"{self.at(int(wrong[0]), name)}: {quote(series[int(wrong[0])])} is no number; {_HINT}"
                )
        elif series.dtype.is_numeric() or series.dtype == polars.Boolean:
            numbers = series.cast(polars.Float64)
        else:
            raise UserError(f"{self.path}: column {quote(name)} is of the type {series.dtype}; {_HINT}")
        values = numbers.fill_null(0.0).to_numpy().copy()
        if len(wrong := np.flatnonzero(~np.isfinite(values))):
            cell = self.at(int(wrong[0]), name)
            raise UserError(f"{cell}: {values[wrong[0]]:g} is not finite; leave a missing value empty")
        values[absent] = np.nan
        return values

    def texts(self, name: str) -> list[str]:
        """Return a column as text. Raises UserError if a cell is empty."""
        polars, column = _polars(), self.column(name)
        with _reading(self.path):  # not every type has a text
            texts = column.cast(polars.String, strict=False).str.strip_chars().to_list()
        for row, text in enumerate(texts):
            if not text:
                raise UserError(f"{self.at(row, name)}: must not be empty")
        return texts


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise UserError(f"tables need polars: {install_hint('polars')}") from None
    return polars


@contextmanager
def _without_panics() -> Iterator[None]:
    """Keep off the terminal what Rust's panics write there, past Python, about damaged files.

    They are raised as exceptions as well.
    """
    logging.getLogger("fastexcel").setLevel(logging.ERROR)  # warns about empty columns
    sys.stderr.flush()
    with open(os.devnull, "w") as nothing:
        kept = os.dup(2)
        try:
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what polars, the csv module and the reader of Excel files raise into a UserError."""
    polars = _polars()
    try:
        with _without_panics():
            yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or printable(str(error), 100)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: it must be in UTF-8, unlike its byte {error.start:,}") from None
    except (Exception, polars.exceptions.PanicException) as error:  # fastexcel raises classes of its own
        reason = printable(" ".join(str(error).split()), 100) or type(error).__name__
        raise UserError(f"cannot read {path}: {reason}") from None


def find(folder: Path) -> tuple[Path, Path] | None:
    """Return the tables `train` and `test` of a folder, or None if it has no such files."""
    for suffix in SUFFIXES:
        train, test = folder / f"train{suffix}", folder / f"test{suffix}"
        if train.is_file() and test.is_file():
            return train, test
    return None


def open_table(path: Path) -> Table:
    """Open a table, and check the names of its columns and the lengths of its rows.

    Raises
    ------
    UserError
        If the file cannot be read, a name is empty or appears twice, a row has more or fewer cells than the first
        line, or there are no rows.
    """
    polars, suffix = _polars(), path.suffix.lower()
    with _reading(path):
        if suffix == ".parquet":
            names = polars.scan_parquet(path, glob=False).collect_schema().names()
            rows = polars.scan_parquet(path, glob=False).select(polars.len()).collect().item()
            table = Table(path, _checked(names, path), rows, 1, None)
        elif suffix == ".xlsx":
            options: dict[str, Any] = {"engine": "calamine", "infer_schema_length": None}
            head = polars.read_excel(path, has_header=False, read_options={"n_rows": 1}, **options)
            names = ["" if name is None else str(name) for name in (head.row(0) if len(head) else ())]
            frame = polars.read_excel(path, **options)
            frame.columns = list(_checked(names, path))
            table = Table(path, tuple(frame.columns), len(frame), 2, frame)
        else:
            names, rows, separator = _scan(path)
            frame = polars.read_csv(path, separator=separator, infer_schema=False, glob=False)[:rows]
            if len(frame) != rows:
                raise UserError(f"cannot read {path}: {len(frame):,} of {rows:,} rows are intact; check its quotes")
            frame.columns = names
            table = Table(path, tuple(names), rows, 2, frame)
    if not table.rows:
        raise UserError(f"{path} has no rows")
    check_size(path, (table.rows, len(table.names)), 8)
    return table


def _checked(names: list[str], path: Path) -> tuple[str, ...]:
    """Return the names of columns. Raises UserError if they do not tell the columns apart."""
    if len(names) < 2:
        raise UserError(f"{path} must have at least two columns, one of them the target")
    for index, name in enumerate(names):
        if not name.strip():
            raise UserError(f"{path}: column {index + 1} has no name")
        if name in names[:index]:
            raise UserError(f"{path} has two columns called {quote(name)}")
    return tuple(names)


def _scan(path: Path) -> tuple[list[str], int, str]:
    """Return names, number of rows and separator of a text file, whose rows must all have as many cells.

    Empty lines at the end do not count.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        line = file.readline(1 << 20)
        separator = max(_SEPARATORS, key=line.count)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator, strict=True)
        names = next(rows, [])
        _checked(names, path)
        count, empty = 0, False
        for row in rows:
            if row and (empty or len(row) != len(names)):
                cells = 0 if empty else len(row)
                raise UserError(f"{path}, row {count + 2}: {cells} cells, not {len(names)} as in the line of names")
            empty = empty or not row
            count += bool(row)
    return names, count, separator


def load(source: Source, columns: Columns | None = None) -> Dataset:
    """Return the data set of a table, or of a folder with two tables.

    Raises
    ------
    UserError
        If no target is named, or a table has cells that cannot be read as numbers, or too few rows or classes.
    """
    source.check_options({"target", "group", "task"}, "a table")
    path = Path(source.name)
    parts = (find(path) if path.is_dir() else None) or (path,)
    tables = [open_table(part) for part in parts]
    if source.target is None:
        there = printable(", ".join(tables[0].names), 80)
        kind = {"values": "numbers to learn", "labels": "labels"}.get(source.task, "class")
        raise UserError(f"{parts[0]} needs --target COLUMN with the {kind} of each row; its columns are {there}")
    return dataset(source.title, tables, source.target, source.group, columns, source.task)


def dataset(
    name: str,
    tables: list[Table],
    target: str,
    group: str | None = None,
    columns: Columns | None = None,
    task: Task = "class",
) -> Dataset:
    """Return the data set of one table, which is divided, or of tables to train and to test.

    Parameters
    ----------
    name
        Name of the data set.
    tables
        One or two tables.
    target, group
        Columns with the class and, if not None, with the group of each row. For other tasks, `target` is several
        columns separated by commas.
    columns
        The columns with numbers, and how they become bytes. By default the rule is fitted on the training rows of all
        columns.
    task
        What is learned.
    """
    if task == "class":
        targets, (classes, labels) = [target], _classes(tables, target)
    else:
        targets = target.split(",")
        classes, labels = (
            check_class_names(targets, "--target", 1),
            [_targets(table, targets, task) for table in tables],
        )
    groups = None if group is None else np.unique(tables[0].texts(group), return_inverse=True)[1]
    features = [column for column in tables[0].names if column not in (*targets, group)]
    if columns is not None:
        features = list(columns.names)
    if not features:
        raise UserError(f"{tables[0].path} has no column besides {quote(target)}")
    if len(tables) == 1:
        strata, names = (labels[0], classes) if task == "class" else (np.zeros(tables[0].rows, int), ("all rows",))
        train, test = split_test(strata, names, tables[0].path, groups)
    else:
        train, test = np.arange(tables[0].rows), np.arange(tables[1].rows)
        if groups is not None and groups.max() < 1:
            raise UserError(f"{tables[0].path} must have at least 2 groups, for training and validation")
    images = [np.empty((table.rows, 1, 1, len(features)), np.uint8) for table in tables]
    rules = [] if columns is None else columns.rules()
    for index, feature in enumerate(features):
        for table, part in zip(tables, images, strict=True):
            values = table.numbers(feature)
            if len(rules) == index:
                rules.append(fit_column(values[train], feature, table.path))
            part[:, 0, 0, index] = rules[index].codes(values)
    return Dataset(
        name, classes, images[0][train], labels[0][train], images[-1][test], labels[-1][test],
        columns=Columns.from_rules(features, rules),
        task=task,
        train_groups=None if groups is None else groups[train],
    )  # fmt: skip


def _classes(tables: list[Table], target: str) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the names of the classes of the first table, and the class numbers of each table's rows."""
    texts = [_class_texts(table, target) for table in tables]
    classes = check_class_names(_sorted(set(texts[0])), f"{tables[0].path}, column {quote(target)}")
    number = {text: index for index, text in enumerate(classes)}
    for row, text in enumerate(texts[-1]):
        if text not in number:
            cell = tables[-1].at(row, target)
            raise UserError(f"{cell}: {quote(text)} is no class of {tables[0].path}")
    return classes, [encode_labels(classes, np.array([number[text] for text in part])) for part in texts]


def _targets(table: Table, names: list[str], task: Task) -> np.ndarray:
    """Return values float32 [rows, targets], or labels uint8 [rows, targets]. Raises UserError for a missing one."""
    targets = np.empty((table.rows, len(names)), np.float32 if task == "values" else np.uint8)
    for index, name in enumerate(names):
        values = table.numbers(name)
        known = np.isin(values, (0, 1)) if task == "labels" else np.abs(values) <= np.finfo(np.float32).max
        if len(wrong := np.flatnonzero(~known)):
            kind = "0 or 1" if task == "labels" else "a number within the range of float32"
            raise UserError(f"{table.at(int(wrong[0]), name)}: must be {kind}, not {_shown(values[wrong[0]])}")
        targets[:, index] = values
    return targets


def _shown(value: float) -> str:
    return "empty" if np.isnan(value) else f"{value:g}"


def _class_texts(table: Table, target: str) -> list[str]:
    """Return the class of each row: text, or an integer as text. Raises UserError for other numbers."""
    texts = table.texts(target)
    numbers = [_number(text) for text in texts]
    if any(number is None for number in numbers):
        return texts
    for row, number in enumerate(numbers):
        if number != int(number or 0):
            must = f"must be an integer or a name, not {quote(texts[row])}; --task values learns numbers"
            raise UserError(f"{table.at(row, target)}: a class {must}")
    return [str(int(number or 0)) for number in numbers]


def _number(text: str) -> float | None:
    """Return the number that a text stands for, or None if it is none, or too large to be a class."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1 << 53 else None


def _sorted(names: set[str]) -> list[str]:
    """Return the names of classes in order: by number if all are numbers."""
    numbers = {name: _number(name) for name in names}
    if any(number is None for number in numbers.values()):
        return sorted(names)
    return sorted(names, key=lambda name: numbers[name] or 0)
