"""The layers of a quantised network, as integers.

`psahw.network.reference` defines the arithmetic and `psahw.network.file` the file;
``docs/reference/network-format.md`` specifies both for a second implementation. Every constructor checks types,
shapes and ranges, so that a `Network` that exists can be computed and built.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ..architecture.geometry import SlidingWindow, neighbour_reach, neighbours
from ..quoting import quote

__all__ = [
    "Block", "ChannelMixing", "Linear", "NamedLayer", "Network", "Patch", "Stage", "Table", "TokenMixing",
    "block_name", "check_name", "linear_names", "merge_name", "stage_name",
]  # fmt: skip

MAX_CODES = 1 << 27
"""Most codes of an image, and of all tokens of a stage. The integer model holds up to six arrays of them."""

MAX_SHIFT = 31
MAX_OUT_BITS = 24
MAX_NAME = 100  # characters


def _check_array(name: str, value: object, dtype: DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Check the type and the shape of an array, and make it read-only. None admits any length of at least one.

    Raises TypeError for another type and ValueError for another shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {kind}")
    fits = value.ndim == len(shape) and all(
        length == required or (required is None and length > 0)
        for length, required in zip(value.shape, shape, strict=True)
    )
    if not fits:
        required = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} must have shape ({required}), not {value.shape}")
    value.flags.writeable = False


def _check_int(name: str, value: object, low: int, high: int) -> None:
    """Raise TypeError if a value is no integer, and ValueError if it is not in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {quote(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], not {quote(value)}")


def check_name(what: str, name: object) -> None:
    """Raise TypeError if a name is no string, and ValueError unless it has 1 to 100 characters that print."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {quote(name)}")
    if not 1 <= len(name) <= MAX_NAME:
        raise ValueError(f"{what} must have 1 to {MAX_NAME} characters, not {len(name)}: {quote(name)}")
    if not name.isprintable():
        raise ValueError(f"{what} must consist of characters that print, unlike {quote(name)}")


def _check_accuracies(metadata: object) -> None:
    """Raise TypeError or ValueError for an accuracy in the metadata that is no percentage, or has no valid name."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dictionary, not {quote(metadata)}")
    recorded = metadata.get("accuracy")
    for name, value in (recorded if isinstance(recorded, dict) else {"int8": recorded}).items():
        check_name("the name of an accuracy", name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= 100:
            raise ValueError(f"the accuracy {name} must be in percent, 0 to 100, not {quote(value)}")


def _check_codes(name: str, *lengths: int) -> None:
    """Raise ValueError if an array of codes is so large that computing an image takes unreasonable memory."""
    if (codes := math.prod(lengths)) > MAX_CODES:
        size = " x ".join(map(str, lengths))
        raise ValueError(
            f"{name} must have at most {MAX_CODES} codes, not {size}, with which the integer model would need "
            f"{6 * codes / (1 << 30):.1f} GiB for one image"
        )


def _check_rows(weight: np.ndarray, bias: np.ndarray, shift: np.ndarray) -> None:
    """Raise ValueError if a row has too large a shift, or if its sum may not fit into the accumulator.

    A sum stays below 2^30 in magnitude, so that half of the largest shift can be added in 32 bits.
    """
    if shift.max(initial=0) > MAX_SHIFT:
        index = np.unravel_index(shift.argmax(), shift.shape)
        raise ValueError(f"shift{list(map(int, index))} must be at most {MAX_SHIFT}, not {shift.max()}")
    magnitudes = np.abs(weight, dtype=np.int16)  # no wider, because weights may be large
    bound = 128 * magnitudes.sum(-1, dtype=np.int64) + np.abs(bias.astype(np.int64))
    if bound.max() >= 1 << 30:
        index = np.unravel_index(bound.argmax(), bound.shape)
        raise ValueError(
            f"row {list(map(int, index))} can exceed the 31-bit accumulator: |bias| + 128·sum|weight| "
            f"must be below {1 << 30}, not {bound.max()}"
        )


@dataclass(frozen=True, eq=False)
class Table:
    """A function of one int8 for each channel: ``y = values[c, x + 128]``.

    Parameters
    ----------
    values
        int8 of shape (channels, 256).

    Raises
    ------
    TypeError, ValueError
        If ``values`` has another type or shape.
    """

    values: np.ndarray

    def __post_init__(self) -> None:
        _check_array("values", self.values, np.int8, (None, 256))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[0]


@dataclass(frozen=True, eq=False)
class Linear:
    """A matrix product with a bias, requantised: ``y = sat(rshift(weight·x + bias, shift))``.

    ``rshift`` divides by a power of two and rounds half up; ``sat`` clips to ``out_bits`` bits in two's complement.

    Parameters
    ----------
    weight
        int8 of shape (outputs, inputs).
    bias
        int32 of shape (outputs,), in units of the accumulator.
    shift
        uint8 of shape (outputs,), each in [0, 31].
    out_bits
        Bits of an output, in [2, 24]. All layers but the head have 8.

    Raises
    ------
    TypeError, ValueError
        If an array has another type, shape or range, or if the sum of a row may exceed the accumulator.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    out_bits: int = 8

    def __post_init__(self) -> None:
        _check_array("weight", self.weight, np.int8, (None, None))
        _check_array("bias", self.bias, np.int32, (self.outputs,))
        _check_array("shift", self.shift, np.uint8, (self.outputs,))
        _check_int("out_bits", self.out_bits, 2, MAX_OUT_BITS)
        _check_rows(self.weight, self.bias, self.shift)

    @property
    def outputs(self) -> int:
        """Number of outputs, the rows of ``weight``."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Number of inputs, the columns of ``weight``."""
        return self.weight.shape[1]


@dataclass(frozen=True, eq=False)
class TokenMixing:
    """The sublayer that mixes tokens: ``y = sat(table_residual(x) + table_out(A·table_in(x)))``.

    ``A`` mixes the N tokens of each channel. The C channels form G groups with weights of their own: channel ``c``
    uses those of group ``c // (C / G)``.

    Parameters
    ----------
    weight
        int8. Dense mixing, without a kernel, has shape (G, N, N). Local mixing has shape (G, N, kernel²): entry ``i``
        of token ``n`` multiplies the token at the (row, column) offset ``divmod(i, kernel) - kernel // 2`` from
        ``n``, and is zero if that lies outside the grid. Shared local mixing has shape (G, 1, kernel²); its entries
        whose token lies outside the grid contribute nothing.
    bias
        int32 of shape (G, N), or (G, 1) if shared.
    shift
        uint8 of shape (G, N), or (G, 1) if shared, each in [0, 31].
    kernel
        Rows and columns of the neighbourhood of a token, odd, at most 15; None for dense mixing.
    shared
        Whether all tokens have the same weights. This needs a kernel.
    table_in, table_out, table_residual
        Tables of C channels; None is the identity.

    Raises
    ------
    TypeError, ValueError
        If an array has another type, shape or range, or if the sum of a row may exceed the accumulator.
    """

    TABLES: ClassVar = ("table_in", "table_out", "table_residual")
    """Names of the tables, in data order."""

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    kernel: int | None = None
    shared: bool = False
    table_in: Table | None = None
    table_out: Table | None = None
    table_residual: Table | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shared, bool):
            raise TypeError(f"shared must be True or False, not {quote(self.shared)}")
        if self.kernel is not None:
            _check_int("kernel", self.kernel, 1, 15)
            if self.kernel % 2 == 0:
                raise ValueError(f"kernel must be odd, not {self.kernel}")
        elif self.shared:
            raise ValueError("shared must be False without a kernel, not True")
        _check_array("weight", self.weight, np.int8, (None, 1 if self.shared else None, None))
        _check_array("bias", self.bias, np.int32, self.weight.shape[:2])
        _check_array("shift", self.shift, np.uint8, self.weight.shape[:2])
        terms = self.weight.shape[1] if self.kernel is None else self.kernel**2
        _check_array("weight", self.weight, np.int8, (*self.weight.shape[:2], terms))
        _check_rows(self.weight, self.bias, self.shift)

    @property
    def groups(self) -> int:
        """Number of groups of channels with weights of their own."""
        return self.weight.shape[0]

    @property
    def tokens(self) -> int | None:
        """Number of tokens that are mixed; None if the weights are shared, because those mix any number."""
        return None if self.shared else self.weight.shape[1]

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


