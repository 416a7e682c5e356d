"""Adder graphs as bytes, for the cache and for the graphs that ship with psahw.

Three counts (inputs, adders, outputs) and the ranges of the inputs come first, as int32. Then each field of all
adders follows, and each field of all outputs. Numbers of nodes are distances from the adder or from the end, and each
byte of a number is stored apart, all highest bytes first, which compress to half: three bytes remain of an adder.
"""

import numpy as np

from .graph import Adder, Graph, Output

__all__ = ["decode", "encode"]

_ADDER = (4, 4, 1, 1)  # bytes of the distances of both operands, of shift and sign, and of the shift to the right
_OUTPUT = (4, 1)  # bytes of the distance, 0 for a row of zeros, and of shift and sign


def _planes(numbers: np.ndarray, size: int) -> bytes:
    """Return integers of ``size`` bytes as all their highest bytes, then all that follow, and so on."""
    return numbers.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 4 - size :].T.tobytes()


def encode(graph: Graph) -> bytes:
    """Return a graph as bytes."""
    inputs, adders = len(graph.inputs), np.array(graph.adders, np.int64).reshape(-1, 5)
    rows = [(0, 0, 0) if output is None else (graph.nodes - output[0], *output[1:]) for output in graph.outputs]
    outputs = np.array(rows, np.int64).reshape(-1, 3)
    nodes = np.arange(inputs, graph.nodes)
    header = np.array([inputs, len(adders), len(outputs), *np.ravel(graph.inputs)], "<i4").tobytes()
    of_adders = (nodes - adders[:, 0], nodes - adders[:, 1], 2 * adders[:, 2] + adders[:, 3], adders[:, 4])
    parts = [_planes(numbers, size) for numbers, size in zip(of_adders, _ADDER, strict=True)]
    of_outputs = (outputs[:, 0], 2 * outputs[:, 1] + outputs[:, 2])
    parts += [_planes(numbers, size) for numbers, size in zip(of_outputs, _OUTPUT, strict=True)]
    return header + b"".join(parts)


def decode(content: bytes) -> Graph:
    """Return the graph that `encode` has written. Raises ValueError for anything else."""
    place = 0

    def read(size: int) -> np.ndarray:
        nonlocal place
        if len(content) - place < size:
            raise ValueError(f"an adder graph of {len(content)} bytes is cut off")
        place += size
        return np.frombuffer(content, np.uint8, size, place - size)

    def numbers(count: int, sizes: tuple[int, ...]) -> list[np.ndarray]:
        columns = []
        for size in sizes:
            planes = np.zeros((count, 4), np.uint8)
            planes[:, 4 - size :] = read(count * size).reshape(size, count).T
            columns.append(planes.view(">u4")[:, 0].astype(np.int64))
        return columns

    inputs, adders, outputs = np.maximum(read(12).view("<i4"), 0).tolist()
    ranges = read(8 * inputs).view("<i4").reshape(-1, 2).tolist()
    a, b, signed_shift, right = numbers(adders, _ADDER)
    nodes = np.arange(inputs, inputs + adders)
    fields = (nodes - a, nodes - b, signed_shift >> 1, (signed_shift & 1).astype(bool), right)
    rows = zip(*(field.tolist() for field in fields), strict=True)
    distance, signed_output = numbers(outputs, _OUTPUT)
    if place != len(content):
        raise ValueError(f"an adder graph of {place} bytes must not be {len(content)} bytes long")
    return Graph(
        tuple((low, high) for low, high in ranges),
        tuple(Adder(*row) for row in rows),
        tuple(
            Output(inputs + adders - back, shift >> 1, bool(shift & 1)) if back else None
            for back, shift in zip(distance.tolist(), signed_output.tolist(), strict=True)
        ),
    )
