"""A proof: properties of a component with certain parameters, and how to show them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import Elaboratable

from psahw.gateware.stream import vector_signature

from ..contract import Bench, Route

__all__ = ["BYTE", "HANDSHAKE", "ORDER", "SIGN", "Proof", "around", "copies", "handshake", "order"]

HANDSHAKE = ("stable", "offers", "counts", "live")
ORDER = ("order",)
SIGN = slice(7, 8)
BYTE = vector_signature(1).members["payload"].shape


@dataclass(frozen=True)
class Proof:
    """Properties of a component with certain parameters, and how to prove them.

    ``quick`` proofs are part of the test suite. ``depth`` is the number of clock cycles that engine ``bmc`` looks at,
    and k for ``induction``; ``skip`` that of the first ones in which nothing can fail. A proof by ``bmc`` without a
    depth looks at as many clock cycles as its bench demands, and holds for all time, see `Bench.cycles`.
    """

    component: str
    parameters: str
    properties: tuple[str, ...]
    engine: str
    make: Callable[[Sequence[str]], Bench]
    depth: int = 0
    skip: int = 0
    quick: bool = False

    @property
    def name(self) -> str:
        """A name that is unique, from small letters, digits, dashes and slashes."""
        parts = (self.component, self.parameters, "-".join(self.properties))
        return "/".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts if part)

    @property
    def bound(self) -> int | None:
        """Clock cycles, that of the reset included, for which the properties are shown; None for all time."""
        return (self.depth or None) if self.engine == "bmc" else None

    def bench(self) -> Bench:
        """Return a new bench."""
        return self.make(self.properties)

    def component_alone(self) -> Elaboratable:
        """Return a new component, without a bench."""
        bench = self.make(())
        bench._MustUse__silence = True  # Amaranth warns of what is never elaborated
        return bench.component


def around(bench: Callable[..., Bench], component: Callable[[], Elaboratable], **arguments) -> Callable:
    """Return a function of properties that makes a bench around a new component."""
    return lambda properties: bench(component(), properties, **arguments)


def handshake(component: str, parameters: str, make: Callable[[Sequence[str]], Bench], depth: int = 0) -> Proof:
    """Return a proof of all properties but *order*: for ``depth`` clock cycles, or for all time if that is 0."""
    return Proof(component, parameters, HANDSHAKE, "bmc" if depth else "pdr", make, depth)


def order(component: str, parameters: str, make: Callable[[Sequence[str]], Bench], depth: int = 0) -> Proof:
    """Return a proof of *order*: for ``depth`` clock cycles, or for all time if that is 0."""
    return Proof(component, parameters, ORDER, "bmc" if depth else "pdr", make, depth)


def copies(lanes: int) -> Route:
    """Return the order in which beats leave as they came."""
    return Route([[(0, lane) for lane in range(lanes)]])