@dataclass(frozen=True, eq=False)
class ChannelMixing:
    """The sublayer that mixes channels, the same for every token.

    ``y = sat(table_residual(x) + linear2(table_hidden(linear1(table_in(x)))))``

    Parameters
    ----------
    linear1
        From the channels to the hidden neurons, with 8 bits out.
    linear2
        From the hidden neurons to the channels, with 8 bits out.
    table_in, table_residual
        Tables with one function per channel; None is the identity.
    table_hidden
        Table with one function per hidden neuron; None is the identity.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or if a linear layer has other than 8 bits out.
    """

    TABLES: ClassVar = ("table_in", "table_hidden", "table_residual")
    """Names of the tables, in data order."""

    linear1: Linear
    linear2: Linear
    table_in: Table | None = None
    table_hidden: Table | None = None
    table_residual: Table | None = None

    def __post_init__(self) -> None:
        if self.linear2.inputs != self.linear1.outputs:
            raise ValueError(
                f"linear2 must have {self.linear1.outputs} inputs, linear1's outputs, not {self.linear2.inputs}"
            )
        if self.linear1.inputs != self.linear2.outputs:
            raise ValueError(
                f"linear2 must have {self.linear1.inputs} outputs, linear1's inputs, not {self.linear2.outputs}"
            )
        for name, bits in (("linear1", self.linear1.out_bits), ("linear2", self.linear2.out_bits)):
            if bits != 8:
                raise ValueError(f"{name}.out_bits must be 8, not {bits}")

    @property
    def hidden(self) -> int:
        """Number of hidden neurons."""
        return self.linear1.outputs


