"""The form of the results that the page shows: what it reads of each, and of which types."""

import base64
import struct
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..network.mistakes import MOST_ERRORS, MOST_POINTS, MOST_VALUES

__all__ = ["KINDS", "Evaluation", "Event", "Plan", "Simulation", "Synthesis"]

MOST_BYTES = 64 << 10
"""The most characters of an image in base64."""

MOST_PIXELS = 1024
"""The most pixels of an image across and down."""

_Count = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(ge=1)]
_Amount = Annotated[float, Meta(ge=0)]
_Percent = Annotated[float, Meta(ge=0, le=100)]
_Explained = Annotated[float, Meta(le=1)]  # a share of the variance, which has no least value
_Number = Annotated[float, Meta(ge=-1e30, le=1e30)]  # of a value; sums and differences stay finite
_Answer = str | Annotated[dict[str, bool | _Number], Meta(max_length=MOST_VALUES)]  # a class, or values or labels
_Row = Annotated[list[_Count], Meta(max_length=64)] | Annotated[dict[str, _Number | None], Meta(max_length=64)]
_Extent = tuple[_Count, _Count]  # rows and columns
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
    inputs: _Count | UnsetType = UNSET
    outputs: _Count | UnsetType = UNSET
    rows: _Count | UnsetType = UNSET
    columns: _Count | UnsetType = UNSET
    lanes: _Count | UnsetType = UNSET
    channels: _Count | UnsetType = UNSET
    ratio: _Count | UnsetType = UNSET
    digit: _Count | UnsetType | None = UNSET
    additions: _Positive | UnsetType = UNSET
    distinct: bool | UnsetType = UNSET
    kernel: _Extent | UnsetType = UNSET
    size: _Extent | UnsetType = UNSET
    stride: _Extent | UnsetType = UNSET


class _Clock(msgspec.Struct, frozen=True):
    """The highest clock of a circuit, and how it is known."""

    how: str = "requested"
    highest_hz: _Amount | None = None


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
    clock: _Clock = _Clock()


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


class _Output(msgspec.Struct):
    """The figures of a class, a value or a label."""

    name: str
    images: _Count | None = None
    precision: _Percent | None = None
    recall: _Percent | None = None
    rmse: _Amount | None = None
    mae: _Amount | None = None
    r2: _Explained | None = None


class _Error(msgspec.Struct):
    """One of the worst errors."""

    index: _Count
    right: _Answer
    answer: _Answer
    image: Annotated[str, Meta(max_length=MOST_BYTES)] | None = None
    row: _Row | None = None

    def __post_init__(self) -> None:
        if type(self.right) is not type(self.answer):
            raise ValueError("right and answer must be of the same type")
        if self.image is not None:
            _check_picture(self.image)


def _check_picture(text: str) -> None:
    """Raise ValueError unless a text is the beginning of a PNG file of a reasonable size, in base64."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("image must be base64") from None
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR" or len(content) < 33:
        raise ValueError("image must be a PNG file")
    width, height = struct.unpack(">II", content[16:24])
    if not (1 <= width <= MOST_PIXELS and 1 <= height <= MOST_PIXELS):
        raise ValueError(f"image must have 1 to {MOST_PIXELS} pixels across and down, not {width} x {height}")


class _Residuals(msgspec.Struct):
    """Right and predicted values."""

    name: str
    right: Annotated[list[_Number], Meta(min_length=1, max_length=MOST_POINTS)]
    predicted: Annotated[list[_Number], Meta(min_length=1, max_length=MOST_POINTS)]

    def __post_init__(self) -> None:
        if len(self.right) != len(self.predicted):
            raise ValueError(f"predicted must have as many numbers as right, {len(self.right)}")


class Evaluation(msgspec.Struct):
    """The result that ``psahw evaluate --json`` prints."""

    images: _Positive
    dataset: str
    task: Literal["class", "labels", "values"] = "class"
    correct: _Count | None = None
    accuracy: _Percent | None = None
    r2: _Explained | None = None
    confusion: list[list[_Count]] | None = None
    classes: list[_Output] | None = None
    labels: list[_Output] | None = None
    values: list[_Output] | None = None
    worst: Annotated[list[_Error], Meta(max_length=MOST_ERRORS)] | None = None
    residuals: Annotated[list[_Residuals], Meta(max_length=MOST_VALUES)] | None = None

    def __post_init__(self) -> None:
        required = ("r2", "values") if self.task == "values" else ("correct", "accuracy")
        if missing := [name for name in required if getattr(self, name) is None]:
            raise ValueError(f"{missing[0]} is missing")
        rows = self.confusion or []
        if any(len(row) != len(rows) for row in rows):
            raise ValueError(f"confusion must be a square of numbers, with {len(rows)} in each row")


class _Timing(msgspec.Struct):
    """The longest path of a circuit."""

    grade: str
    clock_mhz: Annotated[float, Meta(gt=0)]
    path_ns: _Amount
    allowance_ns: _Amount
    slack_ns: _Number
    highest_mhz: _Amount
    levels: _Count
    cause: str


class _TimedStage(msgspec.Struct):
    """A stage with the longest path that ends there, if it has registers."""

    name: str
    path_ns: _Amount | None = None
    slack_ns: _Number | None = None
    cause: str | None = None
    path_from: str | None = None


class Synthesis(msgspec.Struct):
    """The result that ``psahw synth --json`` prints."""

    resources: _Resources
    board: str | None = None
    frame_interval: _Positive | None = None
    timing: _Timing | None = None
    stages: list[_TimedStage] = []


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
