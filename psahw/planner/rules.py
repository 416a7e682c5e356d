"""Names of the engines for linear layers, and rules for which of them a layer may have.

``mac``, ``mac:ROWSxCOLUMNS``
    A MAC array of any size, or of the given one.
``serial``, ``serial:DIGIT``
    A digit-serial adder graph with any digit, or with the given one.
``parallel``, ``parallel:ADDITIONS``
    An adder graph that takes a vector per clock cycle, with as many additions between two registers as the clock
    permits, or with at most the given number.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..adder_graph.parallel import DEPTHS
from ..adder_graph.serial import DIGITS
from ..errors import UserError
from ..quoting import quote

__all__ = ["KINDS", "MAC_ONLY", "Rules", "engine_name", "graph_name"]

KINDS = ("mac", "serial", "parallel")
"""Kinds of engines."""

_NAME = re.compile(
    rf"mac(:[1-9][0-9]{{0,4}}x[1-9][0-9]{{0,4}})?|serial(:[{min(DIGITS)}-{max(DIGITS)}])?"
    rf"|parallel(:[{min(DEPTHS)}-{max(DEPTHS)}])?"
)


def graph_name(digit: int | None, additions: int = 1) -> str:
    """Return the name of an adder graph.

    ``digit`` is the number of bits per clock cycle, or None for a vector per clock cycle with at most
    ``additions`` additions between two registers.
    """
    return f"parallel:{additions}" if digit is None else f"serial:{digit}"


def engine_name(stage: dict) -> str | None:
    """Return the name of the engine of a stage in a plan's JSON, or None if the stage has no choice of engines."""
    if stage["engine"] == "MacArray":
        return f"mac:{stage['rows']}x{stage['columns']}"
    return graph_name(stage["digit"], stage["additions"]) if stage["engine"] == "GraphEngine" else None


def _checked(names: str) -> frozenset[str]:
    """Return the names of engines in a list with commas. Raises UserError for an unknown name."""
    engines = frozenset(names.split(","))
    for name in engines:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"engine must be mac[:ROWSxCOLUMNS], serial[:{min(DIGITS)} to {max(DIGITS)}] or "
                f"parallel[:{min(DEPTHS)} to {max(DEPTHS)}], not {quote(name)}"
            )
    return engines


@dataclass(frozen=True)
class Rules:
    """The engines that each layer may have.

    Parameters
    ----------
    default
        Engines of the layers that no rule names.
    rules
        Pairs of a pattern, with the shell's wildcards, and engines. Layers have the names that ``psahw plan`` prints.
        If several patterns fit a layer, the last one counts.
    """

    default: frozenset[str]
    rules: tuple[tuple[str, frozenset[str]], ...] = ()

    @classmethod
    def parse(cls, default: str, rules: tuple[str, ...] = ()) -> "Rules":
        """Return the rules that a user wrote. Raises UserError if they are not valid.

        Examples
        --------
        >>> rules = Rules.parse("mac,serial", ("stages.1.*=serial:1", "head=mac"))
        >>> rules.allowed("stages.1.merge", "mac")
        False
        """
        parsed = []
        for rule in rules:
            layer, separator, names = rule.partition("=")
            if not separator or not layer:
                raise UserError(f"a rule for engines must be LAYER=ENGINE, not {quote(rule)}")
            parsed.append((layer, _checked(names)))
        return cls(_checked(default), tuple(parsed))

    def kinds(self) -> set[str]:
        """Return the kinds of engines that any layer may have."""
        named = (names for _, names in self.rules)
        return {name.partition(":")[0] for names in (self.default, *named) for name in names}

    def _names(self, layer: str) -> frozenset[str]:
        """Return the engines that a layer may have."""
        return next((names for pattern, names in reversed(self.rules) if fnmatchcase(layer, pattern)), self.default)

    def allowed(self, layer: str, engine: str) -> bool:
        """Return whether a layer may have an engine."""
        names = self._names(layer)
        return engine in names or engine.partition(":")[0] in names

    def named(self, layer: str, engine: str) -> bool:
        """Return whether the rule for a layer has exactly this engine, not only its kind."""
        return engine in self._names(layer)

    def sizes(self, layer: str) -> list[tuple[int, int]]:
        """Return the sizes (rows, columns) of MAC arrays that are named for a layer."""
        named = sorted(name for name in self._names(layer) if name.startswith("mac:"))
        shapes = (name.removeprefix("mac:").split("x") for name in named)
        return [(int(rows), int(columns)) for rows, columns in shapes]

    def unused(self, layers: Iterable[str]) -> list[str]:
        """Return the patterns that fit none of the layers."""
        names = list(layers)
        return [pattern for pattern, _ in self.rules if not any(fnmatchcase(name, pattern) for name in names)]


MAC_ONLY = Rules.parse("mac")
"""Rules that allow only MAC arrays, so that no adder graph has to be solved."""
