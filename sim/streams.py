"""A stream source and a sink in Python for cocotb, slow and independent of the harness.

Both drive signals at the falling edge and sample them once they have settled, so they see the values that the next
rising edge will transfer. The ports have Amaranth's names: ``i__payload``, ``i__valid``, ``i__ready``.
"""

import random
from typing import Any

from cocotb.triggers import FallingEdge, ReadOnly

__all__ = ["run_streams"]


async def run_streams(
    dut: Any,
    beats: list[int],
    results: int,
    *,
    needed: int,
    stall: float = 0.0,
    seed: int = 0,
    patience: int = 100_000,
) -> tuple[list[int], list[int], list[int]]:
    """Send beats into stream ``i`` while taking results from stream ``o``, until all have been transferred.

    Parameters
    ----------
    dut
        The simulated accelerator.
    beats
        Payloads to send.
    results
        Number of results to take, which is the number of frames.
    needed
        Number of a frame's first beats that must be transferred before its result may be offered.
    stall
        Probability that the source, or the sink, stalls in a cycle.
    seed
        Seed of the stalls.
    patience
        Number of cycles without a transfer after which the accelerator counts as stuck.

    Returns
    -------
    sent, taken, payloads : list of int
        Cycles in which the beats were transferred, cycles in which the results were, and the results' payloads.

    Raises
    ------
    AssertionError
        If an offered result changes before it is taken, or is offered too early.
    RuntimeError
        If the accelerator is stuck.
    """
    draw = random.Random(seed)
    sent, taken, payloads = [], [], []
    offered, held, cycle = False, None, 0
    while len(taken) < results or len(sent) < len(beats):
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
        if payload is not None:
            start = len(taken) * len(beats) // results
            assert len(sent) >= start + needed, f"cycle {cycle}: a result was offered after {len(sent) - start} beats"
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
