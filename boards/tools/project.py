"""Write a board's project: top level, accelerator, constraints, and scripts for the board's tools."""

import json
from importlib.metadata import version
from pathlib import Path

from psahw import generate
from psahw.errors import UserError
from psahw.network.graph import Network
from psahw.planner.plan import Plan

from .. import Board
from ..clock import ClockSettings, settings
from ..core import AcceleratorInterface
from ..link.options import LinkOptions, UartOptions
from ..shell import Shell

__all__ = ["MARKER", "TOP", "clock_for", "clock_of", "files", "write"]

TOP = "top"
"""Name of the top-level module, and of the files that Amaranth writes."""

MARKER = "project.json"
"""Name of the file that describes a project."""

_RESTART = 'if [ -z "$BASH" ] ; then exec /bin/bash "$0" "$@"; fi\n'  # Amaranth's, in scripts for Vivado


def clock_of(board: Board, clock_hz: float | None = None) -> ClockSettings:
    """Return the settings of the PLL that makes the accelerator's clock.

    Parameters
    ----------
    board
        The board, whose oscillator is the input of the PLL.
    clock_hz
        Wanted frequency in Hz. The default is the board's own.

    Raises
    ------
    UserError
        If the PLL cannot reach the frequency, see `psahw.boards.clock.settings`.
    """
    platform = board.platform()
    target = board.clock_hz if clock_hz is None else clock_hz
    return settings(board.device.family, platform.speed, platform.default_clk_frequency, target)


def clock_for(board: Board, clock_hz: float | None = None, link: LinkOptions | None = None) -> ClockSettings:
    """Return the settings of the PLL for a design with a link.

    Parameters
    ----------
    board, clock_hz
        See `clock_of`.
    link
        The link to the host. The default is the board's UART.

    Raises
    ------
    UserError
        If the PLL cannot reach the frequency, or the link needs a faster clock.
    """
    clock = clock_of(board, clock_hz)
    (link or UartOptions(board.baud)).check_clock(float(clock.hz))
    return clock


def _from_anywhere(script: str) -> str:
    """Return a shell script that changes into its own directory before its first command."""
    head, separator, commands = script.partition(_RESTART)
    if not separator:
        head, separator, commands = script.partition("set -e\n")
    assert separator, "Amaranth's scripts stop at an error"
    return f'{head}{separator}cd -- "$(dirname -- "$0")"\n{commands}'


def files(
    board: Board,
    clock: ClockSettings,
    accelerator: AcceleratorInterface,
    *,
    source: str,
    seed: int = 1,
    link: LinkOptions | None = None,
) -> dict[str, str]:
    """Return the text of a project's files by name, without the accelerator's own files.

    No vendor tool is run or needed.

    Parameters
    ----------
    board, clock
        The board, and the settings of its PLL.
    accelerator
        The accelerator that the top level instantiates.
    source
        Name of the accelerator's Verilog file, which the scripts read too.
    seed
        Seed of placement, for tools that take one.
    link
        The link to the host. The default is the board's UART.
    """
    platform = board.platform()
    platform.clock_hz, platform.seed = float(clock.hz), seed
    shell = Shell(board, clock, accelerator, link)
    platform.constraints = shell.link.constraints
    platform.add_file(source, "")  # the scripts need only the name
    plan = platform.build(shell, name=TOP, do_build=False, emit_src=False)
    texts = {
        name: (content if isinstance(content, str) else content.decode()).rstrip("\n") + "\n"
        for name, content in plan.files.items()
        if name != source and not name.endswith(".debug.v")  # empty unless Amaranth is asked for it
    }
    return {name: _from_anywhere(text) if name.endswith(".sh") else text for name, text in texts.items()}


def _check_room(board: Board, plan: Plan, link: LinkOptions) -> None:
    """Raise UserError if the link's buffers do not fit beside the accelerator, which is all that the plan counts."""
    link_bram36 = link.bram36(frame_bytes=plan.image_bytes, bus_bytes=plan.bus_bytes)
    room = board.device.bram36 - link_bram36
    if plan.resources.bram36 > room:
        advice = f"plan it with --max-bram {room:g}" if room > 0 else "no accelerator fits beside them"
        raise UserError(
            f"{plan.network}: the accelerator takes {plan.resources.bram36:g} BRAM36, the link's buffers "
            f"{link_bram36:g}, and {board.device.name} has {board.device.bram36:g}: {advice}"
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
    """Write a project into an empty directory, and return the content of its ``project.json``.

    The top level instantiates ``accelerator.v``, which is also the file that simulation runs.

    Parameters
    ----------
    board, network, plan
        The board, the network, and the plan of its accelerator.
    directory
        The empty directory, see `psahw.boards.tools.whole_directory`.
    seed
        Seed of placement, for tools that take one.
    link
        The link to the host. The default is the board's UART.

    Raises
    ------
    UserError
        If the link's buffers do not fit beside the accelerator, or the clock cannot be made or is too slow for the
        link.
    """
    link = link or UartOptions(board.baud)
    clock = clock_for(board, plan.clock_hz, link)
    _check_room(board, plan, link)
    manifest = generate.write(network, plan, directory)
    accelerator = AcceleratorInterface.from_manifest(
        manifest,
        board=board.name,
        clock_hz=float(clock.hz),
        verilog=directory / "accelerator.v",
        window=link.window,
    )
    texts = files(board, clock, accelerator, source="accelerator.v", seed=seed, link=link)
    for name, text in texts.items():
        (directory / name).write_text(text)
        if name.endswith(".sh"):
            (directory / name).chmod(0o755)
    platform = board.platform()
    description = {
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
    (directory / MARKER).write_text(json.dumps(description, indent=2) + "\n")
    return description
