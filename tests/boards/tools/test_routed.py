"""Tests that read shortened reports of the tools."""

import json
import re

import pytest

from psahw.boards.tools import routed
from psahw.errors import CheckFailed, UserError

NEXTPNR = {
    "critical_paths": [],
    "fmax": {
        "$glbnet$clock.clk": {"achieved": 100.4924087524414, "constraint": 40},
        "$glbnet$clock.clk_in": {"achieved": 312.5, "constraint": 25.0},
    },
    "utilization": {
        "DP16KD": {"available": 208, "used": 6},
        "MULT18X18D": {"available": 156, "used": 5},
        "ALU54B": {"available": 78, "used": 0},
    },
}

OPENXC7 = """\
Info: Device utilisation:
Info: \t          SLICE_LUTX:  2120/202800     1%
Info: \t            DSP48E1_DSP48E1:    12/   600     2%
Info: \t              BSCAN:     0/     4     0%
Info: Max frequency for clock 'clk': 98.10 MHz (FAIL at 143.00 MHz)
Info: Max frequency for clock 'clk': 151.52 MHz (PASS at 143.00 MHz)
"""

VIVADO = """\
| Tool Version : Vivado v.2024.1 (lin64) Build 5076996 Wed May 22 18:36:09 MDT 2024
1. Slice Logic
+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs                 | 42177 |     0 |          0 |    101400 | 41.59 |
|   LUT as Logic             | 40311 |     0 |          0 |    101400 | 39.75 |
| Slice Registers            | 46418 |     0 |          0 |    202800 | 22.89 |
+----------------------------+-------+-------+------------+-----------+-------+
| Block RAM Tile    |  162 |     0 |          0 |       325 | 49.85 |
|   RAMB36/FIFO*    |  150 |     0 |          0 |       325 | 46.15 |
| DSPs           |  598 |     0 |          0 |       600 | 99.67 |
"""

VIVADO_ULTRASCALE = """\
| CLB LUTs*                  |   900 |     0 |   1728000 |  0.05 |
| CLB Registers              |  1800 |     0 |   3456000 |  0.05 |
"""


def test_nextpnr(tmp_path):
    (tmp_path / "routed.json").write_text(json.dumps(NEXTPNR))
    results = routed.nextpnr(tmp_path)
    assert results.clock(40e6).fmax_hz == pytest.approx(100.4924e6)
    assert results.used == {"DP16KD": (6, 208), "MULT18X18D": (5, 156)}
    assert results.to_dict()["clocks"]["$glbnet$clock.clk_in"]["constraint_hz"] == 25e6


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be JSON: "),
        ('{"fmax": {}', "must be JSON: "),
        ('{"fmax": {"clk": {"achieved": 50}}, "utilization": {}}', r"fmax\['clk'\].constraint is missing"),
    ],
    ids=range(3),
)
def test_a_report_of_nextpnr_that_is_not_complete(text, complaint, tmp_path):
    (tmp_path / routed.NEXTPNR_REPORT).write_text(text)
    with pytest.raises(UserError, match=rf"routed\.json:? {complaint}.*; nextpnr writes it after routing$"):
        routed.nextpnr(tmp_path)


def test_clock_that_the_tool_did_not_know(tmp_path):
    """The clock that the accelerator needs is not among those in the report."""
    (tmp_path / "routed.json").write_text(json.dumps(NEXTPNR))
    message = "place and route saw no clock of 80 MHz; it saw $glbnet$clock.clk 40 MHz, $glbnet$clock.clk_in 25 MHz"
    with pytest.raises(CheckFailed, match=f"^{re.escape(message)}$"):
        routed.nextpnr(tmp_path).clock(80e6)
    with pytest.raises(CheckFailed, match=r"it saw none$"):
        routed.Routed((), {}).clock(80e6)


def test_the_slowest_of_equal_clocks_counts():
    clocks = (routed.Clock("a", 70e6, 54e6), routed.Clock("b", 50e6, 54.01e6), routed.Clock("c", 10e6, 5e6))
    assert routed.Routed(clocks, {}).clock(54e6).fmax_hz == 50e6


def test_openxc7(tmp_path):
    (tmp_path / "openxc7.tim").write_text(OPENXC7)
    results = routed.openxc7(tmp_path)
    assert results.clock(143e6).fmax_hz == pytest.approx(151.52e6)  # after routing, not after placement
    assert results.used == {"SLICE_LUTX": (2120, 202800), "DSP48E1_DSP48E1": (12, 600)}


def test_vivado(tmp_path):
    (tmp_path / "routed.txt").write_text("clk125_0__p 8.0 6.0\nclock_pll_n_4 6.993 -0.5\n")
    (tmp_path / "top_utilization_place.rpt").write_text(VIVADO)
    results = routed.vivado(tmp_path)
    assert results.clock(143e6).fmax_hz == pytest.approx(1e9 / 7.493) and not results.clock(143e6).met
    assert results.used == {
        "Slice LUTs": (42177, 101400),
        "Slice Registers": (46418, 202800),
        "Block RAM Tile": (162, 325),
        "DSPs": (598, 600),
    }
    (tmp_path / "top_utilization_place.rpt").write_text(VIVADO_ULTRASCALE)
    assert routed.vivado(tmp_path).used == {"CLB LUTs": (900, 1728000), "CLB Registers": (1800, 3456000)}


def test_period_in_whole_picoseconds_is_met(tmp_path):
    """Vivado rounds the period of 150 MHz up to 6.667 ns, which a path without slack meets."""
    (tmp_path / "routed.txt").write_text("clk 6.667 0.000\n")
    (tmp_path / "top_utilization_place.rpt").write_text(VIVADO)
    assert routed.vivado(tmp_path).clock(150e6).met


@pytest.mark.parametrize(
    "clocks, utilisation, message",
    [
        ("clk 5.0\n", "", "routed.txt, line 1: must be a name, a period and a slack in ns, not 'clk 5.0'"),
        ("a 5.0 1.0\nclk 5.0 x\n", "", "routed.txt, line 2: must be a name"),
        ("clk 5.0 5.0\n", "", "routed.txt, line 1: must be a name"),
        ("clk 0 -1\n", "", "routed.txt, line 1: must be a name"),
        ("", "| DSPs | ? | 0 | 0 | 600 | 1 |\n", "line 1: must have numbers in its columns, not '| DSPs"),
        ("", None, "cannot read"),
    ],
)
def test_damaged_reports_of_vivado(clocks, utilisation, message, tmp_path):
    """The message names the file and the line, and quotes what is there."""
    (tmp_path / routed.VIVADO_CLOCKS).write_text(clocks)
    if utilisation is not None:
        (tmp_path / routed.VIVADO_UTILISATION).write_text(utilisation)
    with pytest.raises(UserError) as caught:
        routed.vivado(tmp_path)
    assert message in str(caught.value)
