"""Run a command of psahw and turn its JSON output into a record."""

import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE

from .. import processes
from ..errors import CheckFailed, UserError
from .schema import How, Record, Value, store

__all__ = ["add_record", "capture", "machine"]

_RESOURCES = (("lut", "LUT"), ("ff", "FF"), ("dsp", "DSP"), ("bram36", "RAMB36"))


def machine() -> str:
    """Return a short description of the machine: processor, cores and Python version."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {len(names) or 1} cores, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    """Return the lines of Linux' description of the processors, or nothing on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _plan(result: dict) -> Iterator[Value]:
    """Yield the figures of ``psahw plan``. A clock is a target unless an estimate or a routed circuit supports it."""
    clock = result["clock"]
    how: How = "estimated" if clock["how"] == "estimated" else "measured"
    if clock["highest_hz"] is None or clock["highest_hz"] < result["clock_hz"]:
        how = "target"
    yield Value("frame interval", result["frame_interval"], "cycles", "calculated")
    yield Value("latency", result["latency"], "cycles", "calculated")
    yield Value("clock", result["clock_hz"] / 1e6, "MHz", how)
    yield Value("throughput", int(result["fps"]), "FPS", how)
    for key, unit in _RESOURCES:
        yield Value(key, result["resources"][key], unit, "estimated")


def _evaluation(result: dict) -> Iterator[Value]:
    """Yield the figures of ``psahw evaluate``."""
    yield Value("images", result["images"], "images", "measured")
    yield Value("accuracy", result["accuracy"], "%", "measured")


def _simulation(result: dict) -> Iterator[Value]:
    """Yield the figures of ``psahw simulate``. Frame interval and latency are left out if they were not measured."""
    yield Value("images", result["images"], "images", "measured")
    yield Value("mode", result["mode"], "", "measured")
    yield Value("wrong logits", result["mismatched_logits"], "logits", "measured")
    for key in ("frame_interval", "latency"):
        if not result["stalls"] and isinstance(result[key], int):
            yield Value(key.replace("_", " "), result[key], "cycles", "measured")
            yield Value(f"planned {key.replace('_', ' ')}", result[f"{key}_predicted"], "cycles", "calculated")
    yield Value("simulation speed", result["sim_cycles_per_second"], "cycles/s", "measured")


def _synthesis(result: dict) -> Iterator[Value]:
    """Yield the figures of ``psahw synth``."""
    for key, unit in _RESOURCES:
        yield Value(key, result["resources"][key], unit, "measured")
        yield Value(f"planned {key}", result["estimate"][key], unit, "estimated")
    yield Value("longest path", result["timing"]["path_ns"], "ns", "estimated")
    yield Value("highest clock", result["timing"]["highest_mhz"], "MHz", "estimated")


def _routing(result: dict) -> Iterator[Value]:
    """Yield the figures of ``psahw build``. The frame rate is left out if the routed clock is below the plan's."""
    yield Value("clock", round(result["fmax_hz"] / 1e6, 2), "MHz", "measured")
    yield Value("planned clock", result["clock_hz"] / 1e6, "MHz", "target")
    yield Value("frame interval", result["frame_interval"], "cycles", "calculated")
    if result["met"]:
        yield Value("throughput", int(result["fps"]), "FPS", "measured")
    for kind, count in sorted(result["used"].items()):
        if count["used"]:
            yield Value(kind, count["used"], "cells", "measured")
    yield Value("time", round(sum(result["seconds"].values())), "s", "measured")


_READERS: dict[str, tuple[str, Callable[[dict], Iterator[Value]]]] = {
    "plan": ("plan", _plan),
    "evaluate": ("accuracy", _evaluation),
    "simulate": ("simulation", _simulation),
    "synth": ("synthesis", _synthesis),
    "build": ("routing", _routing),
}

_MISSED = {"build"}
"""Commands that end with status 1 after they have printed their figures, because these miss what was asked for."""


def capture(
    name: str, arguments: Sequence[str], *, configuration: str = "", device: str = "", note: str = ""
) -> tuple[str, Record]:
    """Run ``psahw ARGUMENTS --json`` and return the kind of the record and the record.

    Parameters
    ----------
    name
        The record's name, such as ``cifar10-psa/marble-mac``.
    arguments
        The command line without ``psahw`` and ``--json``; its command must be one of plan, evaluate, simulate,
        synth, build.
    configuration
        The conditions under which the figures hold, in words.
    device
        Name of the device; the one in the command's result if empty.
    note
        Anything else that a reader of the figures must know.

    Raises
    ------
    UserError
        If no record can be made of the command, or if the working tree has uncommitted changes.
    CheckFailed
        If the command fails.
    """
    if not arguments or arguments[0] not in _READERS:
        raise UserError(f"a record is made of {', '.join(_READERS)}, not of {shlex.join(arguments)[:80]!r}")
    commit = _commit()
    command = [sys.executable, "-m", "psahw", *arguments, "--json"]
    run = processes.run(command, stdout=PIPE, text=True)
    if run.returncode and not (run.returncode == 1 and run.stdout and arguments[0] in _MISSED):
        raise CheckFailed(f"psahw {shlex.join(arguments)} ended with status {run.returncode}")
    result = json.loads(run.stdout)
    kind, read = _READERS[arguments[0]]
    record = Record(
        name=name,
        subject=result.get("network", ""),
        digest=result.get("digest", "") or _digest(arguments[1]),
        configuration=configuration,
        device=device or result.get("device", ""),
        values=tuple(read(result)),
        command=f"psahw {shlex.join(arguments)}",
        commit=commit,
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        note=note,
    )
    return kind, record


def add_record(
    directory: str | Path,
    kind: str,
    name: str,
    values: Sequence[Value],
    *,
    command: str,
    subject: str = "psahw",
    configuration: str = "",
    device: str = "",
    note: str = "",
) -> Record:
    """Write a record of figures that a program has just measured, and return it.

    Long checks that are not commands of psahw, such as proofs, use this. Commit, date and machine are filled in.

    Parameters
    ----------
    directory
        Directory with the files of records, usually ``results``.
    kind, name
        Kind of the record, which names its file, and its name. A record of that name is replaced.
    values
        The figures.
    command
        The command line that measures them.
    subject, configuration, device, note
        As in `Record`.

    Raises
    ------
    UserError
        If the working tree has uncommitted changes, or the file cannot be read or written.
    """  # fmt: skip
    record = Record(
        name=name, subject=subject, values=tuple(values), command=command, configuration=configuration, device=device,
        note=note, commit=_commit(), date=datetime.now(UTC).date().isoformat(), machine=machine(),
    )  # fmt: skip
    store(directory, kind, record)
    return record


def _commit() -> str:
    """Return the commit of the checkout. Raises UserError outside of one, or if it has uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    run = processes.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    commit = run.stdout.strip()
    if run.returncode or not commit or commit.endswith("-dirty"):
        raise UserError("a record names its commit: run this in a checkout without uncommitted changes")
    return commit


def _digest(network: str) -> str:
    """Return the digest of a network by its path or name."""
    from ..network.file import digest, load

    return digest(load(network))
