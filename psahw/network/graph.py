"""A network: a graph of layers between an input table and an output.

A graph is a series of layers in data order, some of which are residual connections with a series of layers in each of
their two paths. Every constructor checks what it is given, so that a `Network` that exists can be computed and built.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ..architecture.codes import INT8, Codes
from ..display import counted
from ..quoting import quote
from .activations import Activations, output_codes
from .checks import check_array, check_int, check_ints, check_name
from .layers import MAX_SIZE, Layer, Linear, MaxPool, Table, TokenMixing, Windows

__all__ = ["MAX_CODES", "Named", "Network", "Output", "Place", "Residual", "Series", "check_layer_name"]

MAX_CODES = 1 << 27
"""Most codes of an image, and of what goes from layer to layer. The integer model holds up to six arrays of them."""

MAX_SUMMAND_BITS = 24
"""Most bits of what a residual connection adds."""

MAX_DEPTH = 16
"""Most residual connections inside each other."""

_WORDS = {"class": ("class", "classes"), "values": ("value", "values"), "labels": ("label", "labels")}

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_RESERVED = {"input", "input_windows", "argmax", "input_table"}  # components at the ends, and a tensor of every file
# The tensors of a layer with weights, and the components around its engine.
_RESERVED_ENDS = {"weight", "bias", "shift", "multiplier", "offset", "gather", "transpose_in", "transpose_out"}


class Named(NamedTuple):
    """A layer and its name: letters, digits and underscores, in parts that are separated by dots."""

    name: str
    layer: "Layer | Residual"


Series = tuple[Named, ...]
"""Layers in data order."""


@dataclass(frozen=True, eq=False)
class Residual:
    """The sum of two series of layers with the same input: ``y = sat(rshift(branch(x) + shortcut(x), shift))``.

    ``rshift`` divides by a power of two and rounds half up. With a shift, the summands can be finer than the output.

    Parameters
    ----------
    branch, shortcut
        The two series. An empty one passes its input on. Both must give the same grid and number of channels, with
        codes of at most 24 bits.
    out_bits, out_signed
        Type of the outputs, at most 8 bits.
    shift
        Bits to shift the sum by, in [0, 23].

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    branch: Series
    shortcut: Series = ()
    out_bits: int = 8
    out_signed: bool = True
    shift: int = 0

    def __post_init__(self) -> None:
        output_codes(self.out_bits, self.out_signed, 8)
        check_int("shift", self.shift, 0, MAX_SUMMAND_BITS - 1)

    @property
    def codes(self) -> Codes:
        """Type of the outputs."""
        return Codes(self.out_bits, self.out_signed)

    def sum(self, branch: Activations, shortcut: Activations) -> Activations:
        """Return the sum of what both paths give. Raises ValueError if they do not fit each other."""
        for name, shape in (("branch", branch), ("shortcut", shortcut)):
            if shape.codes.bits > MAX_SUMMAND_BITS:
                raise ValueError(f"{name} must end with codes of at most {MAX_SUMMAND_BITS} bits, not {shape.codes}")
        if (branch.grid, branch.channels) != (shortcut.grid, shortcut.channels):
            raise ValueError(f"branch and shortcut must give the same shape, not {branch} and {shortcut}")
        half = (1 << self.shift) >> 1
        low, high = (
            min(max((code + half) >> self.shift, self.codes.low), self.codes.high)
            for code in (branch.low + shortcut.low, branch.high + shortcut.high)
        )
        return Activations(branch.grid, branch.channels, self.codes, low, high)


@dataclass(frozen=True)
class Output:
    """The meaning of the last codes of a network.

    Parameters
    ----------
    kind
        ``"class"``: the class is the channel with the greatest code, and among equal ones the first.
        ``"values"``: channel ``c`` stands for the real number ``scale[c]·code + offset[c]``.
        ``"labels"``: label ``c`` is present if its code is positive.
    names
        A name for each channel, of 1 to 100 characters that print.
    scale, offset
        A number for each channel with ``"values"``, otherwise empty.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    kind: str
    names: tuple[str, ...]
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _WORDS:
            raise ValueError(f"output.kind must be one of {', '.join(_WORDS)}, not {quote(self.kind)}")
        for index, name in enumerate(self.names):
            check_name(f"{self.words[1]}[{index}]", name)
        wanted = len(self.names) if self.kind == "values" else 0
        for what, numbers in (("scale", self.scale), ("offset", self.offset)):
            if len(numbers) != wanted:
                raise ValueError(f"output.{what} must have {wanted} numbers, not {len(numbers)}")
            checked = tuple(self._number(f"output.{what}[{index}]", number) for index, number in enumerate(numbers))
            if what == "scale" and 0 in checked:
                raise ValueError(f"output.scale[{checked.index(0)}] must not be 0")
            object.__setattr__(self, what, checked)

    @property
    def words(self) -> tuple[str, str]:
        """Name of an output and of several: ``"class"`` and ``"classes"``, for example."""
        return _WORDS[self.kind]

    @staticmethod
    def _number(name: str, value: object) -> float:
        """Return a finite number as float, so that equal outputs have equal descriptions."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number, not {quote(value)}")
        if abs(value) > sys.float_info.max or value != value:
            raise ValueError(f"{name} must be finite, not {quote(value)}")
        return float(value)


