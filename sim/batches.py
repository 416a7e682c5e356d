"""Simulate many images in batches, several at a time, and keep the results of finished batches.

Each batch is a run of the simulator. A simulation that was interrupted continues where it stopped.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from psahw import documents
from psahw.errors import UserError
from psahw.files import write_whole

from . import building, runner
from .design import Design

__all__ = ["merge", "simulate"]

PACKAGE = Path(__file__).parent

_RECORD = re.compile(r"images\d+-\d+\.json")
_SUMS = ("images", "mismatched_logits", "mismatched_classes", "cycles", "seconds", "results")
_RANGES = ("frame_interval", "latency", "latency_all")


def simulate(
    design: Design,
    images: np.ndarray,
    expected: np.ndarray,
    *,
    labels: np.ndarray | None,
    batch: int,
    jobs: int = 1,
    seed: int = 1,
    directory: Path | None = None,
    progress: Callable[[int], None] = lambda images: None,
    **options: Any,
) -> dict[str, Any]:
    """Simulate images in batches, and return one merged result.

    Parameters
    ----------
    design, images, expected, labels
        See `psahw.sim.runner.simulate`.
    batch
        Number of images per batch.
    jobs
        Number of batches that run at the same time.
    seed
        Seed of the first batch. The batch that begins with image n has the seed ``seed + n``.
    directory
        Directory in which the result of each batch is kept. Batches whose result is there are not simulated again.
    progress
        Called with the number of new results.
    **options
        Other options of `psahw.sim.runner.simulate`.

    Returns
    -------
    dict
        The merged result, see `merge`, with the number of batches, and of those that were not simulated again.

    Raises
    ------
    ValueError
        If ``batch`` or ``jobs`` is not positive.
    UserError
        If the directory contains results of another simulation.
    RuntimeError
        If the simulation of a batch fails, see `psahw.sim.runner.simulate`.
    """
    for name, value in (("batch", batch), ("jobs", jobs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    common = _digest(design, {"seed": seed, **options})
    pending: list[tuple[slice, Path | None, str]] = []
    results: dict[int, dict[str, Any]] = {}
    for start in range(0, len(images), batch):
        part = slice(start, min(start + batch, len(images)))
        arrays = (images[part], expected[part], *([] if labels is None else [np.asarray(labels[part])]))
        key = hashlib.sha256(common + b"".join(array.tobytes() for array in arrays)).hexdigest()
        path = None if directory is None else directory / f"images{start:05}-{part.stop - 1:05}.json"
        if (result := _kept_result(path, key)) is None:
            pending.append((part, path, key))
        else:
            results[start] = result
            progress(result["images"])

    stopped = threading.Event()

    def report(count: int) -> None:
        if stopped.is_set():  # ends the simulation
            raise CancelledError
        progress(count)

    def run(part: slice, path: Path | None, key: str) -> tuple[int, dict[str, Any]]:
        try:
            result = runner.simulate(
                design, images[part], expected[part], labels=None if labels is None else labels[part],
                seed=seed + part.start, progress=report, **options,
            )  # fmt: skip
        except RuntimeError as error:
            raise RuntimeError(f"images {part.start} to {part.stop - 1}: {error}") from error
        if path is not None:
            write_whole(path, json.dumps({"key": key, "result": result}, indent=1).encode())
        return part.start, result

    with runner.surroundings(), ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, *arguments) for arguments in pending]
        try:
            results |= dict(future.result() for future in as_completed(futures))
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    kept = len(results) - len(pending)
    return merge(results) | {"seed": seed, "batches": len(results), "batches_kept": kept, "jobs": jobs}


def _sources() -> Iterator[Path]:
    """Yield the source files of this package: Python, SystemVerilog, Verilog and C++."""
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".sv", ".v", ".cpp", ".h"):
            yield path


def _digest(design: Design, options: dict[str, Any]) -> bytes:
    """Return a hash of everything except the images that results depend on: circuit, test bench, tools, options."""
    state = hashlib.sha256(json.dumps([options, building.versions()], sort_keys=True).encode())
    circuit = [path for pattern in ("*.v", "*.json", "*.mem", "*.hex") for path in design.directory.glob(pattern)]
    files = [(path.name, path) for path in sorted(circuit) if not _RECORD.fullmatch(path.name)]
    files += [(f"sim/{path.relative_to(PACKAGE).as_posix()}", path) for path in _sources()]
    for name, path in files:
        state.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.digest()


_Count = Annotated[int, Meta(ge=0)]
_Measured = int | list[int] | None


class _Result(msgspec.Struct):
    """The entries of a result that `merge` and `psahw.sim.result.problems` read."""

    images: Annotated[int, Meta(ge=1)]
    mismatched_logits: _Count
    mismatched_classes: _Count
    correct: _Count
    cycles: _Count
    seconds: Annotated[float, Meta(ge=0, le=1e9)]
    results: _Count
    frame_interval: _Measured
    frame_interval_predicted: int
    latency: _Measured
    latency_predicted: int
    latency_all: _Measured
    frames_counted: _Count | None
    stage_stalls: dict[str, _Count]
    mismatches: list[str]
    stalls: bool
    gap: tuple[int, int]

    def __post_init__(self) -> None:
        if (self.mismatched_logits or self.mismatched_classes) and not self.mismatches:
            raise ValueError("mismatches must describe the logits or classes that are wrong")


class _Record(msgspec.Struct):
    """A file with the result of a batch."""

    key: str
    result: dict[str, Any]


def _kept_result(path: Path | None, key: str) -> dict[str, Any] | None:
    """Return the result of a batch that has been kept in a file, or None if there is no such file.

    Raises
    ------
    UserError
        If the file is not a result, or one of another simulation.
    """
    if path is None or not path.exists():
        return None
    record = documents.read(path, _Record)
    if record.key != key:
        raise UserError(f"{path} is from another simulation (design, images or options): name another directory")
    documents.convert(record.result, _Result, f"{path}: result")
    return record.result


def merge(by_start: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return one result for several batches.

    Counts, cycles and seconds are added. Measured cycles become the only value, or the smallest and the largest. The
    latency of a single image does not count beside those of images that others follow.

    Parameters
    ----------
    by_start
        Results by the number of their first image.
    """
    results = [by_start[start] for start in sorted(by_start)]
    followed = [result for result in results if result["images"] > 1] or results
    merged = dict(followed[0])
    merged |= {name: sum(result[name] for result in results) for name in _SUMS}
    merged |= {name: _range(result[name] for result in results) for name in _RANGES}
    merged["latency"] = _range(result["latency"] for result in followed)
    merged["latency_all"] = np.broadcast_to(merged["latency_all"], 2).tolist()
    labelled = all(result["correct"] is not None for result in results)
    merged["correct"] = sum(result["correct"] for result in results) if labelled else None
    merged["accuracy"] = round(100 * merged["correct"] / merged["images"], 2) if labelled else None
    merged["sim_cycles_per_second"] = round(merged["cycles"] / max(merged["seconds"], 1e-3))
    counted = [result["frames_counted"] for result in results]
    merged["frames_counted"] = None if None in counted else sum(counted)
    merged["stage_stalls"] = {
        name: sum(result["stage_stalls"][name] for result in results) for name in merged["stage_stalls"]
    }
    merged["mismatches"] = [
        f"from image {start}, {line}" for start in sorted(by_start) for line in by_start[start]["mismatches"]
    ]
    return merged


def _range(values: Iterable[int | list[int] | None]) -> int | list[int] | None:
    """Return the only one of the measured values, None if there is none, or else the smallest and the largest."""
    numbers = [number for value in values if value is not None for number in np.atleast_1d(value).tolist()]
    if not numbers:
        return None
    return numbers[0] if min(numbers) == max(numbers) else [min(numbers), max(numbers)]
