"""The facts that a package's files are made from, and their templates."""

import re
import string
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from .. import Board

__all__ = ["FILES", "Contents", "fill", "verbatim"]

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Contents:
    """The facts that a package's files are made from.

    Attributes
    ----------
    board
        The board that the accelerator was planned for.
    manifest
        Description of the accelerator, as `psahw.generate.write` returns it.
    wrapper
        The component that contains the accelerator.
    top
        Name of the wrapper's Verilog module.
    sources
        Names of the Verilog files.
    memories
        Names of the memory files that the Verilog reads.
    models
        Names of the Verilog files with models of primitives, for simulators.
    """

    board: Board
    manifest: dict
    wrapper: wiring.Component
    top: str
    sources: tuple[str, ...]
    memories: tuple[str, ...]
    models: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """Vivado's name for the device with package and speed grade."""
        platform = self.board.platform()
        dash = "-" if self.board.device.family == "xcup" else ""  # UG908 separates the package with a dash
        return f"{platform.device}{dash}{platform.package}-{platform.speed}"

    @property
    def title(self) -> str:
        """The network's name without characters that are special in Tcl, YAML or C."""
        return re.sub(r"[^A-Za-z0-9 ._-]", "_", self.manifest["network"])

    @property
    def clock_ns(self) -> str:
        """The planned clock period in ns."""
        return f"{1e9 / self.manifest['clock_hz']:.3f}"


class _Template(string.Template):
    delimiter = "@"  # "$" is special in Tcl, make and shells


def fill(name: str, **values: str) -> str:
    """Return the text of a file in ``boards/packages/files`` with every ``@{key}`` replaced.

    Raises
    ------
    KeyError
        If the file contains a key that is not in ``values``.
    """
    return _Template((FILES / name).read_text()).substitute(values)


def verbatim(name: str) -> str:
    """Return the text of a file in ``boards/packages/files``."""
    return (FILES / name).read_text()
