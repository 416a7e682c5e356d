"""What may stand in a pipeline, and the cheapest of it within a budget: a mixed-integer programme.

A tree says what there is to choose. `Leaf` is nodes as they are, `All` its parts in a row, `OneOf` one of its
options, `Inside` a residual sublayer around its branch. `Path` goes through stages, taking one state of each, and
what leads from state to state. Every option is a binary variable; of the options of a `OneOf` as many are taken as
the option that it is part of, one or none. What each resource's leaves add up to must keep the limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .cost import cost
from .device import RESOURCES
from .errors import CheckFailed
from .nodes import Node, Residual
from .parts import Resources

__all__ = ["GAP", "All", "Inside", "Leaf", "OneOf", "Path", "Tree", "choose"]

GAP = 0.004
"""How far above the least cost a choice may be, relatively: where the solver stops."""

_SECONDS = 60.0
_OVERRUN = 100.0  # what exceeding a limit by all of it costs, when filling it costs 1


@dataclass(frozen=True, eq=False)
class Leaf:
    nodes: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class All:
    parts: tuple["Tree", ...]


@dataclass(frozen=True, eq=False)
class OneOf:
    options: tuple["Tree", ...]


@dataclass(frozen=True, eq=False)
class Inside:
    """``residual`` with an empty branch, and the branch."""

    residual: Residual
    branch: "Tree"


@dataclass(frozen=True, eq=False)
class Path:
    """``states[n]`` are those of stage ``n``, ``links[n][a, b]`` leads from state ``a`` of the stage before to state
    ``b`` and stands in front of it; stage 0 is entered from 0. Pairs that are not there cannot be taken."""

    states: tuple[tuple["Tree", ...], ...]
    links: tuple[dict[tuple[int, int], "Tree"], ...]


Tree = Leaf | All | OneOf | Inside | Path


class _Programme:
    """Variables, which options they stand for, and the costs that hang on them; variable None is always 1."""

    def __init__(self, tree: Tree, family: str):
        self._family = family
        self.variables = 0
        self.taken: dict[
            int, dict
        ] = {}  # variables of a OneOf's options or a Path's links, by the identity of either
        self._equal: list[tuple[int | None, list[int]]] = []  # (variable, those that add up to it)
        self._costs: list[tuple[int | None, Resources]] = []
        self._visit(tree, None)

    def _visit(self, tree: Tree, variable: int | None) -> None:
        match tree:
            case Leaf(nodes):
                self._costs.append((variable, cost(nodes, self._family)))
            case All(parts):
                for part in parts:
                    self._visit(part, variable)
            case Inside(residual, branch):
                self._costs.append((variable, cost((residual,), self._family)))
                self._visit(branch, variable)
            case OneOf(options):
                taken = self._options(tree, dict(enumerate(options)))
                self._equal.append((variable, list(taken.values())))
            case Path(states, links):
                self._visit_path(tree, states, links, variable)

    def _options(self, tree: Tree, options: dict) -> dict:
        found = {}
        for key, option in options.items():
            found[key] = self.variables
            self.variables += 1
            self._visit(option, found[key])
        self.taken.setdefault(id(tree), {}).update(found)
        return found

    def _visit_path(self, tree, states, links, variable) -> None:
        before = {0: variable}
        for n, (own, leading) in enumerate(zip(states, links, strict=True)):
            here = self._options(tree, {("state", n, b): state for b, state in enumerate(own)})
            ways = self._options(tree, {("link", n, *pair): link for pair, link in leading.items()})
            for a, left in before.items():
                self._equal.append((left, [way for key, way in ways.items() if key[2] == a]))
            for (_, _, b), entered in here.items():
                self._equal.append((entered, [way for key, way in ways.items() if key[3] == b]))
            before = {b: entered for (_, _, b), entered in here.items()}

    def amounts(self) -> tuple[np.ndarray, np.ndarray]:
        """(resources, variables) and (resources): of each option, and of what is there anyway."""
        matrix, fixed = np.zeros((len(RESOURCES), self.variables)), np.zeros(len(RESOURCES))
        for variable, amount in self._costs:
            column = [getattr(amount, name) for name in RESOURCES]
            if variable is None:
                fixed += column
            else:
                matrix[:, variable] += column
        return matrix, fixed

    def consistent(self) -> tuple:
        """A matrix and what it times the variables must be."""
        from scipy import sparse  # here, as in `choose`: a third of a second that `--help` need not wait

        rows, columns, values = [], [], []
        right = np.zeros(len(self._equal))
        for n, (whole, parts) in enumerate(self._equal):
            rows += [n] * len(parts)
            columns += parts
            values += [1] * len(parts)
            if whole is None:
                right[n] = 1
            else:
                rows.append(n)
                columns.append(whole)
                values.append(-1)
        return sparse.csr_array((values, (rows, columns)), shape=(len(self._equal), self.variables)), right


def _chosen(tree: Tree, taken: dict[int, set]) -> Iterator[Node]:
    match tree:
        case Leaf(nodes):
            yield from nodes
        case All(parts):
            for part in parts:
                yield from _chosen(part, taken)
        case Inside(residual, branch):
            yield Residual(residual.name, residual.lanes, tuple(_chosen(branch, taken)), residual.bypass)
        case OneOf(options):
            (place,) = taken[id(tree)]
            yield from _chosen(options[place], taken)
        case Path(states, links):
            for n, own in enumerate(states):
                for key in sorted(taken[id(tree)]):
                    if key[:2] == ("link", n):
                        yield from _chosen(links[n][key[2:]], taken)
                        yield from _chosen(own[key[3]], taken)


def choose(
    tree: Tree,
    family: str,
    *,
    worth: dict[str, float],
    limits: dict[str, float],
    least_overrun: bool = False,
    gap: float = GAP,
) -> tuple[Node, ...] | None:
    """The choice that costs least, of those within ``limits``; if there is none None, or with ``least_overrun`` the
    one that exceeds them least, in shares of the limits.

    Cost is the sum over resources of amount / ``worth``: with a device's amounts the shares of it that are filled. It
    is the least but for ``gap``.
    """
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    programme = _Programme(tree, family)
    matrix, fixed = programme.amounts()
    if programme.variables == 0:
        over = any(amount > limits[name] for name, amount in zip(RESOURCES, fixed, strict=True))
        return None if over and not least_overrun else tuple(_chosen(tree, {}))
    weights = np.array([1 / worth[name] if worth[name] else 0.0 for name in RESOURCES]) @ matrix
    whole, right = programme.consistent()
    most = np.array([max(limits[name], 0) for name in RESOURCES])
    scale = 1 / np.maximum(most, 1)
    matrix, room = matrix * scale[:, None], (most - fixed) * scale
    if least_overrun:  # by how much of its limit each resource is exceeded is a variable more
        overruns = len(RESOURCES)
        whole = sparse.hstack([whole, sparse.csr_array((whole.shape[0], overruns))])
        matrix = np.hstack([matrix, -np.eye(overruns)])
        weights = np.append(weights, np.full(overruns, _OVERRUN))
    found = milp(
        weights,
        integrality=np.arange(len(weights)) < programme.variables,
        bounds=Bounds(0, np.where(np.arange(len(weights)) < programme.variables, 1, np.inf)),
        constraints=[LinearConstraint(whole, right, right), LinearConstraint(matrix, -np.inf, room)],
        options={"mip_rel_gap": gap, "time_limit": _SECONDS},
    )
    if found.x is None and found.status == 1:
        raise CheckFailed(f"no choice of engines found within {_SECONDS:g} s; allow fewer with --engines")
    if found.x is None:
        return None
    on = found.x > 0.5
    taken = {
        choice: {key for key, variable in options.items() if on[variable]}
        for choice, options in programme.taken.items()
    }
    return tuple(_chosen(tree, taken))
