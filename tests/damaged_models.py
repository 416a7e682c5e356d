"""Import damaged copies of models that others have trained, each in a process of its own.

    python -m tests.damaged_models [FOLDER] [--cases N] [--json] [--record]

FOLDER has the models; by default it is ``shared/models`` beside the checkout. Each copy must be imported, or refused
in one line or a short list, within 10 s of processor time and 2 GB, and must leave no file and no process behind.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from psahw.records import Value
from psahw.records.capture import add_record

from .faults.injection import leftovers
from .faults.running import Command
from .fuzz.models import damaged_model, refusal

__all__ = ["MODELS"]

ROOT = Path(__file__).resolve().parents[1]
SECONDS, MEGABYTES = 10, 2000
PATIENCE = 120  # seconds of a machine that does other work, too
MODELS = {
    "pretrainedResnet_quant.tflite": (), "kws_ref_model.tflite": (), "ad01_int8.tflite": ("--task", "values"),
    "pretrainedResnet.tflite": (), "qkeras_jettagging.onnx": ("--input", "-8:8"),
    "TFC_2W2A.onnx": ("--input", "-1:1"), "unsw_nb15-mlp-w2a2.onnx": (),
}  # fmt: skip
"""The models, and the options with which each is imported."""


def _megabytes() -> float:
    """Return the most memory that a process has had that this one has started."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def outcome(content: bytes, options: tuple[str, ...], folder: Path) -> tuple[str, float]:
    """Return whether a model is imported or refused, and the seconds that this took.

    Raises AssertionError if anything else becomes of it.
    """
    (folder / "model").write_bytes(content)
    before, start = set(folder.rglob("*")), _seconds()
    ended = Command(folder, "import", "model", "-o", "network", *options).finish(PATIENCE)
    seconds = _seconds() - start
    assert ended.status in (0, 1, 2), f"status {ended.status}: {ended.err}"
    assert not ended.left, ended.left
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert _megabytes() < MEGABYTES, f"{_megabytes():.0f} MB"
    assert not leftovers(folder)
    if ended.status:
        refusal(ended.err)
    else:
        (folder / "network").unlink()
    assert set(folder.rglob("*")) <= {*before, folder / "tmp"}, "it left files behind"
    return "refused" if ended.status else "imported", seconds


def damage(path: Path, options: tuple[str, ...], cases: int) -> tuple[Counter[str], float]:
    """Import damaged copies of a model; return how many were imported and refused, and the longest time."""
    counts: Counter[str] = Counter()
    times = [0.0]
    content = path.read_bytes()
    with tempfile.TemporaryDirectory() as name:

        @settings(
            max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # each case takes seconds: none is made smaller
        )  # fmt: skip
        @given(damaged_model(content))
        def check(damaged):
            what, seconds = outcome(damaged, options, Path(name))
            counts[what] += 1
            times.append(seconds)

        check()
    return counts, max(times)


def main(arguments: list[str]) -> int:
    """Damage all models, and return 0 if nothing fails, or 2 if there is none."""
    parser = argparse.ArgumentParser(prog="python -m tests.damaged_models", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--cases", type=int, default=30, metavar="N", help="damaged copies of each model (30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="write the figures to results/")
    options = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    slowest, names = 0.0, []
    for name, given_options in MODELS.items():
        if not (options.folder / name).exists():
            print(f"skipped: there is no {options.folder / name}", file=sys.stderr, flush=True)
            continue
        counts, seconds = damage(options.folder / name, given_options, options.cases)
        shown = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"{name}: {shown}, at most {seconds:.1f} s of processor time", file=sys.stderr, flush=True)
        total += counts
        slowest = max(slowest, seconds)
        names.append(name)
    if not names:
        return 2
    figures = {
        "models": len(names), "damaged copies": total.total(), "imported": total["imported"],
        "refused": total["refused"], "failed": 0,
    }  # fmt: skip
    if options.json:
        print(json.dumps(figures | {"seconds": slowest, "megabytes": _megabytes()}, indent=2))
    if options.record:
        add_record(
            ROOT / "results", "verification", "import/damaged-models",
            [
                *(Value(what, count, "", "measured") for what, count in figures.items()),
                Value("most processor time of a copy", round(slowest, 1), "s", "measured"),
                Value("most memory", round(_megabytes()), "MB", "measured"),
            ],
            command=f"python -m tests.damaged_models --cases {options.cases}",
            configuration=f"damaged copies of {', '.join(names)}, each in a process of its own",
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
