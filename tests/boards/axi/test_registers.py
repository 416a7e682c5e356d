# amaranth: UnusedElaboratable=no
"""The register maps, and the page that lists them."""

import re
from pathlib import Path

import pytest

from psahw.boards.axi import __main__ as tables
from psahw.boards.axi.identity import identity_values
from psahw.boards.axi.register_file import RegisterFile
from psahw.boards.axi.registers import CORE, KERNEL, Access, Register, identity
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
