"""cocotb tests of AXI designs for `psahw.sim.cocotb_tests`. They drive and record, and the caller compares.

Requests and reports contain bytes in hexadecimal. The request's ``pauses`` is the share of cycles in which each side
of a channel pauses.
"""

import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiRam,
    AxiSlave,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
    SparseMemoryRegion,
)

from . import handover

PERIOD = 2  # ns


def _pauses(share, seed):
    """Yield whether to pause in each cycle: for 1 to 8 cycles at a time, and for ``share`` of all cycles."""
    generator = random.Random(seed)
    while True:
        yield from [True] * generator.randint(1, 8)
        yield from [False] * max(1, round(generator.uniform(1, 8) * (1 - share) / share))


def _pause(channels, share):
    """Let channels pause at random."""
    for seed, channel in enumerate(channels):
        if share:
            channel.set_pause_generator(_pauses(share, seed))


async def _reset(clock, resetn):
    """Start the clock, and reset the design."""
    cocotb.start_soon(Clock(clock, PERIOD, "ns").start())
    resetn.value = 0
    await ClockCycles(clock, 5)
    await FallingEdge(clock)
    resetn.value = 1
    await ClockCycles(clock, 5)


class _Registers:
    """Access to the design's registers over AXI4-Lite."""

    def __init__(self, bus, clock, resetn):
        self.master = AxiLiteMaster(bus, clock, resetn, reset_active_level=False)

    async def write(self, offset, value):
        """Write a register, and return the response."""
        return (await self.master.write(offset, value.to_bytes(4, "little"))).resp

    async def read(self, offset):
        """Return a register's value and the response."""
        access = await self.master.read(offset, 4)
        return int.from_bytes(access.data, "little"), access.resp

    async def all(self, names):
        """Return the values of all registers by name, for their offsets by name."""
        return {name: (await self.read(offset))[0] for name, offset in names.items()}


