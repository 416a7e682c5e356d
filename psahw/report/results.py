"""The form of the results that the page shows: what it reads of each, and of which types."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["KINDS", "Evaluation", "Event", "Plan", "Simulation", "Synthesis"]

_Count = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(ge=1)]
_Amount = Annotated[float, Meta(ge=0)]
_Cycles = int | list[int] | None  # one measured value, the smallest and the largest, or none
_Resources = dict[str, _Amount]


class _Stage(msgspec.Struct):
    """A stage of a plan."""

    name: str
    engine: str
    resources: _Resources
    interval: _Count | None = None
    slices: _Positive = 1
    queue: _Count | None = None


class Plan(msgspec.Struct):
    """The result that ``psahw plan --json`` prints."""

    frame_interval: _Positive
    fps: _Amount
    latency: _Count
    clock_hz: Annotated[float, Meta(gt=0)]
    resources: _Resources
    limits: _Resources
    stages: list[_Stage]
    board: str = ""
    device: str = ""
    limited_by: str = ""


class Simulation(msgspec.Struct):
    """The result that ``psahw simulate --json`` prints."""

    images: _Positive
    mismatched_logits: _Count
    mismatched_classes: _Count
    frame_interval: _Cycles
    frame_interval_predicted: _Positive
    latency: _Cycles
    latency_predicted: _Count
    board: str | None = None
    stalls: bool = False
    sim_cycles_per_second: _Amount | None = None

    def __post_init__(self) -> None:
        if self.frame_interval == 0:
            raise ValueError("frame_interval must be positive, not 0")


class Evaluation(msgspec.Struct):
    """The result that ``psahw evaluate --json`` prints."""

    images: _Positive
    correct: _Count
    accuracy: Annotated[float, Meta(ge=0, le=100)]
    dataset: str
    confusion: list[list[_Count]] | None = None

    def __post_init__(self) -> None:
        rows = self.confusion or []
        if any(len(row) != len(rows) for row in rows):
            raise ValueError(f"confusion must be a square of numbers, with {len(rows)} in each row")


class Synthesis(msgspec.Struct):
    """The result that ``psahw synth --json`` prints."""

    resources: _Resources
    board: str | None = None
    frame_interval: _Positive | None = None


KINDS: dict[str, type[msgspec.Struct]] = {
    "plan": Plan, "simulation": Simulation, "evaluation": Evaluation, "synth": Synthesis
}  # fmt: skip
"""The form of each kind of result."""


class Event(msgspec.Struct):
    """An event in the log of a run. One of an epoch has its number and its loss."""

    event: str
    epoch: _Count | None = None
    loss: float | None = None
    validation_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.event == "epoch" and (self.epoch is None or self.loss is None):
            raise ValueError("an epoch must have the fields epoch and loss")
