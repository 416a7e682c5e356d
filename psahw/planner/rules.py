"""The engines for linear maps by name, and which of them a layer may have.

| name | engine |
|---|---|
| ``mac``, ``mac:ROWSxCOLUMNS`` | a MAC array, of any size or of that one |
| ``serial``, ``serial:DIGIT`` | a digit-serial adder graph, of any digit or of that one |
| ``parallel`` | an adder graph that takes a vector a clock |
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import UserError

__all__ = ["KINDS", "MAC_ONLY", "Rules", "engine_name", "graph_name"]

KINDS = ("mac", "serial", "parallel")
_NAME = re.compile(r"mac(:[1-9]\d*x[1-9]\d*)?|serial(:[1248])?|parallel")


def graph_name(digit: int | None) -> str:
    return "parallel" if digit is None else f"serial:{digit}"


def engine_name(stage: dict) -> str | None:
    """Of a stage in a plan's JSON; None if it has no choice of engines."""
    if stage["engine"] == "MacArray":
        return f"mac:{stage['rows']}x{stage['columns']}"
    return graph_name(stage["digit"]) if stage["engine"] == "GraphEngine" else None


def _checked(names: str) -> frozenset[str]:
    found = frozenset(names.split(","))
    for name in found:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"engine must be mac, mac:ROWSxCOLUMNS, serial, serial:1, 2, 4 or 8, or parallel, not {name!r}"
            )
    return found


@dataclass(frozen=True)
class Rules:
    """``default`` are the engines of all layers but those that a rule names; of several rules for a layer the last
    one counts. Layers are called as in ``psahw plan``, and rules may have the shell's wildcards."""

    default: frozenset[str]
    rules: tuple[tuple[str, frozenset[str]], ...] = ()

    @classmethod
    def parse(cls, default: str, rules: tuple[str, ...] = ()) -> "Rules":
        """From "mac,serial" and ["stages.1.*=serial:1", "head=mac"]. Raises UserError for what is none."""
        made = []
        for rule in rules:
            layer, separator, names = rule.partition("=")
            if not separator or not layer:
                raise UserError(f"an engine for layers needs LAYER=ENGINE, not {rule!r}")
            made.append((layer, _checked(names)))
        return cls(_checked(default), tuple(made))

    def kinds(self) -> set[str]:
        """That any layer may have."""
        named = (names for _, names in self.rules)
        return {name.partition(":")[0] for names in (self.default, *named) for name in names}

    def _names(self, layer: str) -> frozenset[str]:
        return next((names for pattern, names in reversed(self.rules) if fnmatchcase(layer, pattern)), self.default)

    def allowed(self, layer: str, engine: str) -> bool:
        names = self._names(layer)
        return engine in names or engine.partition(":")[0] in names

    def sizes(self, layer: str) -> list[tuple[int, int]]:
        """(rows, columns) of the MAC arrays that are named for a layer."""
        named = sorted(name for name in self._names(layer) if name.startswith("mac:"))
        return [tuple(map(int, name.removeprefix("mac:").split("x"))) for name in named]

    def unused(self, layers) -> list[str]:
        """Patterns that name none of the layers."""
        return [pattern for pattern, _ in self.rules if not any(fnmatchcase(layer, pattern) for layer in layers)]


MAC_ONLY = Rules.parse("mac")
"""MAC arrays for all layers, so that no adder graph has to be solved."""
