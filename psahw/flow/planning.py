"""Plan a network's accelerator for a board."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .. import documents
from ..adder_graph.parallel import DEPTHS
from ..architecture.device import RESOURCES
from ..boards import Board
from ..callbacks import Log, Progress, silent
from ..errors import UserError
from ..extras import install_hint
from ..network.file import digest
from ..network.graph import Network
from ..planner import search
from ..planner.plan import Plan
from ..planner.rules import KINDS, Rules
from ..quoting import quote
from ..synthesis.static_timing import GRADES, most_additions

if TYPE_CHECKING:
    from ..boards.link.options import LinkOptions
from .arguments import board_of, check_network, check_number, engine_list
from .clocks import REQUESTED, Clock, known

__all__ = ["BoardPlan", "plan"]


@dataclass(frozen=True, repr=False)
class BoardPlan(Plan):
    """A `Plan` for a board, as `plan` returns it.

    Parameters
    ----------
    board
        The board that the accelerator is for.
    link
        The link that joins the accelerator to a host. None stands for the board's UART, without room left for it.
    clock
        What is known about the clock.
    """

    board: Board
    link: "LinkOptions | None" = None
    clock: Clock = REQUESTED

    @classmethod
    def for_board(cls, planned: Plan, board: Board, link: "LinkOptions | None" = None) -> "BoardPlan":
        """Return ``planned`` with its board and link, and with what is known about its clock."""
        values = {field.name: getattr(planned, field.name) for field in fields(Plan)}
        return cls(**values, board=board, link=link, clock=known(planned, board.name))

    @property
    def clock_note(self) -> str:
        """How the clock is known, in a few words."""
        return self.clock.note(self.clock_hz)

    @property
    def accelerator(self) -> Plan:
        """The plan of the accelerator alone, which is what its Verilog depends on."""
        return Plan(**{field.name: getattr(self, field.name) for field in fields(Plan)})

    @property
    def where(self) -> str:
        """Board and device, as text."""
        return f"{self.board.name} ({self.device.name})"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw plan --json`` prints."""
        return {"network": self.network, "board": self.board.name} | super().to_dict() | {"clock": asdict(self.clock)}


_Positive = Annotated[int, Meta(ge=1, lt=1 << 31)]


class _Choices(msgspec.Struct):
    """The parts of a plan that another plan is made after."""

    digest: str
    bus_bytes: _Positive
    token_period: _Positive
    engines: dict[str, str]


def _choices(source: str | os.PathLike | Mapping[str, Any], network: Network) -> _Choices:
    """Return the choices in a plan's JSON file or dictionary.

    Raises UserError if the file cannot be read, is not a plan, or is a plan of another network.
    """
    if isinstance(source, Mapping):
        name, choices = "the plan", documents.convert(source, _Choices, "the plan")
    else:
        name, choices = str(source), documents.read(source, _Choices, hint="psahw plan -o writes plans")
    if choices.digest != digest(network):
        raise UserError(f"{name} is a plan for another network than {network.name}")
    return choices


def _rules(engines: str | None, layer_engines: tuple[str, ...], log: Log) -> Rules:
    """Return the rules for the choice of engines: all engines by default.

    da4ml finds the adder graphs. Without it the default is MAC arrays alone.
    """
    rules = Rules.parse(",".join(KINDS) if engines is None else engines, layer_engines)
    multipliers = Rules.parse("mac", layer_engines)
    if engines is not None or multipliers.kinds() != {"mac"} or find_spec("da4ml") is not None:
        return rules
    log(f"MAC arrays only: adder graphs need da4ml: {install_hint('da4ml')}")
    return multipliers


def _announced(progress: Progress, log: Log) -> Progress:
    """Return a callback for the solver of adder graphs that tells once how many there are to solve."""
    announced = False

    def report(complete: int, total: int) -> None:
        nonlocal announced
        if not announced and complete < total:
            log(f"solving {total - complete} adder graphs, large ones for minutes; they stay in the cache")
            announced = True
        progress(complete, total)

    return report


def _shares(utilisation: float | Mapping[str, float] | None) -> dict[str, float]:
    """Return the share of each resource that may be filled."""
    if utilisation is None:
        return {}
    shares = dict(utilisation) if isinstance(utilisation, Mapping) else dict.fromkeys(RESOURCES, utilisation)
    for name, share in shares.items():
        if name not in RESOURCES or not 0 < share <= 1:
            raise ValueError(
                f"utilisation must be in (0, 1] for {', '.join(RESOURCES)}, not {quote(share)} for {quote(name)}"
            )
    return shares


def _with_room_for(link: "LinkOptions", board: Board, make: Callable[..., Plan], budget: dict[str, float]) -> Plan:
    """Return the plan that ``make(budget=...)`` makes, with block RAM left for the link's buffers."""
    planned = make(budget=budget)
    room = board.device.bram36 - link.bram36(frame_bytes=planned.image_bytes, bus_bytes=planned.bus_bytes)
    return make(budget=budget | {"bram36": room}) if planned.resources.bram36 > room > 0 else planned


def _most_additions(board: Board, clock_hz: float) -> int:
    """Return the most additions between two registers that a plan can have and a clock permits; 1 if unknown."""
    delays = GRADES.get(board.device.family, {}).get(board.grade)
    return min(max(DEPTHS), most_additions(delays, clock_hz)) if delays else 1


