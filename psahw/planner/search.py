"""The plan: for every layer an engine and its parallelism, what that costs, and the cadence that it keeps.

Of a metronome's period, in cycles a token, `psahw.planner.candidates` makes the engines that keep it for every layer,
`psahw.planner.optimiser` takes those that fill the smallest share of what is allowed, `psahw.planner.schedule` computes buffers,
interval and latency, `psahw.planner.cost` the resources. The plan is the smallest circuit for a frame rate, or the shortest
period that fits the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..adder_graph.serial import DIGITS
from ..architecture.device import RESOURCES, Device, Resources
from ..errors import CheckFailed, UserError
from ..network.file import digest
from ..network.layers import Linear, Network, TokenMixing
from .candidates import Engines, Infeasible, choices
from .cost import cost
from .graph_options import graph_layers, graph_options
from .optimiser import GAP, Programme
from .plan import Plan
from .rules import MAC_ONLY, Rules
from .schedule import Schedule, Unsteady, schedule

__all__ = ["UTILISATION", "make", "widest_bus"]

UTILISATION = {"lut": 0.8, "ff": 0.8, "dsp": 1.0, "bram36": 1.0}
"""Share of a device that a plan fills: above 80 % of the LUTs, routing decides more than logic does."""


@dataclass(frozen=True)
class _Candidate:
    """One period: a schedule with its resources, or the reason why there is none."""

    period: int
    schedule: Schedule | None
    resources: Resources | None
    reason: str | None


_TRIES = 5  # to make room for buffers, which are known only once a choice is made
_ROUGHLY = 0.05  # as `psahw.planner.optimiser.GAP`, while a search asks only what fits, which takes less time


@dataclass(frozen=True)
class _Search:
    network: Network
    device: Device
    bus_bytes: int
    limits: dict[str, float]
    engines: Engines
    _tried: dict[tuple[int, float], _Candidate] = field(default_factory=dict)

    def attempt(self, period: int, gap: float = GAP) -> _Candidate:
        if (period, gap) not in self._tried:
            try:
                self._tried[period, gap] = self._chosen(period, gap)
            except (Infeasible, Unsteady) as reason:
                self._tried[period, gap] = _Candidate(period, None, None, str(reason))
        return self._tried[period, gap]

    def _chosen(self, period: int, gap: float) -> _Candidate:
        """The cheapest within the limits, or if there is none one that exceeds them by little."""
        network, family = self.network, self.device.family
        beats = network.image[0] * network.image[1] * network.colours // self.bus_bytes
        programme = Programme(choices(network, period, self.bus_bytes, self.engines), family)

        def made(nodes):
            """The candidate, and what it has beside what was chosen by: buffers and counters."""
            done = schedule(nodes, beats, network.stages[0].tokens * period)
            found = cost(done.pipeline, family, whole=True)
            amounts, chosen_by = found.to_dict(), cost(nodes, family).to_dict()
            return _Candidate(period, done, found, None), {k: amounts[k] - chosen_by[k] for k in amounts}

        # First whether anything fits: that nothing is cheap enough takes the solver much longer to say.
        nearest = programme.nearest(self.limits, rough=gap > GAP)
        if nearest is None:
            raise Infeasible("no engines that are allowed fit each other's streams")
        share, nodes = nearest
        room = dict(self.limits)
        for _ in range(_TRIES if share == 0 else 0):
            cheapest = programme.cheapest(worth=self.limits, limits=room, gap=gap)
            if cheapest is None:
                _, nodes = programme.nearest(room, rough=gap > GAP)
                break
            candidate, beside = made(cheapest)
            over = self.overrun(candidate)
            if not over:
                return candidate
            nodes = cheapest
            # Less each time, should another choice need more beside it than this one.
            room |= {name: min(0.999 * room[name], self.limits[name] - 1.01 * beside[name]) for name in over}
        return made(nodes)[0]

    def at_most(self, period: int, gap: float = GAP) -> _Candidate:
        """The longest of the next few periods at which the layers can be folded and the pipeline settles: divisors
        may allow one period and not the next longer one."""
        first = candidate = self.attempt(period, gap)
        for shorter in range(period - 1, max(period - 8, 0), -1):
            if candidate.schedule is not None:
                return candidate
            candidate = self.attempt(shorter, gap)
        return candidate if candidate.schedule is not None else first

    def overrun(self, candidate: _Candidate) -> dict[str, float]:
        """By what factor each resource exceeds its limit, the smallest first."""
        over = {
            name: amount / self.limits[name] if self.limits[name] else float("inf")
            for name, amount in candidate.resources.to_dict().items()
            if amount > self.limits[name]
        }
        return dict(sorted(over.items(), key=lambda item: item[1]))

    def complaint(self, candidate: _Candidate) -> str | None:
        """Why a candidate will not do; None if it will."""
        if candidate.schedule is None:
            return candidate.reason
        amounts = candidate.resources.to_dict()
        over = self.overrun(candidate)
        return ", ".join(f"{name} {amounts[name]:g} of {self.limits[name]:g}" for name in over) or None

    def refusal(self, candidate: _Candidate) -> str | None:
        """A complaint as the reason why no faster plan was taken."""
        words = self.complaint(candidate)
        return words if words is None or candidate.schedule is None else f"the next faster plan needs {words}"

    def complaint_with_smallest(self, candidate: _Candidate) -> str:
        words = self.complaint(candidate)
        if candidate.schedule is None:
            return words
        name, factor = next(iter(self.overrun(candidate).items()))
        return f"{words} (smallest overrun: {name}, {factor:.2f}x)"

    def for_rate(self, fps: float, clock_hz: float) -> tuple[_Candidate, str]:
        """The longest period that reaches the rate."""
        tokens = self.network.stages[0].tokens
        where = f"{self.network.name} cannot reach {fps:g} FPS at {clock_hz / 1e6:g} MHz on {self.device.name}"
        period = int(clock_hz / fps) // tokens
        if period == 0:
            raise CheckFailed(f"{where}: a frame has {tokens} tokens, one a cycle at best")
        candidate = self.at_most(period)
        if candidate.schedule is None:
            raise CheckFailed(f"{where}: {candidate.reason}")
        if self.overrun(candidate):
            raise CheckFailed(
                f"{self.network.name} at {fps:g} FPS does not fit {self.device.name}: "
                f"{self.complaint_with_smallest(candidate)}; lower --fps or take a larger device"
            )
        return candidate, f"the frame rate asked for, {fps:g} FPS"

    def of_period(self, period: int) -> tuple[_Candidate, str]:
        candidate = self.attempt(period)
        if complaint := self.complaint(candidate):
            raise CheckFailed(f"{self.network.name} every {period} cycles on {self.device.name}: {complaint}")
        return candidate, f"the period asked for, {period} cycles a token"

    def fastest(self) -> tuple[_Candidate, str]:
        """The shortest period that fits, by bisection of its logarithm: resources hardly ever fall as the period
        does, and the last steps are tried one by one. That the next shorter one does not fit is proven."""
        network = self.network
        beats = network.image[0] * network.image[1] * network.colours // self.bus_bytes
        largest = max(layer.weight.size for layer in _engine_layers(network).values())
        slowest = max(-(-beats // network.stages[0].tokens), largest)
        best = self.at_most(slowest, _ROUGHLY)
        if self.complaint(best):
            best = self.at_most(slowest)
        if self.complaint(best):
            raise CheckFailed(
                f"{network.name} does not fit {self.device.name} at any rate: {self.complaint_with_smallest(best)}"
            )
        low = 0
        while best.period - low > 1:
            middle = min(max(round((max(low, 1) * best.period) ** 0.5), low + 1), best.period - 1)
            candidate = self.at_most(middle, _ROUGHLY)
            if self.complaint(candidate):
                low = middle
            else:
                best = candidate
        for period in range(best.period - 1, max(best.period - 6, 0), -1):
            candidate = self.attempt(period, _ROUGHLY)
            if not self.complaint(candidate):
                best = candidate
        why = None
        while best.period > 1 and why is None:
            shorter = self.attempt(best.period - 1)
            why = self.refusal(shorter)
            best = best if why else shorter
        cheapest = self.attempt(best.period)
        return best if self.complaint(cheapest) else cheapest, why or "one token a cycle"


def _limits(device, budget, utilisation):
    share = UTILISATION | (utilisation or {})
    limits = {name: int(amount * share[name]) for name, amount in device.limits().items()}
    for name, amount in (budget or {}).items():
        if name not in RESOURCES:
            raise ValueError(f"budget must name one of {', '.join(RESOURCES)}, not {name!r}")
        limits[name] = min(limits[name], amount)
    return limits


def _engines(network, device, rules, progress):
    layers = graph_layers(network)
    named = list(_engine_layers(network))
    for pattern in rules.unused(named):
        raise UserError(f"no layer that engines do is called {pattern!r}; there are {', '.join(named)}")
    wanted = {
        name: layer
        for name, layer in layers.items()
        if any(rules.allowed(name, engine) for engine in ("parallel", *(f"serial:{d}" for d in DIGITS)))
    }
    graphs = graph_options(wanted, progress=progress) if wanted else {}
    return Engines(graphs, rules, device.multiplier)


def make(
    network: Network,
    device: Device,
    *,
    clock_hz: float,
    fps: float | None = None,
    bus_bytes: int = 4,
    budget: dict[str, float] | None = None,
    utilisation: dict[str, float] | None = None,
    rules: Rules = MAC_ONLY,
    period: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The smallest plan that reaches ``fps`` frames a second at ``clock_hz``, or the fastest that fits.

    ``budget`` lowers the device's limits and ``utilisation`` the share of them that is filled, by resource name.
    ``rules`` say which engines a layer may have; adder graphs that are not in the cache are solved first, with
    ``progress`` as in `psahw.adder_graph.solve_all`. With ``period`` the plan has that one. Raises ValueError for a
    rate or clock that is not positive or a bus that does not divide an image's row, `CheckFailed` if there is no
    such plan, naming the smallest overrun, and UserError for a rule that names no layer.
    """
    for name, value in (("clock_hz", clock_hz), ("fps", fps)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, not {value!r}")
    row = network.image[1] * network.colours
    if bus_bytes < 1 or row % bus_bytes:
        raise ValueError(f"bus_bytes must divide the {row} bytes of an image's row, not {bus_bytes}")
    limits = _limits(device, budget, utilisation)
    search = _Search(network, device, bus_bytes, limits, _engines(network, device, rules, progress))
    if period is not None:
        chosen, limited_by = search.of_period(period)
    else:
        chosen, limited_by = search.fastest() if fps is None else search.for_rate(fps, clock_hz)
    return Plan(
        network=network.name,
        digest=digest(network),
        device=device,
        clock_hz=clock_hz,
        image_bytes=network.image[0] * row,
        bus_bytes=bus_bytes,
        period=chosen.period,
        frame_interval=chosen.schedule.frame_interval,
        latency=chosen.schedule.latency,
        settling_frames=chosen.schedule.settling_frames,
        pipeline=chosen.schedule.pipeline,
        limits=limits,
        limited_by=limited_by,
    )


def widest_bus(network: Network, bus_bytes: int) -> int:
    """The most bytes a beat, up to ``bus_bytes``, that divide an image's row."""
    row = network.image[1] * network.colours
    return max(n for n in range(1, min(bus_bytes, row) + 1) if row % n == 0)


def _engine_layers(network: Network) -> dict[str, Linear | TokenMixing]:
    """Return the layers that an engine of the plan computes, by component: all but local token mixings."""
    return {
        entry.component: entry.layer
        for entry in network.linears()
        if isinstance(entry.layer, Linear) or entry.layer.kernel is None
    }
