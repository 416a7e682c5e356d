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
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import cache_directory, write_cached

__all__ = ["Adder", "Graph", "Output", "solve", "solve_all"]

_FORMAT = 1  # of the cached files
_OPTIONS = {"adder_size": 1, "carry_size": -1, "search_all_decompose_dc": False}
"""Of da4ml: the cost of an adder is its bits, and one split of the matrix into simpler rows is tried, not all."""

_FEW = 2048  # weights that are optimised in a moment, sooner than other processes have started

MAX_WEIGHT = 1 << 15
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


class _Term(NamedTuple):
    """``±node·2^shift``; the shift of an intermediate may be negative."""

    node: int
    shift: int = 0
    negative: bool = False

    def shifted(self, shift: int) -> "_Term":
        return self._replace(shift=self.shift + shift)

    def negated(self, negative: bool = True) -> "_Term":
        return self._replace(negative=self.negative != negative)


class _Builder:
    """Makes graphs in which no two nodes are equal up to sign and a power of two, and none is always 0."""

    def __init__(self, inputs: int):
        self._inputs, self._adders = inputs, []
        self._forms = list(np.eye(inputs, dtype=np.int64))
        self._known = {form.tobytes(): n for n, form in enumerate(self._forms)}

    def add(self, x: _Term | None, y: _Term | None) -> _Term | None:
        """The sum; None is 0."""
        if x is None or y is None:
            return y if x is None else x
        a, b = sorted((x, y), key=lambda term: term.shift)
        scale, shift, subtract = a.shift, b.shift - a.shift, a.negative != b.negative
        if shift > MAX_SHIFT:
            raise RuntimeError(f"the adder graph shifts by {shift}, not at most {MAX_SHIFT}")
        form_b = self._forms[b.node] << shift
        form = self._forms[a.node] - form_b if subtract else self._forms[a.node] + form_b
        bits = int(np.bitwise_or.reduce(form))
        if bits == 0:
            return None
        right = (bits & -bits).bit_length() - 1
        form >>= right
        for negative, same in ((False, form), (True, -form)):
            node = self._known.get(same.tobytes())
            if node is not None:
                return _Term(node, scale + right, a.negative != negative)
        self._known[form.tobytes()] = node = len(self._forms)
        self._forms.append(form)
        self._adders.append(Adder(a.node, b.node, shift, subtract, right))
        return _Term(node, scale + right, a.negative)

    def include(self, graph: Graph, inputs: Sequence[int]) -> list[_Term | None]:
        """The outputs of another graph, whose inputs are these nodes."""
        terms = [_Term(node) for node in inputs]
        for a, b, shift, subtract, right in graph.adders:
            total = self.add(terms[a], terms[b].shifted(shift).negated(subtract))
            terms.append(total.shifted(-right))
        return [
            output and terms[output.node].shifted(output.shift).negated(output.negative) for output in graph.outputs
        ]

    def finish(self, inputs: Sequence[tuple[int, int]], outputs: Sequence[_Term | None]) -> Graph:
        """The graph, without adders that no output needs."""
        used = {term.node for term in outputs if term}
        for n in range(len(self._forms) - 1, self._inputs - 1, -1):
            if n in used:
                used |= {self._adders[n - self._inputs].a, self._adders[n - self._inputs].b}
        kept = [*range(self._inputs), *(n for n in range(self._inputs, len(self._forms)) if n in used)]
        number = {n: new for new, n in enumerate(kept)}
        adders = (self._adders[n - self._inputs] for n in kept[self._inputs :])
        return Graph(
            tuple(inputs),
            tuple(adder._replace(a=number[adder.a], b=number[adder.b]) for adder in adders),
            tuple(term and Output(number[term.node], term.shift, term.negative) for term in outputs),
        )


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
    builder = _Builder(len(task.inputs))
    values = [_Term(n) for n in range(len(task.inputs))]
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
    builder, outputs = _Builder(weight.shape[1]), [None] * len(weight)
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
