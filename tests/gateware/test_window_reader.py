# amaranth: UnusedElaboratable=no
"""Addresses of windows against the position of each element in the image."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from psahw.architecture.buffers import WindowBuffer
from psahw.architecture.geometry import SlidingWindow
from psahw.gateware.window_reader import WindowReader


def positions(window, channels, o_lanes):
    """Return the (window row, ends row, [(row, column, channel) per lane]) of every beat of a frame."""
    grid_h, grid_w = window.grid
    beats = []
    for y in range(grid_h):
        for x in range(grid_w):
            elements = [
                (
                    y * window.stride[0] - window.padding[0] + dy,
                    x * window.stride[1] - window.padding[2] + dx,
                    channel,
                )
                for dy in range(window.size[0])
                for dx in range(window.size[1])
                for channel in range(channels)
            ]
            for start in range(0, len(elements), o_lanes):
                ends_row = x == grid_w - 1 and start + o_lanes == len(elements)
                beats.append((y, ends_row, elements[start : start + o_lanes]))
    return beats


@pytest.mark.parametrize("o_lanes", [1, 3, 18, 36, 108])
@pytest.mark.parametrize("stride, padding, height, width", [(4, 1, 8, 9), (2, 0, 7, 6), (6, 5, 5, 11)])
def test_addresses(stride, padding, height, width, o_lanes):
    check(SlidingWindow(height, width, 6, stride, padding), 3, o_lanes)


@pytest.mark.parametrize("o_lanes", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [2, 4])
def test_few_beats(width, o_lanes):
    """One, two, four or eight beats for a window, and one or two windows for a row of them."""
    check(SlidingWindow(4, width, 2, 2, 0), 2, o_lanes)


def check(window, channels, o_lanes):
    """Elements of the image are addressed at their place in the ring; elements outside it are marked."""
    height, width = window.height, window.width
    buffer = WindowBuffer(window, channels, i_lanes=1, o_lanes=o_lanes)
    dut, rng = WindowReader(buffer=buffer), np.random.default_rng(1)
    wrap = 1 << (buffer.layout.depth - 1).bit_length()

    async def testbench(ctx):
        await ctx.tick()
        for frame in range(3):
            for y, ends_row, elements in positions(window, channels, o_lanes):
                while rng.random() < 0.3:
                    ctx.set(dut.issue, 0)
                    assert not ctx.get(dut.ends_row)
                    await ctx.tick()
                ctx.set(dut.issue, 1)
                addresses = [ctx.get(addr) for addr in dut.addr]
                outside = ctx.get(dut.outside)
                assert (ctx.get(dut.grid_row), ctx.get(dut.ends_row)) == (y, ends_row)
                for lane, (row, column, channel) in enumerate(elements):
                    inside = 0 <= row < height and 0 <= column < width
                    assert outside >> lane & 1 == (not inside)
                    if inside:
                        slot = (frame * height + row) % window.buffered_rows
                        expected = slot * buffer.pitch + column * channels + channel
                        copy, offset = divmod(lane, buffer.row_lanes)
                        assert (addresses[copy] + offset) % wrap == expected
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
