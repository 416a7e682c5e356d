# amaranth: UnusedElaboratable=no
"""Local token mixing against a direct sum over neighbours, and its timing against psahw.architecture.timing."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.geometry import pair
from psahw.gateware.local_mixing import LocalMixing
from psahw.network.reference import requantise
from tests.gateware.streams import run_stream

stalls = st.lists(st.booleans(), max_size=5).map(lambda pattern: [*pattern, False])


def shared_layer(rng, groups, kernel, kind="random"):
    weight = rng.integers(-128, 128, (groups, 1, np.prod(pair(kernel)))).astype(np.int8)
    if kind == "lowest":
        weight[:] = -128
    if kind == "sparse":
        weight[:, :, ::2] = 0
    bias = rng.integers(-(1 << 18), 1 << 18, (groups, 1)).astype(np.int32) >> rng.integers(0, 18)
    shift = rng.integers(0, 13, (groups, 1)).astype(np.uint8)
    return {"weight": weight, "bias": bias, "shift": shift, "shared": True}


def random_layer(rng, groups, grid, kernel, kind="random"):
    height, width = grid
    tokens, kernel = height * width, pair(kernel)
    weight = rng.integers(-128, 128, (groups, height, width, *kernel)).astype(np.int8)
    if kind == "lowest":
        weight[:] = -128
    if kind == "sparse":
        weight[:, ::2] = 0
    inside = np.pad(np.ones(grid, np.int8), [(length // 2,) * 2 for length in kernel])
    weight *= np.lib.stride_tricks.sliding_window_view(inside, kernel)
    bias = rng.integers(-(1 << 18), 1 << 18, (groups, tokens)).astype(np.int32) >> rng.integers(0, 18)
    shift = rng.integers(0, 13, (groups, tokens)).astype(np.uint8)
    return {"weight": weight.reshape(groups, tokens, -1), "bias": bias, "shift": shift}


def outputs_of(layer, x, grid, kernel):
    """Return the outputs for frames ``x`` of shape (frames, tokens, channels), from sums over neighbourhoods."""
    frames, tokens, channels = x.shape
    group = np.arange(channels) // (channels // len(layer["weight"]))
    kernel = pair(kernel)
    margins = ((0, 0), *((length // 2,) * 2 for length in kernel), (0, 0))
    padded = np.pad(x.reshape(frames, *grid, channels), margins)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    windows = windows.reshape(frames, tokens, channels, -1)
    weight = np.broadcast_to(layer["weight"][group], (channels, tokens, np.prod(kernel))).astype(np.int64)
    total = np.einsum("fnce,cne->fnc", windows, weight) + layer["bias"][group].T
    if "scale" in layer:
        total = total * layer["scale"][group].T + layer["offset"][group].T
    return requantise(total, layer["shift"][group].T)


def check(layer, grid, kernel, channels, lanes, *, frames=2, **options):
    tokens = grid[0] * grid[1]
    x = np.random.default_rng(5).integers(-128, 128, (frames, tokens, channels))
    x[0, ::2] = -128
    dut = LocalMixing(**layer, kernel=kernel, grid=grid, channels=channels, lanes=lanes)
    out, i_cycles, o_cycles = run_stream(dut, x.reshape(-1, lanes), **options)
    np.testing.assert_array_equal(out, outputs_of(layer, x, grid, kernel).reshape(-1, lanes))
    if not any(options.get("o_stalls", ())):
        predicted, taken = timing.local_mixing(
            i_cycles, tokens=tokens, beats=channels // lanes, reach=dut.reach, entries=layer["weight"].shape[2],
            scaled="scale" in layer,
        )  # fmt: skip
        np.testing.assert_array_equal(o_cycles, predicted)
        np.testing.assert_array_equal(i_cycles, taken)


@st.composite
def shapes(draw):
    """Draw (grid, groups, channels, lanes), where lanes and the channels of a group need not divide each other."""
    grid = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    groups = draw(st.integers(1, 4))
    channels = groups * draw(st.integers(1, 4))
    return grid, groups, channels, draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))


def any_layer(seed, shared, groups, grid, kernel, kind="random"):
    rng = np.random.default_rng(seed)
    return shared_layer(rng, groups, kernel, kind) if shared else random_layer(rng, groups, grid, kernel, kind)


@settings(max_examples=25, deadline=None)
@given(
    shapes(),
    st.booleans(),
    st.sampled_from([1, 3, 5, (1, 3), (3, 1), (3, 5)]),
    st.integers(0, 1000),
    st.sampled_from(["random", "lowest", "sparse"]),
    stalls,
)
def test_outputs_and_timing(shape, shared, kernel, seed, kind, i_stalls):
    grid, groups, channels, lanes = shape
    layer = any_layer(seed, shared, groups, grid, kernel, kind)
    check(layer, grid, kernel, channels, lanes, i_stalls=i_stalls)


@settings(max_examples=10, deadline=None)
@given(shapes(), st.booleans(), st.integers(0, 1000))
def test_multipliers_and_offsets(shape, shared, seed):
    grid, groups, channels, lanes = shape
    rng, layer = np.random.default_rng(seed), any_layer(seed, shared, groups, grid, 3)
    layer["shift"] += 16
    layer["scale"] = rng.integers(0, 1 << 22, layer["shift"].shape).astype(np.uint32)
    layer["offset"] = rng.integers(-(1 << 22) + 1, 1 << 22, layer["shift"].shape).astype(np.int32)
    check(layer, grid, 3, channels, lanes)


@settings(max_examples=30, deadline=None)
@given(shapes(), st.booleans(), st.integers(0, 1000), stalls, stalls)
def test_stalls_on_both_ends(shape, shared, seed, i_stalls, o_stalls):
    grid, groups, channels, lanes = shape
    layer = any_layer(seed, shared, groups, grid, 3)
    check(layer, grid, 3, channels, lanes, i_stalls=i_stalls, o_stalls=o_stalls)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 6, 12])
def test_depthwise_at_every_folding(shared, lanes):
    check(any_layer(lanes, shared, 12, (3, 4), 3), (3, 4), 3, 12, lanes)


@pytest.mark.parametrize("pause", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("grid", [(3, 4), (1, 2)])
def test_frames_behind_a_pause(grid, pause):
    """Empty beats complete as many outputs as the pause lasts, and the next frame completes the others."""
    layer = any_layer(0, True, 2, grid, 5)
    size = 4 * grid[0] * grid[1]
    check(layer, grid, 5, 4, 1, frames=4, i_stalls=[False] * size + [True] * pause if pause else [False])


@pytest.mark.parametrize("shared", [False, True])
def test_reset_in_mid_frame(shared):
    layer = any_layer(0, shared, 2, (3, 4), 3)
    for cycle in (7, 40, 60):
        check(layer, (3, 4), 3, 4, 1, reset_at=cycle)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"kernel": 2}, ValueError, "kernel must be odd, not 2"),
        ({"kernel": (3, 2)}, ValueError, "kernel must be odd, not (3, 2)"),
        ({"kernel": (3, 1)}, ValueError, "weight must have shape (any, 6, 3), not (2, 6, 9)"),
        ({"kernel": 5}, ValueError, "weight must have shape (any, 6, 25), not (2, 6, 9)"),
        ({"grid": (2, 0)}, ValueError, "grid must be at least 1, not 0"),
        ({"weight": 1}, TypeError, "weight must be an array of int8, not int"),
        ({"bias": np.zeros((1, 6))}, ValueError, "bias must have shape (2, 6), not (1, 6)"),
        ({"shift": np.zeros(6)}, ValueError, "shift must have shape (2, 6), not (6,)"),
        ({"channels": 5}, ValueError, "groups must divide channels = 5, not 2"),
        ({"lanes": 3}, ValueError, "lanes must divide channels = 4, not 3"),
        ({"shared": True}, ValueError, "weight must have shape (any, 1, 9), not (2, 6, 9)"),
        (
            {"multiplier": "DSP48A1"},
            ValueError,
            "multiplier must be 'DSP48E1', 'DSP48E2' or 'MULT18X18D', not 'DSP48A1'",
        ),
        ({"lanes": "1"}, TypeError, "lanes must be an integer, not '1'"),
        ({"weight": np.ones((2, 6, 9), np.int8)}, ValueError, "weight[0, 0, 0] must be 0, it lies outside the grid"),
    ],
)
def test_init_wrong(wrong, error, message):
    arguments = random_layer(np.random.default_rng(0), 2, (2, 3), 3)
    arguments |= {"kernel": 3, "grid": (2, 3), "channels": 4, "lanes": 1}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        LocalMixing(**(arguments | wrong))
