"""The plan's intermediate form: one frozen dataclass of parameters for each kind of component.

Nodes hold no weights. A node says how large and how parallel a component is, and `psahw.generate` gives the component
the network's numbers. A field that the component's constructor in `psahw.gateware` has, too, bears the same name; the
other fields describe the numbers as far as they change the size of the circuit. Intervals and latencies are in clock
cycles. Depths of buffers (``depth``, ``queue``) are 0 until `psahw.planner.schedule` has calculated them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import gcd

from .buffers import TransposeBuffer, WindowBuffer
from .codes import INT8, Codes
from .geometry import SlidingWindow, neighbour_reach

__all__ = [
    "Argmax", "Gather", "GraphEngine", "InputTable", "LocalMixing", "MacArray", "MaxPool", "MeanPool", "Node",
    "Residual", "Sliced", "TableRom", "Thresholds", "Transpose", "Windows", "walk",
]  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A component of a pipeline.

    Parameters
    ----------
    name
        Unique in a plan; begins with the name of the network's layer.
    """

    name: str


@dataclass(frozen=True)
class Sliced(Node):
    """A component that can stand side by side with others of its kind, each with its share of a stream's lanes.

    Parameters
    ----------
    slices
        Number of components; the other fields describe one of them.
    """

    slices: int = field(default=1, kw_only=True)


@dataclass(frozen=True)
class InputTable(Node):
    """The lookup of codes for image bytes.

    Parameters
    ----------
    colours
        Bytes per pixel.
    lanes
        Bytes per beat.
    phases
        Number of tables in the ROM of each lane.
    """

    colours: int
    lanes: int
    phases: int


@dataclass(frozen=True)
class Windows(Node):
    """The sliding windows over an image or a grid of tokens (im2col).

    Parameters
    ----------
    height, width, channels
        Rows and columns of the grid, and elements at each position.
    size, stride, padding
        Geometry of the windows (`SlidingWindow`).
    code
        The padding.
    i_lanes, o_lanes
        Elements of an input and of an output beat.
    period
        Clock cycles between the first beats of two windows.
    queue
        Beats of the `Queue` in front; None if there is none.
    style
        Memory of the rows, ``"block"`` or ``"distributed"``.
    codes
        Type of an element.
    """

    height: int
    width: int
    channels: int
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    i_lanes: int
    o_lanes: int
    period: int
    queue: int | None = None
    style: str = "block"
    code: int = 0
    codes: Codes = INT8

    @property
    def window(self) -> SlidingWindow:
        """Geometry of the windows."""
        return SlidingWindow(self.height, self.width, self.size, self.stride, self.padding)

    @property
    def buffer(self) -> WindowBuffer:
        """Layout of the ring of rows."""
        return WindowBuffer(self.window, self.channels, self.i_lanes, self.o_lanes)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return self.window.grid

    @property
    def vectors(self) -> int:
        """Windows per frame."""
        return self.grid[0] * self.grid[1]

    @property
    def length(self) -> int:
        """Elements of a window."""
        return self.size[0] * self.size[1] * self.channels


@dataclass(frozen=True)
class Gather(Sliced):
    """The combination of successive beats into wider ones.

    Parameters
    ----------
    lanes
        Elements of an input beat.
    ratio
        Input beats per output beat.
    beats
        Input beats per vector, if ``ratio`` does not divide them; else None.
    codes
        Type of an element.
    """

    lanes: int
    ratio: int
    beats: int | None = None
    codes: Codes = INT8


