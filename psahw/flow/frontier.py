"""Compare accuracy and cost of several networks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..display import html_table
from ..errors import UserError
from ..files import write_whole
from ..network.file import load
from ..network.frontier import Candidate, candidates

__all__ = ["FrontierResult", "frontier"]


@dataclass(frozen=True)
class FrontierResult:
    """Networks by their estimated LUTs.

    Parameters
    ----------
    networks
        The candidates, with the mark of those that no other network beats.
    """

    networks: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw frontier --json`` prints."""
        return {"networks": [candidate.to_dict() for candidate in self.networks]}

    def table(self) -> tuple[list[str], list[list]]:
        """Return headings and one row per network, for display."""

        def percent(value: float | None) -> str | None:
            return None if value is None else f"{value:.2f} %"

        columns = ["network", "LUTs*", "validation", "test", "bits", "non-zero", "MAC per frame", "Pareto", "file"]
        rows = [
            [c.network, c.luts, percent(c.validation), percent(c.test), c.weight_bits, c.weights_nonzero, c.macs,
             c.pareto, c.path]
            for c in self.networks
        ]  # fmt: skip
        return columns, rows

    def write_chart(self, path: str | os.PathLike) -> None:
        """Draw accuracy over LUTs into an SVG file.

        Raises UserError if the name does not end in .svg, no network records its validation accuracy, or the file
        cannot be written.
        """
        from ..report.chart import standalone
        from ..report.curves import frontier_chart

        if Path(path).suffix.lower() != ".svg":
            raise UserError(f"{path}: the name must end in .svg")
        try:
            picture = frontier_chart(self.networks)
        except ValueError as error:
            raise UserError(str(error)) from error
        write_whole(path, standalone(picture))

    def _repr_html_(self) -> str:
        """Return the table of networks for a notebook."""
        columns, rows = self.table()
        return html_table(columns, rows, caption="Accuracy and estimated LUTs of parallel adder graphs")


def frontier(networks: Sequence[str | os.PathLike]) -> FrontierResult:
    """Compare networks by validation accuracy and by the estimated LUTs of their parallel adder graphs.

    Parameters
    ----------
    networks
        Network files, or names of shipped networks. A network whose file records no validation accuracy is listed,
        but not judged.

    Returns
    -------
    FrontierResult
        The networks in the order of their LUTs, with a mark for those that no other one beats.

    Raises
    ------
    UserError
        If a network cannot be loaded.

    Examples
    --------
    >>> import psahw
    >>> result = psahw.frontier(["cifar10-psa", "cifar10-psa-small"])
    >>> [candidate.network for candidate in result.networks]
    ['cifar10-psa-small', 'cifar10-psa']
    """
    return FrontierResult(tuple(candidates([(os.fspath(name), load(name)) for name in networks])))