class _InLayer(ValueError):
    """A fault whose message names the layer."""


def _check_identifiers(names: Iterable[str]) -> None:
    """Raise ValueError if two layers have the same name, or would have the same name in Verilog."""
    first: dict[str, str] = {}
    for name in names:
        identifier = name.replace(".", "_")
        if name in first.values():
            raise ValueError(f"the name {name} must belong to one layer, not to two")
        if identifier in first:
            raise ValueError(f"the names {first[identifier]} and {name} must differ also with underscores for dots")
        first[identifier] = name


def _check_components(places: "Iterable[Place]") -> None:
    """Raise ValueError if a component that a layer needs besides its own would be called like another one."""
    names = {place.name for place in places}
    for place in places:
        if isinstance(place.layer, MaxPool):
            needed = f"{place.name}.windows"
        elif isinstance(place.layer, TokenMixing) and place.name.endswith(".linear"):
            needed = place.name.removesuffix(".linear")
            if not any(other.name == needed and isinstance(other.layer, TokenMixing) for other in places):
                continue
        else:
            continue
        if needed in names:
            raise ValueError(f"no layer may be called {needed}, because {place.name} needs a component of this name")


_Kind = TypeVar("_Kind", bound=Layer | Residual, covariant=True)


class Place(NamedTuple, Generic[_Kind]):
    """A layer in a network: its name, and what comes into it and out of it."""

    name: str
    layer: _Kind
    input: Activations
    output: Activations


