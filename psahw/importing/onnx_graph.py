"""A graph of an ONNX file while it is read: its nodes, its tensors, and the operators that come out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .onnx_constants import Constant
from .onnx_file import MAX_ELEMENTS, Refused
from .onnx_layout import View, standard
from .operators import Affine, Flatten, Operator, Quantise, Quantiser, Shape, output_shape

__all__ = ["Graph", "Node", "Value"]

Value = Constant | View | None
"""A tensor of a file: a constant, one that depends on the input, or None if it comes from an unsupported node."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a file.

    Parameters
    ----------
    name
        Its name, or one made from its operator and number.
    kind
        Its operator, behind a domain if that is neither ONNX's nor one of QONNX's.
    inputs, outputs
        Names of tensors; "" stands for one that is left out.
    attributes
        As `psahw.importing.onnx_file.attributes` returns them.
    opset
        Version of ONNX's operators.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def has(self, position: int) -> bool:
        """Return whether an input is given."""
        return len(self.inputs) > position and self.inputs[position] != ""

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        return self._attribute(name, default, int, "an integer")

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is a finite number."""
        value = self._attribute(name, default, (int, float), "a number")
        if not math.isfinite(value):
            raise Refused(f"attribute {name} must be finite")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a text."""
        return self._attribute(name, default, str, "a text")

    def integers(self, name: str, default: Sequence[int]) -> list[int]:
        """Return an attribute that is a list as long as its default, of integers below 2^16 in size."""
        values = self._attribute(name, list(default), list, "a list")
        if len(values) != len(default) or not all(isinstance(v, int) and abs(v) < 1 << 16 for v in values):
            raise Refused(f"attribute {name} must have {len(default)} integers in (-65536, 65536)")
        return values

    def _attribute(self, name: str, default: Any, kind: Any, description: str) -> Any:
        value = self.attributes.get(name, default)
        if not isinstance(value, kind):
            raise Refused(f"attribute {name} must be {description}")
        return value


