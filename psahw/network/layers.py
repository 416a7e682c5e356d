"""The layers of a quantised network, as integers.

`psahw.network.reference` defines the arithmetic and `psahw.network.file` the file;
``docs/reference/network-format.md`` specifies both for a second implementation. A layer's constructor checks the
types, shapes and ranges of its own numbers. Its method ``output`` checks that the layer fits its input, and returns
what it makes of it; `psahw.network.graph` calls it for every layer of a network.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from ..architecture.codes import Codes
from ..architecture.geometry import SlidingWindow, neighbour_reach, neighbours
from ..architecture.ranges import MAX_MULTIPLIER
from .activations import Activations, output_codes
from .checks import check_array, check_bool, check_int, check_ints

__all__ = [
    "Flatten", "Layer", "Linear", "MaxPool", "MeanPool", "Table", "Thresholds", "TokenMixing", "Windows",
]  # fmt: skip

MAX_SIZE = 1024
"""Most rows or columns of a window, and of a grid."""

MAX_SHIFT = 31

_SUM_LIMIT = 1 << 30  # of a sum's magnitude, so that half of the largest shift can be added in 32 bits
_INT32 = np.iinfo(np.int32)


def _need_8_bits(shape: Activations) -> None:
    """Raise ValueError unless codes have at most 8 bits, as every layer but `Thresholds` needs."""
    if shape.codes.bits > 8:
        raise ValueError(f"must come after codes of at most 8 bits, not {shape.codes}")


class _Sums:
    """Sums of products, requantised: ``y = sat(rshift(multiplier·(W·x + bias) + offset, shift))``.

    ``rshift`` divides by a power of two and rounds half up. ``sat`` clips to ``out_bits`` bits, in two's complement
    if ``out_signed``. Each row has a bias, a shift and, if they are not None, a multiplier and an offset.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    multiplier: np.ndarray | None
    offset: np.ndarray | None
    out_bits: int
    out_signed: bool

    @property
    def codes(self) -> Codes:
        """Type of the outputs."""
        return Codes(self.out_bits, self.out_signed)

    def _check(self, weight: tuple[int | None, ...], rows: tuple[int, ...]) -> None:
        """Check everything that does not depend on the input."""
        check_array("weight", self.weight, np.int8, weight)
        check_array("bias", self.bias, np.int32, rows)
        check_array("shift", self.shift, np.uint8, rows)
        if self.shift.max(initial=0) > MAX_SHIFT:
            index = np.unravel_index(self.shift.argmax(), self.shift.shape)
            raise ValueError(f"shift{list(map(int, index))} must be at most {MAX_SHIFT}, not {self.shift.max()}")
        if self.multiplier is not None:
            check_array("multiplier", self.multiplier, np.uint32, rows)
            if self.multiplier.max(initial=0) > MAX_MULTIPLIER:
                index = np.unravel_index(self.multiplier.argmax(), self.multiplier.shape)
                raise ValueError(
                    f"multiplier{list(map(int, index))} must be at most {MAX_MULTIPLIER}, not {self.multiplier.max()}"
                )
        if self.offset is not None:
            check_array("offset", self.offset, np.int32, rows)
            if self.multiplier is None:
                raise ValueError("offset must be None without a multiplier, because the bias does the same")
            if (largest := np.abs(self.offset.astype(np.int64))).max(initial=0) > MAX_MULTIPLIER:
                index = np.unravel_index(largest.argmax(), largest.shape)
                raise ValueError(
                    f"offset{list(map(int, index))} must be in [-{MAX_MULTIPLIER}, {MAX_MULTIPLIER}], "
                    f"not {self.offset[index]}"
                )
        output_codes(self.out_bits, self.out_signed)
        self._bounds(-128, 127)

    def _bounds(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest sum of each row, with its bias, over all inputs in [low, high].

        Every partial sum is within these bounds as well if 0 is in [low, high]. Raises ValueError if a sum may not
        fit into the accumulator.
        """
        weight = self.weight.astype(np.int16)  # no wider, because weights may be large
        positive = np.maximum(weight, 0).sum(-1, dtype=np.int64)
        negative = np.minimum(weight, 0).sum(-1, dtype=np.int64)
        largest = max(-low, high, 0)
        bound = largest * (positive - negative) + np.abs(self.bias.astype(np.int64))
        if bound.max() >= _SUM_LIMIT:
            index = np.unravel_index(bound.argmax(), bound.shape)
            raise ValueError(
                f"row {list(map(int, index))} can exceed the 31-bit accumulator: |bias| + {largest}·sum|weight| "
                f"must be below {_SUM_LIMIT}, not {bound.max()}"
            )
        return low * positive + high * negative + self.bias, high * positive + low * negative + self.bias

    def _reached(self, shape: Activations) -> tuple[int, int]:
        """Return the least and the greatest output over all inputs that occur.

        Raises ValueError if a sum may not fit into the accumulator for any input of the declared type.
        """
        if shape.codes.high > 128:  # `_check` has made sure of the others
            self._bounds(shape.codes.low, shape.codes.high)
        bounds = np.stack(self._bounds(shape.low, shape.high))
        if self.multiplier is not None:
            bounds = bounds * self.multiplier
        if self.offset is not None:
            bounds = bounds + self.offset
        half = (np.int64(1) << self.shift.astype(np.int64)) >> 1
        codes = np.clip((bounds + half) >> self.shift, self.codes.low, self.codes.high)
        return int(codes.min()), int(codes.max())


@dataclass(frozen=True, eq=False)
class Linear(_Sums):
    """A matrix product with a bias, requantised: ``y = sat(rshift(multiplier·(weight·x + bias) + offset, shift))``.

    ``rshift`` divides by a power of two and rounds half up; ``sat`` clips to the type of the outputs. Every token is
    computed by itself.

    Parameters
    ----------
    weight
        int8 of shape (outputs, inputs).
    bias
        int32 of shape (outputs,), in units of the accumulator.
    shift
        uint8 of shape (outputs,), each in [0, 31].
    out_bits
        Bits of an output, in [2, 31], or in [1, 31] if it is unsigned.
    out_signed
        Whether outputs are in two's complement.
    multiplier
        uint32 of shape (outputs,), each below 2^22, or None for 1.
    offset
        int32 of shape (outputs,), each of a magnitude below 2^22, or None for 0: a fraction of the bias. This needs a
        multiplier.

    Raises
    ------
    TypeError, ValueError
        If an array has another type, shape or range, or if the sum of a row may exceed the accumulator.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    out_bits: int = 8
    out_signed: bool = True
    multiplier: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_array("weight", self.weight, np.int8, (None, None))
        self._check((None, None), (self.outputs,))

    @property
    def outputs(self) -> int:
        """Number of outputs, the rows of ``weight``."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Number of inputs, the columns of ``weight``."""
        return self.weight.shape[1]

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        if self.inputs != shape.channels:
            raise ValueError(f"must have {shape.channels} inputs, not {self.inputs}")
        low, high = self._reached(shape)
        return Activations(shape.grid, self.outputs, self.codes, low, high)


@dataclass(frozen=True, eq=False)
class Table:
    """A function of one code for each channel: ``y = values[c, x - low]``, where ``low`` is the least code of a type.

    Parameters
    ----------
    values
        int8, or uint8 for unsigned outputs, of shape (channels, number of codes of the input). There are at least 2
        and at most 256 codes, a power of two.
    out_bits
        Bits of an output, in [2, 8], or in [1, 8] if ``values`` is uint8.

    Raises
    ------
    TypeError, ValueError
        If ``values`` has another type or shape, or does not fit into the bits.
    """

    values: np.ndarray
    out_bits: int = 8

    def __post_init__(self) -> None:
        kind = getattr(self.values, "dtype", None)
        check_array("values", self.values, np.uint8 if kind == np.uint8 else np.int8, (None, None))
        if self.values.shape[1] not in (2, 4, 8, 16, 32, 64, 128, 256):
            raise ValueError(f"values must have 2, 4, ... or 256 columns, one per code, not {self.values.shape[1]}")
        codes = output_codes(self.out_bits, kind == np.int8, 8)
        low, high = int(self.values.min()), int(self.values.max())
        if low < codes.low or high > codes.high:
            raise ValueError(f"values must fit {codes}, unlike {low if low < codes.low else high}")

    @property
    def codes(self) -> Codes:
        """Type of the outputs."""
        return Codes(self.out_bits, self.values.dtype == np.int8)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[0]

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        if self.channels != shape.channels:
            raise ValueError(f"must have {shape.channels} channels, not {self.channels}")
        if self.values.shape[1] != shape.codes.count:
            raise ValueError(
                f"must have {shape.codes.count} values per channel, one for each {shape.codes}, "
                f"not {self.values.shape[1]}"
            )
        reached = self.values[:, shape.low - shape.codes.low : shape.high - shape.codes.low + 1]
        return Activations(shape.grid, self.channels, self.codes, int(reached.min()), int(reached.max()))


@dataclass(frozen=True, eq=False)
class TokenMixing(_Sums):
    """A linear map over the tokens of each channel, requantised as in `Linear`.

    The C channels form G groups with weights of their own: channel ``c`` uses those of group ``c // (C / G)``. Local
    mixing is a convolution of each channel by itself (depthwise if G = C).

    Parameters
    ----------
    weight
        int8. Dense mixing, without a kernel, has shape (G, N, N), where N is the number of tokens. Local mixing has
        shape (G, N, rows·columns of the kernel): entry ``i`` of token ``n`` multiplies the token at the (row, column)
        offset ``divmod(i, columns) - kernel // 2`` from ``n``, and is zero if that lies outside the grid. Shared
        local mixing has shape (G, 1, rows·columns); its entries whose token lies outside the grid contribute nothing.
    bias
        int32 of shape (G, N), or (G, 1) if shared.
    shift
        uint8 of shape (G, N), or (G, 1) if shared, each in [0, 31].
    kernel
        Rows and columns of the neighbourhood of a token, odd numbers of at most 15, or one number for both; None for
        dense mixing.
    shared
        Whether all tokens have the same weights. This needs a kernel.
    out_bits, out_signed
        Type of the outputs, as in `Linear`.
    multiplier
        uint32 of the same shape as the bias, each below 2^22, or None for 1.
    offset
        int32 of the same shape as the bias, as in `Linear`, or None for 0.

    Raises
    ------
    TypeError, ValueError
        If an array has another type, shape or range, or if the sum of a row may exceed the accumulator.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    kernel: tuple[int, int] | None = None
    shared: bool = False
    out_bits: int = 8
    out_signed: bool = True
    multiplier: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_bool("shared", self.shared)
        if isinstance(self.kernel, int):
            check_int("kernel", self.kernel, 1, 15)
            object.__setattr__(self, "kernel", (self.kernel, self.kernel))
        if self.kernel is not None:
            check_ints("kernel", self.kernel, [(1, 15)] * 2)
            if not all(length % 2 for length in self.kernel):
                raise ValueError(f"kernel must be odd, not {self.kernel}")
        elif self.shared:
            raise ValueError("shared must be False without a kernel, not True")
        check_array("weight", self.weight, np.int8, (None, 1 if self.shared else None, None))
        terms = self.weight.shape[1] if self.kernel is None else math.prod(self.kernel)
        rows = self.weight.shape[0], self.weight.shape[1]
        self._check((*rows, terms), rows)

    @property
    def groups(self) -> int:
        """Number of groups of channels with weights of their own."""
        return self.weight.shape[0]

    @property
    def tokens(self) -> int | None:
        """Number of tokens that are mixed; None if the weights are shared, because those mix any number."""
        return None if self.shared else self.weight.shape[1]

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        if self.tokens not in (None, shape.tokens):
            raise ValueError(f"must mix {shape.tokens} tokens, not {self.tokens}")
        if shape.channels % self.groups:
            raise ValueError(f"groups must divide the {shape.channels} channels, not {self.groups}")
        if self.kernel is not None and not self.shared:
            outside = np.argwhere((self.neighbours(shape.grid) < 0)[None] & (self.weight != 0))
            if len(outside):
                raise ValueError(f"weight{outside[0].tolist()} must be 0 outside the grid")
        padded = shape if self.kernel is None else shape.including(0)
        low, high = self._reached(padded)
        return Activations(shape.grid, shape.channels, self.codes, low, high)

    def neighbours(self, grid: tuple[int, int]) -> np.ndarray:
        """Return the token of each entry of a local mixing, as `psahw.architecture.geometry.neighbours` does."""
        if self.kernel is None:
            raise ValueError("dense mixing has no neighbours")
        return neighbours(grid, self.kernel)

    def dense(self, grid: tuple[int, int]) -> np.ndarray:
        """Return the weights of the equivalent dense mixing, int8 of shape (G, N, N)."""
        return self.band(grid, slice(0, grid[0] * grid[1]))[1]

    def band(self, grid: tuple[int, int], tokens: slice, groups: slice = slice(None)) -> tuple[slice, np.ndarray]:
        """Return rows of the equivalent dense mixing, without most of the columns on both sides that are zero.

        Parameters
        ----------
        grid
            Rows and columns of tokens.
        tokens, groups
            The rows and the groups to return.

        Returns
        -------
        columns
            The tokens that the rows are mixed from.
        weights
            int8 of shape (groups, rows, columns).
        """
        count = grid[0] * grid[1]
        if self.kernel is None:
            return slice(0, count), self.weight[groups, tokens]
        reach = neighbour_reach(grid, self.kernel)
        columns = slice(max(0, tokens.start - reach), min(count, tokens.stop + reach))
        index = neighbours(grid, self.kernel, tokens)
        row, entry = np.nonzero(index >= 0)
        weight = self.weight[groups]
        rows = np.zeros((len(weight), len(index), columns.stop - columns.start), np.int8)
        rows[:, row, index[row, entry] - columns.start] = weight[:, 0 if self.shared else tokens.start + row, entry]
        return columns, rows


@dataclass(frozen=True)
class Windows:
    """The windows that slide over a grid of tokens in raster order (im2col).

    Each window becomes a token: its tokens one after another in raster order, each with its channels in order.

    Parameters
    ----------
    size
        Rows and columns of a window, in [1, 1024].
    stride
        Distance between two windows in rows and in columns, in [1, 1024].
    padding
        Rows above, rows below, columns left and columns right of the grid, each below the window's size.
    code
        The code of the padding in every channel.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    code: int = 0

    def __post_init__(self) -> None:
        check_ints("size", self.size, [(1, MAX_SIZE)] * 2)
        check_ints("stride", self.stride, [(1, MAX_SIZE)] * 2)
        check_ints("padding", self.padding, [(0, self.size[0] - 1)] * 2 + [(0, self.size[1] - 1)] * 2)
        check_int("code", self.code, -128, 255)

    def padded(self, shape: Activations) -> Activations:
        """Return activations with the padding around them."""
        above, below, left, right = self.padding
        grid = shape.grid[0] + above + below, shape.grid[1] + left + right
        return Activations(grid, shape.channels, shape.codes, shape.low, shape.high)

    def over(self, grid: tuple[int, int]) -> SlidingWindow:
        """Return the windows over a grid. Raises ValueError if none fits."""
        return SlidingWindow(*grid, self.size, self.stride, self.padding)

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        grid, channels = self.over(shape.grid).grid, math.prod(self.size) * shape.channels
        if not any(self.padding):
            return Activations(grid, channels, shape.codes, shape.low, shape.high)
        if not shape.codes.low <= self.code <= shape.codes.high:
            raise ValueError(f"code must be an {shape.codes}, like the codes around it, not {self.code}")
        padded = shape.including(self.code)
        return Activations(grid, channels, shape.codes, padded.low, padded.high)


@dataclass(frozen=True)
class MaxPool:
    """The greatest code of each channel in windows that slide over a grid of tokens.

    Padding never is the greatest.

    Parameters
    ----------
    size, stride, padding
        Geometry of the windows, as in `Windows`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        Windows(self.size, self.stride, self.padding)

    def padded(self, shape: Activations) -> Activations:
        """Return activations with the padding around them."""
        above, below, left, right = self.padding
        grid = shape.grid[0] + above + below, shape.grid[1] + left + right
        return Activations(grid, shape.channels, shape.codes, shape.low, shape.high)

    def windows(self, codes: Codes) -> Windows:
        """Return the windows, padded with the least code of a type."""
        return Windows(self.size, self.stride, self.padding, codes.low)

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        grid = self.windows(shape.codes).over(shape.grid).grid
        return Activations(grid, shape.channels, shape.codes, shape.low, shape.high)


@dataclass(frozen=True)
class MeanPool:
    """The mean of each channel over all tokens: ``y = sat(rshift(multiplier·sum x + offset, shift))``.

    Parameters
    ----------
    shift
        In [0, 31].
    multiplier
        In [1, 2^22 - 1].
    offset
        In [-(2^22 - 1), 2^22 - 1], and 0 with a multiplier of 1.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    shift: int
    multiplier: int = 1
    offset: int = 0

    def __post_init__(self) -> None:
        check_int("shift", self.shift, 0, MAX_SHIFT)
        check_int("multiplier", self.multiplier, 1, MAX_MULTIPLIER)
        check_int("offset", self.offset, -MAX_MULTIPLIER, MAX_MULTIPLIER)
        if self.multiplier == 1 and self.offset:
            raise ValueError(f"offset must be 0 with a multiplier of 1, not {self.offset}")

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        added = self.offset + ((1 << self.shift) >> 1)
        low, high = (
            min(max((self.multiplier * shape.tokens * code + added) >> self.shift, shape.codes.low), shape.codes.high)
            for code in (shape.low, shape.high)
        )
        return Activations((1, 1), shape.channels, shape.codes, low, high)


@dataclass(frozen=True)
class Flatten:
    """All tokens, one after another in raster order, as the channels of a single token."""

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        _need_8_bits(shape)
        return Activations((1, 1), shape.size, shape.codes, shape.low, shape.high)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A function that rises by one at each of its thresholds: ``y = offset + number of thresholds that x reaches``.

    Behind a `Linear` with a shift of 0 it compares the exact accumulator, as FINN's MultiThreshold does.

    Parameters
    ----------
    values
        int32 of shape (channels, thresholds), at most 255 of them, in ascending order. ``x`` reaches a threshold if
        it is at least as large.
    out_bits, out_signed
        Type of the outputs.
    offset
        The output if no threshold is reached.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described, or if an output does not fit its type.
    """

    MOST: ClassVar = 255

    values: np.ndarray
    out_bits: int = 8
    out_signed: bool = True
    offset: int = 0

    def __post_init__(self) -> None:
        check_array("values", self.values, np.int32, (None, None))
        if self.values.shape[1] > self.MOST:
            raise ValueError(
                f"values must have at most {self.MOST} thresholds per channel, not {self.values.shape[1]}"
            )
        falls = np.argwhere(np.diff(self.values.astype(np.int64), axis=1) < 0)
        if len(falls):
            channel, index = falls[0].tolist()
            raise ValueError(
                f"values[{channel}] must be in ascending order, unlike {self.values[channel, index : index + 2]}"
            )
        codes = output_codes(self.out_bits, self.out_signed, 8)
        check_int("offset", self.offset, codes.low, codes.high)
        if self.offset + self.values.shape[1] > codes.high:
            raise ValueError(f"offset + thresholds must fit {codes}, not {self.offset + self.values.shape[1]}")

    @property
    def codes(self) -> Codes:
        """Type of the outputs."""
        return Codes(self.out_bits, self.out_signed)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[0]

    def output(self, shape: Activations) -> Activations:
        """Return what the layer makes of activations. Raises ValueError if it does not fit them."""
        if self.channels != shape.channels:
            raise ValueError(f"must have {shape.channels} channels, not {self.channels}")
        low = int((self.values <= shape.low).sum(1).min())
        high = int((self.values <= shape.high).sum(1).max())
        return Activations(shape.grid, self.channels, self.codes, self.offset + low, self.offset + high)


Layer: TypeAlias = Windows | Linear | Table | TokenMixing | MeanPool | MaxPool | Flatten | Thresholds
"""A layer with one input, computed by itself."""
