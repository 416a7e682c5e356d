"""The plan's intermediate form: one frozen dataclass of parameters for each kind of component.

Depths of buffers (``depth``, ``queue``) are zero until `psahw.planner.schedule` has calculated them.

They hold no weights: a node says how large and how parallel a component is, `psahw.generate` gives it the
network's numbers. Fields that the component's constructor in `psahw.gateware` has too bear the same names; the
others describe the numbers as far as they change the size of the circuit.
"""

from dataclasses import dataclass, field
from math import gcd

from .buffers import TransposeBuffer, WindowBuffer
from .geometry import SlidingWindow, neighbour_reach

__all__ = [
    "Argmax", "Gather", "GraphEngine", "InputTable", "LocalMixing", "MacArray", "MeanPool", "Node", "Residual",
    "Sliced", "TableRom", "Transpose", "Windows", "walk",
]  # fmt: skip


@dataclass(frozen=True)
class Node:
    """``name`` is unique in a plan; it begins with the name of the network's layer."""

    name: str


@dataclass(frozen=True)
class Sliced(Node):
    """``slices`` of it stand side by side, each with its share of the stream's lanes; the other fields are of one."""

    slices: int = field(default=1, kw_only=True)


@dataclass(frozen=True)
class InputTable(Node):
    """``phases`` is the number of tables in each lane's ROM."""

    colours: int
    lanes: int
    phases: int


@dataclass(frozen=True)
class Windows(Node):
    """With ``queue`` beats of a `Queue` in front, or fed directly if that is None."""

    height: int
    width: int
    channels: int
    size: int
    stride: int
    padding: int
    i_lanes: int
    o_lanes: int
    period: int
    queue: int | None = None
    style: str = "block"

    @property
    def window(self) -> SlidingWindow:
        return SlidingWindow(self.height, self.width, self.size, self.stride, self.padding)

    @property
    def buffer(self) -> WindowBuffer:
        return WindowBuffer(self.window, self.channels, self.i_lanes, self.o_lanes)

    @property
    def grid(self) -> tuple[int, int]:
        return self.window.grid

    @property
    def vectors(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def length(self) -> int:
        return self.size**2 * self.channels


@dataclass(frozen=True)
class Gather(Sliced):
    """``beats`` of a vector, if ``ratio`` does not divide them."""

    lanes: int
    ratio: int
    beats: int | None = None


@dataclass(frozen=True)
class MacArray(Sliced):
    """``weight_bits``, ``acc_bits`` (of ``W·x``), ``offset_bits`` (of the bias and what rounds) and ``shift_range``
    (greatest minus least) describe the numbers as far as they change the size of the circuit. ``vectors`` arrive in
    a frame. ``pairs`` of units share a multiplier, whose wider operand has ``operand_bits``; None if none may.
    ``multiplier`` is the name of the device's; None if tools infer it."""

    inputs: int
    outputs: int
    rows: int
    columns: int
    o_lanes: int
    vectors: int
    sets: int
    out_bits: int
    weight_bits: int
    acc_bits: int
    offset_bits: int
    shift_range: int
    depth: int = 0
    weight_style: str = "block"
    operand_bits: int | None = None
    multiplier: str | None = None
    pairs: int = 0

    @property
    def multipliers(self) -> int:
        return self.rows * self.columns - self.pairs

    @property
    def steps(self) -> int:
        return -(-self.inputs // self.columns)

    @property
    def passes(self) -> int:
        return -(-self.outputs // self.rows)

    @property
    def interval(self) -> int:
        """Cycles a vector."""
        return self.steps * self.passes


@dataclass(frozen=True)
class GraphEngine(Sliced):
    """An adder graph, ``digit`` bits a clock or, if that is None, a vector a clock, behind a `Queue` of ``queue``
    beats and what makes whole vectors of them. ``graph_interval`` and ``graph_latency`` are the graph's own, ``lut``
    and ``ff`` what it costs on the 7 series: that depends on the weights."""

    inputs: int
    outputs: int
    i_lanes: int
    o_lanes: int
    vectors: int
    out_bits: int
    digit: int | None
    graph_interval: int
    graph_latency: int
    lut: int
    ff: int
    queue: int = 0

    @property
    def i_beats(self) -> int:
        return self.inputs // self.i_lanes

    @property
    def o_beats(self) -> int:
        return self.outputs // self.o_lanes

    @property
    def interval(self) -> int:
        """Cycles a vector."""
        return max(self.graph_interval, self.o_beats, self.i_beats)


@dataclass(frozen=True)
class TableRom(Node):
    """``distinct`` is False when all channels share one table."""

    channels: int
    lanes: int
    distinct: bool = True
    style: str = "block"


@dataclass(frozen=True)
class Transpose(Sliced):
    rows: int
    columns: int
    i_lanes: int
    o_lanes: int
    period: int
    style: str = "block"

    @property
    def buffer(self) -> TransposeBuffer:
        return TransposeBuffer(self.rows, self.columns, self.i_lanes, self.o_lanes)


@dataclass(frozen=True)
class LocalMixing(Node):
    """With ``queue`` beats of a `Queue` in front, in which tokens wait while a frame is flushed. ``shared`` weights
    are the same for all tokens; ``multiplier`` as in `MacArray`."""

    kernel: int
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

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

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
        """Beats a token."""
        return self.channels // self.lanes

    @property
    def reach(self) -> int:
        """Tokens between a token and the last that it depends on."""
        return neighbour_reach(self.grid, self.kernel)


@dataclass(frozen=True)
class Residual(Node):
    """A fork into ``branch`` and ``bypass``, whose outputs are added with saturation; ``queue`` beats of a `Queue`
    at the end of the bypass wait for the branch."""

    lanes: int
    branch: tuple[Node, ...]
    bypass: tuple[Node, ...]
    queue: int = 0


@dataclass(frozen=True)
class MeanPool(Node):
    tokens: int
    channels: int
    lanes: int
    shift: int


@dataclass(frozen=True)
class Argmax(Node):
    classes: int
    bits: int


def walk(pipeline: tuple[Node, ...]):
    """Every node in data order, a Residual before what it holds."""
    for node in pipeline:
        yield node
        if isinstance(node, Residual):
            yield from walk(node.branch)
            yield from walk(node.bypass)
