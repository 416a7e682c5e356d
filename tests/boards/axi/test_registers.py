# amaranth: UnusedElaboratable=no
"""The register maps, and the page that lists them."""

import re
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from psahw.boards.axi import __main__ as tables
from psahw.boards.axi.identity import identity_values
from psahw.boards.axi.register_file import RegisterFile
from psahw.boards.axi.registers import CORE, KERNEL, Access, Register, identity
from psahw.gateware.counters import Counters
from tests.boards.axi.designs import manifest

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "register-map.md"


def test_the_page_contains_the_current_tables():
    """If not, run ``python -m psahw.boards.axi``."""
    page = PAGE.read_text()
    assert tables.fill_tables(page) == page


def test_marks_must_occur_once():
    page = PAGE.read_text()
    for broken in (page.replace("<!-- end: kernel -->\n", ""), page + "<!-- registers: core -->\n"):
        with pytest.raises(
            ValueError, match=r"register-map.md must contain '<!-- registers: \w+ -->' and .* exactly once"
        ):
            tables.fill_tables(broken)


@pytest.mark.parametrize("table", [CORE, KERNEL])
def test_no_two_registers_share_a_name_or_an_offset(table):
    assert len({r.name for r in table}) == len({r.offset for r in table}) == len(table)
    assert all(r.offset % 4 == 0 and r.offset < 0x1000 for r in table)


def test_the_kernel_has_the_registers_that_vitis_expects():
    """Two pointers of 64 bits and a scalar, with a reserved word after each of them.

    Source: UG1399, S_AXILITE control register map.
    """
    assert {r.name: r.offset for r in KERNEL if r.offset < 0x30} == {
        "AP_CTRL": 0x00, "GIE": 0x04, "IER": 0x08, "ISR": 0x0C,
        "IMAGES_LOW": 0x10, "IMAGES_HIGH": 0x14, "RESULTS_LOW": 0x1C, "RESULTS_HIGH": 0x20, "COUNT": 0x28,
    }  # fmt: skip


def test_identity_is_the_same_in_both_maps():
    assert all(register in CORE and register in KERNEL for register in identity())
    assert list(identity_values(manifest(bus_bytes=4, image=(4, 4)))) == [register.name for register in identity()]


def test_a_value_that_does_not_fit():
    about = manifest(bus_bytes=4, image=(4, 4)) | {"latency": 1 << 32}
    with pytest.raises(ValueError, match=f"^{re.escape('manifest must have a LATENCY of 32 bits, not 4294967296')}$"):
        identity_values(about)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (2, "table must have B at a distinct multiple of 4 below 4096, not 0x2"),
        (4096, "table must have B at a distinct multiple of 4 below 4096, not 0x1000"),
        (8, "table must have A at a distinct multiple of 4 below 4096, not 0x8"),
    ],
)
def test_init_wrong_table(offset, message):
    table = (Register(8, "A", Access.READ, ""), Register(offset, "B", Access.WRITE, ""))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RegisterFile(table=table)


def test_a_read_after_the_response_sees_the_selected_counter():
    """The read comes in the clock cycle after the response."""
    m = Module()
    table = (Register(0, "SELECT", Access.WRITE, ""), Register(4, "VALUE", Access.READ, ""))
    m.submodules.file = file = RegisterFile(table=table)
    m.submodules.counters = counters = Counters(stages=12)
    bus = file.bus
    m.d.comb += [
        counters.addr.eq(file.registers.select.value),
        file.registers.value.value.eq(counters.data),
        counters.stall.eq(1 << 11),  # only the last stage stalls
    ]
    values = []

    async def testbench(ctx):
        for signal in (bus.bready, bus.rready):
            ctx.set(signal, 1)
        ctx.set(bus.wstrb, 0xF)
        for number in (2 + 11, 2, 2 + 11):
            ctx.set(bus.wdata, number)
            for signal in (bus.awvalid, bus.wvalid):
                ctx.set(signal, 1)
            await ctx.tick()
            for signal in (bus.awvalid, bus.wvalid):
                ctx.set(signal, 0)
            await ctx.tick().until(bus.bvalid)
            ctx.set(bus.araddr, 4)
            ctx.set(bus.arvalid, 1)
            await ctx.tick()
            ctx.set(bus.arvalid, 0)
            assert ctx.get(bus.rvalid)
            values.append(ctx.get(bus.rdata))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert values[0] and not values[1] and values[2] > values[0]