@cocotb.test()
async def core(dut):
    """Send packets into an AXI4-Stream core, and report its results and registers.

    The request has the following entries:

    - ``writes``: register writes ``[offset, value]`` at the beginning.
    - ``packets``: the packets to send. Each has ``data``, and optionally ``keep``, ``after`` (cycles to wait before
      the next packet) and ``then`` (register writes after this time).
    - ``expected``: the number of packets to wait for, each for at most ``patience`` cycles. Further packets are
      recorded for another ``linger`` cycles.
    - ``sink_pauses``: like ``pauses``, for the sink alone.
    - ``reads``: offsets by name of the registers to report.
    - ``probes``: offsets to read and to write, whose responses are reported.
    """
    request = handover.request()
    registers = _Registers(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    await _reset(dut.aclk, dut.aresetn)
    _pause((source, sink), request.get("pauses", 0))
    _pause((sink,), request.get("sink_pauses", 0))
    for offset, value in request.get("writes", []):
        await registers.write(offset, value)
    for packet in request["packets"]:
        await source.send(AxiStreamFrame(bytes.fromhex(packet["data"]), packet.get("keep")))
        if "after" in packet:
            await ClockCycles(dut.aclk, packet["after"])
        for offset, value in packet.get("then", []):
            await registers.write(offset, value)
    results = []
    for _ in range(request["expected"]):
        frame = await with_timeout(sink.recv(), request["patience"] * PERIOD, "ns")
        results.append(bytes(frame.tdata).hex())
    await ClockCycles(dut.aclk, request.get("linger", 200))  # for packets that are not expected
    while not sink.empty():
        results.append(bytes(sink.recv_nowait().tdata).hex())
    handover.report(
        results=results,
        registers=await registers.all(request["reads"]),
        probes=[[int((await registers.read(at))[1]), int(await registers.write(at, 0))]
                for at in request.get("probes", [])],
    )  # fmt: skip


class _Memory(SparseMemoryRegion):
    """A memory that answers with SLVERR in ``broken`` address ranges."""

    def __init__(self, size, broken):
        super().__init__(size)
        self.broken = broken

    def _check(self, address, length, kind):
        """Raise OSError, which the slave answers with SLVERR, for an access to a broken range."""
        if any(k == kind and low < address + length and address < high for k, low, high in self.broken):
            raise OSError(f"{kind} of {address:#x}")

    async def _read(self, address, length, **kwargs):
        self._check(address, length, "read")
        return await super()._read(address, length, **kwargs)

    async def _write(self, address, data, **kwargs):
        self._check(address, len(data), "write")
        await super()._write(address, data, **kwargs)


class _Bursts:
    """Record the addresses and lengths of a channel's bursts, and the largest number of outstanding ones."""

    def __init__(self, dut, prefix, ends):
        self.bursts, self.most_outstanding, self.dut, self.prefix, self.ends = [], 0, dut, prefix, ends
        cocotb.start_soon(self._watch())

    async def _watch(self):
        """Record bursts in the background."""
        dut, outstanding = self.dut, 0
        valid, ready, addr, length = (
            getattr(dut, f"{self.prefix}{name}") for name in ("valid", "ready", "addr", "len")
        )
        ends = [getattr(dut, name) for name in self.ends]
        edge = RisingEdge(dut.ap_clk)
        while True:
            await edge
            if valid.value == 1 and ready.value == 1:
                self.bursts.append([int(addr.value), int(length.value) + 1])
                outstanding += 1
                self.most_outstanding = max(self.most_outstanding, outstanding)
            if all(signal.value == 1 for signal in ends):
                outstanding -= 1


@cocotb.test()
async def kernel(dut):
    """Let a Vitis kernel classify batches of images in a memory, and report its states and the memory's contents.

    The request has the following entries:

    - ``batches``: each with the address of its ``images``, the address for its ``results``, and their ``count``.
    - ``memory``: size of the memory in bytes.
    - ``fill``: initial contents ``[address, bytes]``, where a file's absolute name can replace the bytes.
    - ``dump``: ranges ``[address, size]`` to report at the end.
    - ``broken``: ranges ``["read" or "write", first, end]`` that are answered with SLVERR.
    - ``offsets``: offsets of the registers by name.
    - ``chain``: true to start a batch when the one before is ready, not when it is done.
    - ``patience``: largest number of cycles for one batch.
    - ``watch``: true to report bursts.
    """
    request = handover.request()
    at = request["offsets"]
    registers = _Registers(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.ap_clk, dut.ap_rst_n)
    bus = AxiBus.from_prefix(dut, "m_axi_gmem")
    if request.get("broken"):
        memory = _Memory(request["memory"], request["broken"])
        slave = AxiSlave(bus, dut.ap_clk, dut.ap_rst_n, target=memory, reset_active_level=False)
        fill, dump = memory.mem.write, memory.mem.read
    else:
        slave = AxiRam(bus, dut.ap_clk, dut.ap_rst_n, reset_active_level=False, size=request["memory"])
        fill, dump = slave.write, slave.read
    for address, content in request["fill"]:
        data = Path(content).read_bytes() if content.startswith("/") else bytes.fromhex(content)
        fill(address, data)
    watched = {}
    if request.get("watch"):
        watched = {
            "read": _Bursts(dut, "m_axi_gmem_ar", ("m_axi_gmem_rvalid", "m_axi_gmem_rready", "m_axi_gmem_rlast")),
            "write": _Bursts(dut, "m_axi_gmem_aw", ("m_axi_gmem_bvalid", "m_axi_gmem_bready")),
        }
    await _reset(dut.ap_clk, dut.ap_rst_n)
    write, read = slave.write_if, slave.read_if
    channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    _pause(channels, request.get("pauses", 0))

    idle, _ = await registers.read(at["AP_CTRL"])
    await registers.write(at["IER"], 1)
    await registers.write(at["GIE"], 1)
    states = [idle]
    waiting = 0
    for batch in request["batches"]:
        await _start(registers, at, batch)
        waiting += 1
        if request.get("chain"):
            while not (await registers.read(at["AP_CTRL"]))[0] & 8:
                await ClockCycles(dut.ap_clk, 3)
        else:
            states.append(await _finish(dut, registers, at, request["patience"]))
            waiting = 0
    for _ in range(waiting):
        states.append(await _finish(dut, registers, at, request["patience"]))
    states.append((await registers.read(at["AP_CTRL"]))[0])
    handover.report(
        states=states,
        registers=await registers.all(at),
        memory=[bytes(dump(address, size)).hex() for address, size in request["dump"]],
        bursts={name: watch.bursts for name, watch in watched.items()},
        outstanding={name: watch.most_outstanding for name, watch in watched.items()},
    )


async def _start(registers, at, batch):
    """Write the arguments of a batch, and start the kernel."""
    for name in ("images", "results"):
        await registers.write(at[f"{name.upper()}_LOW"], batch[name] & 0xFFFFFFFF)
        await registers.write(at[f"{name.upper()}_HIGH"], batch[name] >> 32)
    await registers.write(at["COUNT"], batch["count"])
    await registers.write(at["AP_CTRL"], 1)


async def _finish(dut, registers, at, patience):
    """Wait for the interrupt, acknowledge the batch, and return the value of AP_CTRL before that."""
    if dut.interrupt.value != 1:
        await with_timeout(RisingEdge(dut.interrupt), patience * PERIOD, "ns")
    pending, _ = await registers.read(at["ISR"])
    await registers.write(at["ISR"], pending)
    state, _ = await registers.read(at["AP_CTRL"])
    await registers.write(at["AP_CTRL"], 1 << 4)
    return state
