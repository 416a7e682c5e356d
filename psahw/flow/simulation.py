"""Simulate a circuit on real images, and compare it with the integer model."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..callbacks import Log, Progress, counter, silent
from ..display import counted, html_table, wrong_answers
from ..errors import CheckFailed, UserError
from ..files import real_path, writable_directory
from ..network import reference
from ..network.graph import Network
from ..planner.plan import Plan
from .arguments import check_design, check_network
from .designs import family_of, load_design, netlist_directory
from .images import LabelledImages, images_for

if TYPE_CHECKING:
    from ..sim.design import Design

__all__ = ["SimulationResult", "check_simulation", "simulate"]

BATCH_IMAGES = 500
"""The most images that are simulated in one run unless the caller says otherwise."""

_LONG_SECONDS = 20
_PARTS = 16  # the most batches of fewer images than `BATCH_IMAGES`
_FILLED = 8  # how many times as many images a batch has as fit into the time that it fills and empties the pipeline

Cycles = int | list[int] | None
"""A number of clock cycles; the least and the greatest if they differ; None if it was not measured."""


@dataclass(frozen=True)
class SimulationResult:
    """Measurements of a simulation. Times are in clock cycles unless the name says otherwise.

    Parameters
    ----------
    dataset
        Name of the data set.
    mode
        How the circuit was run, in words.
    netlist
        Device family whose netlist was simulated, or None for the Verilog.
    network
        Name of the network.
    images
        Images that were sent.
    mismatched_logits, mismatched_classes
        Outputs that differ from the integer model, and indices of the greatest output that do.
    correct, accuracy
        Images classified correctly, as a number and in percent; None without labels.
    frame_interval, frame_interval_predicted
        Cycles between the results of two frames, measured once the pipeline has settled, and as planned.
    settling_frames, draining_frames
        Results before and after the steady state.
    latency, latency_predicted
        Cycles from an image's first beat to its result in the empty accelerator, measured and planned. If there are
        several images without gaps, they follow it.
    latency_all
        The least and the greatest latency of all images.
    sim_cycles_per_second
        Speed of the simulator.
    cycles, seconds, build_seconds
        Simulated cycles, their run time, and the time to compile the simulator (0 if it was in the cache).
    results
        Results that came out.
    stalls
        Whether both ends stalled at random.
    resets
        Resets in mid-frame before the images that count.
    gap
        The least number of idle cycles between two frames, and how many more there may be.
    seed
        Seed of the random choices.
    frames_counted
        Frames that the accelerator's own counter saw, or None if it has no counters.
    stage_stalls
        Stalled cycles of each stage, by the accelerator's own counters.
    mismatches
        A line about each of the first results that differ.
    batches, batches_kept, jobs
        Number of runs, of those whose results were there already, and of runs at once; None for a single run.
    clock_hz
        Planned clock in Hz, or None if the design does not tell.
    output
        What the network answers: ``"class"``, ``"values"`` or ``"labels"``.
    """

    dataset: str
    mode: str
    netlist: str | None
    network: str
    images: int
    mismatched_logits: int
    mismatched_classes: int
    correct: int | None
    accuracy: float | None
    frame_interval: Cycles
    frame_interval_predicted: int
    settling_frames: int
    draining_frames: int
    latency: Cycles
    latency_predicted: int
    latency_all: list[int]
    sim_cycles_per_second: int
    cycles: int
    seconds: float
    build_seconds: float
    results: int
    stalls: bool
    resets: int
    gap: list[int]
    seed: int
    frames_counted: int | None
    stage_stalls: dict[str, int]
    mismatches: list[str]
    clock_hz: float | None
    batches: int | None = None
    batches_kept: int | None = None
    jobs: int | None = None
    output: str = "class"

    @property
    def fps(self) -> float | None:
        """Frames per second at the planned clock and the measured interval; None if either is unknown."""
        if not self.clock_hz or not isinstance(self.frame_interval, int):
            return None
        return self.clock_hz / self.frame_interval

    @property
    def problems(self) -> list[str]:
        """Differences from the integer model or from the plan, in words; empty if there are none."""
        from ..sim import runner

        return runner.problems(self.to_dict())

    def check(self) -> None:
        """Raise CheckFailed if anything differs from the integer model or from the plan."""
        if problems := self.problems:
            raise CheckFailed(f"{self.network}: {'; '.join(problems)}")

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw simulate --json`` prints."""
        result = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.batches is None:
            for name in ("batches", "batches_kept", "jobs"):
                del result[name]
        return result if self.fps is None else result | {"fps": self.fps}

    def table(self) -> tuple[list[str], list[list]]:
        """Return headings and rows of measured and expected values, for display."""
        rows: list[list] = [
            ["images", self.images, None],
            *wrong_answers(self.output, self.mismatched_logits, self.mismatched_classes),
        ]
        for name, measured, predicted in (
            ("frame interval, cycles", self.frame_interval, self.frame_interval_predicted),
            ("latency, cycles", self.latency, self.latency_predicted),
        ):
            shown = " to ".join(f"{cycles:,}" for cycles in measured) if isinstance(measured, list) else measured
            rows.append([name, shown, None if self.stalls else predicted])
        return ["", "measured", "expected"], rows

    @property
    def title(self) -> str:
        """Network, data set and mode, as the heading of a table."""
        return f"{self.network}, {self.dataset} test images, {self.mode}"

    def _repr_html_(self) -> str:
        """Return the table of measured and expected values for a notebook."""
        columns, rows = self.table()
        return html_table(columns, rows, caption=self.title)


