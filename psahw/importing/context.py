"""Share what the parts of lowering need: the model, names of layers, and notes on what became of each operator."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..network.graph import Named, check_layer_name
from ..network.layers import Table
from . import operators as ops
from .values import Grid

__all__ = ["Context", "Line", "Names"]


@dataclass(frozen=True)
class Line:
    """An operator, and what became of it.

    Parameters
    ----------
    operator, kind
        Name and kind of the operator.
    layers
        Names of the layers that it became; none if it is part of another one.
    note
        Whether that is exact, or what is rounded.
    exact
        Whether it is exact.
    """

    operator: str
    kind: str
    layers: tuple[str, ...]
    note: str
    exact: bool = True


class Names:
    """Gives layers names that a network allows, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, wanted: str, suffix: str = "") -> str:
        """Return a name like that of an operator: letters, digits and underscores, in parts behind dots."""
        base = re.sub(r"[^A-Za-z0-9]+", "_", wanted).strip("_")[:40] or "layer"
        for number in range(1, 10_000):
            name = f"{base}{'' if number == 1 else f'_{number}'}{suffix}"
            try:
                check_layer_name(name)
            except ValueError:
                continue
            if name.replace(".", "_") not in self._taken:
                self._taken.add(name.replace(".", "_"))
                return name
        raise AssertionError(wanted)


class Context:
    """A model that becomes a network.

    Attributes
    ----------
    shapes
        The shape of each tensor.
    takers
        The operators that take each tensor.
    lines
        What became of the operators so far.
    names
        Gives layers names.
    """

    def __init__(self, model: ops.Model, exact: bool, thresholds: bool) -> None:
        self.model, self.exact, self.thresholds = model, exact, thresholds
        self.shapes = ops.shapes(model)
        self.lines: list[Line] = []
        self.names = Names()
        self.takers: dict[str, list[ops.Operator]] = defaultdict(list)
        for operator in model.operators:
            for name in dict.fromkeys(operator.inputs):
                self.takers[name].append(operator)

    def say(self, operator: ops.Operator, layers: Sequence[Named], note: str, exact: bool = True) -> None:
        """Note what became of an operator."""
        names = tuple(named.name for named in layers)
        self.lines.append(Line(operator.name, type(operator).__name__, names, note, exact))

    def absorb(self, operators: Sequence[ops.Operator], by: ops.Operator) -> None:
        """Note that operators are part of another one."""
        for operator in operators:
            self.say(operator, [], f"part of {by.name}")

    def clip(self, name: str, grid: Grid, ends: np.ndarray, channels: int) -> list[Named]:
        """Return a table that clips codes to those of a grid, unless the least and the greatest are on it."""
        ends = ends.clip(grid.codes.low, grid.codes.high)
        if grid.low <= ends.min() and ends.max() <= grid.high:
            return []
        codes = np.arange(grid.codes.low, grid.codes.high + 1).clip(grid.low, grid.high)
        values = np.tile(codes, (channels, 1)).astype(np.int8 if grid.codes.signed else np.uint8)
        return [Named(self.names(name, ".clip"), Table(values, grid.codes.bits))]

    def ending(self, tensor: str) -> tuple[list[ops.Clip], ops.Quantise | None]:
        """Return the clips behind a tensor and the quantiser behind them, or None if something else is there."""
        clips: list[ops.Clip] = []
        while len(takers := self.takers[tensor]) == 1:
            if isinstance(takers[0], ops.Quantise):
                return clips, takers[0]
            if not isinstance(takers[0], ops.Clip):
                break
            clips.append(takers[0])
            tensor = takers[0].output
        return clips, None
