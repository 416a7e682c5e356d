"""The search for a plan: the smallest circuit for a frame rate, or the shortest token period that fits a device.

For a token period, `psahw.planner.candidates` lists the engines of every layer that keep it,
`psahw.planner.optimiser` chooses those that take the smallest share of the limits, `psahw.planner.schedule`
computes buffers, frame interval and latency, and `psahw.planner.cost` the resources.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from math import prod
from typing import TypeGuard

from ..adder_graph.estimate import layer_luts
from ..adder_graph.parallel import DEPTHS
from ..adder_graph.serial import DIGITS
from ..architecture.device import RESOURCES, TABLE_BANK_WORDS, Device, Resources
from ..architecture.nodes import Node
from ..errors import CheckFailed, UserError
from ..network.file import digest
from ..network.graph import Network
from ..network.layers import Linear, TokenMixing
from ..quoting import quote
from .candidates import choices, first_windows
from .cost import cost
from .engines import Engines, Infeasible
from .graph_options import graph_layers, graph_options
from .optimiser import GAP, OutOfTime, Programme
from .plan import Plan
from .rules import MAC_ONLY, Rules, graph_name
from .schedule import Schedule, Unsteady, schedule

__all__ = ["UTILISATION", "make", "widest_bus"]

UTILISATION = {"lut": 0.8, "ff": 0.8, "dsp": 1.0, "bram36": 1.0}
"""Share of a device that a plan fills. Above 80 % of the LUTs, routing decides more than logic does."""

_TRIES = 5  # to make room for buffers, which are known only after a choice
_LONGEST_FRAME = 1 << 28  # clock cycles: devices count in 32 bits, and a latency is up to some frames long
_SERIAL_SAVING = 16  # a bit-serial graph takes more than a sixteenth of the LUTs of a parallel one
_THREADS = 2  # that try periods besides the main one
_ROUGH_GAP = 0.05  # in place of `psahw.planner.optimiser.GAP`, where only the fact that something fits matters


@dataclass(frozen=True)
class _Arrangement:
    """The pipeline for a token period, with its resources."""

    period: int
    schedule: Schedule
    resources: Resources


@dataclass(frozen=True)
class _Impossible:
    """A token period without a pipeline, and the reason.

    A period is ``undecided`` if the solver ran out of time before it knew whether there is one.
    """

    period: int
    reason: str
    undecided: bool = False


_Outcome = _Arrangement | _Impossible


def _decided(outcome: _Outcome) -> _Outcome:
    """Return an outcome, or raise CheckFailed if the solver ran out of time before it knew one."""
    if isinstance(outcome, _Impossible) and outcome.undecided:
        raise CheckFailed(outcome.reason)
    return outcome


@dataclass(frozen=True)
class _Search:
    """The search over token periods. Outcomes are kept by period and gap."""

    network: Network
    device: Device
    bus_bytes: int
    limits: dict[str, float]
    engines: Engines
    _outcomes: dict[tuple[int, float], _Outcome] = field(default_factory=dict)
    _programmes: dict[int, Programme | Infeasible] = field(default_factory=dict)

    @property
    def _tokens(self) -> int:
        """Windows of the source per frame."""
        return prod(first_windows(self.network).over(self.network.image).grid)

    @property
    def _input_beats(self) -> int:
        """Input beats per frame."""
        network = self.network
        return network.image[0] * network.image[1] * network.colours // self.bus_bytes

    def attempt(self, period: int, gap: float = GAP) -> _Outcome:
        """Return the outcome for a token period."""
        if (period, gap) not in self._outcomes:
            try:
                self._outcomes[period, gap] = self._arranged(period, gap)
            except (Infeasible, Unsteady, OutOfTime) as reason:
                self._outcomes[period, gap] = _Impossible(period, str(reason), isinstance(reason, OutOfTime))
        return self._outcomes[period, gap]

    def _arranged(self, period: int, gap: float) -> _Arrangement:
        """Return the cheapest pipeline within the limits or, if none fits, one that exceeds them by little.

        First the solver says whether anything fits: it takes much longer to prove that nothing is cheap enough.
        Raises `Infeasible` or `Unsteady` if there is no pipeline for the period, and `OutOfTime` if the solver finds
        neither a pipeline nor a proof.
        """
        programme = self._programme(period)
        nearest = programme.nearest(self.limits, rough=gap > GAP)
        if nearest is None:
            raise Infeasible("no engines that are allowed fit each other's streams")
        overrun, nodes = nearest
        if overrun == 0:
            return self._with_buffers(programme, nodes, period, gap)
        return self._scheduled(nodes, period)

    def _programme(self, period: int) -> Programme:
        """Return the choice of engines for a period. Raises `Infeasible` if there is none."""
        if period not in self._programmes:
            try:
                tree = choices(self.network, period, self.bus_bytes, self.engines)
                self._programmes[period] = Programme(tree, self.device.family)
            except Infeasible as reason:
                self._programmes[period] = reason
        programme = self._programmes[period]
        if isinstance(programme, Infeasible):
            raise programme
        return programme

    def _with_buffers(self, programme: Programme, nodes: tuple[Node, ...], period: int, gap: float) -> _Arrangement:
        """Return the cheapest pipeline that leaves room for its buffers and counters.

        These are known only after a choice. If it exceeds the limits together with them, the limits of the choice are
        lowered by what they take, and the choice is made again. ``nodes`` fit without buffers. If the solver runs out
        of time, the last choice stays.
        """
        room = dict(self.limits)
        for _ in range(_TRIES):
            cheapest = programme.cheapest(worth=self.limits, limits=room, gap=gap)
            if cheapest is None:
                with suppress(OutOfTime):
                    nearest = programme.nearest(room, rough=gap > GAP)
                    nodes = nodes if nearest is None else nearest[1]
                break
            nodes = cheapest
            arrangement = self._scheduled(nodes, period)
            over = self.overrun(arrangement)
            if not over:
                return arrangement
            amounts, chosen_by = arrangement.resources.to_dict(), cost(nodes, self.device.family).to_dict()
            # The room shrinks each time, because the next choice may need more beside it than this one.
            room |= {
                name: min(0.999 * room[name], self.limits[name] - 1.01 * (amounts[name] - chosen_by[name]))
                for name in over
            }
        return self._scheduled(nodes, period)

    def _scheduled(self, nodes: tuple[Node, ...], period: int) -> _Arrangement:
        """Return the pipeline with its buffers and counters. Raises `Unsteady` if it does not settle."""
        scheduled = schedule(nodes, self._input_beats, self._tokens * period)
        return _Arrangement(period, scheduled, cost(scheduled.pipeline, self.device.family, whole=True))

    def at_most(self, period: int, gap: float = GAP) -> _Outcome:
        """Return the outcome for the longest of the next few periods that has a pipeline, or for ``period`` itself.

        A period may have no folding of the layers although the next shorter one has, because of divisors. Where the
        solver ran out of time, it would so for the next one, too.
        """
        first = self.attempt(period, gap)
        outcome = first
        for shorter in range(period - 1, max(period - 8, 0), -1):
            if isinstance(outcome, _Arrangement) or outcome.undecided:
                return outcome
            outcome = self.attempt(shorter, gap)
        return outcome if isinstance(outcome, _Arrangement) else first

    def overrun(self, arrangement: _Arrangement) -> dict[str, float]:
        """Return the factor by which each resource exceeds its limit, the smallest first."""
        over = {
            name: amount / self.limits[name] if self.limits[name] else float("inf")
            for name, amount in arrangement.resources.to_dict().items()
            if amount > self.limits[name]
        }
        return dict(sorted(over.items(), key=lambda item: item[1]))

    def fits(self, outcome: _Outcome) -> TypeGuard[_Arrangement]:
        """Return whether an outcome is a pipeline within the limits."""
        return self.complaint(outcome) is None

    def complaint(self, outcome: _Outcome) -> str | None:
        """Return why an outcome is not a pipeline within the limits, or None if it is one."""
        if isinstance(outcome, _Impossible):
            return outcome.reason
        amounts = outcome.resources.to_dict()
        over = self.overrun(outcome)
        return ", ".join(f"{name} {amounts[name]:g} of {self.limits[name]:g}" for name in over) or None

    def refusal(self, outcome: _Outcome) -> str | None:
        """Return a complaint as the reason why no faster plan was taken, or None."""
        complaint = self.complaint(outcome)
        if complaint is None or isinstance(outcome, _Impossible):
            return complaint
        return f"the next faster plan needs {complaint}"

    def complaint_with_smallest(self, outcome: _Outcome) -> str:
        """Return the complaint about an outcome that does not fit, with the resource that is exceeded least."""
        if isinstance(outcome, _Impossible):
            return outcome.reason
        name, factor = next(iter(self.overrun(outcome).items()))
        overrun = f"{name}, {factor:.2f}x" if self.limits[name] else f"{name}, of which none may be used"
        return f"{self.complaint(outcome)} (smallest overrun: {overrun})"

    def for_rate(self, fps: float, clock_hz: float) -> tuple[_Arrangement, str]:
        """Return the pipeline of the longest period that reaches a frame rate, and what limits it."""
        where = f"{self.network.name} cannot reach {fps:g} FPS at {clock_hz / 1e6:g} MHz on {self.device.name}"
        period = int(min(clock_hz / fps, _LONGEST_FRAME)) // self._tokens
        if period == 0:
            raise CheckFailed(f"{where}: a frame has {self._tokens} tokens, at most one per clock cycle")
        outcome = _decided(self.at_most(period))
        if isinstance(outcome, _Impossible):
            raise CheckFailed(f"{where}: {outcome.reason}")
        if self.overrun(outcome):
            raise CheckFailed(
                f"{self.network.name} at {fps:g} FPS does not fit {self.device.name}: "
                f"{self.complaint_with_smallest(outcome)}; raise the limit, lower --fps, or take a larger device"
            )
        return outcome, f"the frame rate asked for, {fps:g} FPS"

    def of_period(self, period: int) -> tuple[_Arrangement, str]:
        """Return the pipeline of a given period, and what limits it."""
        outcome = _decided(self.attempt(period))
        if not self.fits(outcome):
            raise CheckFailed(
                f"{self.network.name} at a token period of {period} cycles on {self.device.name}: "
                f"{self.complaint(outcome)}"
            )
        return outcome, f"the token period asked for, {period} cycles"

    def fastest(self) -> tuple[_Arrangement, str]:
        """Return the pipeline of the shortest period that fits, and what limits it.

        Periods are compared roughly first, and then one by one with the full precision of the solver, until it has
        proven that the next shorter period does not fit, or has run out of time. A period for which it runs out of
        time counts as one that does not fit.
        """
        # Most of the time is the solver's, which lets other threads run.
        pool = ThreadPoolExecutor(_THREADS)
        try:
            rough = best = self._refined(self._bisected(self._slowest(), pool), pool)
            reason = None
            again = pool.submit(self.attempt, rough.period)
            while best.period > 1 and reason is None:
                shorter = self.attempt(best.period - 1)
                reason = self.refusal(shorter)
                if self.fits(shorter):
                    best = shorter
            if best is rough:
                again.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt waits for nothing
        cheapest = self.attempt(best.period)
        return cheapest if self.fits(cheapest) else best, reason or "a token period of one clock cycle"

    def _slowest(self) -> _Arrangement:
        """Return the pipeline of a period that is long enough for the input, and for one multiplier per layer."""
        largest = max(layer.weight.size for layer in _engine_layers(self.network).values())
        period = max(-(-self._input_beats // self._tokens), largest)
        outcome = self.at_most(period, _ROUGH_GAP)
        if not self.fits(outcome):
            outcome = _decided(self.at_most(period))
        if not self.fits(outcome):
            raise CheckFailed(
                f"{self.network.name} does not fit {self.device.name} at any rate: "
                f"{self.complaint_with_smallest(outcome)}"
            )
        return outcome

    def _bisected(self, best: _Arrangement, pool: Executor) -> _Arrangement:
        """Return the pipeline of a shorter period, by bisection of the logarithm of the period.

        Bisection assumes that resources do not fall as the period does, which is nearly always so. While one period
        is tried, the pool tries the one that follows if it fits.
        """

        def between(low: int, high: int) -> int:
            return round((max(low, 1) * high) ** 0.5)  # neither of the two, which differ by more than 1

        too_short, ahead = 0, {}
        while best.period - too_short > 1:
            middle = between(too_short, best.period)
            if middle - too_short > 1 and (following := between(too_short, middle)) not in ahead:
                ahead[following] = pool.submit(self.at_most, following, _ROUGH_GAP)
            outcome = ahead[middle].result() if middle in ahead else self.at_most(middle, _ROUGH_GAP)
            if self.fits(outcome):
                best = outcome
            else:
                too_short = middle
        return best

    def _refined(self, best: _Arrangement, pool: Executor) -> _Arrangement:
        """Return the shortest of the next few periods that fits."""
        periods = range(best.period - 1, max(best.period - 6, 0), -1)
        for outcome in pool.map(self.attempt, periods, repeat(_ROUGH_GAP)):
            if self.fits(outcome):
                best = outcome
        return best


def _limits(
    device: Device, budget: Mapping[str, float] | None, utilisation: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the largest amount of each resource that a plan may take."""
    share = UTILISATION | dict(utilisation or {})
    limits: dict[str, float] = {name: int(amount * share[name]) for name, amount in device.limits().items()}
    for name, amount in (budget or {}).items():
        if name not in RESOURCES:
            raise ValueError(f"budget must name one of {', '.join(RESOURCES)}, not {quote(name)}")
        limits[name] = min(limits[name], amount)
    return limits


