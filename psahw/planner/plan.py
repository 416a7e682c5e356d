"""The plan: an engine and a folding for every layer, with its cost, buffers and cadence."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property

from ..architecture.device import Device, Resources
from ..architecture.nodes import Node, Residual, walk
from ..display import html_table
from .cost import cost
from .rules import engine_name
from .schedule import intervals
from .stages import PlannedStage

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The components that compute a network on a device, with their cadence.

    Parameters
    ----------
    network, digest
        Name and digest of the network.
    device
        The device that the plan is for.
    clock_hz
        Clock frequency in Hz.
    image_bytes
        Bytes of an image.
    bus_bytes
        Bytes of the image per input beat.
    period
        Token period of the first stage, in clock cycles.
    frame_interval
        Clock cycles between the results of two frames in the steady state.
    latency
        Clock cycles from the first input beat of a frame to its result, if the accelerator is idle before, and
        others follow.
    lone_latency
        The same if no frame follows.
    settling_frames
        Results before the steady state.
    draining_frames
        Results after the steady state, if no more frames follow.
    pipeline
        The nodes of the pipeline in data order, with the depths of their buffers.
    limits
        Largest amount of each resource that the device and the caller allow.
    limited_by
        The reason why no faster plan was taken.
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
    lone_latency: int
    settling_frames: int
    draining_frames: int
    pipeline: tuple[Node, ...]
    limits: dict[str, float]
    limited_by: str

    def __repr__(self) -> str:
        """Return one line: the pipeline would fill pages."""
        where = f"{self.device.name} at {self.clock_hz / 1e6:g} MHz"
        return f"<{type(self).__name__} of {self.network!r} on {where}: {self.frame_interval} cycles per frame>"

    @cached_property
    def resources(self) -> Resources:
        """Resources of the whole accelerator, estimated by `psahw.planner.cost`."""
        return cost(self.pipeline, self.device.family, whole=True)

    @property
    def fps(self) -> float:
        """Frames per second in the steady state."""
        return self.clock_hz / self.frame_interval

    @property
    def where(self) -> str:
        """The device, as text."""
        return self.device.name

    @property
    def clock_note(self) -> str:
        """How the clock is known, in a few words."""
        return "requested"

    @property
    def summary(self) -> str:
        """One line with clock, frame interval, rate and latency."""
        return (
            f"{self.network} on {self.where} at {self.clock_hz / 1e6:g} MHz ({self.clock_note}): one frame per "
            f"{self.frame_interval:,} cycles, {int(self.fps):,} FPS, latency {self.latency:,} cycles "
            f"({self.latency / self.clock_hz * 1e6:,.0f} us)"
        )

    @cached_property
    def stages(self) -> tuple[PlannedStage, ...]:
        """The stages in data order; those inside of a residual connection follow the connection itself."""
        shortest = intervals(self.pipeline, self.image_bytes // self.bus_bytes)
        return tuple(self._stage(node, shortest[node.name]) for node in walk(self.pipeline))

    def to_dict(self) -> dict:
        """Return the plan and its stages as plain JSON values, with estimated resources."""
        stages = [stage.to_dict() for stage in self.stages]
        engines = {stage["name"]: engine_name(stage) for stage in stages}
        return {
            "network": self.network,
            "digest": self.digest,
            "device": self.device.name,
            "clock_hz": self.clock_hz,
            "frame_interval": self.frame_interval,
            "fps": self.fps,
            "latency": self.latency,
            "lone_latency": self.lone_latency,
            "settling_frames": self.settling_frames,
            "draining_frames": self.draining_frames,
            "latency_s": self.latency / self.clock_hz,
            "bus_bytes": self.bus_bytes,
            "token_period": self.period,
            "resources": self.resources.to_dict(),
            "limits": self.limits,
            "limited_by": self.limited_by,
            "engines": {name: engine for name, engine in engines.items() if engine},
            "stages": stages,
        }

    def _stage(self, node: Node, interval: int) -> PlannedStage:
        """Return a node of the pipeline with its own cost."""
        fields = {name: value for name, value in asdict(node).items() if name not in ("branch", "bypass")}
        # The cost of a Residual is that of fork, queue and adder: the stages inside are listed by themselves.
        alone = replace(node, branch=(), bypass=()) if isinstance(node, Residual) else node
        return PlannedStage(
            name=fields.pop("name"),
            engine=type(node).__name__,
            interval=interval,
            resources=cost((alone,), self.device.family),
            parameters=fields,
        )

    def table(self) -> tuple[list[str], list[list], list]:
        """Return headings, one row per stage, and a row of totals, for display."""
        columns = ["stage", "engine", "size", "cycles per frame", "buffer", "LUT", "FF", "DSP", "BRAM36"]
        rows = [
            [stage.name, stage.engine, stage.size, stage.interval, stage.buffer, *stage.resources.to_dict().values()]
            for stage in self.stages
        ]
        totals = self.resources.to_dict().values()
        return columns, rows, ["total (estimated)", None, None, self.frame_interval, None, *totals]

    def _repr_html_(self) -> str:
        """Return the table of stages for a notebook."""
        columns, rows, totals = self.table()
        return html_table(columns, rows, caption=self.summary, footer=totals)
