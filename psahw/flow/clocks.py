"""The clock of a planned circuit, and how it is known.

A plan's clock is requested. Synthesis estimates which clock the circuit supports (`psahw.synthesis.static_timing`),
and place and route measures it. Both leave their result in the cache, where later plans of the same circuit find it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import msgspec

from .. import cache
from ..planner.plan import Plan
from ..sim.design_cache import source_digest

__all__ = ["REQUESTED", "Clock", "known", "remember"]

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
    """

    how: Literal["routed", "estimated", "requested"]
    highest_hz: float | None = None
    cause: str | None = None

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


def _entry(plan: Plan, board: str) -> str:
    """Return the name of the entry of a circuit on a board in the cache."""
    values = {name: value for name, value in plan.to_dict().items() if name not in _OF_THE_REQUEST}
    state = hashlib.sha256(source_digest().encode())
    state.update(json.dumps([board, values], sort_keys=True).encode())
    return state.hexdigest()


def remember(plan: Plan, board: str, clock: Clock) -> None:
    """Keep what is known about the clock of a planned circuit, unless more is known already.

    Parameters
    ----------
    plan
        The plan of the circuit.
    board
        Name of the board, which has the speed grade.
    clock
        What synthesis or place and route says. The highest routed clock is kept.

    Raises
    ------
    UserError
        If the cache cannot be written.
    """
    before = known(plan, board)
    if before.how == "routed" and (clock.how != "routed" or (clock.highest_hz or 0) <= (before.highest_hz or 0)):
        return
    cache.write(cache.place("clocks") / _entry(plan, board), json.dumps(asdict(clock)).encode())


def known(plan: Plan, board: str) -> Clock:
    """Return what is known about the clock of a planned circuit on a board."""
    content = cache.read(cache.place("clocks") / _entry(plan, board))
    return REQUESTED if content is None else msgspec.json.decode(content, type=Clock)
