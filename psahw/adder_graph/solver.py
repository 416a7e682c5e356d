"""Constant matrices as shifts and additions: ``y = W·x`` by an adder graph with shared terms.

The optimiser is da4ml's (Sun et al., doi:10.1145/3777387): rows written as sums of simpler rows, weights as signed
digits, and the pair of terms that occurs most often made once. Its answer becomes a `Graph`, which needs no da4ml to
be read, evaluated or built. Whatever it came from, a graph is held to its matrix: the linear forms of its outputs, in
exact integers, are the matrix's rows.

Optimising takes seconds for a 48x64 matrix and a minute and a half for 96x96, and grows faster than the matrix:
results are cached by content, matrices are solved in parallel, and `solve` can take a matrix in blocks of rows.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import cache_directory, write_cached
from .builder import Builder, Term
from .graph import Graph

__all__ = ["solve", "solve_all"]

_FORMAT = 1  # of the cached files
_OPTIONS = {"adder_size": 1, "carry_size": -1, "search_all_decompose_dc": False}
"""Of da4ml: the cost of an adder is its bits, and one split of the matrix into simpler rows is tried, not all."""

_FEW = 2048  # weights that are optimised in a moment, sooner than other processes have started

MAX_WEIGHT = 1 << 15


class _Task(NamedTuple):
    """What da4ml is asked: a matrix without rows and columns of zeros, and the ranges of its inputs."""

    weight: np.ndarray
    inputs: tuple[tuple[int, int], ...]

    def path(self) -> Path:
        """Of its answer in the cache."""
        header = {
            "format": _FORMAT,
            "da4ml": metadata.version("da4ml"),
            "options": _OPTIONS,
            "shape": self.weight.shape,
            "inputs": self.inputs,
        }
        content = json.dumps(header, sort_keys=True).encode() + self.weight.astype("<i8").tobytes()
        return cache_directory() / "adder_graphs" / f"{hashlib.sha256(content).hexdigest()}.json"

    def answered_by(self, graph: Graph) -> bool:
        return graph.inputs == self.inputs and np.array_equal(graph.weight, self.weight)


def _optimise(task: _Task) -> Graph:
    from da4ml.cmvm import QInterval, solve

    answer = solve(
        np.ascontiguousarray(task.weight.T, np.float32),
        qintervals=[QInterval(float(low), float(high), 1.0) for low, high in task.inputs],
        **_OPTIONS,
    )
    builder = Builder(len(task.inputs))
    values = [Term(n) for n in range(len(task.inputs))]
    for stage in answer.solutions:
        terms = []
        for op in stage.ops:
            if op.opcode == -1:  # an input of the stage
                value = values[op.id0]
                terms.append(value and value.shifted(stage.inp_shifts[op.id0]))
            elif op.opcode in (0, 1):  # addition, subtraction
                b = terms[op.id1]
                terms.append(builder.add(terms[op.id0], b and b.shifted(op.data).negated(op.opcode == 1)))
            else:
                raise RuntimeError(f"da4ml's operation must be an addition or subtraction, not {op.opcode}")
        chosen = zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True)
        values = [
            None if index < 0 or terms[index] is None else terms[index].shifted(shift).negated(negative)
            for index, shift, negative in chosen
        ]
    graph = builder.finish(task.inputs, values)
    if not task.answered_by(graph):
        raise RuntimeError("da4ml's adder graph does not compute its matrix")
    return graph


def _cached(path: Path, task: _Task) -> Graph | None:
    """None if there is none, or what lies there is not an answer."""
    try:
        graph = Graph.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return graph if task.answered_by(graph) else None


def _one_thread():
    os.environ["OMP_NUM_THREADS"] = "1"  # before da4ml is loaded: each process has a core of its own


def _answers(tasks: list[_Task], workers: int, progress) -> list[Graph]:
    paths = [task.path() for task in tasks]
    asked = dict(zip(paths, tasks, strict=True))
    found = {path: graph for path, task in asked.items() if (graph := _cached(path, task))}
    missing = {path: task for path, task in asked.items() if path not in found}

    few = sum(task.weight.size for task in missing.values()) <= _FEW

    def done(path=None, graph=None):
        if path:
            found[path] = graph
            write_cached(path, json.dumps(graph.to_dict()))
        if progress and not few:
            progress(len(found), len(asked))

    done()
    if min(workers, len(missing)) <= 1 or few:
        for path, task in missing.items():
            done(path, _optimise(task))
    else:
        # Not forked: a process that has used OpenMP before may not use it after a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(missing)), context, initializer=_one_thread) as pool:
            largest_first = sorted(missing, key=lambda path: -missing[path].weight.size)
            waiting = {pool.submit(_optimise, missing[path]): path for path in largest_first}
            try:
                for future in as_completed(waiting):
                    done(waiting[future], future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return [found[path] for path in paths]


def _checked(name, weight, inputs):
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


def solve_all(
    layers: Sequence[tuple[np.ndarray, Sequence[tuple[int, int]] | None]],
    *,
    block_rows: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Graph]:
    """A graph for each (matrix (outputs, inputs), range of each input or None: int8).

    Rows are optimised ``block_rows`` at a time (None: all at once), and equal nodes of the blocks joined; smaller
    blocks share less. ``workers`` processes (None: one for each core) work on blocks that are not in the cache.
    ``progress`` is called with the blocks done and all of them, unless what is left takes but a moment. Needs da4ml,
    the extra `graph`.
    """
    if block_rows is not None and block_rows < 1:
        raise ValueError(f"block_rows must be at least 1, not {block_rows}")
    layers = [_checked(f"layers[{n}]", *layer) for n, layer in enumerate(layers)]
    places, tasks = [], []  # (layer, rows, columns) of each task
    for n, (weight, inputs) in enumerate(layers):
        for start in range(0, len(weight), block_rows or len(weight)):
            block = weight[start : start + (block_rows or len(weight))]
            rows, columns = np.flatnonzero(block.any(1)), np.flatnonzero(block.any(0))
            if len(rows):
                places.append((n, rows + start, columns))
                # da4ml leaves out an input that is constant.
                varying = tuple((low, max(high, low + 1)) for low, high in (inputs[c] for c in columns))
                tasks.append(_Task(block[np.ix_(rows, columns)], varying))
    answers = _answers(tasks, workers or os.cpu_count() or 1, progress)
    parts = [[] for _ in layers]
    for (n, rows, columns), answer in zip(places, answers, strict=True):
        parts[n].append((rows, columns, answer))
    return [_joined(weight, inputs, own) for (weight, inputs), own in zip(layers, parts, strict=True)]


def _joined(weight: np.ndarray, inputs: tuple[tuple[int, int], ...], parts: list) -> Graph:
    """The graph of a matrix from (rows, columns, graph) of its blocks."""
    if len(parts) == 1 and parts[0][2].inputs == inputs and len(parts[0][0]) == len(weight):
        return parts[0][2]  # the answer to the whole matrix
    builder, outputs = Builder(weight.shape[1]), [None] * len(weight)
    for rows, columns, answer in parts:
        for row, term in zip(rows, builder.include(answer, columns), strict=True):
            outputs[row] = term
    graph = builder.finish(inputs, outputs)
    if not np.array_equal(graph.weight, weight):
        raise RuntimeError("the joined adder graph does not compute its matrix")
    return graph


def solve(weight: np.ndarray, inputs: Sequence[tuple[int, int]] | None = None, **options) -> Graph:
    """Of one matrix; see `solve_all`."""
    return solve_all([(weight, inputs)], **options)[0]
