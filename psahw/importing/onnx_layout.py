"""Where the rows, columns and channels of a tensor are among the axes that it has in an ONNX file.

ONNX has its channels in front, and exporters put transposes and reshapes around that. None of them moves a number in
hardware, so the reader follows them symbolically. Each axis in the file holds some of the letters H (rows), W
(columns) and C (channels), in the order in which they are nested. Lengths of 1, such as the batch, have no letter.
An image of 32 x 32 with 3 channels in NCHW has the axes ``("", "C", "H", "W")``. Flattened, it has ``("", "CHW")``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .onnx_constants import resolve_shape
from .onnx_file import Refused
from .operators import Quantiser, Shape

__all__ = ["View", "as_images", "as_stored", "guesses", "standard"]

_Padding = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class View:
    """A tensor as the file has it.

    Parameters
    ----------
    tensor
        Name of the tensor of the `Model` that holds its numbers.
    grid
        Shape of that tensor.
    shape
        Its shape in the file, with a batch of 1.
    axes
        The letters of each axis.
    codes
        The grid, if the file has integers in place of the numbers that they stand for.
    integer
        Whether the file has integers.
    padding
        Zeros around it that the next operator must take in: rows above and below, columns left and right.
    """

    tensor: str
    grid: Shape
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    codes: Quantiser | None = None
    integer: bool = False
    padding: _Padding = (0, 0, 0, 0)

    def extent(self, letter: str) -> int:
        """Return the rows, columns or channels for H, W or C."""
        return self.grid["HWC".index(letter)]

    def holds(self, axis: int, letter: str) -> bool:
        """Return whether an axis holds exactly the rows, the columns or the channels."""
        wanted = letter if self.extent(letter) > 1 else ""
        return self.axes[axis] == wanted

    def reshaped(self, target: Sequence[int], allow_zero: bool = False) -> "View":
        """Return the view with another shape. Raises Refused if that splits rows, columns or channels."""
        if any(self.padding):
            raise Refused("there must be a convolution after Pad, not a reshape")
        shape = resolve_shape(target, self.shape, allow_zero)
        letters = list("".join(self.axes))
        axes = []
        for length in shape:
            group, size = "", 1
            while size < length and letters:
                size *= self.extent(letters[0])
                group += letters.pop(0)
            if size != length:
                raise Refused(f"a reshape from {self.shape} to {shape} must not split rows, columns or channels")
            axes.append(group)
        return replace(self, shape=shape, axes=tuple(axes))

    def transposed(self, order: Sequence[int] | None) -> "View":
        """Return the view with its axes in another order; the reverse one if it is None."""
        rank = len(self.shape)
        order = list(range(rank))[::-1] if order is None else order
        if sorted(order) != list(range(rank)):
            raise Refused(f"a transpose must name each of the {rank} axes once")
        return replace(self, shape=tuple(self.shape[k] for k in order), axes=tuple(self.axes[k] for k in order))


def standard(tensor: str, grid: Shape, groups: Sequence[str]) -> View:
    """Return the view of a tensor whose axes in the file are these of ``"NHWC"``: ``"NCHW"`` or ``("N", "CHW")``."""
    lengths = dict(zip("NHWC", (1, *grid), strict=True))
    shape = tuple(int(np.prod([lengths[letter] for letter in group])) for group in groups)
    axes = tuple("".join(letter for letter in group if lengths[letter] > 1) for group in groups)
    return View(tensor, grid, shape, axes)


def guesses(tensor: str, shape: tuple[int, ...], target: tuple[int, ...] | None) -> Iterator[View]:
    """Yield the views that an input of a file may have, the likely ones first.

    Parameters
    ----------
    tensor
        Its name.
    shape
        Its shape in the file; a batch is 1.
    target
        The shape of an image that it is reshaped to at once, if any.
    """
    if target is not None and len(shape) <= 2 and len(target) == 4 and target[0] == 1:
        batch = ("N",) * (len(shape) - 1)
        yield standard(tensor, (target[2], target[3], target[1]), (*batch, "CHW"))
        yield standard(tensor, (target[1], target[2], target[3]), (*batch, "HWC"))
    orders = {1: ["C"], 2: ["NC"], 3: ["NCW", "NWC", "NHW", "NCH"], 4: ["NCHW", "NHWC"]}.get(len(shape), [])
    if len(shape) == 3 and shape[0] != 1:
        orders = ["CHW", "HWC"]
    if len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3):
        orders = orders[::-1]
    for order in orders:
        lengths = dict(zip(order, shape, strict=True))
        grid = (lengths.get("H", 1), lengths.get("W", 1), lengths.get("C", 1))
        if lengths.get("N", 1) == 1:
            yield standard(tensor, grid, order)


def as_images(view: View, stored: np.ndarray) -> np.ndarray:
    """Return an array of a file as images (1, rows, columns, channels), in real numbers.

    Parameters
    ----------
    view
        The view of its tensor.
    stored
        The array, whose shape is the view's.
    """
    letters = "".join(view.axes)
    x = np.asarray(stored, np.float64).reshape([view.extent(letter) for letter in letters])
    x = x.transpose([letters.index(letter) for letter in "HWC" if letter in letters]).reshape(1, *view.grid)
    return x if view.codes is None else view.codes.values(x)


def as_stored(view: View, image: np.ndarray) -> np.ndarray:
    """Return one image (rows, columns, channels) of real numbers as the array of a file, float64 or int64."""
    x = image if view.codes is None else view.codes.codes(image)
    letters = "".join(view.axes)
    kept = "".join(letter for letter in "HWC" if letter in letters)
    x = x.reshape([view.extent(letter) for letter in kept]).transpose([kept.index(letter) for letter in letters])
    return x.reshape(view.shape)