def plan(
    network: Network,
    board: str | Board,
    *,
    clock_hz: float | None = None,
    fps: float | None = None,
    bus_bytes: int | None = None,
    budget: Mapping[str, float] | None = None,
    utilisation: float | Mapping[str, float] | None = None,
    engines: str | Sequence[str] | None = None,
    layer_engines: Mapping[str, str] | Sequence[str] = (),
    template: str | os.PathLike | Mapping[str, Any] | None = None,
    link: "LinkOptions | None" = None,
    additions: int | None = None,
    progress: Progress = silent,
    log: Log = silent,
) -> BoardPlan:
    """Plan the smallest accelerator that reaches a frame rate, or the fastest one that fits.

    Parameters
    ----------
    network
        The network, as `psahw.load` returns it.
    board
        A board of `psahw.boards`, or its name.
    clock_hz
        Clock of the accelerator; the board's if None. It is a target that place and route must confirm.
    fps
        Frames per second to reach; the most that fit if None.
    bus_bytes
        Image bytes that enter per clock cycle, a divisor of the bytes of an image's row; if None, the widest bus up
        to the board's.
    budget
        Limits below those of the device, by resource: ``lut``, ``ff``, ``dsp``, ``bram36`` (units of 36 Kb).
    utilisation
        Share of the device to fill, in (0, 1], for all resources or by resource. By default 0.8 of the LUTs and
        flip-flops, and all of the rest.
    engines
        Engines to choose from, as a list or separated by commas: ``mac``, ``serial``, ``parallel`` (see
        `psahw.planner.rules`). By default all of them, or those of the board.
    layer_engines
        Engines of particular layers: ``{"stages.1.*": "serial:4"}`` or ``["stages.1.*=serial:4"]``. The last entry
        that matches a layer counts.
    template
        A plan's JSON file or dictionary, from which bus, token period and engines are taken.
    link
        Link to the host, from `psahw.boards.link.options.choose_link`. The plan leaves block RAM for its buffers, but
        with a template the link is only checked against the clock.
    additions
        Most additions between two registers of a parallel adder graph, from 1 to 3, where neither ``engines`` nor
        ``layer_engines`` nor ``template`` names a number. More take fewer registers, and a slower clock. None takes
        as many as the clock permits by the delays of the device (`psahw.synthesis.static_timing.most_additions`), or
        1 if they are not known.
    progress, log
        Callbacks (see `psahw.flow`): the adder graphs that are solved, and notes.

    Returns
    -------
    BoardPlan
        The plan: stages, cadence, estimated resources and their limits.

    Raises
    ------
    UserError
        For a clock that the board cannot make, a bus that does not divide an image's row, an engine or layer that
        does not exist, or a wrong template.
    CheckFailed
        If no plan fits. The message names the smallest overrun.
    ValueError
        For a frame rate that is not positive, a wrong budget or utilisation, or ``additions`` that are out of range.
    TypeError
        For an argument of another type, such as the name of a network in place of the network.

    Examples
    --------
    >>> import psahw
    >>> planned = psahw.plan(psahw.load("cifar10-psa-small"), "marble", fps=2000, engines="mac")
    >>> planned.frame_interval, planned.stages[0].name
    (71424, 'input')
    """
    from ..boards.tools import project

    check_network(network)
    for name, value in (("clock_hz", clock_hz), ("fps", fps), ("bus_bytes", bus_bytes)):
        check_number(name, value)
    board, engines = board_of(board), engine_list(engines)
    if link is not None:  # before minutes of solving
        project.clock_for(board, clock_hz, link)
    elif clock_hz is not None:
        project.clock_of(board, clock_hz)
    if isinstance(layer_engines, Mapping):
        layer_engines = [f"{layer}={names}" for layer, names in layer_engines.items()]
    rules = tuple(layer_engines)
    choices = None
    if template is not None:
        if fps is not None or bus_bytes is not None:
            raise UserError("a plan file has a token period and a bus: give neither a frame rate nor a bus with it")
        choices = _choices(template, network)
        # Older releases wrote no number, and had a register behind every addition.
        engines_of = {layer: "parallel:1" if name == "parallel" else name for layer, name in choices.engines.items()}
        rules = (*(f"{layer}={name}" for layer, name in engines_of.items()), *rules)
        bus_bytes = choices.bus_bytes
    row = network.image[1] * network.colours
    if bus_bytes is not None and (bus_bytes < 1 or row % bus_bytes):
        raise UserError(f"the bus must divide the {row} bytes of an image's row, not be {bus_bytes} bytes wide")
    make = partial(
        search.make,
        network,
        board.device,
        clock_hz=clock_hz or board.clock_hz,
        fps=fps,
        bus_bytes=bus_bytes or search.widest_bus(network, board.bus_bytes),
        utilisation=_shares(utilisation),
        rules=_rules(engines or board.engines, rules, log),
        period=None if choices is None else choices.token_period,
        additions=_most_additions(board, clock_hz or board.clock_hz) if additions is None else additions,
        progress=_announced(progress, log),
    )
    limits = dict(budget or {})
    if link is None or choices is not None:
        planned = make(budget=limits)
    else:
        planned = _with_room_for(link, board, make, limits)
    return BoardPlan.for_board(planned, board, link)
