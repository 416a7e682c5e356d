"""Constants of an ONNX file, and the operators that are computed when a file is read.

A fixed list of operators is computed with NumPy, in the types of the file. The sizes of results are checked before
they are allocated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .onnx_file import MAX_ELEMENTS, Refused, numpy_type

__all__ = ["FOLDED", "Constant", "axes_of", "fold", "resolve_shape"]

Attributes = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of a file.

    Parameters
    ----------
    values
        The numbers, in the type of the file.
    codes
        Integers, less their zero point, if the numbers are quantised; of the same shape.
    scale
        float64 of the same shape: what one step of a code stands for.
    """

    values: np.ndarray
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None

    def rearranged(self, change: Callable[[np.ndarray], np.ndarray]) -> "Constant":
        """Return the constant with its elements at other places."""
        parts = (self.values, self.codes, self.scale)
        return Constant(*(None if part is None else change(part) for part in parts))  # type: ignore[arg-type]


def _bounded(shape: Sequence[int]) -> None:
    if math.prod(shape) > MAX_ELEMENTS or min(shape, default=0) < 0:
        raise Refused(f"its constant result must have at most {MAX_ELEMENTS:,} elements")


def resolve_shape(target: Sequence[int], shape: Sequence[int], allow_zero: bool = False) -> tuple[int, ...]:
    """Return the shape that ``Reshape`` gives: 0 copies a length, and -1 stands for what is left."""
    lengths = [int(n) for n in target]
    if not allow_zero:
        lengths = [shape[k] if n == 0 and k < len(shape) else n for k, n in enumerate(lengths)]
    known = math.prod(n for n in lengths if n != -1)
    if lengths.count(-1) == 1 and known > 0:
        lengths[lengths.index(-1)] = math.prod(shape) // known
    if min(lengths, default=1) < 1 or math.prod(lengths) != math.prod(shape):
        raise Refused(f"the shape {tuple(int(n) for n in target)} must fit a tensor of {tuple(shape)}")
    return tuple(lengths)


def axes_of(attributes: Attributes, inputs: Sequence[Any], rank: int, position: int = 1) -> list[int] | None:
    """Return the axes of an operator in [0, rank): an attribute in older files, an input in newer ones."""
    axes = attributes.get("axes")
    if axes is None and len(inputs) > position and inputs[position] is not None:
        axes = np.asarray(inputs[position]).reshape(-1).tolist()
    if axes is None:
        return None
    axes = [int(axis) for axis in axes]
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) != len(axes):
        raise Refused(f"its axes must be different ones in [{-rank}, {rank - 1}]")
    return [axis % rank for axis in axes]


def _cast(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    with np.errstate(all="ignore"):
        return inputs[0].astype(numpy_type(attributes.get("to", 0)))


def _constant(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64)):
        if name in attributes:
            return np.array(attributes[name], dtype)
    for name in ("value_float", "value_floats"):
        if name in attributes:
            return np.array(attributes[name], np.float32)
    if not isinstance(attributes.get("value"), np.ndarray):
        raise Refused("its value must be numbers")
    return attributes["value"]


def _divide(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, y = inputs
    if x.dtype.kind == "f":
        return x / y
    if not y.all():
        raise Refused("it divides by zero")
    return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)  # towards zero


def _unsqueeze(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x = inputs[0]
    count = len(attributes["axes"]) if "axes" in attributes else inputs[1].size
    return np.expand_dims(x, tuple(axes_of(attributes, inputs, x.ndim + count) or ()))


def _squeeze(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    axes = axes_of(attributes, inputs, inputs[0].ndim)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))


