"""All operators of a model that cannot become layers: what the walk would have met behind the first one."""

from ..architecture.codes import INT8
from . import operators as ops
from .residuals import join, quantised_sum
from .unsupported import Node, Unsupported
from .values import Coded, Grid, Value
from .walk import Walk

__all__ = ["in_order", "refusals"]

# In place of what an operator gives that is not supported.
_STAND_IN = Coded(Grid(1.0, 0.0, INT8, INT8.low, INT8.high))


def refusals(model: ops.Model, value: Value) -> list[Node]:
    """Return the operators that cannot become layers, with reasons, in the order of the model.

    Every operator is tried by itself. Behind one that is not supported, codes take the place of its output.

    Parameters
    ----------
    model
        The model.
    value
        Its input.
    """
    walk = Walk(model, exact=False, thresholds=False)
    values = {model.input.name: value}
    found: list[Node] = []
    for tensor, takers in walk.takers.items():
        if len(takers) > 1:
            try:
                join(walk, tensor)
            except Unsupported as error:
                found += error.nodes
    for operator in model.operators:
        given, tensor = values.get(operator.inputs[0], _STAND_IN), operator.output
        try:
            if isinstance(operator, ops.Add):
                quantised_sum(walk, operator)
                values[tensor] = _STAND_IN
            else:
                _, after, tensor = walk.step(operator, given, walk.shapes[operator.inputs[0]])
                values[tensor] = after
        except Unsupported as error:
            found += error.nodes
        except ValueError:  # a limit of layers, which may depend on the stand-in
            continue
    return in_order(model, found)


def in_order(model: ops.Model, nodes: list[Node]) -> list[Node]:
    """Return nodes in the order of the model, each once."""
    places = {model.input.name: -1}
    for place, operator in enumerate(model.operators):
        places |= {operator.output: place, operator.name: place}
    return sorted(dict.fromkeys(nodes), key=lambda node: places.get(node[0], -1))