def check_simulation(
    *,
    waves: str | os.PathLike | None = None,
    jobs: int | None = None,
    batch: int | None = None,
    keep: str | os.PathLike | None = None,
) -> None:
    """Raise UserError if `simulate` would refuse these arguments or lacks its tools, before any long work."""
    from ..sim import building, runner

    building.check_tools()
    if waves is not None:
        try:
            runner.record(waves)
        except ValueError as error:
            raise UserError(f"waves: {error}") from error
        if not (folder := real_path(waves).parent).is_dir():
            raise UserError(f"waves: directory {folder} does not exist")
        if jobs not in (None, 1) or (batch, keep) != (None, None):
            raise UserError("waves are recorded in a single run: give neither jobs, nor batch, nor keep with them")
    if keep is not None:
        writable_directory(keep)


def _cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(design: "Design", images: int) -> int:
    """Return the number of batches into which images are split unless the caller says otherwise.

    It does not depend on the computer, so that a seed gives the same run everywhere. A run is split if it would take
    longer than `_LONG_SECONDS`. The speed of a simulator was measured for networks of all sizes: a clock cycle takes
    3 us, and 33 us per megabyte of Verilog.
    """
    cycle_seconds = 3e-6 + 33e-12 * design.verilog.stat().st_size
    seconds = images * design.frame_interval * cycle_seconds
    spent = -(-design.latency // design.frame_interval) + 1
    least = _FILLED * spent + design.settling_frames + design.draining_frames
    most = max(_PARTS, -(-images // BATCH_IMAGES))
    return max(1, min(int(seconds // (_LONG_SECONDS / 2)), images // least, most))


def _runs(
    design: "Design",
    images: int,
    waves: str | os.PathLike | None,
    jobs: int | None,
    batch: int | None,
    keep: str | os.PathLike | None,
) -> Callable[..., dict[str, Any]]:
    """Return the function that simulates the images: in one run, or in batches."""
    from ..sim import batches, runner

    parts = _parts(design, images) if jobs is None and waves is None else 1
    if jobs in (None, 1) and (batch, keep, parts) == (None, None, 1):
        return functools.partial(runner.simulate, waves=waves)
    if batch is None and keep is not None:
        batch = BATCH_IMAGES
    elif batch is None:
        batch = min(-(-images // (jobs or parts)), BATCH_IMAGES)
    directory = None if keep is None else Path(keep)
    return functools.partial(batches.simulate, batch=batch, jobs=jobs or _cores(), directory=directory)


def _mode(stalls: bool, resets: int, family: str | None) -> str:
    """Return how the circuit is run, in words."""
    parts = [f"Yosys' netlist for {family}"] if family else []
    parts += ["random stalls at both ends" if stalls else "back to back"]
    parts += [f"after {resets} resets in mid-frame"] if resets else []
    return ", ".join(parts)


def simulate(
    network: Network,
    design: Plan | str | os.PathLike,
    *,
    images: int | LabelledImages = 20,
    netlist: bool = False,
    stalls: bool = False,
    resets: int = 0,
    seed: int = 1,
    waves: str | os.PathLike | None = None,
    jobs: int | None = None,
    batch: int | None = None,
    keep: str | os.PathLike | None = None,
    loops: bool = True,
    step: Log = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> SimulationResult:
    """Run a circuit's Verilog on images, and compare it with the integer model and the plan.

    Verilog and simulator are kept in the cache, so that only the first run of a design compiles. This function does
    not raise an error if the circuit is wrong: see ``SimulationResult.problems`` and ``SimulationResult.check``.

    Parameters
    ----------
    network
        The network.
    design
        A plan, from `psahw.plan`, or a directory that `psahw.elaborate` wrote.
    images
        Number of test images, or images from `psahw.flow.images`.
    netlist
        Simulate the netlist that Yosys makes of the Verilog, cell by cell. Making it takes minutes.
    stalls
        Stall both ends at random. Frame interval and latency are then not compared with the plan.
    resets
        Number of resets in mid-frame before the images that count.
    seed
        Seed of stalls, resets and initial values.
    waves
        File for the waveforms of all signals (``.fst``) or for their switching activity (``.saif``).
    jobs
        Runs at once, by default as many as there are processors.
    batch
        Images per run, each of which begins with a reset. By default short simulations are a single run, and long
        ones are split into equal runs, the same on every computer. With ``jobs`` or ``keep``, at most 500.
    keep
        Directory that keeps the result of each run. Results that are there already are not simulated again.
    loops
        Simulate digit-serial adder graphs as loops over bits, which compiles and runs much faster. Without, Verilator
        gets their Verilog as it is.
    step, progress, log
        Callbacks (see `psahw.flow`).

    Returns
    -------
    SimulationResult
        Differences from the integer model, and the measured cadence beside the planned one.

    Raises
    ------
    UserError
        If the tools are not installed, the directory holds another network, or the Verilog does not compile.
    CheckFailed
        If the circuit breaks the protocol of its streams, or stops.

    Examples
    --------
    >>> network = psahw.load("cifar10-psa-small")  # doctest: +SKIP
    >>> result = psahw.simulate(network, psahw.plan(network, "marble"), images=20)  # doctest: +SKIP
    >>> result.mismatched_logits  # doctest: +SKIP
    0
    """
    check_network(network)
    check_design(design)
    from ..sim import runner

    check_simulation(waves=waves, jobs=jobs, batch=batch, keep=keep)
    chosen = images_for(network, images, log)
    family = family_of(design) if netlist else None
    loaded = load_design(network, design, step)
    if family is not None:
        step(f"netlist for {family}")
        loaded = runner.load_design(netlist_directory(loaded, family))
    step("compile with Verilator")
    runner.build(loaded, waves=None if waves is None else runner.record(waves), loops=loops)
    run = _runs(loaded, len(chosen), waves, jobs, batch, keep)
    step(f"simulate {counted(len(chosen), 'image')}")
    try:
        result = run(
            loaded,
            chosen.pixels,
            reference.run(network, chosen.pixels),
            labels=chosen.labels,
            stalls=stalls,
            resets=resets,
            seed=seed,
            loops=loops,
            progress=counter(progress, len(chosen)),
        )
    except RuntimeError as error:
        raise CheckFailed(f"{network.name}: {error}") from error
    return SimulationResult(
        dataset=chosen.dataset,
        mode=_mode(stalls, resets, family),
        netlist=family,
        clock_hz=loaded.clock_hz,
        output=network.output.kind,
        **result,
    )
