"""What the files of a package are made from."""

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
    """``around`` is the component of which ``top`` is the Verilog; ``sources``, ``models`` (of primitives, for
    simulators) and ``memories`` name files."""

    board: Board
    manifest: dict
    around: wiring.Component
    top: str
    sources: tuple[str, ...]
    memories: tuple[str, ...]
    models: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """The device as Vivado calls it."""
        platform = self.board.platform()
        dash = "-" if self.board.device.family == "xcup" else ""  # UG908: package and speed are words of their own
        return f"{platform.device}{dash}{platform.package}-{platform.speed}"

    @property
    def title(self) -> str:
        """The network's name, without what means something to Tcl, YAML or C."""
        return re.sub(r"[^A-Za-z0-9 ._-]", "_", self.manifest["network"])

    @property
    def clock_ns(self) -> str:
        return f"{1e9 / self.manifest['clock_hz']:.3f}"


class _Template(string.Template):
    delimiter = "@"  # the dollar is Tcl's, make's and the shell's


def fill(name: str, **values: str) -> str:
    """The file of that name in ``boards/packages/files``, every ``@{key}`` replaced. KeyError for an unknown one."""
    return _Template((FILES / name).read_text()).substitute(values)


def verbatim(name: str) -> str:
    """The file of that name as it is."""
    return (FILES / name).read_text()