def _check_accuracies(metadata: object) -> None:
    """Raise TypeError or ValueError for an accuracy in the metadata that is no percentage, or has no valid name."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dictionary, not {quote(metadata)}")
    recorded = metadata.get("accuracy")
    for name, value in (recorded if isinstance(recorded, dict) else {"int8": recorded}).items():
        check_name("the name of an accuracy", name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= 100:
            raise ValueError(f"the accuracy {name} must be in percent, 0 to 100, not {quote(value)}")


def _check_codes(name: str, shape: Activations) -> None:
    """Raise ValueError if a grid is too large, or if computing its codes takes unreasonable memory."""
    if max(shape.grid) > MAX_SIZE:
        raise _InLayer(f"{name} must give at most {MAX_SIZE} rows and columns of tokens, not {shape}")
    _check_memory(name, shape)


def _check_memory(name: str, shape: Activations) -> None:
    """Raise ValueError if computing the codes of a shape takes unreasonable memory."""
    if shape.size > MAX_CODES:
        lengths = " x ".join(map(str, (*shape.grid, shape.channels)))
        raise _InLayer(
            f"{name} must have at most {MAX_CODES} codes, not {lengths}, with which the integer model would need "
            f"{6 * shape.size / (1 << 30):.1f} GiB for one image"
        )


@dataclass(frozen=True, eq=False)
class Network:
    """A whole network.

    Parameters
    ----------
    name
        Name of the network, of 1 to 100 characters that print.
    image
        Rows and columns of the input, each in [1, 1024]. Tabular data and signals have one row.
    input_table
        int8 of shape (colours, 256): the code of each input byte, for each colour.
    layers
        The layers in data order. The last one gives a single token with at most 31 bits per code.
    output
        What the codes of that token mean.
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
    layers: Series
    output: Output
    metadata: dict[str, Any] = field(default_factory=dict)
    places: tuple[Place[Layer | Residual], ...] = field(init=False, repr=False)
    """Every layer in data order, a residual connection before the layers in its branch and in its shortcut."""

    def __repr__(self) -> str:
        """Return one line: the arrays would fill pages."""
        height, width = self.image
        inputs = f"images of {height} x {width} x {self.colours}"
        return f"<Network {self.name!r}: {inputs}, {counted(len(self.classes), *self.output.words)}>"

    def __post_init__(self) -> None:
        check_name("name", self.name)
        _check_accuracies(self.metadata)
        check_ints("image", self.image, [(1, MAX_SIZE)] * 2)
        check_array("input_table", self.input_table, np.int8, (None, 256))
        source = Activations(self.image, self.colours, INT8, int(self.input_table.min()), int(self.input_table.max()))
        _check_codes("image", source)
        if not self.layers:
            raise ValueError("layers must not be empty")
        places: list[Place] = []
        last = self._visit(self.layers, source, places, "", 0)
        _check_identifiers(place.name for place in places)
        _check_components(places)
        object.__setattr__(self, "places", tuple(places))
        end, names = self.layers[-1].name, self.output.names
        if last.tokens != 1:
            raise ValueError(f"{end} must give a single token, because it is the last layer, not {last}")
        if last.channels != len(names):
            raise ValueError(
                f"{end} must have {len(names)} outputs, one per {self.output.words[0]}, not {last.channels}"
            )

    def _visit(self, series: Series, shape: Activations, places: list[Place], within: str, depth: int) -> Activations:
        """Check a series of layers and list their places; return what it makes of an input.

        ``within`` is the name of the residual connection around the series, or empty.
        """
        if depth > MAX_DEPTH:
            raise _InLayer(f"residual connections must be at most {MAX_DEPTH} deep")
        identifiers: set[str] = set()
        for named, following in zip_longest(series, series[1:]):
            if not isinstance(named, Named):
                raise TypeError(f"layers must consist of Named, not {type(named).__name__}")
            name, layer = named
            check_layer_name(name)
            identifier = name.removeprefix(f"{within}." if within else "").replace(".", "_")
            if within and identifier in identifiers:
                raise _InLayer(f"{name}: another layer of {within} has this name behind the name of {within}")
            identifiers.add(identifier)
            index = len(places)
            if not isinstance(layer, Layer | Residual):
                raise TypeError(f"{name} must be a layer, not {quote(layer)}")
            places.append(Place(name, layer, shape, shape))
            try:
                if isinstance(layer, Residual):
                    paths = layer.branch, layer.shortcut
                    output = layer.sum(*(self._visit(path, shape, places, name, depth + 1) for path in paths))
                else:
                    output = layer.output(shape)
            except _InLayer:
                raise
            except ValueError as error:
                raise _InLayer(f"{name} {error}") from error
            if isinstance(layer, Windows | MaxPool):
                _check_memory(f"{name} with its padding", layer.padded(shape))
            # A linear layer takes its windows in parts.
            if not (isinstance(layer, Windows) and following is not None and isinstance(following.layer, Linear)):
                _check_codes(name, output)
            places[index] = Place(name, layer, shape, output)
            shape = output
        return shape

    @property
    def colours(self) -> int:
        """Number of colours of an image: bytes at each of its positions."""
        return self.input_table.shape[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs: the classes of a classifier."""
        return self.output.names

    @property
    def logits(self) -> Activations:
        """The outputs: what the last layer gives."""
        return self.place(self.layers[-1].name).output

    def place(self, name: str) -> Place:
        """Return the layer with a name. Raises ValueError if there is none."""
        for place in self.places:
            if place.name == name:
                return place
        raise ValueError(f"{self.name} has no layer {quote(name)}")

    def linears(self) -> Iterator[Place[Linear | TokenMixing]]:
        """Yield every layer that has weights, in data order."""
        for name, layer, before, after in self.places:
            if isinstance(layer, Linear | TokenMixing):
                yield Place(name, layer, before, after)

    def tables(self) -> Iterator[Place[Table]]:
        """Yield every table but ``input_table``, in data order."""
        for name, layer, before, after in self.places:
            if isinstance(layer, Table):
                yield Place(name, layer, before, after)

    def _repr_html_(self) -> str:
        """Return the table of layers for a notebook."""
        from .notebook import html  # counts operations and LUTs, which the layers themselves need not know

        return html(self)


def check_layer_name(name: object) -> None:
    """Raise TypeError or ValueError unless a layer may have a name."""
    try:
        check_name("the name of a layer", name)
    except ValueError as error:
        raise _InLayer(str(error)) from None
    if not _NAME.fullmatch(str(name)):
        raise _InLayer(f"the name of a layer must be letters, digits and underscores between dots, not {quote(name)}")
    if str(name).replace(".", "_") in _RESERVED or str(name).rpartition(".")[2] in _RESERVED_ENDS:
        raise _InLayer(f"the name of a layer must not be {quote(name)}, which means something else")
