"""The plan: for every layer an engine and its parallelism, what that costs, and the cadence that it keeps."""

from dataclasses import asdict, dataclass
from functools import cached_property

from ..architecture.device import Device, Resources
from ..architecture.nodes import Node, Residual, walk
from .cost import cost
from .rules import engine_name
from .schedule import intervals

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """``period`` is in cycles a token of the first stage, ``frame_interval`` and ``latency`` in cycles.

    ``settling_frames`` results precede the steady state in which the interval holds. ``limits`` is what the device
    and the caller allow of each resource, ``limited_by`` says why no faster plan was taken.
    """

    network: str
    digest: str
    device: Device
    clock_hz: float
    image_bytes: int
    bus_bytes: int
    period: int
    frame_interval: int
    latency: int
    settling_frames: int
    pipeline: tuple[Node, ...]
    limits: dict[str, float]
    limited_by: str

    @cached_property
    def resources(self) -> Resources:
        """Estimated, by `psahw.planner.cost`."""
        return cost(self.pipeline, self.device.family, whole=True)

    @property
    def fps(self) -> float:
        return self.clock_hz / self.frame_interval

    def to_dict(self) -> dict:
        """For JSON: the summary and every stage with its parameters. Resources are estimates; a stage's ``interval``
        is the shortest frame interval that it could keep by itself."""
        own = intervals(self.pipeline, self.image_bytes // self.bus_bytes)
        stages = [self._stage(node, own[node.name]) for node in walk(self.pipeline)]
        named = {stage["name"]: engine_name(stage) for stage in stages}
        return {
            "network": self.network,
            "digest": self.digest,
            "device": self.device.name,
            "clock_hz": self.clock_hz,
            "frame_interval": self.frame_interval,
            "fps": self.fps,
            "latency": self.latency,
            "settling_frames": self.settling_frames,
            "latency_s": self.latency / self.clock_hz,
            "bus_bytes": self.bus_bytes,
            "token_period": self.period,
            "resources": self.resources.to_dict(),
            "limits": self.limits,
            "limited_by": self.limited_by,
            "engines": {name: engine for name, engine in named.items() if engine},
            "stages": stages,
        }

    def _stage(self, node: Node, interval: int) -> dict:
        fields = {k: v for k, v in asdict(node).items() if k not in ("branch", "bypass")}
        # A Residual's own cost is fork, queue and adder; what it holds is listed on its own.
        own = Residual(node.name, node.lanes, (), (), node.queue) if isinstance(node, Residual) else node
        return {
            "name": fields.pop("name"),
            "engine": type(node).__name__,
            "interval": interval,
            "resources": cost((own,), self.device.family).to_dict(),
            **fields,
        }
