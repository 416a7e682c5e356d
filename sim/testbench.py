"""cocotb tests that `psahw.sim.runner` starts in the simulator, with a request in a JSON file.

The environment variable PSAHW_SIMULATION names the request. The test writes a report, with the entry "error" if the
accelerator violates the stream protocol or stops.
"""

import json
import os
import random
import time
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Event, Timer, ValueChange

from .scoreboard import Scoreboard
from .streams import run_streams

RESULT, STUCK = 1, 5  # kinds of notices, as in sim/harness.sv
COMPLAINTS = {
    2: "the result changed while it was offered and not taken",
    3: "the result was withdrawn before it was taken",
    4: "a result was offered before the beats on which it depends had been taken",
    STUCK: "nothing moved",
    6: "more frames are under way than the harness can track",
    7: "the image file ended early",
}


class _Bench:
    """The Python side of the harness. It writes one byte per result to the progress file."""

    def __init__(self, dut, request):
        self.dut, self.request, self.period = dut, request, request["period"]
        self.progress = open(request["progress"], "ab", buffering=0)  # noqa: SIM115 - open until the test ends
        self.notice = ValueChange(dut.notice)
        self.board = Scoreboard(
            np.load(request["expected"], allow_pickle=False), request["logit_bits"], *request["irregular_frames"]
        )
        self.finished, self.error, self.wanted = Event(), None, 0

    def order(self, **values):
        """Set registers of the harness."""
        for name, value in values.items():
            getattr(self.dut, name).value = value

    async def reset(self, cycles, first_frame, frame_limit):
        """Reset the accelerator, from one falling edge to another, so that every rising edge sees a settled reset."""
        self.order(rst=1, first_frame=first_frame, frame_limit=frame_limit)
        await Timer(self.period * cycles, "step")
        self.order(rst=0)

    def complain(self, kind):
        """Raise an error that says where the accelerator's streams stand."""
        dut = self.dut
        lines = [
            f"cycle {int(dut.cycle.value)}: {COMPLAINTS[kind]}",
            f"input: frame {int(dut.source_frame.value)} of {int(dut.frame_limit.value)}, "
            f"beat {int(dut.source_beat.value)} of {self.request['beats']} ({self.request['needed_beats']} needed), "
            f"valid {dut.i_valid.value}, ready {dut.i_ready.value}",
            f"output: {int(dut.sink_frame.value)} results taken, "
            f"valid {dut.o_valid.value}, ready {dut.o_ready.value}",
        ]
        if kind == STUCK:
            lines[0] += f" for {int(dut.patience.value)} cycles"
        raise RuntimeError("; ".join(lines))

    def take(self):
        """Add the result in the harness' registers to the scoreboard, or raise an error for any other notice."""
        dut = self.dut
        if (kind := int(dut.notice_kind.value)) != RESULT:
            self.complain(kind)
        self.board.add(
            int(dut.result_frame.value),
            int(dut.result_first.value),
            int(dut.result_cycle.value),
            int(dut.result_payload.value),
        )
        self.progress.write(b".")

    async def collect(self):
        """Take results in the background until the simulation ends."""
        while True:
            await self.notice
            try:
                self.take()
            except RuntimeError as error:
                self.error = error
            if self.error or self.board.results >= self.wanted:
                self.finished.set()

    async def results(self, count):
        """Wait for a number of results."""
        self.wanted = self.board.results + count
        self.finished.clear()
        await self.finished.wait()
        if self.error:
            raise self.error

    async def sent(self, frames):
        """Wait until the accelerator has taken the rest of the last frame, which may follow its result."""
        while int(self.dut.source_frame.value) < frames:
            await self.pause(1)

    async def counters(self, stages):
        """Return the frames, the cycles and the stalled cycles of every stage since the last reset.

        The list is empty if there are no stages.
        """
        values = []
        for address in range(stages + 2 if stages else 0):
            self.order(counter_address=address)
            await self.pause(3)
            values.append(int(self.dut.counter_data.value))
        return values

    async def pause(self, cycles):
        """Wait from one falling edge to another."""
        await Timer(self.period * cycles, "step")
        if self.error:
            raise self.error


def _finish(request, **report):
    """Write the report."""
    Path(request["report"]).write_text(json.dumps(report))


@cocotb.test()
async def harness(dut):
    """Send frames through psahw_harness, with the stalls, gaps and resets of the request."""
    request = json.loads(Path(os.environ["PSAHW_SIMULATION"]).read_text())
    draw = random.Random(request["seed"])
    bench = _Bench(dut, request)
    frames = request["frames"]
    bench.order(**request["orders"], seed=draw.getrandbits(64) | 1)
    start = time.perf_counter()
    Clock(dut.clk, bench.period, "step").start()
    await Timer(bench.period // 2, "step")
    cocotb.start_soon(bench.collect())
    try:
        await bench.reset(3, 0, frames)
        for left in reversed(range(request["resets"])):
            await bench.pause(1 + draw.randrange(request["reset_window"]))
            bench.board.restart()
            bench.order(seed=draw.getrandbits(64) | 1)
            await bench.reset(draw.choice((1, 1, 2, 5)), draw.randrange(frames) if left else 0, frames)
        await bench.results(frames)
        await Timer(bench.period // 2, "step")
        await bench.sent(frames)
        await bench.pause(request["drain"])
        counters = await bench.counters(request["counters"])
    except RuntimeError as error:
        _finish(request, error=str(error), cycles=int(dut.cycle.value), **bench.board.summary())
        raise
    seconds, cycles = time.perf_counter() - start, int(dut.cycle.value)
    predictions = [bench.board.predictions[frame] for frame in range(frames)]
    summary = bench.board.summary()
    _finish(request, cycles=cycles, seconds=seconds, predictions=predictions, counters=counters, **summary)


@cocotb.test()
async def direct(dut):
    """Send the frames through a source and a sink in Python, connected to the accelerator's ports."""
    request = json.loads(Path(os.environ["PSAHW_SIMULATION"]).read_text())
    board = Scoreboard(
        np.load(request["expected"], allow_pickle=False), request["logit_bits"], *request["irregular_frames"]
    )
    data = Path(request["images"]).read_bytes()
    size, frames = request["bus_bytes"], request["frames"]
    beats = [int.from_bytes(data[k : k + size], "little") for k in range(0, len(data), size)]
    dut.rst.value = 1
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    if hasattr(dut, "counters__clear"):
        dut.counters__clear.value = 0
    start = time.perf_counter()
    period = request["period"]
    Clock(dut.clk, period, "step").start()
    await Timer(3 * period + period // 2, "step")
    dut.rst.value = 0
    try:
        sent, taken, payloads = await run_streams(
            dut, beats, frames, needed=request["needed_beats"], stall=request["stall"], seed=request["seed"],
            patience=request["orders"]["patience"],
        )  # fmt: skip
    except (RuntimeError, AssertionError) as error:
        _finish(request, error=str(error), cycles=0, **board.summary())
        raise
    for frame, (first, cycle, payload) in enumerate(zip(sent[:: request["beats"]], taken, payloads, strict=True)):
        board.add(frame, first, cycle, payload)
    predictions = [board.predictions[frame] for frame in range(frames)]
    seconds = time.perf_counter() - start
    summary = board.summary()
    _finish(
        request, cycles=max(sent[-1], taken[-1]) + 1, seconds=seconds, predictions=predictions, counters=[], **summary
    )