@dataclass(frozen=True, eq=False)
class Block:
    """Token mixing followed by channel mixing."""

    token_mixing: TokenMixing
    channel_mixing: ChannelMixing

    def layers(self) -> Iterator[tuple[str, Linear | TokenMixing | Table]]:
        """Yield each layer with its name within the block, in data order. Absent tables are left out."""
        tokens, channels = self.token_mixing, self.channel_mixing
        parts = [
            ("token_mixing.table_in", tokens.table_in),
            ("token_mixing", tokens),
            ("token_mixing.table_out", tokens.table_out),
            ("token_mixing.table_residual", tokens.table_residual),
            ("channel_mixing.table_in", channels.table_in),
            ("channel_mixing.linear1", channels.linear1),
            ("channel_mixing.table_hidden", channels.table_hidden),
            ("channel_mixing.linear2", channels.linear2),
            ("channel_mixing.table_residual", channels.table_residual),
        ]
        for name, layer in parts:
            if layer is not None:
                yield name, layer


@dataclass(frozen=True, eq=False)
class Stage:
    """Blocks that work on one grid of tokens.

    Parameters
    ----------
    grid
        Rows and columns of tokens, each in [1, 256].
    blocks
        The blocks, in data order.
    merge
        Patch merging, which makes the tokens from those of the stage before: a linear layer over the 2x2 tokens
        (0, 0), (0, 1), (1, 0), (1, 1), each with its channels in order. None in the first stage.

    Raises
    ------
    TypeError, ValueError
        If the grid is not as described.
    """

    grid: tuple[int, int]
    blocks: tuple[Block, ...]
    merge: Linear | None = None

    def __post_init__(self) -> None:
        for length in self.grid:
            _check_int("grid", length, 1, 256)

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Patch:
    """Windows of pixels that slide over the image in raster order, each flattened in (row, column, colour) order.

    Parameters
    ----------
    size
        Rows and columns of a window, in [1, 64].
    stride
        Distance between two windows, in [1, size].
    padding
        Pixels of code 0 on each side of the image, in [0, size - 1].

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    size: int
    stride: int
    padding: int = 0

    def __post_init__(self) -> None:
        _check_int("patch.size", self.size, 1, 64)
        _check_int("patch.stride", self.stride, 1, self.size)
        _check_int("patch.padding", self.padding, 0, self.size - 1)

    def grid(self, image: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of windows in an image of (height, width) pixels."""
        return SlidingWindow(*image, self.size, self.stride, self.padding).grid


_Layer = TypeVar("_Layer", bound=Linear | TokenMixing | Table, covariant=True)


