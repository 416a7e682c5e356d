"""Raw values of a table's columns as bytes, by a rule that is fitted on the training rows.

The byte of a value is `floor((value - offset) / step + 1/2)`, and 0 or 255 for a value beyond. Each column has its
offset and step:

- If the training rows hold integers only, which span at most 255, the step is 1 and the offset is the least of them,
  so nothing is lost.
- Otherwise bytes 0 and 255 stand for the 0.1 % and 99.9 % quantiles of the training rows, so that a few outliers do
  not take the resolution from all others. If these are equal, they stand for the least and the greatest value.
- A column that is constant in the training rows has step 1, and that constant as byte 0.

A missing value is replaced by the median of the column's training rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from psahw import documents
from psahw.errors import UserError
from psahw.quoting import quote

__all__ = ["Columns", "Rule", "fit_column"]

QUANTILES = (0.001, 0.999)


@dataclass(frozen=True)
class Rule:
    """How the values of one column become bytes.

    Parameters
    ----------
    offset
        Value for which the byte is 0.
    step
        Difference of two values whose bytes differ by 1; positive.
    median
        Value that stands for a missing one.
    """

    offset: float
    step: float
    median: float

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bytes uint8 [n] of values float64 [n]. NaN stands for a missing value."""
        known = np.where(np.isnan(values), self.median, values)
        with np.errstate(over="ignore"):  # infinity is clipped as well
            scaled = np.floor((known - self.offset) / self.step + 0.5)
        return np.clip(scaled, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Columns:
    """How the values of each column of a table become bytes.

    Parameters
    ----------
    names
        Names of the columns.
    offset, step, median
        See `Rule`; one number per column.
    """

    names: tuple[str, ...]
    offset: tuple[float, ...]
    step: tuple[float, ...]
    median: tuple[float, ...]

    @classmethod
    def from_rules(cls, names: Sequence[str], rules: Sequence[Rule]) -> "Columns":
        """Return the columns with these names and rules."""
        values = zip(*((rule.offset, rule.step, rule.median) for rule in rules), strict=True)
        return cls(tuple(names), *values)

    def rules(self) -> list[Rule]:
        """Return the rule of each column."""
        return [Rule(*numbers) for numbers in zip(self.offset, self.step, self.median, strict=True)]

    def values(self, row: np.ndarray) -> dict[str, float]:
        """Return the values that the bytes of a row, uint8 [columns], stand for, by column."""
        known = zip(self.names, self.offset, self.step, row.tolist(), strict=True)
        return {name: offset + step * byte for name, offset, step, byte in known}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON, for the metadata of a network file."""
        return {
            "names": list(self.names),
            "offset": list(self.offset),
            "step": list(self.step),
            "median": list(self.median),
        }

    @classmethod
    def from_dict(cls, data: object, where: object) -> "Columns":
        """Return columns from JSON. Raises UserError, with a message that begins with `where`."""
        columns = documents.convert(data, cls, where)
        lengths = {len(columns.names), len(columns.offset), len(columns.step), len(columns.median)}
        if len(lengths) > 1 or not all(step > 0 for step in columns.step):
            raise UserError(f"{where}: each column needs a name, an offset, a positive step and a median")
        return columns


def fit_column(values: np.ndarray, name: str, where: object) -> Rule:
    """Return the rule for a column.

    Parameters
    ----------
    values
        float64 [n] of the training rows. NaN stands for a missing value; all others are finite.
    name
        Name of the column.
    where
        What messages call the table.

    Raises
    ------
    UserError
        If no value is known, or the range is too large for floating point.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        raise UserError(f"{where}: column {quote(name)} has no value in the training rows: leave it out")
    least, greatest, median = float(known.min()), float(known.max()), float(np.median(known))
    if greatest - least <= 255 and (known == np.floor(known)).all():
        return Rule(least, 1.0, median)
    if least == greatest:
        return Rule(least, 1.0, median)
    low, high = map(float, np.quantile(known, QUANTILES))
    if low == high:
        low, high = least, greatest
    step = (high - low) / 255
    if not (math.isfinite(step) and math.isfinite(median) and step > 0):
        raise UserError(f"{where}: column {quote(name)} spans {least:g} to {greatest:g}: scale it to a usual range")
    return Rule(low, step, median)
