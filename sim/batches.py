"""Many images in batches, each a run of the simulator of its own: several at once, and what is done stays done."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from psahw.errors import UserError
from psahw.files import write_whole

from . import building, runner
from .runner import Design

__all__ = ["merge", "simulate"]

_RECORD = re.compile(r"images\d+-\d+\.json")
_SUMS = ("images", "mismatched_logits", "mismatched_classes", "correct", "cycles", "seconds", "results")
_RANGES = ("frame_interval", "latency", "latency_all")


def simulate(
    design: Design,
    images: np.ndarray,
    expected: np.ndarray,
    *,
    labels: np.ndarray,
    batch: int,
    jobs: int = 1,
    seed: int = 1,
    directory: Path | None = None,
    progress: Callable[[int], None] = lambda images: None,
    **options,
) -> dict:
    """What `psahw.sim.runner.simulate` returns, of ``batch`` images at a time and ``jobs`` runs at once, put together.

    The batch that begins with image n has the seed ``seed`` + n. With ``directory`` each batch's result is kept
    there, and one that is there already counts without being simulated again.

    Raises ValueError unless ``batch`` and ``jobs`` are at least 1, UserError if the directory holds results of
    another simulation, and what `psahw.sim.runner.simulate` raises.
    """
    for name, value in (("batch", batch), ("jobs", jobs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    common = _digest(design, {"seed": seed, **options})
    todo, found = [], {}
    for start in range(0, len(images), batch):
        part = slice(start, min(start + batch, len(images)))
        arrays = (images[part], expected[part], np.asarray(labels[part]))
        key = hashlib.sha256(common + b"".join(array.tobytes() for array in arrays)).hexdigest()
        path = None if directory is None else directory / f"images{start:05}-{part.stop - 1:05}.json"
        if (kept := _kept(path, key)) is None:
            todo.append((part, path, key))
        else:
            found[start] = kept
            progress(kept["images"])

    def run(part: slice, path: Path | None, key: str) -> tuple[int, dict]:
        try:
            result = runner.simulate(
                design, images[part], expected[part], labels=labels[part], seed=seed + part.start, progress=progress,
                **options,
            )  # fmt: skip
        except RuntimeError as error:
            raise RuntimeError(f"images {part.start} to {part.stop - 1}: {error}") from error
        if path is not None:
            write_whole(path, json.dumps({"key": key, "result": result}, indent=1).encode())
        return part.start, result

    with runner.surroundings(), ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(run, *batch) for batch in todo]
        try:
            found |= dict(each.result() for each in as_completed(started))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    kept = len(found) - len(todo)
    return merge(found) | {"seed": seed, "batches": len(found), "batches_kept": kept, "jobs": jobs}


def _digest(design: Design, options: dict) -> bytes:
    """Of all that the results depend on but the images: circuit, test bench, tools."""
    state = hashlib.sha256(json.dumps([options, building.versions()], sort_keys=True).encode())
    circuit = [path for pattern in ("*.v", "*.json", "*.mem", "*.hex") for path in design.directory.glob(pattern)]
    bench = [path for pattern in ("*.py", "*.sv") for path in Path(__file__).parent.glob(pattern)]
    for path in sorted(circuit) + sorted(bench):
        if not _RECORD.fullmatch(path.name):
            state.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.digest()


def _kept(path: Path | None, key: str) -> dict | None:
    if path is None or not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        if record["key"] == key:
            return record["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a batch's result: {error!r}") from error
    raise UserError(f"{path} is of another simulation (design, images or options): give another directory")


def merge(found: dict[int, dict]) -> dict:
    """One result of several, given by the number of their first image: sums of counts, cycles and seconds; of times
    in cycles the one value or the least and the greatest."""
    results = [found[start] for start in sorted(found)]
    merged = dict(results[0])
    merged |= {name: sum(result[name] for result in results) for name in _SUMS}
    merged |= {name: _range(result[name] for result in results) for name in _RANGES}
    merged["latency_all"] = np.broadcast_to(merged["latency_all"], 2).tolist()
    merged["accuracy"] = round(100 * merged["correct"] / merged["images"], 2)
    merged["sim_cycles_per_second"] = round(merged["cycles"] / merged["seconds"])
    counted = [result["frames_counted"] for result in results]
    merged["frames_counted"] = None if None in counted else sum(counted)
    merged["stage_stalls"] = {
        name: sum(result["stage_stalls"][name] for result in results) for name in merged["stage_stalls"]
    }
    merged["mismatches"] = [
        f"from image {start}, {line}" for start in sorted(found) for line in found[start]["mismatches"]
    ]
    return merged


def _range(values: Iterable[int | list[int] | None]) -> int | list[int] | None:
    numbers = [number for value in values if value is not None for number in np.atleast_1d(value).tolist()]
    if not numbers:
        return None
    return numbers[0] if min(numbers) == max(numbers) else [min(numbers), max(numbers)]
