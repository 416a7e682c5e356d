"""Files through which `psahw.sim.cocotb_tests` and the tests in the simulator communicate.

The caller writes ``request.json``, and the test writes ``report.json``.
"""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["report", "request"]

_FOLDER = Path(os.environ.get("PSAHW_TEST", "."))


def request() -> dict[str, Any]:
    """Return the caller's request."""
    return json.loads((_FOLDER / "request.json").read_text())


def report(**content: Any) -> None:
    """Write the test's report."""
    (_FOLDER / "report.json").write_text(json.dumps(content))