class NamedLayer(NamedTuple, Generic[_Layer]):
    """A layer of a network, its name in the network file, and the grid of tokens that it works on.

    The names are ``embed``, ``stages.S.merge``, ``stages.S.blocks.B.token_mixing``,
    ``stages.S.blocks.B.channel_mixing.linear1`` and ``.linear2``, ``head``, and for tables the name of the sublayer
    with one of its ``TABLES``. The head works on one token, which is the mean of all.
    """

    name: str
    layer: _Layer
    grid: tuple[int, int]

    @property
    def component(self) -> str:
        """Name of the component of a plan that computes the layer.

        It is the layer's name, with ``.linear`` behind that of a token mixing: the component called
        ``token_mixing`` is the whole sublayer with its tables and its residual connection.
        """
        return f"{self.name}.linear" if isinstance(self.layer, TokenMixing) else self.name


def stage_name(stage: int) -> str:
    """Return the name of a stage, counted from 0."""
    return f"stages.{stage}"


def merge_name(stage: int) -> str:
    """Return the name of the patch merging in front of a stage, counted from 0."""
    return f"{stage_name(stage)}.merge"


def block_name(stage: int, block: int) -> str:
    """Return the name of a block of a stage, both counted from 0."""
    return f"{stage_name(stage)}.blocks.{block}"


def linear_names(blocks: Sequence[int]) -> list[str]:
    """Return the names of the linear layers of a network, in data order, from the number of blocks of each stage."""
    names = ["embed"]
    for s, count in enumerate(blocks):
        names += [merge_name(s)] if s else []
        for b in range(count):
            sublayers = ("token_mixing", "channel_mixing.linear1", "channel_mixing.linear2")
            names += [f"{block_name(s, b)}.{sublayer}" for sublayer in sublayers]
    return [*names, "head"]


