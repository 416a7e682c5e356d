"""The data of an adder graph: nodes, outputs, and the matrix that they compute."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = ["MAX_SHIFT", "Adder", "Graph", "Output"]

MAX_SHIFT = 40  # beyond it forms may leave int64


class Adder(NamedTuple):
    """``(a ± (b << shift)) >> right``, exact: the bits shifted out are zero. ``a`` and ``b`` number the nodes: inputs
    first, then adders. As ``a`` is neither shifted nor negated, its low ``shift`` bits need no adder."""

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
    """An adder graph: ``inputs`` are the least and greatest value of each, ``outputs`` None where always 0.

    Raises ValueError for an adder or output that refers to no earlier node, or shifts beyond reason.
    """

    inputs: tuple[tuple[int, int], ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Output | None, ...]

    def __post_init__(self):
        for n, (low, high) in enumerate(self.inputs):
            if low > high:
                raise ValueError(f"inputs[{n}] must be (low, high), not {(low, high)}")
        for n, adder in enumerate(self.adders):
            before = len(self.inputs) + n
            if not (0 <= adder.a < before and 0 <= adder.b < before):
                raise ValueError(f"adders[{n}] must add two nodes of 0 to {before - 1}, not {adder.a} and {adder.b}")
            if not (0 <= adder.shift <= MAX_SHIFT and 0 <= adder.right <= MAX_SHIFT):
                raise ValueError(f"adders[{n}] must shift by 0 to {MAX_SHIFT}, not {adder.shift} and {adder.right}")
        for n, output in enumerate(self.outputs):
            if output and not (0 <= output.node < self.nodes and 0 <= output.shift <= MAX_SHIFT):
                raise ValueError(f"outputs[{n}] must be one of {self.nodes} nodes, not {output}")

    @property
    def nodes(self) -> int:
        return len(self.inputs) + len(self.adders)

    def _run(self, values: np.ndarray) -> np.ndarray:
        """int64 (nodes, ...) from those of the inputs (inputs, ...)."""
        done = np.empty((self.nodes, *values.shape[1:]), np.int64)
        done[: len(self.inputs)] = values
        for n, (a, b, shift, subtract, right) in enumerate(self.adders, len(self.inputs)):
            term = done[b] << shift
            done[n] = (done[a] - term if subtract else done[a] + term) >> right
        return done

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        chosen = np.zeros((len(self.outputs), *values.shape[1:]), np.int64)
        for n, output in enumerate(self.outputs):
            if output:
                chosen[n] = (-1 if output.negative else 1) * (values[output.node] << output.shift)
        return chosen

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """int64 (n, outputs) from integers (n, inputs)."""
        return self._chosen(self._run(np.asarray(x, np.int64).T)).T

    @cached_property
    def forms(self) -> np.ndarray:
        """int64 (nodes, inputs): each node as a linear form of the inputs."""
        return self._run(np.eye(len(self.inputs), dtype=np.int64))

    @property
    def weight(self) -> np.ndarray:
        """int64 (outputs, inputs): the matrix that the graph computes."""
        return self._chosen(self.forms)

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Least and greatest value of every node over all inputs: exact, for each node is a form."""
        low, high = np.array(self.inputs, np.int64).reshape(-1, 2).T
        ends = self.forms * low, self.forms * high
        return tuple(zip(np.minimum(*ends).sum(1).tolist(), np.maximum(*ends).sum(1).tolist(), strict=True))

    def to_dict(self) -> dict:
        return {"inputs": self.inputs, "adders": self.adders, "outputs": self.outputs}

    @classmethod
    def from_dict(cls, fields: dict) -> "Graph":
        """Raises KeyError, TypeError or ValueError for what `to_dict` does not write."""
        return cls(
            tuple((int(low), int(high)) for low, high in fields["inputs"]),
            tuple(Adder(*map(int, x[:3]), bool(x[3]), int(x[4])) for x in fields["adders"]),
            tuple(None if x is None else Output(int(x[0]), int(x[1]), bool(x[2])) for x in fields["outputs"]),
        )