@dataclass(frozen=True)
class MacArray(Sliced):
    """An array of multiply-accumulate units.

    Parameters
    ----------
    inputs, outputs
        Shape of the matrix.
    rows, columns
        Folding: rows and columns of units.
    o_lanes
        Elements of an output beat.
    vectors
        Vectors per frame.
    sets
        Matrices that the vectors of a frame use in turn.
    weight_bits
        Width of a weight.
    acc_bits
        Width of ``W·x``.
    offset_bits
        Width of what is added to a sum: bias, offset and rounding constant.
    shift_range
        Greatest shift minus least shift.
    depth
        Beats that the input buffer holds.
    weight_style
        Memory of the weights, ``"block"`` or ``"distributed"``.
    operand_bits
        Width of the wider operand of a multiplier that two units share; None if none are shared.
    multiplier
        Name of the device's multiplier primitive; None if tools infer it.
    pairs
        Number of pairs of units that share a multiplier.
    i_codes, o_codes
        Types of an input and of an output.
    scale_bits
        Width of the multipliers of the rows; 0 without.
    """

    inputs: int
    outputs: int
    rows: int
    columns: int
    o_lanes: int
    vectors: int
    sets: int
    weight_bits: int
    acc_bits: int
    offset_bits: int
    shift_range: int
    depth: int = 0
    weight_style: str = "block"
    operand_bits: int | None = None
    multiplier: str | None = None
    pairs: int = 0
    i_codes: Codes = INT8
    o_codes: Codes = INT8
    scale_bits: int = 0

    @property
    def multipliers(self) -> int:
        """Number of multipliers."""
        return self.rows * self.columns - self.pairs

    @property
    def steps(self) -> int:
        """Clock cycles per pass, which is also the number of input beats per vector."""
        return -(-self.inputs // self.columns)

    @property
    def passes(self) -> int:
        """Passes per vector."""
        return -(-self.outputs // self.rows)

    @property
    def interval(self) -> int:
        """Initiation interval, in clock cycles per vector."""
        return self.steps * self.passes


@dataclass(frozen=True)
class GraphEngine(Sliced):
    """An adder graph, with the buffers around it.

    Parameters
    ----------
    inputs, outputs
        Shape of the matrix.
    i_lanes, o_lanes
        Elements of an input and of an output beat. Beats are gathered into whole vectors in front of the graph.
    vectors
        Vectors per frame.
    i_codes, o_codes
        Types of an input and of an output.
    digit
        Bits per clock cycle; None if the graph takes a vector per clock cycle.
    graph_interval, graph_latency
        Initiation interval and latency of the graph alone.
    lut, ff
        Cost of the graph alone on the 7 series. It depends on the weights.
    additions
        Most steps between two registers: additions, and saturations (`psahw.adder_graph.parallel`). 1 with a
        ``digit``.
    queue
        Beats of the `Queue` in front.
    """

    inputs: int
    outputs: int
    i_lanes: int
    o_lanes: int
    vectors: int
    digit: int | None
    graph_interval: int
    graph_latency: int
    lut: int
    ff: int
    additions: int = 1
    i_codes: Codes = INT8
    o_codes: Codes = INT8
    queue: int = 0

    @property
    def i_beats(self) -> int:
        """Input beats per vector."""
        return self.inputs // self.i_lanes

    @property
    def o_beats(self) -> int:
        """Output beats per vector."""
        return self.outputs // self.o_lanes

    @property
    def interval(self) -> int:
        """Initiation interval, in clock cycles per vector."""
        return max(self.graph_interval, self.o_beats, self.i_beats)


@dataclass(frozen=True)
class TableRom(Node):
    """Tables of one function per channel.

    Parameters
    ----------
    channels
        Elements of a vector.
    lanes
        Elements of a beat.
    distinct
        False if all channels share one table.
    style
        Memory of the tables, ``"block"`` or ``"distributed"``.
    i_codes, o_codes
        Types of an argument and of a value.
    bank_words
        Most words of a bank of the tables, behind which there is a register; None for a single bank.
    """

    channels: int
    lanes: int
    distinct: bool = True
    style: str = "block"
    i_codes: Codes = INT8
    o_codes: Codes = INT8
    bank_words: int | None = None

    @property
    def words(self) -> int:
        """Words of the tables of a lane."""
        return (self.channels // self.lanes if self.distinct else 1) * self.i_codes.count

    @property
    def banks(self) -> int:
        """Banks of the tables of a lane."""
        return 1 if self.bank_words is None else -(-self.words // self.bank_words)


@dataclass(frozen=True)
class Transpose(Sliced):
    """The transposition of a frame.

    Parameters
    ----------
    rows, columns
        Vectors per input frame, and elements of each.
    i_lanes, o_lanes
        Elements of an input and of an output beat.
    period
        Clock cycles between the first beats of two output vectors.
    style
        Memory of the frames, ``"block"`` or ``"distributed"``.
    codes
        Type of an element.
    """

    rows: int
    columns: int
    i_lanes: int
    o_lanes: int
    period: int
    style: str = "block"
    codes: Codes = INT8

    @property
    def buffer(self) -> TransposeBuffer:
        """Layout of the memory."""
        return TransposeBuffer(self.rows, self.columns, self.i_lanes, self.o_lanes)


@dataclass(frozen=True)
class LocalMixing(Node):
    """Token mixing over a neighbourhood.

    Parameters
    ----------
    kernel
        Rows and columns of the neighbourhood.
    grid
        Rows and columns of tokens.
    channels
        Elements of a token.
    groups
        Groups of channels with different weights.
    lanes
        Elements of a beat.
    weight_bits, acc_bits, offset_bits, shift_range, multiplier
        The same as in `MacArray`.
    shared
        Whether all tokens have the same weights.
    i_codes, o_codes, scale_bits
        The same as in `MacArray`.
    queue
        Beats of the `Queue` in front, in which tokens wait while a frame is flushed.
    """

    kernel: tuple[int, int]
    grid: tuple[int, int]
    channels: int
    groups: int
    lanes: int
    weight_bits: int
    acc_bits: int
    offset_bits: int
    shift_range: int
    multiplier: str | None = None
    shared: bool = False
    queue: int = 0
    i_codes: Codes = INT8
    o_codes: Codes = INT8
    scale_bits: int = 0

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.grid[0] * self.grid[1]

    @property
    def entries(self) -> int:
        """Entries of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def parts(self) -> int:
        """Groups of lanes with weights of their own."""
        return self.lanes // gcd(self.lanes, self.channels // self.groups)

    @property
    def phases(self) -> int:
        """Different weights in the beats of a token."""
        return self.groups if self.parts == 1 else self.beats

    @property
    def rows(self) -> int:
        """Different weights in the beats of a frame."""
        return self.phases * (1 if self.shared else self.tokens)

    @property
    def beats(self) -> int:
        """Beats per token."""
        return self.channels // self.lanes

    @property
    def reach(self) -> int:
        """Tokens from a token to the last one that it depends on."""
        return neighbour_reach(self.grid, self.kernel)


@dataclass(frozen=True)
class Residual(Node):
    """A residual connection: a branch and a bypass, whose outputs are added with saturation.

    Parameters
    ----------
    i_lanes, o_lanes
        Elements of an input and of an output beat.
    branch, bypass
        Components of both paths, in data order.
    queue
        Beats of the `Queue` at the end of the bypass, in which they wait for the branch.
    branch_queue
        Beats of the `Queue` at the end of the branch; 0 if it never has to wait for the bypass.
    i_codes, o_codes
        Types of an input and of an output.
    branch_codes, bypass_codes
        Types of what both paths give.
    shift
        Bits to shift the sum by.
    """

    i_lanes: int
    o_lanes: int
    branch: tuple[Node, ...]
    bypass: tuple[Node, ...]
    queue: int = 0
    branch_queue: int = 0
    i_codes: Codes = INT8
    o_codes: Codes = INT8
    branch_codes: Codes = INT8
    bypass_codes: Codes = INT8
    shift: int = 0


@dataclass(frozen=True)
class MaxPool(Node):
    """The maximum over the tokens of a window.

    Parameters
    ----------
    tokens, channels
        Tokens per window, and elements of each.
    lanes
        Elements of a beat.
    codes
        Type of an element.
    """

    tokens: int
    channels: int
    lanes: int
    codes: Codes = INT8

    @property
    def beats(self) -> int:
        """Beats per token."""
        return self.channels // self.lanes


@dataclass(frozen=True)
class Thresholds(Node):
    """The numbers of thresholds that elements reach.

    Parameters
    ----------
    channels
        Elements of a vector.
    lanes
        Elements of a beat.
    count
        Thresholds of a channel.
    i_codes, o_codes
        Types of an input and of an output.
    """

    channels: int
    lanes: int
    count: int
    i_codes: Codes
    o_codes: Codes


@dataclass(frozen=True)
class MeanPool(Node):
    """The mean over the tokens of a frame.

    Parameters
    ----------
    tokens, channels
        Tokens per frame, and elements of each.
    lanes
        Elements of a beat.
    shift
        Bits to shift each sum by.
    codes
        Type of an element.
    multiplier
        Factor of each sum.
    offset
        Added to the product.
    """

    tokens: int
    channels: int
    lanes: int
    shift: int
    codes: Codes = INT8
    multiplier: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Argmax(Node):
    """The selection of the class with the greatest logit.

    Parameters
    ----------
    classes
        Logits per frame.
    bits
        Width of a logit in the result, where it is signed.
    lanes
        Logits of a beat.
    codes
        Type of a logit in a beat.
    """

    classes: int
    bits: int
    lanes: int
    codes: Codes


def walk(pipeline: tuple[Node, ...]) -> Iterator[Node]:
    """Yield every node in data order, a `Residual` before its branch and its bypass."""
    for node in pipeline:
        yield node
        if isinstance(node, Residual):
            yield from walk(node.branch)
            yield from walk(node.bypass)
