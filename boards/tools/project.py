"""Everything that a board's tools need: top level, accelerator, constraints, scripts."""

import json
from importlib.metadata import version
from pathlib import Path

from psahw import generate
from psahw.errors import UserError
from psahw.network.layers import Network
from psahw.planner.plan import Plan

from .. import Board
from ..clock import ClockSettings, settings
from ..core import AcceleratorInterface
from ..link.options import LinkOptions, UartOptions
from ..shell import Shell

__all__ = ["MARKER", "TOP", "clock_for", "clock_of", "files", "write"]

TOP = "top"
MARKER = "project.json"


def clock_of(board: Board, clock_hz: float | None = None) -> ClockSettings:
    """How the board makes its accelerator clock, or another one. UserError if it cannot."""
    platform = board.platform()
    target = board.clock_hz if clock_hz is None else clock_hz
    return settings(board.device.family, platform.speed, platform.default_clk_frequency, target)


def clock_for(board: Board, clock_hz: float | None = None, link: LinkOptions | None = None) -> ClockSettings:
    """The same for a design with a link, the board's UART if none is given. UserError, too, if the clock is too slow
    for it."""
    clock = clock_of(board, clock_hz)
    (link or UartOptions(board.baud)).check_clock(float(clock.hz))
    return clock


def files(
    board: Board,
    clock: ClockSettings,
    accelerator: AcceleratorInterface,
    *,
    source: str,
    seed: int = 1,
    link: LinkOptions | None = None,
) -> dict[str, str]:
    """The project's files by name, without the accelerator's own.

    The accelerator is in the Verilog file named ``source``, which the scripts read beside the files given here.
    ``seed`` is that of placement, where the tools take one; ``link`` is the board's UART if not given. No vendor tool
    is run or looked for.
    """
    platform = board.platform()
    platform.clock_hz, platform.seed = float(clock.hz), seed
    shell = Shell(board, clock, accelerator, link)
    platform.constraints = shell.link.constraints
    platform.add_file(source, "")  # its name, for the scripts; its content comes from elsewhere
    plan = platform.build(shell, name=TOP, do_build=False, emit_src=False)
    return {
        name: (content if isinstance(content, str) else content.decode()).rstrip("\n") + "\n"
        for name, content in plan.files.items()
        if name != source and not name.endswith(".debug.v")  # a placeholder unless asked for
    }


def _check_room(board, plan, link):
    """The plan is of the accelerator alone."""
    beside = link.bram36(frame_bytes=plan.image_bytes, bus_bytes=plan.bus_bytes)
    room = board.device.bram36 - beside
    if plan.resources.bram36 > room:
        advice = f"plan it with --max-bram {room:g}" if room > 0 else "no accelerator has room beside it"
        raise UserError(
            f"{plan.network}: the accelerator takes {plan.resources.bram36:g} BRAM36, the link's buffers "
            f"{beside:g}, and {board.device.name} has {board.device.bram36:g}: {advice}"
        )


def write(
    board: Board,
    network: Network,
    plan: Plan,
    directory: Path,
    *,
    seed: int = 1,
    link: LinkOptions | None = None,
) -> dict:
    """Write the project into an empty directory; returns the content of its ``project.json``. Raises UserError for a
    plan that leaves no room for the link, or a clock that is too slow for it.

    ``accelerator.v`` is the file that simulation runs; the board's top level instantiates it.
    """
    link = link or UartOptions(board.baud)
    clock = clock_for(board, plan.clock_hz, link)
    _check_room(board, plan, link)
    manifest = generate.write(network, plan, directory)
    circuit = AcceleratorInterface.from_manifest(
        manifest,
        board=board.name,
        clock_hz=float(clock.hz),
        verilog=directory / "accelerator.v",
        window=link.window,
    )
    project = files(board, clock, circuit, source="accelerator.v", seed=seed, link=link)
    for name, content in project.items():
        (directory / name).write_text(content)
        if name.endswith(".sh"):
            (directory / name).chmod(0o755)
    platform = board.platform()
    content = {
        "generator": f"psahw {version('psahw')}",
        "network": network.name,
        "digest": plan.digest,
        "board": board.name,
        "device": platform.device,
        "package": platform.package,
        "speed": platform.speed,
        "top": TOP,
        "clock": {
            "target_hz": plan.clock_hz,
            "hz": float(clock.hz),
            "source_hz": float(clock.input_hz),
            "primitive": clock.primitive,
            "input_divider": clock.input_divider,
            "multiplier": float(clock.multiplier),
            "output_divider": float(clock.output_divider),
        },
        "link": link.to_dict(),
        "files": sorted([path.name for path in directory.iterdir()] + [MARKER]),
    }
    (directory / MARKER).write_text(json.dumps(content, indent=2) + "\n")
    return content
