"""Drivers and monitors for the streams of a component in Amaranth's simulator.

A stall pattern is a sequence of booleans, one per clock cycle, which repeats for ever. Where the pattern of an input
is true, its source does not begin to offer a beat, but a beat that it offers already stays. Where the pattern of an
output is true, its sink is not ready. The empty sequence never stalls. Every output is checked against the protocol:
a beat that is offered must stay, unchanged, until it is taken.
"""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import ResetInserter, Shape, Signal, Value
from amaranth.lib import data
from amaranth.sim import Simulator

__all__ = ["StreamRun", "pack", "run_stream", "run_streams", "unpack"]


@dataclass
class StreamRun:
    """The beats that were transferred at each port, and the clock cycles in which they were."""

    beats: dict
    cycles: dict


def pack(beats, width=8):
    """Return the raw payloads of an array (beats, lanes) of integers of ``width`` bits, lane 0 lowest."""
    mask = (1 << width) - 1
    return [sum((int(x) & mask) << (width * lane) for lane, x in enumerate(beat)) for beat in beats]


def unpack(payloads, lanes, width=8, signed=True):
    """Return an int64 array (beats, lanes) from raw payloads."""
    mask, sign = (1 << width) - 1, (1 << (width - 1)) if signed else 0
    beats = [[(((x >> (width * lane)) & mask) ^ sign) - sign for lane in range(lanes)] for x in payloads]
    return np.array(beats, np.int64).reshape(len(payloads), lanes)


def _element(stream):
    """Return (lanes, width, signed) of a payload that is an array or a plain integer, and None for other layouts."""
    shape = stream.payload.shape()
    if isinstance(shape, data.ArrayLayout):
        element = Shape.cast(shape.elem_shape)
        return shape.length, element.width, element.signed
    return (1, shape.width, shape.signed) if isinstance(shape, Shape) else None


def _stalled(pattern, cycle):
    """Return whether a pattern stalls in a clock cycle."""
    return len(pattern) > 0 and bool(pattern[cycle % len(pattern)])


class _Source:
    """The driver of an input stream."""

    def __init__(self, stream, beats, stalls):
        raw = isinstance(beats, list) and all(isinstance(x, int) for x in beats)
        self.stream, self.stalls = stream, stalls
        self.beats = beats if raw else pack(np.asarray(beats).reshape(len(beats), -1), _element(stream)[1])
        self.restart()

    def restart(self):
        self.cycles, self.offered = [], False

    def drive(self, ctx, cycle):
        left = len(self.cycles) < len(self.beats)
        self.offered = left and (self.offered or not _stalled(self.stalls, cycle))
        ctx.set(self.stream.valid, self.offered)
        if self.offered:
            ctx.set(Value.cast(self.stream.payload), self.beats[len(self.cycles)])

    def watch(self, ctx, cycle):
        if moved := self.offered and bool(ctx.get(self.stream.ready)):
            self.cycles.append(cycle)
            self.offered = False
        return moved


class _Sink:
    """The driver and monitor of an output stream."""

    def __init__(self, stream, stalls):
        self.stream, self.stalls = stream, stalls
        self.restart()

    def restart(self):
        self.beats, self.cycles, self.held = [], [], None

    def drive(self, ctx, cycle):
        self.ready = not _stalled(self.stalls, cycle)
        ctx.set(self.stream.ready, self.ready)

    def watch(self, ctx, cycle):
        value = Value.cast(self.stream.payload)
        payload = ctx.get(value) & ((1 << len(value)) - 1) if ctx.get(self.stream.valid) else None
        if self.held is not None:
            assert payload == self.held, f"cycle {cycle}: {self.held:#x} was offered, now {payload!r}"
        moved = payload is not None and self.ready
        self.held = None if moved else payload
        if moved:
            self.beats.append(payload)
            self.cycles.append(cycle)
        return moved


def run_streams(dut, inputs, outputs, *, stalls=None, quiet=100, reset_at=None):
    """Simulate a component until no beat has moved for ``quiet`` clock cycles, and return a `StreamRun`.

    ``inputs`` maps port names to beats: a list of raw payloads, or an array (beats, lanes) of integers. ``outputs``
    names the output ports. Their beats are returned as an int64 array (beats, lanes), or as a list of raw payloads if
    the payload is neither an array nor an integer. ``stalls`` maps port names to stall patterns. In cycle
    ``reset_at`` the component is reset, the inputs begin again, and earlier outputs are discarded; the patterns go
    on.
    """
    stalls = stalls or {}
    sources = {name: _Source(getattr(dut, name), beats, stalls.get(name, ())) for name, beats in inputs.items()}
    sinks = {name: _Sink(getattr(dut, name), stalls.get(name, ())) for name in outputs}
    ends = [*sources.values(), *sinks.values()]
    reset = Signal()

    async def testbench(ctx):
        cycle = last_move = 0
        while cycle - last_move <= quiet or (reset_at is not None and cycle <= reset_at):
            for end in ends:
                end.drive(ctx, cycle)
            ctx.set(reset, cycle == reset_at)
            moved = [end.watch(ctx, cycle) for end in ends]
            if any(moved):
                last_move = cycle
            if cycle == reset_at:
                for end in ends:
                    end.restart()
                last_move = cycle
            await ctx.tick()
            cycle += 1

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()

    beats = {name: source.beats for name, source in sources.items()}
    for name, sink in sinks.items():
        element = _element(sink.stream)
        beats[name] = sink.beats if element is None else unpack(sink.beats, *element)
    return StreamRun(beats, {name: np.array(end.cycles, np.int64) for name, end in (sources | sinks).items()})


def run_stream(dut, inputs, *, i_stalls=(), o_stalls=(), ports=("i", "o"), quiet=100, reset_at=None):
    """Simulate a component with one input and one output; return (output beats, input cycles, output cycles)."""
    i, o = ports
    run = run_streams(dut, {i: inputs}, [o], stalls={i: i_stalls, o: o_stalls}, quiet=quiet, reset_at=reset_at)
    return run.beats[o], run.cycles[i], run.cycles[o]
