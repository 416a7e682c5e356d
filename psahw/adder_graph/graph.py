"""The data of an adder graph, and the matrix that it computes."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = ["MAX_SHIFT", "Adder", "Graph", "Output"]

MAX_SHIFT = 40
"""Largest shift in a graph. With larger ones the linear forms could exceed int64."""


class Adder(NamedTuple):
    """``(a ± (b << shift)) >> right``, exactly: the bits that are shifted out are zero.

    ``a`` and ``b`` are numbers of nodes: the inputs come first, then the adders. Because ``a`` is neither shifted nor
    negated, its low ``shift`` bits need no adder.
    """

    a: int
    b: int
    shift: int
    subtract: bool
    right: int = 0


class Output(NamedTuple):
    """``±node << shift``."""

    node: int
    shift: int
    negative: bool


@dataclass(frozen=True)
class Graph:
    """An adder graph, which multiplies a vector of integers by a constant matrix.

    Parameters
    ----------
    inputs
        Least and greatest value of each input.
    adders
        The adders, each behind the nodes that it adds.
    outputs
        One element for each row of the matrix; None is a row of zeros.

    Raises
    ------
    ValueError
        If an adder or output refers to a node that does not precede it, or shifts by more than `MAX_SHIFT`.
    """

    inputs: tuple[tuple[int, int], ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Output | None, ...]

    def __post_init__(self) -> None:
        for n, (low, high) in enumerate(self.inputs):
            if low > high:
                raise ValueError(f"inputs[{n}] must be (low, high), not {(low, high)}")
        for n, adder in enumerate(self.adders):
            before = len(self.inputs) + n
            if not (0 <= adder.a < before and 0 <= adder.b < before):
                raise ValueError(f"adders[{n}] must add nodes from 0 to {before - 1}, not {adder.a} and {adder.b}")
            if not (0 <= adder.shift <= MAX_SHIFT and 0 <= adder.right <= MAX_SHIFT):
                raise ValueError(f"adders[{n}] must shift by 0 to {MAX_SHIFT}, not {adder.shift} and {adder.right}")
        for n, output in enumerate(self.outputs):
            if output and not (0 <= output.node < self.nodes and 0 <= output.shift <= MAX_SHIFT):
                raise ValueError(
                    f"outputs[{n}] must be a node below {self.nodes}, shifted by 0 to {MAX_SHIFT}, not {output}"
                )

    @property
    def nodes(self) -> int:
        """Number of nodes: inputs and adders."""
        return len(self.inputs) + len(self.adders)

    def _node_values(self, values: np.ndarray) -> np.ndarray:
        """Return int64 (nodes, ...), the values of all nodes, from those of the inputs (inputs, ...)."""
        nodes = np.empty((self.nodes, *values.shape[1:]), np.int64)
        nodes[: len(self.inputs)] = values
        for n, (a, b, shift, subtract, right) in enumerate(self.adders, len(self.inputs)):
            term = nodes[b] << shift
            nodes[n] = (nodes[a] - term if subtract else nodes[a] + term) >> right
        return nodes

    def _output_values(self, nodes: np.ndarray) -> np.ndarray:
        """Return int64 (outputs, ...) from the values of all nodes (nodes, ...)."""
        values = np.zeros((len(self.outputs), *nodes.shape[1:]), np.int64)
        for n, output in enumerate(self.outputs):
            if output:
                values[n] = (-1 if output.negative else 1) * (nodes[output.node] << output.shift)
        return values

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs, int64 (vectors, outputs), for integers ``x`` (vectors, inputs)."""
        return self._output_values(self._node_values(np.asarray(x, np.int64).T)).T

    @cached_property
    def forms(self) -> np.ndarray:
        """The linear form of each node in the inputs: int64 (nodes, inputs)."""
        return self._node_values(np.eye(len(self.inputs), dtype=np.int64))

    @property
    def weight(self) -> np.ndarray:
        """The matrix that the graph computes: int64 (outputs, inputs)."""
        return self._output_values(self.forms)

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Least and greatest value of each node over all inputs. They are exact, for a node is a linear form."""
        low, high = np.array(self.inputs, np.int64).reshape(-1, 2).T
        ends = self.forms * low, self.forms * high
        return tuple(zip(np.minimum(*ends).sum(1).tolist(), np.maximum(*ends).sum(1).tolist(), strict=True))
