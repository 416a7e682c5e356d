# amaranth: UnusedElaboratable=no
"""Results of an accelerator, and its counters against the streams between its stages."""

import numpy as np
import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator

from psahw.architecture.codes import INT8
from psahw.gateware.accelerator import Accelerator
from psahw.gateware.argmax import Argmax
from psahw.gateware.stream import Queue, vector_signature
from psahw.gateware.table import TableRom
from tests.gateware.streams import run_stream

CLASSES = 4
TABLE = np.random.default_rng(3).permutation(np.arange(-128, 128)).astype(np.int8)[None]


def accelerator():
    queue = Queue(shape=vector_signature(1).members["payload"].shape, depth=3)
    return Accelerator(
        stages={
            "table": TableRom(values=TABLE, lanes=1),
            "queue": queue,
            "argmax": Argmax(classes=CLASSES, codes=INT8),
        }
    )


def test_results():
    x = np.random.default_rng(1).integers(-128, 128, 10 * CLASSES)
    results, i_cycles, o_cycles = run_stream(accelerator(), x[:, None])
    logits = TABLE[0][x + 128].astype(int).reshape(-1, CLASSES)
    raw = [sum((v & 255) << 8 * k for k, v in enumerate(row)) for row in logits.tolist()]
    assert results == [r | int(c) << 8 * CLASSES for r, c in zip(raw, logits.argmax(1), strict=True)]
    assert np.array_equal(o_cycles, i_cycles[CLASSES - 1 :: CLASSES] + 2 + 2 + 1)


@pytest.mark.parametrize("ready, clear_at", [(0.1, None), (0.9, None), (0.2, 60)])
def test_counters(ready, clear_at):
    """A counter that is read in any cycle counts the events before that cycle and since the last clear."""
    dut, rng = accelerator(), np.random.default_rng(2)
    assert dut.stall_names == ("table", "queue", "argmax")
    outputs = [part.o for part in dut.chain.parts.values()]
    events = Cat(dut.o.valid & dut.o.ready, 1, *[o.valid & ~o.ready for o in outputs])
    log, readings = [], []

    async def testbench(ctx):
        offered, addresses = False, []
        for cycle in range(150):
            if cycle >= 2:
                readings.append((cycle - 2, addresses[-2], ctx.get(dut.counters.data)))
            addresses.append(int(rng.integers(len(events))))
            offered = offered or rng.random() < 0.8
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, rng.random() < ready)
            ctx.set(dut.counters.addr, addresses[-1])
            ctx.set(dut.counters.clear, cycle == clear_at)
            log.append([ctx.get(events) >> k & 1 for k in range(len(events))])
            offered = offered and not ctx.get(dut.i.ready)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    log = np.array(log)
    assert log.any(0).all()
    for cycle, addr, value in readings:
        start = clear_at + 1 if clear_at is not None and cycle > clear_at else 0
        assert value == log[start:cycle, addr].sum()
