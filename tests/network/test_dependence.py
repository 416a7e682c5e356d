"""The pixels on which outputs depend, against sets of pixels that are followed from layer to layer."""

import itertools

import numpy as np
import pytest

from psahw.network.dependence import needed_pixels
from psahw.network.graph import Residual
from psahw.network.layers import Flatten, MaxPool, MeanPool, TokenMixing, Windows
from psahw.network.random import StageShape, random_graph, random_network
from psahw.network.resmlp import Patch


def followed(series, tokens, grid):
    """Return what layers make of tokens, each of which is the set of the pixels that it depends on."""
    for _, layer in series:
        if isinstance(layer, Residual):
            (branch, grid_after), (shortcut, _) = (
                followed(path, tokens, grid) for path in (layer.branch, layer.shortcut)
            )
            tokens, grid = [a | b for a, b in zip(branch, shortcut, strict=True)], grid_after
        elif isinstance(layer, Windows | MaxPool | TokenMixing) and getattr(layer, "kernel", True) is not None:
            if isinstance(layer, TokenMixing):
                size, stride, above, left = layer.kernel, (1, 1), layer.kernel[0] // 2, layer.kernel[1] // 2
                after = grid
            else:
                size, stride, (above, below, left, right) = layer.size, layer.stride, layer.padding
                after = (
                    (grid[0] + above + below - size[0]) // stride[0] + 1,
                    (grid[1] + left + right - size[1]) // stride[1] + 1,
                )
            inside = []
            for a, b in itertools.product(range(after[0]), range(after[1])):
                covered = itertools.product(range(size[0]), range(size[1]))
                at = [(a * stride[0] - above + y, b * stride[1] - left + x) for y, x in covered]
                inside.append(
                    frozenset().union(
                        *(tokens[y * grid[1] + x] for y, x in at if 0 <= y < grid[0] and 0 <= x < grid[1])
                    )
                )
            tokens, grid = inside, after
        elif isinstance(layer, MeanPool | Flatten):
            tokens, grid = [frozenset().union(*tokens)], (1, 1)
        elif isinstance(layer, TokenMixing):
            tokens = [frozenset().union(*tokens)] * len(tokens)
    return tokens, grid


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed):
    network = random_graph(np.random.default_rng(seed))
    pixels = [frozenset([n]) for n in range(network.image[0] * network.image[1])]
    ((needed,), _) = followed(network.layers, pixels, network.image)
    assert needed_pixels(network) == max(needed) + 1


def test_windows_leave_rows_out():
    """The windows of 8x8 pixels cover 8 of 15 rows."""
    network = random_network(
        np.random.default_rng(1), image=(15, 8), patch=Patch(8, 8), stages=(StageShape(2, 2, blocks=0),)
    )
    assert needed_pixels(network) == 64


def test_a_large_image():
    """Windows of 1,000 x 1,000 pixels are no loop over pixels."""
    network = random_network(
        np.random.default_rng(1), image=(1024, 1024), colours=1, patch=Patch(64, 64), stages=(StageShape(2, 2),)
    )
    assert needed_pixels(network) == 1024 * 1024
