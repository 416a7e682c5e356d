"""Mutants of a module: its source with one small fault each."""

import functools
from dataclasses import dataclass

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

__all__ = ["OPERATORS", "Mutant", "mutant", "places"]

OPERATORS = (
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in (
            "Add_Sub", "Sub_Add", "Mul_Add", "FloorDiv_Mul", "Div_Mul", "Mod_FloorDiv", "LShift_RShift",
            "RShift_LShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr", "Pow_Mul",
        )
    ),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_Gt", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_Lt", "GtE_Gt", "GtE_Lt",
            "Is_IsNot", "IsNot_Is",
        )
    ),
    "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop",
)  # fmt: skip
"""Names of Cosmic Ray's operators that are used.

Each kind of operator is replaced by one or two others that are likely to be a programmer's mistake. All 200 of
Cosmic Ray's replacements would mostly measure mistakes that no test could miss.
"""


@dataclass(frozen=True)
class Mutant:
    """A source with one fault.

    Parameters
    ----------
    operator
        Name of the operator in `OPERATORS`.
    occurrence
        Number of the place at which it was applied.
    source
        The text with the fault.
    line
        Number of the first line that differs, from 1.
    before, after
        That line in both sources, without indentation.
    """

    operator: str
    occurrence: int
    source: str
    line: int
    before: str
    after: str


class _InExpressions:
    """An operator that is applied only where the result is another program without mistakes in syntax or type.

    Annotations are not run, and the options of a dataclass mostly forbid what the type checker forbids, too. Another
    star than that of a multiplication or a power, as in ``f(*x)``, would become a mistake in syntax or in type, which
    no test could miss. NumPy takes any negative length as that which is to be calculated, and ``zip(strict=True)``
    only reports that two sequences of a module do not have the same length, which they always do.
    """

    def __init__(self, operator):
        self.operator = operator

    def mutation_positions(self, node):
        """Yield the places in a node at which the operator is applied."""
        is_star = node.type == "operator" and node.value in ("*", "**") and node.parent.type not in ("term", "power")
        if not is_star and not _in_declaration(node) and not _without_effect(node):
            yield from self.operator.mutation_positions(node)

    def mutate(self, node, index):
        """Return the mutated node."""
        return self.operator.mutate(node, index)


def _in_declaration(node) -> bool:
    """Return whether a node is part of an annotation or of a decorator."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type == "funcdef" and child is parent.annotation:
            return True
        if parent.type in ("tfpdef", "decorator") or (parent.type == "annassign" and child is parent.children[1]):
            return True
        child, parent = parent, parent.parent
    return False


def _without_effect(node) -> bool:
    """Return whether a node is the number in ``reshape(-1)`` or the value in ``strict=True``."""
    if node.type == "number" and node.parent.type == "factor":
        call = node.parent.parent
        while call.type == "arglist":
            call = call.parent
        before = call.get_previous_sibling()
        return call.type == "trailer" and before is not None and before.get_code().strip() == ".reshape"
    return node.type == "keyword" and node.parent.get_code().strip() == "strict=True"


@functools.cache
def _operator(name: str) -> _InExpressions:
    """Return one of Cosmic Ray's operators."""
    return _InExpressions(get_operator(f"core/{name}")())


def places(source: str) -> list[tuple[str, int]]:
    """Return the names of the operators and the numbers of the places at which they can be applied to a source."""
    nodes = list(ast_nodes(get_ast(source)))
    applicable: list[tuple[str, int]] = []
    for name in OPERATORS:
        operator = _operator(name)
        count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        applicable += [(name, occurrence) for occurrence in range(count)]
    return applicable


def mutant(source: str, name: str, occurrence: int) -> Mutant:
    """Return a source with one fault. Raises ValueError if the operator cannot be applied there."""
    text = mutate_code(source, _operator(name), occurrence)
    if text is None:
        raise ValueError(f"{name} has no place {occurrence}")
    before, after = source.splitlines(), text.splitlines()
    line = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    return Mutant(name, occurrence, text, line + 1, before[line].strip(), after[line].strip())
