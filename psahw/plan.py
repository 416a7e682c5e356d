"""The plan: for every layer an engine and its parallelism, what that costs, and the cadence that it keeps.

The only free variable is the metronome's period, in cycles a token: `psahw.pipeline` gives every layer the
smallest engine that keeps it, `psahw.schedule` computes buffers, interval and latency, `psahw.cost` the
resources. The plan is the smallest circuit for a frame rate, or the shortest period that fits the device.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

from .cost import Resources, cost
from .device import RESOURCES, Device
from .errors import CheckFailed
from .network import Network
from .networkfile import digest
from .nodes import Node, Residual, walk
from .pipeline import Infeasible, build
from .schedule import Unsteady, schedule

__all__ = ["UTILISATION", "Plan", "make"]

UTILISATION = {"lut": 0.8, "ff": 0.8, "dsp": 1.0, "bram36": 1.0}
"""Share of a device that a plan fills: above 80 % of the LUTs, routing decides more than logic does."""


@dataclass(frozen=True)
class Plan:
    """``period`` is in cycles a token of the first stage, ``frame_interval`` and ``latency`` in cycles.

    ``limits`` is what the device and the caller allow of each resource, ``limited_by`` says why no faster plan was
    taken.
    """

    network: str
    digest: str
    device: Device
    clock_hz: float
    bus_bytes: int
    period: int
    frame_interval: int
    latency: int
    pipeline: tuple[Node, ...]
    limits: dict[str, float]
    limited_by: str

    @cached_property
    def resources(self) -> Resources:
        """Estimated, by `psahw.cost`."""
        return cost(self.pipeline, self.device.family)

    @property
    def fps(self) -> float:
        return self.clock_hz / self.frame_interval

    def to_dict(self) -> dict:
        """For JSON: the summary and every stage with its parameters. Resources are estimates."""
        stages = [self._stage(node) for node in walk(self.pipeline)]
        return {
            "network": self.network,
            "digest": self.digest,
            "device": self.device.name,
            "clock_hz": self.clock_hz,
            "frame_interval": self.frame_interval,
            "fps": self.fps,
            "latency": self.latency,
            "latency_s": self.latency / self.clock_hz,
            "bus_bytes": self.bus_bytes,
            "token_period": self.period,
            "resources": self.resources.to_dict(),
            "limits": self.limits,
            "limited_by": self.limited_by,
            "stages": stages,
        }

    def _stage(self, node: Node) -> dict:
        fields = {k: v for k, v in asdict(node).items() if k not in ("branch", "bypass")}
        vectors = getattr(node, "vectors", None)
        interval = node.interval if hasattr(node, "interval") else None
        # A Residual's own cost is fork, queue and adder; what it holds is listed on its own.
        own = Residual(node.name, node.lanes, (), (), node.queue) if isinstance(node, Residual) else node
        return {
            "name": fields.pop("name"),
            "engine": type(node).__name__,
            "interval": interval,
            "cycles_per_frame": interval * vectors if interval and vectors else None,
            "resources": cost((own,), self.device.family).to_dict(),
            **fields,
        }


def _attempt(network, period, bus_bytes, family):
    """Pipeline, schedule and cost at one period, or the reason why there is none."""
    try:
        pipeline = build(network, period, bus_bytes)
        beats = network.image[0] * network.image[1] * network.colours // bus_bytes
        done = schedule(pipeline, beats, network.stages[0].tokens * period)
    except (Infeasible, Unsteady) as reason:
        return None, None, str(reason)
    return done, cost(done.pipeline, family), None


def _overrun(resources, limits) -> dict[str, float]:
    """By what factor each resource exceeds its limit, the smallest first."""
    over = {
        name: amount / limits[name] if limits[name] else float("inf")
        for name, amount in resources.to_dict().items()
        if amount > limits[name]
    }
    return dict(sorted(over.items(), key=lambda item: item[1]))


def _words(over, resources, limits) -> str:
    amounts = resources.to_dict()
    return ", ".join(f"{name} {amounts[name]:g} of {limits[name]:g}" for name in over)


def _limits(device, budget, utilisation):
    share = UTILISATION | (utilisation or {})
    limits = {name: int(amount * share[name]) for name, amount in device.limits().items()}
    for name, amount in (budget or {}).items():
        if name not in RESOURCES:
            raise ValueError(f"budget must name one of {', '.join(RESOURCES)}, not {name!r}")
        limits[name] = min(limits[name], amount)
    return limits


def make(
    network: Network,
    device: Device,
    *,
    clock_hz: float,
    fps: float | None = None,
    bus_bytes: int = 4,
    budget: dict[str, float] | None = None,
    utilisation: dict[str, float] | None = None,
) -> Plan:
    """The smallest plan that reaches ``fps`` frames a second at ``clock_hz``, or the fastest that fits.

    ``budget`` lowers the device's limits, by resource name. Raises ValueError for a rate or clock that is not
    positive, `CheckFailed` if there is no such plan, naming the smallest overrun.
    """
    for name, value in (("clock_hz", clock_hz), ("fps", fps)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, not {value!r}")
    limits = _limits(device, budget, utilisation)
    tokens = network.stages[0].tokens

    def plan(period, done, limited_by):
        return Plan(
            network.name, digest(network), device, clock_hz, bus_bytes, period, done.frame_interval, done.latency,
            done.pipeline, limits, limited_by,
        )  # fmt: skip

    if fps is not None:
        return _for_rate(network, device, limits, plan, int(clock_hz / fps) // tokens, bus_bytes, fps, clock_hz)
    return _fastest(network, device, limits, plan, bus_bytes)


def _for_rate(network, device, limits, plan, period, bus_bytes, fps, clock_hz):
    tokens = network.stages[0].tokens
    # A buffer may not settle at one period and do so at a slightly shorter one.
    for candidate in range(period, max(period - 8, 0), -1):
        done, resources, reason = _attempt(network, candidate, bus_bytes, device.family)
        if done is not None:
            break
    else:
        reason = reason if period else f"a frame has {tokens} tokens, one a cycle at best"
        raise CheckFailed(
            f"{network.name} cannot reach {fps:g} FPS at {clock_hz / 1e6:g} MHz on {device.name}: {reason}"
        )
    if over := _overrun(resources, limits):
        raise CheckFailed(
            f"{network.name} at {fps:g} FPS does not fit {device.name}: {_words(over, resources, limits)} "
            f"(smallest overrun: {next(iter(over))}, {next(iter(over.values())):.2f}x); lower --fps or the network"
        )
    return plan(candidate, done, f"the frame rate asked for, {fps:g} FPS")


def _fastest(network, device, limits, plan, bus_bytes):
    """Bisection: resources hardly ever fall as the period does, and the last steps are tried one by one."""

    def attempt(period):
        done, resources, reason = _attempt(network, period, bus_bytes, device.family)
        if done is None:
            return None, reason
        over = _overrun(resources, limits)
        return (done, None) if not over else (None, _words(over, resources, limits))

    slowest = max(layer.weight.size for layer in _linears(network))
    low, high, best, why = 0, slowest, None, "one token a cycle"
    while high - low > 1:
        middle = (low + high) // 2 if best else high
        done, reason = attempt(middle)
        if done is not None:
            high, best = middle, done
        elif best is None:
            _, resources, cause = _attempt(network, middle, bus_bytes, device.family)
            over = _overrun(resources, limits) if resources else {}
            smallest = f" (smallest overrun: {next(iter(over))}, {next(iter(over.values())):.2f}x)" if over else ""
            raise CheckFailed(f"{network.name} does not fit {device.name} at any rate: {cause or reason}{smallest}")
        else:
            low, why = middle, reason
    for period in range(high - 1, max(high - 6, 0), -1):
        done, reason = attempt(period)
        if done is not None:
            best, high = done, period
    if high > 1:
        why = attempt(high - 1)[1] or why
    return plan(high, best, why)


def _linears(network):
    yield from (network.embed, network.head)
    for stage in network.stages:
        if stage.merge is not None:
            yield stage.merge
        for block in stage.blocks:
            yield from (block.channel_mixing.linear1, block.channel_mixing.linear2)
            yield block.token_mixing
