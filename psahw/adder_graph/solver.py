"""Adder graphs for constant matrices, found by da4ml and cached.

da4ml's optimiser (Sun et al., doi:10.1145/3777387) writes rows as sums of simpler rows and weights as signed digits,
and then computes the pair of terms that occurs most often once, again and again. Its answer becomes a `Graph`, which
can be read, evaluated and built without da4ml. Every graph is checked against its matrix: the linear forms of its
outputs, in exact integers, must be the rows of the matrix.

Optimising takes seconds for a 48x64 matrix and a minute and a half for 96x96, and grows faster than the matrix.
Results are therefore cached by content, matrices are solved in parallel, and a matrix can be solved in blocks of
rows. The graphs of the networks that ship with psahw ship with them (`psahw.adder_graph.shipped`).
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import cache
from ..processes import call_each
from . import shipped
from .builder import Builder, Term
from .encoding import decode, encode
from .graph import Graph

__all__ = ["MAX_WEIGHT", "digest", "solve", "solve_all"]

_FORMAT = 2  # of the cached and the shipped files
_OPTIONS: dict[str, Any] = {"adder_size": 1, "carry_size": -1, "search_all_decompose_dc": False}
"""Options of da4ml: an adder costs its bits, and only one split of the matrix into simpler rows is tried."""

_QUICK = 2048
"""Weights that are optimised within a moment, sooner than other processes would have started."""

MAX_WEIGHT = 1 << 15
"""Largest magnitude of a weight."""


_Ranges = Sequence[tuple[int, int]]


def digest(weight: np.ndarray, inputs: _Ranges | None = None) -> str:
    """Return a SHA-256, in hexadecimal, over all that the graph of a matrix depends on.

    Parameters are those of `solve`, without options. Raises PackageNotFoundError if da4ml is not installed.
    """
    header = {
        "format": _FORMAT,
        "da4ml": metadata.version("da4ml"),
        "options": _OPTIONS,
        "shape": weight.shape,
        "inputs": [(-128, 127)] * weight.shape[1] if inputs is None else inputs,
    }
    content = json.dumps(header, sort_keys=True).encode() + weight.astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest()


class _Task(NamedTuple):
    """A question to da4ml: a matrix without rows or columns of zeros, and the ranges of its inputs."""

    weight: np.ndarray
    inputs: tuple[tuple[int, int], ...]

    def path(self) -> Path:
        """Return the path of the answer in the cache."""
        return cache.place("adder_graphs") / f"{digest(self.weight, self.inputs)}.graph"

    def answered_by(self, graph: Graph) -> bool:
        """Return whether a graph has the inputs of the task and computes its matrix."""
        return graph.inputs == self.inputs and np.array_equal(graph.weight, self.weight)


def _optimise(task: _Task) -> Graph:
    """Return da4ml's answer to a task."""
    from da4ml.cmvm import QInterval, solve

    answer = solve(
        np.ascontiguousarray(task.weight.T, np.float32),
        qintervals=[QInterval(float(low), float(high), 1.0) for low, high in task.inputs],
        **_OPTIONS,
    )
    builder = Builder(len(task.inputs))
    values: list[Term | None] = [Term(n) for n in range(len(task.inputs))]
    for stage in answer.solutions:
        terms: list[Term | None] = []
        for operation in stage.ops:
            if operation.opcode == -1:  # an input of the stage
                value = values[operation.id0]
                terms.append(value and value.shifted(stage.inp_shifts[operation.id0]))
            elif operation.opcode in (0, 1):  # addition, subtraction
                b = terms[operation.id1]
                b = b and b.shifted(operation.data).negated(operation.opcode == 1)
                terms.append(builder.add(terms[operation.id0], b))
            else:
                raise RuntimeError(f"da4ml's operation must be an addition or subtraction, not {operation.opcode}")
        values = []
        for index, shift, negative in zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True):
            term = terms[index] if index >= 0 else None
            values.append(term and term.shifted(shift).negated(negative))
    graph = builder.finish(task.inputs, values)
    if not task.answered_by(graph):
        raise RuntimeError("da4ml's adder graph does not compute its matrix")
    return graph


def _cached(path: Path, task: _Task) -> Graph | None:
    """Return the graph in a cached file, or None if the file is absent, damaged, or not an answer to the task."""
    if (content := cache.read(path)) is None:
        return None
    graph = decode(content)
    return graph if task.answered_by(graph) else None


def _answers(tasks: list[_Task], workers: int, progress: Callable[[int, int], None] | None) -> list[Graph]:
    """Return the graph of each task, from the cache or from da4ml. Equal tasks are solved once."""
    paths = [task.path() for task in tasks]
    task_of = dict(zip(paths, tasks, strict=True))
    graphs = {path: graph for path, task in task_of.items() if (graph := _cached(path, task))}
    missing = {path: task for path, task in task_of.items() if path not in graphs}
    quick = sum(task.weight.size for task in missing.values()) <= _QUICK

    def report() -> None:
        if progress and not quick:
            progress(len(graphs), len(task_of))

    def add(path: Path, graph: Graph) -> None:
        graphs[path] = graph
        cache.write(path, encode(graph))
        report()

    report()
    if min(workers, len(missing)) <= 1 or quick:
        for path, task in missing.items():
            add(path, _optimise(task))
    else:
        # One thread in each process, which has a core of its own. Other processes than this one also because da4ml
        # does not react to signals.
        largest_first = sorted(missing, key=lambda path: -missing[path].weight.size)
        tasks = [missing[path] for path in largest_first]
        for index, graph in call_each(_optimise, tasks, workers=workers, environment={"OMP_NUM_THREADS": "1"}):
            add(largest_first[index], graph)
    return [graphs[path] for path in paths]


