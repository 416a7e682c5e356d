"""Choose the cheapest pipeline within a resource budget, by mixed-integer programming.

A tree describes the choice. A `Leaf` is nodes as they are, `All` is its parts one after the other, `OneOf` is one
of its options, and `ResidualChoice` is a residual connection around a branch. A `Path` passes through a sequence
of stages: it takes one state of each stage, and a link from each state to the next.

Every option, state and link is a binary variable. The variables x must satisfy C·x = c: of the options of a `OneOf`,
exactly one is taken if the option that contains the `OneOf` is taken, and none otherwise. For the matrix A of the
resources of all options, A·x plus the resources of what is there in any case must keep the limits.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..architecture.device import RESOURCES, Resources
from ..architecture.nodes import Node, Residual
from ..errors import CheckFailed
from .cost import cost

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["GAP", "All", "Leaf", "OneOf", "OutOfTime", "Path", "Programme", "ResidualChoice", "Tree"]

GAP = 0.004
"""Relative distance from the least cost at which the solver may stop."""

_SECONDS = 60.0
_NEAR = 0.02  # of a limit: smaller overruns are not improved
_NODES = 100  # of the solver's search tree, where a rough answer will do
_OPTIMAL, _INFEASIBLE = 0, 2  # statuses of scipy.optimize.milp
_TOLERANCE = 1e-6  # of a limit; HiGHS takes constraints to be met within 1e-7


class OutOfTime(CheckFailed):
    """The solver ran out of time before it knew whether a choice fits."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """Nodes without a choice."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class All:
    """All parts, one after the other."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True, eq=False)
class OneOf:
    """One of the options."""

    options: tuple["Tree", ...]


@dataclass(frozen=True, eq=False)
class ResidualChoice:
    """A residual connection around the choices of both paths. ``residual`` itself has empty paths."""

    residual: Residual
    branch: "Tree"
    bypass: "Tree"


@dataclass(frozen=True, eq=False)
class Path:
    """One state of each stage, and the links between them.

    ``states[n]`` are the states of stage ``n``. ``links[n][a, b]`` leads from state ``a`` of the stage before to
    state ``b`` and stands in front of it; stage 0 is entered from state 0. A pair without a link cannot be taken.
    """

    states: tuple[tuple["Tree", ...], ...]
    links: tuple[dict[tuple[int, int], "Tree"], ...]


Tree = Leaf | All | OneOf | ResidualChoice | Path

_Key = TypeVar("_Key", bound=Hashable)


class Programme:
    """The choice that a tree describes, as a mixed-integer programme.

    Parameters
    ----------
    tree
        The choice.
    family
        The device family, such as ``xc7``, which decides the cost of a node.
    """

    def __init__(self, tree: Tree, family: str) -> None:
        self._tree, self._family = tree, family
        self._variables = 0
        # Variables by index of a OneOf's option, or by (stage, a, b) of a Path's link, under the identity of either.
        self._variables_of: dict[int, Mapping[Any, int]] = {}
        self._sums: list[tuple[int | None, list[int]]] = []  # (variable, those that add up to it); None stands for 1
        self._costs: list[tuple[int | None, Resources]] = []
        self._visit(tree, None)
        self._amounts, self._fixed = self._resources()
        self._overruns: dict[tuple[float, ...], Any] = {}  # answers of `_any_overrun` that are proven, by limits

    def cheapest(
        self, *, worth: Mapping[str, float], limits: Mapping[str, float], gap: float = GAP
    ) -> tuple[Node, ...] | None:
        """Return the cheapest choice within the limits.

        It solves: minimise w·x subject to A·x <= limits, C·x = c, x binary, where w is the sum over all resources of
        A / ``worth``. With a device's amounts as ``worth``, the cost is the sum of the shares of the device.

        Parameters
        ----------
        worth
            Amount of each resource that costs 1; 0 makes a resource free.
        limits
            Largest amount of each resource.
        gap
            Relative distance from the least cost at which the solver may stop.

        Returns
        -------
        tuple of Node or None
            The chosen nodes in data order. Return None if no choice fits, or if the solver ran out of time.
        """
        amounts, room = self._scaled(limits)
        if self._variables == 0:
            return None if (room < 0).any() else self._nodes(())
        weights = np.array([1 / worth[name] if worth[name] else 0.0 for name in RESOURCES]) @ self._amounts
        answer = self._solve(weights, amounts, room, gap)
        return None if answer.x is None else self._nodes(answer.x)

    def nearest(self, limits: Mapping[str, float], *, rough: bool = False) -> tuple[float, tuple[Node, ...]] | None:
        """Return the smallest relative overrun of any limit, and the choice that achieves it.

        The overrun t is the largest of amount / limit - 1 over all resources, and 0 for a choice within the
        limits. An overrun above 0 means that no choice fits, which the solver has proven, but it may be twice the
        least. Above a fiftieth, a better choice is searched for, and one that exceeds the other limits by little.

        Parameters
        ----------
        limits
            Largest amount of each resource.
        rough
            Return what the solver finds within a few nodes of its search. The overrun may then be above 0 although
            a choice fits.

        Returns
        -------
        (float, tuple of Node) or None
            The overrun and the chosen nodes. Return None if no options fit each other at all.

        Raises
        ------
        OutOfTime
            If the solver ran out of time before it knew whether a choice fits.
        """
        amounts, room = self._scaled(limits)
        if self._variables == 0:
            return max(0.0, *(-room).tolist()), self._nodes(())
        answer = self._any_overrun(limits, amounts, room, rough)
        if answer.status == _INFEASIBLE:
            return None
        if answer.x is not None and answer.fun <= _TOLERANCE:
            return 0.0, self._nodes(answer.x)
        if answer.x is None or not (rough or answer.mip_dual_bound > 0):
            raise OutOfTime(f"no choice of engines found within {_SECONDS:g} s; allow fewer with --engines")
        if rough or answer.fun <= _NEAR:
            return answer.fun, self._nodes(answer.x)
        answer = self._smaller_overrun(amounts, room, answer)
        return answer.fun, self._nodes(self._smaller_sum(amounts, room, answer))

    def _any_overrun(self, limits: Mapping[str, float], amounts: np.ndarray, room: np.ndarray, rough: bool) -> Any:
        """Minimise t subject to A·x <= (1 + t)·limit, C·x = c, x binary, t >= 0, within a gap of a half.

        The gap proves t > 0 if no choice fits. A rough answer stops after a few nodes, unless they hold no solution.
        """
        key = tuple(limits[name] for name in RESOURCES)
        if key not in self._overruns:
            options = {"node_limit": _NODES} if rough else {}
            answer = self._minimise_overrun(amounts, room, gap=0.5, **options)
            if rough and answer.x is None:
                answer = self._minimise_overrun(amounts, room, gap=0.5)
            if answer.status != _OPTIMAL:
                return answer
            self._overruns[key] = answer
        return self._overruns[key]

    def _smaller_overrun(self, amounts: np.ndarray, room: np.ndarray, answer: Any) -> Any:
        """Minimise t as in `_any_overrun`, within a gap of a twentieth, and return the better of the two answers."""
        better = self._minimise_overrun(amounts, room, gap=0.05, node_limit=_NODES)
        return better if better.x is not None and better.fun < answer.fun else answer

    def _smaller_sum(self, amounts: np.ndarray, room: np.ndarray, answer: Any) -> np.ndarray:
        """Minimise Σ t_r subject to A_r·x <= (1 + t_r)·limit_r, t_r <= t + _NEAR, C·x = c, x binary, for the t found.

        Here r is a resource. Return x, or that of the answer if the solver finds no better one in a few nodes.
        """
        separate = np.hstack([amounts, -np.eye(len(RESOURCES))])
        weights = np.append(np.zeros(self._variables), np.ones(len(RESOURCES)))
        least = self._solve(weights, separate, room, gap=0.05, most=answer.fun + _NEAR, node_limit=_NODES)
        return answer.x if least.x is None else least.x

    def _minimise_overrun(self, amounts: np.ndarray, room: np.ndarray, *, gap: float, **options: Any) -> Any:
        """Solve for x and the overrun t, which is the last variable."""
        shared = np.hstack([amounts, -np.ones((len(RESOURCES), 1))])
        weights = np.append(np.zeros(self._variables), 1.0)
        return self._solve(weights, shared, room, gap, **options)

    def _scaled(self, limits: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the resources of all options, and the limits less what is there in any case, in units of the limits.

        The shapes are (resources, variables) and (resources,). A limit below 0 counts as 0, which has the unit 1.
        """
        most = np.array([max(limits[name], 0) for name in RESOURCES])
        scale = 1 / np.maximum(most, 1)
        return self._amounts * scale[:, None], (most - self._fixed) * scale

    def _solve(
        self,
        weights: np.ndarray,
        amounts: np.ndarray,
        room: np.ndarray,
        gap: float,
        most: float = np.inf,
        **options: Any,
    ) -> Any:
        """Minimise weights·x subject to amounts·x <= room and C·x = c, and return scipy's `OptimizeResult`.

        Variables behind those of the options are real, from 0 to ``most``. ``x`` is None if no solution was found.
        """
        from scipy import sparse  # loaded only when needed: it takes a third of a second
        from scipy.optimize import Bounds, LinearConstraint, milp

        sums, right = self._consistent
        binary = np.arange(len(weights)) < self._variables
        settings: Any = {"mip_rel_gap": gap, "time_limit": _SECONDS} | options
        sums = sparse.hstack([sums, sparse.csr_array((sums.shape[0], len(weights) - self._variables))])
        return milp(
            weights,
            integrality=binary.astype(int),
            bounds=Bounds(0, np.where(binary, 1, most)),
            constraints=[LinearConstraint(sums, right, right), LinearConstraint(amounts, -np.inf, room)],
            options=settings,
        )

    def _nodes(self, x: Any) -> tuple[Node, ...]:
        """Return the nodes that the values of the variables choose."""
        taken = {
            choice: {key for key, variable in variables.items() if x[variable] > 0.5}
            for choice, variables in self._variables_of.items()
        }
        return tuple(_chosen(self._tree, taken))

    def _visit(self, tree: Tree, variable: int | None) -> None:
        """Add the variables, sums and costs of a tree, which is taken if ``variable`` is 1 (None: in any case)."""
        match tree:
            case Leaf(nodes):
                self._costs.append((variable, cost(nodes, self._family)))
            case All(parts):
                for part in parts:
                    self._visit(part, variable)
            case ResidualChoice(residual, branch, bypass):
                self._costs.append((variable, cost((residual,), self._family)))
                self._visit(bypass, variable)
                self._visit(branch, variable)
            case OneOf(options):
                variables = self._new_variables(dict(enumerate(options)))
                self._variables_of[id(tree)] = variables
                self._sums.append((variable, list(variables.values())))
            case Path():
                self._visit_path(tree, variable)

    def _new_variables(self, options: Mapping[_Key, Tree]) -> dict[_Key, int]:
        """Make a variable for each option and visit the option. Return the variables by the options' keys."""
        variables = {}
        for key, option in options.items():
            variables[key] = self._variables
            self._variables += 1
            self._visit(option, variables[key])
        return variables

    def _visit_path(self, path: Path, variable: int | None) -> None:
        """Add a path: as many links leave and enter a state as the state is taken, which is one or none."""
        before: dict[int, int | None] = {0: variable}
        link_variables: dict[tuple[int, int, int], int] = {}
        for n, (states, links) in enumerate(zip(path.states, path.links, strict=True)):
            entered = self._new_variables(dict(enumerate(states)))
            used = self._new_variables(links)
            for a, left in before.items():
                self._sums.append((left, [link for pair, link in used.items() if pair[0] == a]))
            for b, state in entered.items():
                self._sums.append((state, [link for pair, link in used.items() if pair[1] == b]))
            link_variables |= {(n, *pair): link for pair, link in used.items()}
            before = dict(entered)
        self._variables_of[id(path)] = link_variables

    def _resources(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the resources of each option, (resources, variables), and of what is there in any case."""
        matrix, fixed = np.zeros((len(RESOURCES), self._variables)), np.zeros(len(RESOURCES))
        for variable, amount in self._costs:
            column = [getattr(amount, name) for name in RESOURCES]
            if variable is None:
                fixed += column
            else:
                matrix[:, variable] += column
        return matrix, fixed

    @cached_property
    def _consistent(self) -> tuple["csr_array", np.ndarray]:
        """C and c: one row for each sum of variables that equals a variable or 1."""
        from scipy import sparse

        rows, columns, values = [], [], []
        right = np.zeros(len(self._sums))
        for n, (total, parts) in enumerate(self._sums):
            rows += [n] * len(parts)
            columns += parts
            values += [1] * len(parts)
            if total is None:
                right[n] = 1
            else:
                rows.append(n)
                columns.append(total)
                values.append(-1)
        return sparse.csr_array((values, (rows, columns)), shape=(len(self._sums), self._variables)), right


def _chosen(tree: Tree, taken: dict[int, set]) -> Iterator[Node]:
    """Yield the chosen nodes of a tree, from the keys of what is taken in each `OneOf` and `Path`."""
    match tree:
        case Leaf(nodes):
            yield from nodes
        case All(parts):
            for part in parts:
                yield from _chosen(part, taken)
        case ResidualChoice(residual, branch, bypass):
            paths = tuple(_chosen(branch, taken)), tuple(_chosen(bypass, taken))
            yield dataclasses.replace(residual, branch=paths[0], bypass=paths[1])
        case OneOf(options):
            (place,) = taken[id(tree)]
            yield from _chosen(options[place], taken)
        case Path(states, links):
            for n, a, b in sorted(taken[id(tree)]):
                yield from _chosen(links[n][a, b], taken)
                yield from _chosen(states[n][b], taken)
