"""Construction of adder graphs without redundant nodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .graph import MAX_SHIFT, Adder, Graph, Output

__all__ = ["Builder", "Term"]


class Term(NamedTuple):
    """``±node·2^shift``; the shift of an intermediate may be negative."""

    node: int
    shift: int = 0
    negative: bool = False

    def shifted(self, shift: int) -> "Term":
        return self._replace(shift=self.shift + shift)

    def negated(self, negative: bool = True) -> "Term":
        return self._replace(negative=self.negative != negative)


class Builder:
    """Makes graphs in which no two nodes are equal up to sign and a power of two, and none is always 0."""

    def __init__(self, inputs: int):
        self._inputs, self._adders = inputs, []
        self._forms = list(np.eye(inputs, dtype=np.int64))
        self._known = {form.tobytes(): n for n, form in enumerate(self._forms)}

    def add(self, x: Term | None, y: Term | None) -> Term | None:
        """The sum; None is 0."""
        if x is None or y is None:
            return y if x is None else x
        a, b = sorted((x, y), key=lambda term: term.shift)
        scale, shift, subtract = a.shift, b.shift - a.shift, a.negative != b.negative
        if shift > MAX_SHIFT:
            raise RuntimeError(f"the adder graph shifts by {shift}, not at most {MAX_SHIFT}")
        form_b = self._forms[b.node] << shift
        form = self._forms[a.node] - form_b if subtract else self._forms[a.node] + form_b
        bits = int(np.bitwise_or.reduce(form))
        if bits == 0:
            return None
        right = (bits & -bits).bit_length() - 1
        form >>= right
        for negative, same in ((False, form), (True, -form)):
            node = self._known.get(same.tobytes())
            if node is not None:
                return Term(node, scale + right, a.negative != negative)
        self._known[form.tobytes()] = node = len(self._forms)
        self._forms.append(form)
        self._adders.append(Adder(a.node, b.node, shift, subtract, right))
        return Term(node, scale + right, a.negative)

    def include(self, graph: Graph, inputs: Sequence[int]) -> list[Term | None]:
        """The outputs of another graph, whose inputs are these nodes."""
        terms = [Term(node) for node in inputs]
        for a, b, shift, subtract, right in graph.adders:
            total = self.add(terms[a], terms[b].shifted(shift).negated(subtract))
            terms.append(total.shifted(-right))
        return [
            output and terms[output.node].shifted(output.shift).negated(output.negative) for output in graph.outputs
        ]

    def finish(self, inputs: Sequence[tuple[int, int]], outputs: Sequence[Term | None]) -> Graph:
        """The graph, without adders that no output needs."""
        used = {term.node for term in outputs if term}
        for n in range(len(self._forms) - 1, self._inputs - 1, -1):
            if n in used:
                used |= {self._adders[n - self._inputs].a, self._adders[n - self._inputs].b}
        kept = [*range(self._inputs), *(n for n in range(self._inputs, len(self._forms)) if n in used)]
        number = {n: new for new, n in enumerate(kept)}
        adders = (self._adders[n - self._inputs] for n in kept[self._inputs :])
        return Graph(
            tuple(inputs),
            tuple(adder._replace(a=number[adder.a], b=number[adder.b]) for adder in adders),
            tuple(term and Output(number[term.node], term.shift, term.negative) for term in outputs),
        )
