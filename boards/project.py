"""Everything that a board's tools need: top level, constraints, scripts."""

from amaranth.lib import wiring

from . import Board
from .clock import ClockSettings, settings
from .shell import Shell

__all__ = ["TOP", "clock_for", "files"]

TOP = "top"


def clock_for(board: Board, clock_hz: float | None = None) -> ClockSettings:
    """How the board makes its accelerator clock, or another one. UserError if it cannot."""
    platform = board.platform()
    target = board.clock_hz if clock_hz is None else clock_hz
    return settings(board.device.family, platform.speed, platform.default_clk_frequency, target)


def files(
    board: Board,
    signature: wiring.Signature,
    *,
    module: str,
    source: str,
    frame_bytes: int,
    clock_hz: float | None = None,
) -> dict[str, str]:
    """The project's files by name, without the accelerator's own.

    The accelerator is ``module`` with the ports of ``signature`` in the Verilog file named ``source``, which the
    scripts read beside the files given here. No vendor tool is run or looked for.
    """
    platform = board.platform()
    shell = Shell(board, clock_for(board, clock_hz), signature, frame_bytes=frame_bytes, module=module)
    platform.add_file(source, "")  # its name, for the scripts; its content comes from elsewhere
    plan = platform.build(shell, name=TOP, do_build=False, emit_src=False)
    return {
        name: content if isinstance(content, str) else content.decode()
        for name, content in plan.files.items()
        if name != source and not name.endswith(".debug.v")  # a placeholder unless asked for
    }
