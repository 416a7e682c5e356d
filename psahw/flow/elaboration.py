"""Write a board's project: Verilog, constraints, plan, and the script that makes the bitstream."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import real_path
from ..network.graph import Network
from .planning import BoardPlan

if TYPE_CHECKING:
    from ..boards.link.options import LinkOptions
from .arguments import check_network

__all__ = ["ElaborationResult", "check_directory", "elaborate", "figures"]


def figures(planned: BoardPlan) -> dict[str, Any]:
    """Return the figures of a plan that are listed beside the files that were written for it."""
    values = planned.to_dict()
    return {name: values[name] for name in ("frame_interval", "fps", "latency", "resources", "limits")}


@dataclass(frozen=True)
class ElaborationResult:
    """A board's project, as `elaborate` wrote it.

    Parameters
    ----------
    directory
        Where the project is.
    project
        Content of its ``project.json``: board, device, clock (Hz), link, and the names of all files.
    plan
        The plan that it carries out.
    link
        The link that joins the accelerator to a host.
    """

    directory: Path
    project: dict[str, Any]
    plan: BoardPlan
    link: "LinkOptions"

    @property
    def clock_hz(self) -> float:
        """The clock that the board's clock generator makes, in Hz."""
        return self.project["clock"]["hz"]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw elaborate --json`` prints."""
        return {"directory": str(self.directory), **self.project, **figures(self.plan)}


class _Permitted(Exception):
    """Ends the trial in `check_directory`."""


def check_directory(directory: str | os.PathLike, *, marker: str | None = None) -> None:
    """Raise UserError unless `elaborate` could write the directory or replace it.

    Parameters
    ----------
    directory
        Where a project is to be written. Nothing of the trial stays.
    marker
        The file that shows that psahw wrote an existing directory; that of a board's project by default.
    """
    from ..boards.tools.project import MARKER
    from ..boards.tools.whole_directory import whole_directory

    with contextlib.suppress(_Permitted), whole_directory(directory, marker=marker or MARKER):
        raise _Permitted


def elaborate(network: Network, plan: BoardPlan, directory: str | os.PathLike, *, seed: int = 1) -> ElaborationResult:
    """Write all that a board's tools need into a directory.

    The directory then holds the top level, the accelerator (the file that simulation runs) with the contents of its
    memories, pins and clocks, the plan, and a script that makes the bitstream. No tool is run.

    Parameters
    ----------
    network
        The network.
    plan
        Its plan, from `psahw.plan`, with board and link.
    directory
        Where to write. An existing directory is replaced if psahw wrote it; otherwise it must be empty.
    seed
        Seed of placement, for tools that take one.

    Returns
    -------
    ElaborationResult
        The directory and what was written into it.

    Raises
    ------
    UserError
        If the directory cannot be written or replaced, if the link's buffers have no room beside the accelerator, or
        if the clock is too slow for the link.
    ValueError
        If the plan is that of another network.

    Examples
    --------
    >>> planned = psahw.plan(network, "marble")  # doctest: +SKIP
    >>> psahw.elaborate(network, planned, "build/marble").project["files"]  # doctest: +SKIP
    """
    check_network(network)
    from ..boards.link.options import choose_link
    from ..boards.tools import project
    from ..boards.tools.whole_directory import whole_directory

    link = plan.link or choose_link(plan.board)
    with whole_directory(directory, marker=project.MARKER) as fresh:
        content = project.write(plan.board, network, plan.accelerator, fresh, seed=seed, link=link)
    return ElaborationResult(real_path(directory), content, plan, link)