def _checked(name: str, weight: np.ndarray, inputs: _Ranges | None) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Return a matrix as int64 and the ranges of its inputs, after checking both."""
    weight = np.asarray(weight)
    if weight.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of integers, not {weight.dtype}")
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"{name} must have shape (outputs, inputs), not {weight.shape}")
    if np.abs(weight.astype(np.int64)).max() > MAX_WEIGHT:
        raise ValueError(f"{name} must lie in [-{MAX_WEIGHT}, {MAX_WEIGHT}], not {weight.min()} to {weight.max()}")
    inputs = ((-128, 127),) * weight.shape[1] if inputs is None else inputs
    if len(inputs) != weight.shape[1]:
        raise ValueError(f"inputs must have {weight.shape[1]} ranges, not {len(inputs)}")
    return weight.astype(np.int64), tuple((int(low), int(high)) for low, high in inputs)


class _Place(NamedTuple):
    """Position of a task in the list of matrices, and the rows and columns of its block."""

    matrix: int
    rows: np.ndarray
    columns: np.ndarray


def _split(matrices: list[tuple[np.ndarray, tuple]], block_rows: int | None) -> tuple[list[_Place], list[_Task]]:
    """Return the blocks of rows of all matrices, without rows and columns of zeros, as tasks with their places."""
    places, tasks = [], []
    for n, (weight, inputs) in enumerate(matrices):
        for start in range(0, len(weight), block_rows or len(weight)):
            block = weight[start : start + (block_rows or len(weight))]
            rows, columns = np.flatnonzero(block.any(1)), np.flatnonzero(block.any(0))
            if len(rows):
                places.append(_Place(n, rows + start, columns))
                # da4ml leaves out an input that is constant, so each gets a range of at least two values.
                varying = tuple((low, max(high, low + 1)) for low, high in (inputs[c] for c in columns))
                tasks.append(_Task(block[np.ix_(rows, columns)], varying))
    return places, tasks


def solve_all(
    layers: Sequence[tuple[np.ndarray, _Ranges | None]],
    *,
    block_rows: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Graph]:
    """Return an adder graph for each of several matrices.

    Parameters
    ----------
    layers
        Pairs of a matrix of integers (outputs, inputs) and the range of each input, or None for int8 inputs.
    block_rows
        Number of rows that are optimised together; None takes all rows of a matrix. Equal nodes of the blocks are
        joined afterwards, but small blocks share less than large ones.
    workers
        Number of processes that work on blocks that are not in the cache; None takes one for each core.
    progress
        Called with the number of finished blocks and the number of all blocks. It is not called if the blocks that
        are not in the cache take only a moment, and blocks of graphs that ship do not count.

    Returns
    -------
    list of Graph
        The graph of each matrix, which computes it exactly.

    Raises
    ------
    TypeError
        If a matrix is not of integers.
    ValueError
        If the shape or range of an argument is wrong.
    ImportError
        If da4ml (the extra ``graph``) is not installed.
    """
    if block_rows is not None and block_rows < 1:
        raise ValueError(f"block_rows must be at least 1, not {block_rows}")
    matrices = [_checked(f"layers[{n}]", *layer) for n, layer in enumerate(layers)]
    graphs = [_shipped(*matrix) if block_rows is None else None for matrix in matrices]
    others = [matrix for matrix, graph in zip(matrices, graphs, strict=True) if graph is None]
    places, tasks = _split(others, block_rows)
    answers = _answers(tasks, workers or os.cpu_count() or 1, progress)
    blocks: list[list[tuple[_Place, Graph]]] = [[] for _ in others]
    for place, answer in zip(places, answers, strict=True):
        blocks[place.matrix].append((place, answer))
    joined = iter([_joined(*matrix, parts) for matrix, parts in zip(others, blocks, strict=True)])
    return [graph or next(joined) for graph in graphs]


def _shipped(weight: np.ndarray, inputs: tuple[tuple[int, int], ...]) -> Graph | None:
    """Return the graph of a matrix of a network that ships with psahw, or None if it is another matrix."""
    try:
        content = shipped.read(f"{digest(weight, inputs)}.graph")
    except metadata.PackageNotFoundError:  # of da4ml: another release would find another graph
        return None
    return None if content is None else decode(content)


def _joined(weight: np.ndarray, inputs: tuple[tuple[int, int], ...], blocks: list[tuple[_Place, Graph]]) -> Graph:
    """Return the graph of a matrix from the graphs of its blocks."""
    if len(blocks) == 1:
        place, graph = blocks[0]
        if graph.inputs == inputs and len(place.rows) == len(weight):
            return graph
    builder = Builder(weight.shape[1])
    outputs: list[Term | None] = [None] * len(weight)
    for place, graph in blocks:
        for row, term in zip(place.rows, builder.include(graph, place.columns.tolist()), strict=True):
            outputs[row] = term
    graph = builder.finish(inputs, outputs)
    if not np.array_equal(graph.weight, weight):
        raise RuntimeError("the joined adder graph does not compute its matrix")
    return graph


def solve(weight: np.ndarray, inputs: _Ranges | None = None, **options: Any) -> Graph:
    """Return the adder graph of one matrix (outputs, inputs). The options are those of `solve_all`.

    Examples
    --------
    >>> graph = solve(np.array([[1, 3], [0, 5]]))
    >>> graph.weight.tolist()
    [[1, 3], [0, 5]]
    """
    return solve_all([(weight, inputs)], **options)[0]
