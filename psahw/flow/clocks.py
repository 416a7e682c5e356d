"""The clock of a planned circuit, and how it is known.

A plan's clock is requested. Synthesis estimates which clock the circuit supports (`psahw.synthesis.static_timing`),
and place and route measures it. Both leave their result in the cache, where later plans of the same circuit find it.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from .. import cache
from ..errors import UserError
from ..planner.plan import Plan
from ..sim.design_cache import source_digest

__all__ = ["REQUESTED", "Clock", "known", "remember"]

_logger = logging.getLogger(__name__)

_OF_THE_REQUEST = ("clock_hz", "fps", "latency_s", "limits", "limited_by", "clock", "board")
"""Entries of a plan on which its circuit does not depend."""


@dataclass(frozen=True)
class Clock:
    """The highest clock of a circuit on a board, and how it is known.

    Parameters
    ----------
    how
        ``routed``, ``estimated`` by synthesis, or ``requested``, if neither has been done.
    highest_hz
        The highest clock that the circuit supports, in Hz; None if ``how`` is ``requested``.
    cause
        The largest part of the longest path, in words, if it is known.
    asked_hz
        The clock that the router was asked for, if the circuit was routed.
    """

    how: Literal["routed", "estimated", "requested"]
    highest_hz: float | None = None
    cause: str | None = None
    asked_hz: float | None = None

    def supports(self, clock_hz: float) -> bool:
        """Return whether nothing that is known contradicts a clock."""
        return self.highest_hz is None or clock_hz <= self.highest_hz

    def note(self, clock_hz: float) -> str:
        """Return in a few words how a clock is known."""
        if self.highest_hz is None:
            return "requested, not confirmed"
        highest = f"{self.highest_hz / 1e6:.0f} MHz"
        if not self.supports(clock_hz):
            return f"requested; {self.how}: {highest}"
        return f"{self.how}: up to {highest}"


REQUESTED = Clock("requested")


def _entry(plan: Plan, board: str, how: str) -> Path:
    """Return the entry of the cache for what is known of a circuit on a board in one way."""
    values = {name: value for name, value in plan.to_dict().items() if name not in _OF_THE_REQUEST}
    state = hashlib.sha256(source_digest().encode())
    state.update(json.dumps([board, values], sort_keys=True).encode())
    return cache.place("clocks") / f"{state.hexdigest()}-{how}"


def _read(plan: Plan, board: str, how: str) -> Clock | None:
    """Return what is known in one way, or None."""
    content = cache.read(_entry(plan, board, how))
    return None if content is None else msgspec.json.decode(content, type=Clock)


def remember(plan: Plan, board: str, clock: Clock) -> None:
    """Keep what is known about the clock of a planned circuit.

    Of several routed circuits the fastest is kept. If the cache cannot be written, a warning says so.

    Parameters
    ----------
    plan
        The plan of the circuit.
    board
        Name of the board, which has the speed grade.
    clock
        The clock that synthesis estimates, or place and route reports.
    """
    before = _read(plan, board, clock.how)
    if clock.how == "routed" and before and (before.highest_hz or 0) >= (clock.highest_hz or 0):
        return
    try:
        cache.write(_entry(plan, board, clock.how), json.dumps(asdict(clock)).encode())
    except UserError as error:
        _logger.warning("the clock of this circuit is not kept for later plans: %s", error)


def known(plan: Plan, board: str) -> Clock:
    """Return what is known about the clock of a planned circuit on a board.

    A router stops once it has reached what it was asked for. A routed clock that met its constraint therefore counts
    only if it is higher than the estimate. One that missed its constraint is a limit, whatever the estimate says.
    """
    routed, estimated = _read(plan, board, "routed"), _read(plan, board, "estimated")
    if routed is None or estimated is None:
        return routed or estimated or REQUESTED
    missed = routed.asked_hz is not None and (routed.highest_hz or 0) < routed.asked_hz
    return routed if missed or (routed.highest_hz or 0) >= (estimated.highest_hz or 0) else estimated