@dataclass(frozen=True, eq=False)
class Network:
    """A whole classifier of images.

    The tokens pass ``embed`` and the stages. After the last block comes the mean over all tokens,
    ``sat8(rshift(sum, pool_shift))``, and then ``head``, which gives the logits.

    Parameters
    ----------
    name
        Name of the network, of 1 to 100 characters that print.
    image
        Height and width of an image in pixels, each in [1, 1024].
    input_table
        int8 of shape (colours, 256): the code of each pixel value, for each colour.
    patch
        The windows that become tokens.
    embed
        From a window to a token.
    stages
        At least one. All but the first begin with a patch merging.
    pool_shift
        Shift of the mean, in [0, 31].
    head
        From the mean token to the logits.
    classes
        Names of the classes, each of 1 to 100 characters that print.
    metadata
        Free JSON about the origin of the network. Accuracies in it are in percent.

    Raises
    ------
    TypeError, ValueError
        If something does not fit; the message names the layer.
    """

    name: str
    image: tuple[int, int]
    input_table: np.ndarray
    patch: Patch
    embed: Linear
    stages: tuple[Stage, ...]
    pool_shift: int
    head: Linear
    classes: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line: the arrays would fill pages."""
        height, width = self.image
        return f"<Network {self.name!r}: images of {height} x {width} x {self.colours}, {len(self.classes)} classes>"

    def __post_init__(self) -> None:
        check_name("name", self.name)
        for index, name in enumerate(self.classes):
            check_name(f"classes[{index}]", name)
        _check_accuracies(self.metadata)
        for length in self.image:
            _check_int("image", length, 1, 1024)
        _check_array("input_table", self.input_table, np.int8, (None, 256))
        _check_codes("image", *self.image, self.colours)
        _check_int("pool_shift", self.pool_shift, 0, MAX_SHIFT)
        if not self.stages:
            raise ValueError("stages must not be empty")
        window = self.patch.size**2 * self.colours
        if self.embed.inputs != window:
            raise ValueError(f"embed must have {window} inputs, a patch's values, not {self.embed.inputs}")
        grid, channels = self.patch.grid(self.image), self.embed.outputs
        for s, stage in enumerate(self.stages):
            if (s == 0) != (stage.merge is None):
                raise ValueError(f"{merge_name(s)} must be present in every stage but the first")
            if stage.merge is not None:
                if grid[0] % 2 or grid[1] % 2:
                    raise ValueError(f"{merge_name(s)} must follow a grid with even sides, not {grid}")
                if stage.merge.inputs != 4 * channels:
                    raise ValueError(f"{merge_name(s)} must have {4 * channels} inputs, not {stage.merge.inputs}")
                grid, channels = (grid[0] // 2, grid[1] // 2), stage.merge.outputs
            if stage.grid != grid:
                raise ValueError(f"{stage_name(s)}.grid must be {grid}, not {stage.grid}")
            _check_codes(stage_name(s), *grid, channels)
            for b, block in enumerate(stage.blocks):
                self._check_block(block_name(s, b), block, grid, channels)
        if self.head.inputs != channels:
            raise ValueError(f"head must have {channels} inputs, not {self.head.inputs}")
        if self.head.outputs != len(self.classes):
            raise ValueError(f"head must have {len(self.classes)} outputs, one per class, not {self.head.outputs}")
        for name, layer, _ in self.linears():
            if isinstance(layer, Linear) and name != "head" and layer.out_bits != 8:
                raise ValueError(f"{name}.out_bits must be 8, not {layer.out_bits}")

    @staticmethod
    def _check_block(name: str, block: Block, grid: tuple[int, int], channels: int) -> None:
        """Raise ValueError if a block does not fit a grid and a number of channels."""
        mixing, mlp = block.token_mixing, block.channel_mixing
        if mixing.tokens not in (None, grid[0] * grid[1]):
            raise ValueError(f"{name}.token_mixing must mix {grid[0] * grid[1]} tokens, not {mixing.tokens}")
        if channels % mixing.groups:
            raise ValueError(f"{name}.token_mixing.groups must divide the {channels} channels, not {mixing.groups}")
        if mixing.kernel is not None and not mixing.shared:
            outside = np.argwhere((mixing.neighbours(grid) < 0)[None] & (mixing.weight != 0))
            if len(outside):
                raise ValueError(f"{name}.token_mixing.weight{outside[0].tolist()} must be 0 outside the grid")
        if mlp.linear1.inputs != channels:
            raise ValueError(f"{name}.channel_mixing must have {channels} channels, not {mlp.linear1.inputs}")
        for part, layer in block.layers():
            expected = mlp.hidden if part == "channel_mixing.table_hidden" else channels
            if isinstance(layer, Table) and layer.channels != expected:
                raise ValueError(f"{name}.{part} must have {expected} channels, not {layer.channels}")

    @property
    def colours(self) -> int:
        """Number of colours of an image."""
        return self.input_table.shape[0]

    @property
    def channels(self) -> int:
        """Number of channels of the last stage."""
        return self.head.inputs

    def blocks(self) -> Iterator[tuple[str, Stage, Block]]:
        """Yield every block with its name and its stage, in data order."""
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage.blocks):
                yield block_name(s, b), stage, block

    def layers(self) -> Iterator[NamedLayer[Linear | TokenMixing | Table]]:
        """Yield every layer that has weights or tables, in data order.

        Absent tables, which are the identity, and ``input_table`` are not among them.
        """
        yield NamedLayer("embed", self.embed, self.stages[0].grid)
        for s, stage in enumerate(self.stages):
            if stage.merge is not None:
                yield NamedLayer(merge_name(s), stage.merge, stage.grid)
            for b, block in enumerate(stage.blocks):
                for part, layer in block.layers():
                    yield NamedLayer(f"{block_name(s, b)}.{part}", layer, stage.grid)
        yield NamedLayer("head", self.head, (1, 1))

    def linears(self) -> Iterator[NamedLayer[Linear | TokenMixing]]:
        """Yield every layer that has weights, in data order."""
        for name, layer, grid in self.layers():
            if not isinstance(layer, Table):
                yield NamedLayer(name, layer, grid)

    def tables(self) -> Iterator[NamedLayer[Table]]:
        """Yield every table but ``input_table``, in data order."""
        for name, layer, grid in self.layers():
            if isinstance(layer, Table):
                yield NamedLayer(name, layer, grid)

    def layer(self, component: str) -> Linear | TokenMixing | Table:
        """Return the layer that a component of a plan computes, by `NamedLayer.component`.

        Raises ValueError if there is no such layer.
        """
        for entry in self.layers():
            if entry.component == component:
                return entry.layer
        raise ValueError(f"component must be the name of a layer of {self.name}, not {quote(component)}")

    def _repr_html_(self) -> str:
        """Return the table of layers for a notebook."""
        from .notebook import html  # counts operations and LUTs, which the layers themselves need not know

        return html(self)
