"""Plan a network's accelerator at the highest clock that an estimate supports."""

from collections.abc import Callable
from math import floor
from typing import Any

from ..boards import Board
from ..callbacks import Log, Progress, silent
from ..errors import CheckFailed, UserError
from ..network.graph import Network
from ..synthesis.static_timing import GRADES
from .arguments import board_of
from .planning import BoardPlan, plan
from .synthesis import check_synthesis, synthesise

__all__ = ["plan_at_highest_clock"]

_ATTEMPTS = 4  # circuits that are synthesised
_STEP_HZ = 1e6


def _below(highest_hz: float, possible: Callable[[float], Any]) -> float:
    """Return the highest whole MHz at or below a frequency that a board can make."""
    reason = "it is below 1 MHz"
    for megahertz in range(floor(highest_hz / _STEP_HZ), 0, -1):
        try:
            possible(megahertz * _STEP_HZ)
        except UserError as error:
            reason = str(error)
            continue
        return megahertz * _STEP_HZ
    raise CheckFailed(
        f"no clock at or below {highest_hz / 1e6:.2f} MHz, which the circuit supports, is possible: {reason}"
    )


def plan_at_highest_clock(
    network: Network, board: str | Board, *, step: Log = silent, progress: Progress = silent, **options: Any
) -> BoardPlan:
    """Plan an accelerator, synthesise it, and plan it again at the highest clock that the estimate supports.

    Synthesis takes minutes. Without a frame rate to reach, the circuit is the same at every clock. With one, a faster
    clock leaves more cycles for a frame, so that a smaller circuit does; it is synthesised in turn. There is a
    register behind every addition unless ``additions`` says otherwise.

    Parameters
    ----------
    network
        The network.
    board
        A board of `psahw.boards`, or its name.
    step, progress
        Callbacks (see `psahw.flow`).
    options
        Options of `psahw.plan` besides ``clock_hz``.

    Returns
    -------
    BoardPlan
        The plan at the highest clock, in whole MHz, that the board can make and the estimate supports, or a routed
        circuit. If a few attempts do not lead to a clock that is the highest for its own plan, the fastest plan whose
        clock is supported.

    Raises
    ------
    UserError
        If there is no synthesis flow for the board's device, and for what `psahw.plan` refuses.
    CheckFailed
        If no plan fits, or if no clock is found at which the plan's own estimate supports it.
    """
    from ..boards.tools import project

    board = board_of(board)
    if board.device.family not in GRADES:
        raise UserError(
            f"--clock auto (plan_at_highest_clock) needs an estimate, and there is none for {board.title}"
        )
    check_synthesis(board)
    link = options.get("link")
    if options.get("additions") is None:
        options["additions"] = 1

    def possible(clock_hz: float) -> None:
        if link is None:
            project.clock_of(board, clock_hz)
        else:
            project.clock_for(board, clock_hz, link)

    clock_hz, fastest = board.clock_hz, None
    for _ in range(_ATTEMPTS):
        step(f"plan at {clock_hz / 1e6:g} MHz")
        planned = plan(network, board, clock_hz=clock_hz, progress=progress, **options)
        if planned.clock.highest_hz is None:
            synthesise(network, planned, step=step, progress=progress)
            planned = BoardPlan.for_board(planned.accelerator, board, link)
        if planned.clock.highest_hz is None:
            raise RuntimeError("synthesis left no estimate in the cache")
        if planned.clock.supports(clock_hz) and (fastest is None or clock_hz > fastest.clock_hz):
            fastest = planned
        highest = _below(planned.clock.highest_hz, possible)
        if highest == clock_hz:
            return planned
        clock_hz = highest
    if fastest is not None:
        return fastest
    raise CheckFailed(
        f"each of {_ATTEMPTS} plans for {network.name} supports another clock than it was made for: plan at "
        f"{clock_hz / 1e6:g} MHz or less with --clock"
    )
