"""A stream source and a sink in plain Python, for cocotb: slow, and sharing nothing with the harness.

Both act on the falling edge and look when values have settled: what they see then is what the next rising
edge will take. Ports are named as Amaranth names them, ``i__payload``, ``i__valid``, ``i__ready``.
"""

import random

from cocotb.triggers import FallingEdge, ReadOnly

__all__ = ["run_streams"]


async def run_streams(
    dut, beats: list[int], results: int, *, stall: float = 0.0, seed: int = 0, patience: int = 100_000
):
    """Send ``beats`` into ``i`` while taking ``results`` beats from ``o``; each end stalls with probability
    ``stall`` in every cycle. Returns the cycles of the input beats, those of the results, and the results.

    Raises AssertionError when an offered result changes, RuntimeError after ``patience`` idle cycles.
    """
    draw = random.Random(seed)
    sent, taken, payloads = [], [], []
    offered, held, cycle = False, None, 0
    while len(taken) < results:
        await FallingEdge(dut.clk)
        offered = len(sent) < len(beats) and (offered or draw.random() >= stall)
        ready = draw.random() >= stall
        dut.i__valid.value = offered
        dut.o__ready.value = ready
        if offered:
            dut.i__payload.value = beats[len(sent)]
        await ReadOnly()
        payload = int(dut.o__payload.value) if dut.o__valid.value else None
        if held is not None:
            assert payload == held, f"cycle {cycle}: result {held:#x} was offered, now {payload!r}"
        if offered and dut.i__ready.value:
            sent.append(cycle)
            offered = False
        held = payload
        if payload is not None and ready:
            taken.append(cycle)
            payloads.append(payload)
            held = None
        cycle += 1
        if cycle - max(sent[-1:] + taken[-1:] + [0]) > patience:
            raise RuntimeError(f"no beat moved for {patience} cycles: {len(sent)} sent, {len(taken)} results taken")
    return sent, taken, payloads
