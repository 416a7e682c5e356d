"""Paths between the tensors of a model: which operators take a tensor, and where all that they compute meets."""

from collections import defaultdict

from . import operators as ops

__all__ = ["Paths"]


class Paths:
    """The paths of a model.

    Parameters
    ----------
    model
        The model.

    Attributes
    ----------
    takers
        The operators that take each tensor.
    """

    def __init__(self, model: ops.Model) -> None:
        self.takers: dict[str, list[ops.Operator]] = defaultdict(list)
        for operator in model.operators:
            for name in dict.fromkeys(operator.inputs):
                self.takers[name].append(operator)
        names = [model.input.name, *(operator.output for operator in model.operators)]
        self._makers = {operator.output: operator for operator in model.operators}
        self._position = {name: index for index, name in enumerate(names)}
        self._following: dict[str, str | None] = {}  # the first tensor that all computed from one passes through
        for name in reversed(names):
            ways = [taker.output for taker in self.takers[name]]
            first: str | None = ways[0] if ways else None
            for way in ways[1:]:
                first = self._common(first, way)
            self._following[name] = first

    def _common(self, one: str | None, other: str | None) -> str | None:
        """Return the first tensor that all computed from either of two passes through, or None."""
        while one != other and one is not None and other is not None:
            if self._position[one] < self._position[other]:
                one = self._following[one]
            else:
                other = self._following[other]
        return one if one == other else None

    def meeting(self, tensor: str) -> ops.Operator | None:
        """Return the first operator that all computed from a tensor passes through, or None if there is none."""
        following = self._following[tensor]
        return None if following is None else self._makers[following]

    def passes(self, tensor: str, end: str) -> bool:
        """Return whether all that is computed from a tensor passes through another one."""
        reached: str | None = tensor
        while reached is not None and self._position[reached] < self._position[end]:
            reached = self._following[reached]
        return reached == end