@dataclass
class Graph:
    """A graph whose nodes are read one after another.

    Parameters
    ----------
    values
        Tensors by their names in the file.
    operators
        The operators so far.
    grids
        Shape of each of their tensors.
    reserved
        Names of tensors in the file, which new ones must not have.
    dropped
        What was left out at the end.
    """

    values: dict[str, Value]
    grids: dict[str, Shape]
    reserved: frozenset[str]
    operators: list[Operator] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def view(self, node: Node, position: int) -> View:
        """Return an input that depends on the model's input, without padding to take in."""
        view = self.padded(node, position)
        if any(view.padding):
            raise Refused("there must be a convolution after Pad, not this")
        return view

    def padded(self, node: Node, position: int) -> View:
        """Return an input that depends on the model's input."""
        value = self.values[node.inputs[position]] if node.has(position) else None
        if not isinstance(value, View):
            raise Refused(f"input {position} must depend on the model's input")
        return value

    def constant(self, node: Node, position: int) -> Constant:
        """Return an input that must be a constant."""
        value = self.values[node.inputs[position]] if node.has(position) else None
        if not isinstance(value, Constant):
            raise Refused(f"input {position} must be a constant")
        return value

    def array(self, node: Node, position: int) -> np.ndarray:
        """Return an input that must be a constant with finite numbers."""
        values = self.constant(node, position).values
        if values.dtype.kind not in "iufb" or not np.isfinite(values).all():
            raise Refused(f"input {position} must have finite numbers")
        return values

    def single(self, node: Node, position: int, default: float | None = None) -> float:
        """Return an input that must be a constant with one number, or equal ones."""
        if default is not None and not node.has(position):
            return default
        values = self.array(node, position)
        if not values.size or (values != values.flat[0]).any():
            raise Refused(f"input {position} must be one number")
        return float(values.flat[0])

    def fresh(self, name: str) -> str:
        """Return a name for a new tensor."""
        while name in self.grids or name in self.reserved:
            name += "'"
        return name

    def emit(self, operator: Operator) -> Shape:
        """Append an operator, and return the shape of its output."""
        grid = output_shape(operator, [self.grids[name] for name in operator.inputs])
        if math.prod(grid) > MAX_ELEMENTS:
            raise Refused(f"its output must have at most {MAX_ELEMENTS:,} elements")
        self.operators.append(operator)
        self.grids[operator.output] = grid
        return grid

    def affine(self, node: Node, view: View, factor: np.ndarray, offset: np.ndarray, output: str) -> View:
        """Append ``factor·x + offset``, for numbers in the layout of the model."""
        factor, offset = np.asarray(factor, np.float64), np.asarray(offset, np.float64)
        if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
            raise Refused("its constants must be finite")
        self.emit(Affine(node.name, (view.tensor,), output, factor, offset))
        return replace(view, tensor=output, codes=None)

    def numbers(self, node: Node, view: View) -> View:
        """Return a view of the numbers that the file has: integers themselves, not what they stand for."""
        grid = view.codes
        if grid is None:
            return view
        if grid.zero_point == 0 and (grid.scale == 1).all():
            return replace(view, codes=None)
        output = self.fresh(f"{node.outputs[0]}:codes")
        offset = np.array(float(grid.zero_point))
        return self.affine(node, view, 1 / grid.scale, offset, output)

    def quantise(self, name: str, view: View, grid: Quantiser, output: str) -> View:
        """Append a quantiser. The view that is returned is of the numbers, not of the codes."""
        self.emit(Quantise(name, (view.tensor,), output, grid))
        return replace(view, tensor=output, codes=None, integer=False)

    def with_channels(self, node: Node, view: View, axis: int) -> View:
        """Return a view that has its channels in an axis, after flattening if that axis holds all there is."""
        if view.holds(axis, "C"):
            return view
        letters = view.axes[axis]
        if letters != "".join(view.axes):
            raise Refused(f"axis {axis} of its input {view.shape} must hold the channels, and nothing else")
        kept = [letter for letter in "HWC" if letter in letters]
        first = letters == "".join(sorted(kept, key="CHW".index))
        if letters != "".join(kept) and not first:
            raise Refused("a flattened image must be in raster order, its channels in front or behind")
        output = self.fresh(f"{view.tensor}:flat")
        self.emit(Flatten(f"{node.name}:flatten", (view.tensor,), output, letters != "".join(kept)))
        axes = tuple("C" if k == axis else "" for k in range(len(view.axes)))
        return replace(view, tensor=output, grid=self.grids[output], axes=axes)

    def per_channel(self, node: Node, view: View, values: np.ndarray) -> tuple[View, np.ndarray]:
        """Return a constant that is broadcast to a tensor as one number, or as one for each channel.

        The view is flattened if the constant has one number for each element of a flattened image.
        """
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all() or not values.size:
            raise Refused("its constants must be finite")
        while values.ndim > len(view.shape) and values.shape[0] == 1:
            values = values[0]
        if values.ndim > len(view.shape):
            raise Refused(f"a constant of shape {values.shape} must fit an input of {view.shape}")
        values = values.reshape((1,) * (len(view.shape) - values.ndim) + values.shape)
        if any(m not in (1, n) for m, n in zip(values.shape, view.shape, strict=True)):
            raise Refused(f"a constant of shape {values.shape} must fit an input of {view.shape}")
        for axis in range(values.ndim):
            first = values.take([0], axis)
            if (values == first).all():
                values = first
        varying = [axis for axis, length in enumerate(values.shape) if length > 1]
        if len(varying) > 1:
            raise Refused("its constant must be one number, or one for each channel")
        if varying:
            view = self.with_channels(node, view, varying[0])
            return view, values.reshape(-1)
        return view, values.reshape(())

    def give(self, node: Node, operator: Operator, order: str, view: View) -> View:
        """Append an operator with a new grid, and return the view of its output in an order such as ``"NCHW"``."""
        return replace(standard(operator.output, self.emit(operator), order), integer=view.integer)
