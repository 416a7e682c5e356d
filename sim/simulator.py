"""Build the simulator of a design.

Simulators are cached below ``$PSAHW_CACHE/sim`` (``~/.cache/psahw/sim``) by a hash of everything that they are built
from. Memory files do not take part in the hash, because a simulation reads them when it starts.
"""

import os
from pathlib import Path

from . import building
from .design import Design, counter_widths

__all__ = ["HARNESS", "RECORDS", "build", "record"]

HERE = Path(__file__).parent
HARNESS = "psahw_harness"
LZ4 = HERE / "lz4"

RECORDS = ("fst", "saif")
"""Formats in which a simulation can record signals: waveforms, and switching activity.

The activity of a signal is how often it changes and how long it is 1.
"""


def _recipe(design: Design, top: str, waves: str | None, loops: bool) -> dict:
    """Return everything that a simulator depends on, other than the text of the Verilog.

    ``waves`` is the format that it can record, one of `RECORDS`, or None. ``loops`` is that of `build`.
    """
    counters = counter_widths(design)
    parameters = {
        "BUS_BYTES": design.bus_bytes,
        "BEATS": design.beats,
        "RESULT_BITS": design.result_bits,
        "COUNTER_ADDRESS_BITS": counters.get("addr", 1),
        "COUNTER_BITS": counters.get("data", 1),
    }
    harness = top == HARNESS
    trace = {
        None: [],
        "fst": ["--trace-fst", "-LDFLAGS", "-L."],
        "saif": ["--trace-saif"],
    }[waves]
    return {
        "top": top,
        "parameters": parameters if harness else {},
        "defines": {"PSAHW_COUNTERS": 1} if harness and counters else {},
        "build_args": [*(building.BUILD_ARGS if harness else building.BUILD_ARGS[1:]), *trace],
        "waves": waves,
        "headers": {path.name: path.read_text() for path in LZ4.glob("*.h")} if waves == "fst" else {},
        "timescale": "1ps" if waves == "saif" else "1ns",
        "make": building.MAKE_FLAGS,
        "one_file": design.verilog.stat().st_size < building.SMALL,
        "versions": building.versions(),
        "loops": loops,
    }


def build(design: Design, *, top: str = HARNESS, waves: str | None = None, loops: bool = True) -> tuple[Path, float]:
    """Build a simulator, unless the cache has it.

    Parameters
    ----------
    design
        The design to simulate.
    top
        Top-level module: the harness, or the accelerator itself.
    waves
        Format in which the simulator can record all signals, one of `RECORDS`, or None.
    loops
        Whether digit-serial adder graphs become loops in C++, see `psahw.sim.bit_loops`.

    Returns
    -------
    directory : Path
        Directory with the executable, which has the name of the top-level module.
    seconds : float
        Time that building took in seconds, 0 if the simulator was in the cache.

    Raises
    ------
    UserError
        If the Verilog does not build, with the compiler's first error.
    """
    sources = building.with_models([design.verilog, *([HERE / "harness.sv"] if top == HARNESS else [])])
    recipe = _recipe(design, top, waves, loops)

    def build(folder: Path) -> None:
        building.build_with_cocotb(folder, sources, recipe, includes=[LZ4] if waves == "fst" else [])

    return building.cached_build(recipe, sources, top, build)


def record(path: str | os.PathLike) -> str:
    """Return the format of a file that records signals, which is its suffix.

    Raises
    ------
    ValueError
        If the suffix is not one of `RECORDS`.
    """
    if (suffix := Path(path).suffix.removeprefix(".")) not in RECORDS:
        raise ValueError(
            f"the name must end in {' or '.join(f'.{name}' for name in RECORDS)}, not {Path(path).name!r}"
        )
    return suffix