def _slice(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x = inputs[0]
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes"), None
    else:
        starts, ends = inputs[1].reshape(-1).tolist(), inputs[2].reshape(-1).tolist()
        axes = inputs[3].reshape(-1).tolist() if len(inputs) > 3 else None
        steps = inputs[4].reshape(-1).tolist() if len(inputs) > 4 else None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    places = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        backwards_to_the_start = step < 0 and end < -x.shape[axis]
        places[axis] = slice(start, None if backwards_to_the_start else end, step)
    return x[tuple(places)]


def _gather(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, places = inputs
    axis = attributes.get("axis", 0)
    _bounded((x.size // max(x.shape[axis], 1), places.size))
    return np.take(x, places, axis)


def _concatenate(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    _bounded((sum(x.size for x in inputs),))
    return np.concatenate(inputs, attributes.get("axis", 0))


def _reshape(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    target = attributes["shape"] if "shape" in attributes else inputs[1].reshape(-1).tolist()
    return inputs[0].reshape(resolve_shape(target, inputs[0].shape, bool(attributes.get("allowzero"))))


def _flatten(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    axis = attributes.get("axis", 1) % max(inputs[0].ndim, 1)
    return inputs[0].reshape(math.prod(inputs[0].shape[:axis]), -1)


def _filled(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    value = attributes.get("value", np.zeros(1, np.float32))
    shape = [int(n) for n in inputs[0].reshape(-1)]
    _bounded(shape)
    return np.full(shape, value.reshape(-1)[0])


def _expand(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(n) for n in inputs[1].reshape(-1)))
    _bounded(shape)
    return np.broadcast_to(inputs[0], shape)


def _clip(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    bounds = [attributes.get("min"), attributes.get("max")]
    for k, bound in enumerate(inputs[1:3]):
        bounds[k] = bound
    return np.clip(inputs[0], *bounds)


_Function = Callable[[Sequence[np.ndarray], Attributes], np.ndarray]

_MOVING: dict[str, _Function] = {  # these only rearrange their first input, and keep the codes of quantised numbers
    "Flatten": _flatten,
    "Identity": lambda inputs, _: inputs[0],
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
}

_ELEMENTS: dict[str, Callable[..., np.ndarray]] = {
    "Abs": np.abs, "Add": np.add, "Ceil": np.ceil, "Equal": np.equal, "Exp": np.exp, "Floor": np.floor, "Log": np.log,
    "Max": np.maximum, "Min": np.minimum, "Mul": np.multiply, "Neg": np.negative, "Pow": np.power,
    "Reciprocal": np.reciprocal, "Round": np.rint, "Sqrt": np.sqrt, "Sub": np.subtract, "Where": np.where,
}  # fmt: skip

_OTHERS: dict[str, _Function] = {
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concatenate,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _divide,
    "Expand": _expand,
    "Gather": _gather,
    "Relu": lambda inputs, _: np.maximum(inputs[0], 0),
    "Shape": lambda inputs, attributes: np.array(
        inputs[0].shape[attributes.get("start", 0) : attributes.get("end")], np.int64
    ),
    "Size": lambda inputs, _: np.array(inputs[0].size, np.int64),
    "Slice": _slice,
}

FOLDED = frozenset({*_MOVING, *_ELEMENTS, *_OTHERS})
"""The operators that `fold` computes."""


def fold(kind: str, inputs: Sequence[Constant], attributes: Attributes) -> Constant:
    """Return the result of an operator of `FOLDED` on constants.

    Raises
    ------
    Refused, ValueError, TypeError, LookupError, ArithmeticError
        If the inputs or the attributes do not fit the operator, or the result is too large.
    """
    if kind in _MOVING:
        others = [constant.values for constant in inputs[1:]]
        return inputs[0].rearranged(lambda part: _MOVING[kind]([part, *others], attributes))
    arrays = [constant.values for constant in inputs]
    _bounded(np.broadcast_shapes(*(x.shape for x in arrays)) if kind in (*_ELEMENTS, "Div") else ())
    with np.errstate(all="ignore"):
        if kind in _ELEMENTS:
            result = np.asarray(_ELEMENTS[kind](*arrays))
            keeps_type = result.dtype.kind == "f" and arrays[0].dtype.kind == "f"
            return Constant(result.astype(arrays[0].dtype) if keeps_type and kind != "Where" else result)
        return Constant(np.asarray(_OTHERS[kind](arrays, attributes)))
