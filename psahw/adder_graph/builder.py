"""Construction of adder graphs without redundant nodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .graph import MAX_SHIFT, Adder, Graph, Output

__all__ = ["Builder", "Term"]


class Term(NamedTuple):
    """``±node·2^shift``. The shift of an intermediate term may be negative."""

    node: int
    shift: int = 0
    negative: bool = False

    def shifted(self, shift: int) -> "Term":
        """Return the term times ``2^shift``."""
        return self._replace(shift=self.shift + shift)

    def negated(self, negative: bool = True) -> "Term":
        """Return the term times -1, or the term itself if ``negative`` is False."""
        return self._replace(negative=self.negative != negative)


class Builder:
    """Builds a graph in which no node is always 0, and no two are equal up to sign and a power of two.

    Parameters
    ----------
    inputs
        Number of inputs, which are the first nodes.
    """

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._adders: list[Adder] = []
        self._forms = list(np.eye(inputs, dtype=np.int64))
        self._node_of_form = {form.tobytes(): n for n, form in enumerate(self._forms)}

    def add(self, x: Term | None, y: Term | None) -> Term | None:
        """Return the sum of two terms, with a new adder only if no node has that value. None stands for 0.

        Raises RuntimeError if an adder would have to shift by more than `psahw.adder_graph.graph.MAX_SHIFT`.
        """
        if x is None or y is None:
            return y if x is None else x
        a, b = sorted((x, y), key=lambda term: term.shift)
        scale, shift, subtract = a.shift, b.shift - a.shift, a.negative != b.negative
        if shift > MAX_SHIFT:
            raise RuntimeError(f"an adder must shift by at most {MAX_SHIFT}, not {shift}")
        form_b = self._forms[b.node] << shift
        form = self._forms[a.node] - form_b if subtract else self._forms[a.node] + form_b
        bits = int(np.bitwise_or.reduce(form))
        if bits == 0:
            return None
        right = (bits & -bits).bit_length() - 1
        form >>= right
        for negative, same in ((False, form), (True, -form)):
            node = self._node_of_form.get(same.tobytes())
            if node is not None:
                return Term(node, scale + right, a.negative != negative)
        self._node_of_form[form.tobytes()] = node = len(self._forms)
        self._forms.append(form)
        self._adders.append(Adder(a.node, b.node, shift, subtract, right))
        return Term(node, scale + right, a.negative)

    def include(self, graph: Graph, inputs: Sequence[int]) -> list[Term | None]:
        """Return the outputs of another graph, whose inputs are the nodes ``inputs``."""
        terms: list[Term | None] = [Term(node) for node in inputs]
        for a, b, shift, subtract, right in graph.adders:
            operand = terms[b]
            total = self.add(terms[a], operand and operand.shifted(shift).negated(subtract))
            terms.append(total and total.shifted(-right))
        outputs: list[Term | None] = []
        for output in graph.outputs:
            term = output and terms[output.node]
            outputs.append(term.shifted(output.shift).negated(output.negative) if output and term else None)
        return outputs

    def finish(self, inputs: Sequence[tuple[int, int]], outputs: Sequence[Term | None]) -> Graph:
        """Return the graph with these ranges of inputs and these outputs, without adders that no output needs."""
        used = {term.node for term in outputs if term}
        for n in range(len(self._forms) - 1, self._inputs - 1, -1):
            if n in used:
                used |= {self._adders[n - self._inputs].a, self._adders[n - self._inputs].b}
        needed = [*range(self._inputs), *(n for n in range(self._inputs, len(self._forms)) if n in used)]
        number = {n: new for new, n in enumerate(needed)}
        adders = (self._adders[n - self._inputs] for n in needed[self._inputs :])
        return Graph(
            tuple(inputs),
            tuple(adder._replace(a=number[adder.a], b=number[adder.b]) for adder in adders),
            tuple(term and Output(number[term.node], term.shift, term.negative) for term in outputs),
        )
