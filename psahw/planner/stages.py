"""The stages of a plan as they are listed: name, engine, size, cadence and cost."""

from dataclasses import dataclass
from typing import Any

from ..architecture.device import Resources

__all__ = ["PlannedStage"]


def _lanes(count: int | None) -> str:
    """Return a number of lanes as text."""
    return "1 lane" if count == 1 else f"{count} lanes"


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a plan's pipeline.

    Parameters
    ----------
    name
        Place in the network, such as ``stages.0.blocks.1.channel_mixing.linear1``.
    engine
        Class of `psahw.architecture.nodes` that describes the stage, such as ``MacArray``.
    interval
        The shortest frame interval, in clock cycles, that the stage could keep by itself.
    resources
        Estimated cost of the stage alone.
    parameters
        The other fields of the stage's description, by name.
    """

    name: str
    engine: str
    interval: int
    resources: Resources
    parameters: dict[str, Any]

    @property
    def size(self) -> str:
        """Size and parallelism in words; empty if the engine has none to tell."""
        get = self.parameters.get
        text = ""
        if self.engine == "MacArray":
            text = f"{get('outputs')}x{get('inputs')} on {get('rows')}x{get('columns')}"
            text += f", {get('pairs')} pairs" if get("pairs") else ""
        elif self.engine == "LocalMixing":
            text = "shared " if get("shared") else ""
            text += f"{'x'.join(map(str, get('kernel', ())))}, {get('groups')} groups, {_lanes(get('lanes'))}"
        elif self.engine == "GraphEngine":
            rate = f"digits of {get('digit')}" if get("digit") else "one vector per cycle"
            text = f"{get('outputs')}x{get('inputs')} adder graph, {rate}"
            text += f", up to {get('additions')} additions between registers" if get("additions", 1) > 1 else ""
        elif "channels" in self.parameters and "lanes" in self.parameters:
            text = f"{get('channels')} channels, {_lanes(get('lanes'))}"
        if (slices := get("slices", 1)) > 1:
            text = f"{slices} side by side" + (f": {text}" if text else "")
        return text

    @property
    def buffer(self) -> int | None:
        """Depth of the stage's queue or buffer in beats, or None if it has none."""
        return self.parameters.get("queue") or self.parameters.get("depth") or None

    def to_dict(self) -> dict[str, Any]:
        """Return the stage as plain JSON values, its parameters beside the other fields."""
        return {
            "name": self.name,
            "engine": self.engine,
            "interval": self.interval,
            "resources": self.resources.to_dict(),
            **self.parameters,
        }