def _engines(
    network: Network, device: Device, rules: Rules, additions: int, progress: Callable[[int, int], None] | None
) -> Engines:
    """Return the engines that the rules allow, with the adder graphs of the layers that may have one."""
    named = list(_engine_layers(network))
    for pattern in rules.unused(named):
        raise UserError(f"no layer with a choice of engines is called {quote(pattern)}; there are {', '.join(named)}")
    graph_engines = [*(graph_name(None, depth) for depth in DEPTHS), *(graph_name(digit) for digit in DIGITS)]
    wanted = {
        name: coded
        for name, coded in graph_layers(network).items()
        if any(rules.allowed(name, engine) for engine in graph_engines)
    }
    # A graph that the device cannot hold even bit by bit need not be solved, which takes hours for a large matrix.
    most = _SERIAL_SAVING * device.limits()["lut"]
    small = {name: coded for name, coded in wanted.items() if layer_luts(coded.layer.weight) <= most}
    graphs = dict.fromkeys(wanted, ()) | (graph_options(small, progress=progress) if small else {})
    return Engines(graphs, rules, device.multiplier, additions, TABLE_BANK_WORDS.get(device.family))


def make(
    network: Network,
    device: Device,
    *,
    clock_hz: float,
    fps: float | None = None,
    bus_bytes: int = 4,
    budget: Mapping[str, float] | None = None,
    utilisation: Mapping[str, float] | None = None,
    rules: Rules = MAC_ONLY,
    period: int | None = None,
    additions: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Return the smallest plan that reaches a frame rate, or the fastest plan that fits.

    Parameters
    ----------
    network, device
        The network, and the device that it is planned for.
    clock_hz
        Clock frequency in Hz.
    fps
        Frames per second to reach; None asks for the fastest plan.
    bus_bytes
        Bytes of the image per input beat. It must divide a row of the image.
    budget
        Limits by name of the resource, where they are below the device's.
    utilisation
        Shares of the device that may be filled, by name of the resource, in place of `UTILISATION`.
    rules
        Engines that each layer may have. Adder graphs that are not in the cache are solved first.
    period
        Token period in clock cycles. If it is given, ``fps`` is ignored.
    additions
        Most additions between two registers of a parallel adder graph, from 1 to 3, where no rule names a number.
    progress
        Called while adder graphs are solved, as by `psahw.adder_graph.solve_all`.

    Raises
    ------
    ValueError
        If the clock or rate is not positive, the bus does not divide a row, the budget names no resource, or
        ``additions`` is out of range.
    CheckFailed
        If there is no such plan. The message names the resource that is exceeded least.
    UserError
        If a rule names no layer.
    """
    for name, value in (("clock_hz", clock_hz), ("fps", fps)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, not {quote(value)}")
    row = network.image[1] * network.colours
    if bus_bytes < 1 or row % bus_bytes:
        raise ValueError(f"bus_bytes must divide the {row} bytes of an image's row, not {bus_bytes}")
    if additions not in DEPTHS:
        raise ValueError(f"additions must be one of {', '.join(map(str, DEPTHS))}, not {quote(additions)}")
    limits = _limits(device, budget, utilisation)
    search = _Search(network, device, bus_bytes, limits, _engines(network, device, rules, additions, progress))
    if period is not None:
        arrangement, limited_by = search.of_period(period)
    elif fps is not None:
        arrangement, limited_by = search.for_rate(fps, clock_hz)
    else:
        arrangement, limited_by = search.fastest()
    return Plan(
        network=network.name,
        digest=digest(network),
        device=device,
        clock_hz=clock_hz,
        image_bytes=network.image[0] * row,
        bus_bytes=bus_bytes,
        period=arrangement.period,
        frame_interval=arrangement.schedule.frame_interval,
        latency=arrangement.schedule.latency,
        lone_latency=arrangement.schedule.lone_latency,
        settling_frames=arrangement.schedule.settling_frames,
        draining_frames=arrangement.schedule.draining_frames,
        pipeline=arrangement.schedule.pipeline,
        limits=limits,
        limited_by=limited_by,
    )


def widest_bus(network: Network, bus_bytes: int) -> int:
    """Return the most bytes per input beat, up to ``bus_bytes``, that divide a row of the image."""
    row = network.image[1] * network.colours
    return max(n for n in range(1, min(bus_bytes, row) + 1) if row % n == 0)


def _engine_layers(network: Network) -> dict[str, Linear | TokenMixing]:
    """Return the layers that an engine of the plan computes, by component: all but local token mixings."""
    return {
        place.name: place.layer
        for place in network.linears()
        if isinstance(place.layer, Linear) or (isinstance(place.layer, TokenMixing) and place.layer.kernel is None)
    }
