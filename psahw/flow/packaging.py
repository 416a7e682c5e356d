"""Write the accelerator as a part for another design: Vivado, Vitis, FuseSoC or LiteX."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import boards
from ..errors import UserError
from ..files import real_path
from ..network.graph import Network
from .elaboration import check_directory, figures
from .planning import BoardPlan

if TYPE_CHECKING:
    from ..boards.packages import Target
from .arguments import check_network

__all__ = ["PackageResult", "check_package", "package", "package_target"]


@dataclass(frozen=True)
class PackageResult:
    """A package, as `package` wrote it.

    Parameters
    ----------
    directory
        Where the package is.
    content
        Content of its ``package.json``: tool, part, top module, clock (Hz), and the names of all files.
    plan
        The plan that it carries out.
    target
        The tool that it is for, with a hint on what to do next.
    """

    directory: Path
    content: dict[str, Any]
    plan: BoardPlan
    target: "Target"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw package --json`` prints."""
        return {"directory": str(self.directory), **self.content, **figures(self.plan)}


def package_target(tool: str, board: str | None = None) -> tuple["Target", str]:
    """Return the target of a tool's name, and the board to plan for.

    Raises UserError for an unknown tool, for a board that the tool cannot have, and if no board is given to a tool
    that serves several.
    """
    from ..boards import packages

    target = packages.target(tool)
    if board is None:
        if target.boards is None:
            raise UserError(f"a package for {target.name} needs a board: {', '.join(boards.BOARDS)}")
        board = target.boards[0]
    target.check(boards.get(board))
    return target, board


def check_package(directory: str | os.PathLike) -> None:
    """Raise UserError unless `package` could write the directory or replace it. Nothing of the trial stays."""
    from ..boards import packages

    check_directory(directory, marker=packages.MARKER)


def package(network: Network, plan: BoardPlan, tool: str, directory: str | os.PathLike) -> PackageResult:
    """Write the accelerator as a part that another tool can use.

    Parameters
    ----------
    network
        The network.
    plan
        Its plan, from `psahw.plan`, which determines device and clock.
    tool
        ``vivado``, ``vitis``, ``fusesoc`` or ``litex``. The tool itself is not needed.
    directory
        Where to write. An existing directory is replaced if ``package`` wrote it; otherwise it must be empty.

    Returns
    -------
    PackageResult
        The directory and what was written into it.

    Raises
    ------
    UserError
        For an unknown tool, a board or a bus that the tool cannot have, or a directory that cannot be written.

    Examples
    --------
    >>> planned = psahw.plan(network, "kc705")  # doctest: +SKIP
    >>> psahw.package(network, planned, "vivado", "build/ip").content["top"]  # doctest: +SKIP
    'psahw_axi'
    """
    check_network(network)
    from ..boards import packages
    from ..boards.tools.whole_directory import whole_directory

    target, _ = package_target(tool, plan.board.name)
    with whole_directory(directory, marker=packages.MARKER) as fresh:
        content = packages.write(target, plan.board, network, plan.accelerator, fresh)
    return PackageResult(real_path(directory), content, plan, target)
