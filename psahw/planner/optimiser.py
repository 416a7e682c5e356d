"""What may stand in a pipeline, and the cheapest of it within a budget: a mixed-integer programme.

A tree says what there is to choose. `Leaf` is nodes as they are, `All` its parts in a row, `OneOf` one of its
options, `ResidualChoice` a residual sublayer around its branch. `Path` goes through stages, taking one state of each, and
what leads from state to state. Every option is a binary variable; of the options of a `OneOf` as many are taken as
the option that it is part of, one or none. What each resource's leaves add up to must keep the limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..architecture.device import RESOURCES, Resources
from ..architecture.nodes import Node, Residual
from ..errors import CheckFailed
from .cost import cost

__all__ = ["GAP", "All", "Leaf", "OneOf", "Path", "Programme", "ResidualChoice", "Tree"]

GAP = 0.004
"""How far above the least cost a choice may be, relatively: where the solver stops."""

_SECONDS = 60.0
_NEAR = 0.02  # of a limit: what exceeds it by no more need not be told from what exceeds it by half of that
_NODES = 100
_INFEASIBLE = 2  # of scipy's statuses
_TOLERANCE = 1e-6  # of a limit; HiGHS takes what it asks for to be met within 1e-7


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
class ResidualChoice:
    """``residual`` with an empty branch, and the branch."""

    residual: Residual
    branch: "Tree"


@dataclass(frozen=True, eq=False)
class Path:
    """``states[n]`` are those of stage ``n``, ``links[n][a, b]`` leads from state ``a`` of the stage before to state
    ``b`` and stands in front of it; stage 0 is entered from 0. Pairs that are not there cannot be taken."""

    states: tuple[tuple["Tree", ...], ...]
    links: tuple[dict[tuple[int, int], "Tree"], ...]


Tree = Leaf | All | OneOf | ResidualChoice | Path


class Programme:
    """What a tree offers to a device family, as a mixed-integer programme."""

    def __init__(self, tree: Tree, family: str):
        self._tree, self._family = tree, family
        self._variables = 0
        self._taken: dict[
            int, dict
        ] = {}  # variables of a OneOf's options or a Path's links, by the identity of either
        self._equal: list[tuple[int | None, list[int]]] = []  # (variable, those that add up to it); None is always 1
        self._costs: list[tuple[int | None, Resources]] = []
        self._visit(tree, None)
        self._amounts, self._fixed = self._resources()

    def cheapest(
        self, *, worth: dict[str, float], limits: dict[str, float], gap: float = GAP
    ) -> tuple[Node, ...] | None:
        """The choice that costs least, of those within ``limits``; None if there is none, or none was found in time.

        Cost is the sum over resources of amount / ``worth``: with a device's amounts the shares of it that are
        filled. It is the least but for ``gap``.
        """
        if self._variables == 0:
            over = any(amount > limits[name] for name, amount in zip(RESOURCES, self._fixed, strict=True))
            return None if over else self._nodes(())
        weights = np.array([1 / worth[name] if worth[name] else 0.0 for name in RESOURCES]) @ self._amounts
        amounts, room = self._scaled(limits)
        found = self._solve(weights, amounts, room, gap)
        return None if found.x is None else self._nodes(found.x)

    def nearest(self, limits: dict[str, float], *, rough: bool = False) -> tuple[float, tuple[Node, ...]] | None:
        """By how much, in shares of a limit, the choice that exceeds none by more does so, and that choice; 0 and any
        choice within them all, where there is one. None if no options fit each other.

        If it is not 0, that is proven, and it may be twice the least. Where it is more than a fiftieth, a better
        choice has been looked for, and one that exceeds the other limits by little. A ``rough`` answer is what
        `_NODES` nodes of the search have found: it may be above 0 where the other is 0. Raises CheckFailed if the
        time is up before that is known.
        """
        amounts, room = self._scaled(limits)
        if self._variables == 0:
            return max(0.0, *-room), self._nodes(())
        few = {"node_limit": _NODES}
        # A variable more: the share.
        shared = np.hstack([amounts, -np.ones((len(RESOURCES), 1))])
        weights = np.append(np.zeros(self._variables), 1.0)
        found = self._solve(weights, shared, room, gap=0.5, **(few if rough else {}))
        if rough and found.x is None:
            found = self._solve(weights, shared, room, gap=0.5)
        if found.status == _INFEASIBLE:
            return None
        if found.x is not None and found.fun <= _TOLERANCE:
            return 0.0, self._nodes(found.x)
        if found.x is None or not (rough or found.mip_dual_bound > 0):
            raise CheckFailed(f"no choice of engines found within {_SECONDS:g} s; allow fewer with --engines")
        if rough or found.fun <= _NEAR:
            return found.fun, self._nodes(found.x)
        better = self._solve(weights, shared, room, gap=0.05, **few)
        found = better if better.x is not None and better.fun < found.fun else found
        # A share for each limit, none far above the one found, and all of them together the least.
        each = np.hstack([amounts, -np.eye(len(RESOURCES))])
        weights = np.append(np.zeros(self._variables), np.ones(len(RESOURCES)))
        least = self._solve(weights, each, room, gap=0.05, most=found.fun + _NEAR, **few)
        return found.fun, self._nodes(found.x if least.x is None else least.x)

    def _scaled(self, limits):
        """Amounts, and the room that what is there anyway leaves, in units of the limits."""
        most = np.array([max(limits[name], 0) for name in RESOURCES])
        scale = 1 / np.maximum(most, 1)
        return self._amounts * scale[:, None], (most - self._fixed) * scale

    def _solve(self, weights, amounts, room, gap, most=np.inf, **options):
        """``x`` None if nothing keeps to it, or if nothing has been found. Variables beyond the options' are shares,
        up to ``most``."""
        from scipy import sparse  # here: a third of a second that `--help` need not wait
        from scipy.optimize import Bounds, LinearConstraint, milp

        whole, right = self._consistent
        binary = np.arange(len(weights)) < self._variables
        whole = sparse.hstack([whole, sparse.csr_array((whole.shape[0], len(weights) - self._variables))])
        return milp(
            weights,
            integrality=binary,
            bounds=Bounds(0, np.where(binary, 1, most)),
            constraints=[LinearConstraint(whole, right, right), LinearConstraint(amounts, -np.inf, room)],
            options={"mip_rel_gap": gap, "time_limit": _SECONDS} | options,
        )

    def _nodes(self, x) -> tuple[Node, ...]:
        taken = {
            choice: {key for key, variable in options.items() if x[variable] > 0.5}
            for choice, options in self._taken.items()
        }
        return tuple(_chosen(self._tree, taken))

    def _visit(self, tree: Tree, variable: int | None) -> None:
        match tree:
            case Leaf(nodes):
                self._costs.append((variable, cost(nodes, self._family)))
            case All(parts):
                for part in parts:
                    self._visit(part, variable)
            case ResidualChoice(residual, branch):
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
            found[key] = self._variables
            self._variables += 1
            self._visit(option, found[key])
        self._taken.setdefault(id(tree), {}).update(found)
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

    def _resources(self) -> tuple[np.ndarray, np.ndarray]:
        """(resources, variables) and (resources): of each option, and of what is there anyway."""
        matrix, fixed = np.zeros((len(RESOURCES), self._variables)), np.zeros(len(RESOURCES))
        for variable, amount in self._costs:
            column = [getattr(amount, name) for name in RESOURCES]
            if variable is None:
                fixed += column
            else:
                matrix[:, variable] += column
        return matrix, fixed

    @cached_property
    def _consistent(self) -> tuple:
        """A matrix and what it times the variables must be."""
        from scipy import sparse

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
        return sparse.csr_array((values, (rows, columns)), shape=(len(self._equal), self._variables)), right


def _chosen(tree: Tree, taken: dict[int, set]) -> Iterator[Node]:
    match tree:
        case Leaf(nodes):
            yield from nodes
        case All(parts):
            for part in parts:
                yield from _chosen(part, taken)
        case ResidualChoice(residual, branch):
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
