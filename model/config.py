"""Configurations of networks and trainings: dataclasses, written as JSON into every checkpoint and network file."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from psahw.architecture.geometry import SlidingWindow, neighbour_count
from psahw.errors import UserError
from psahw.quoting import quote

__all__ = [
    "ACTIVATIONS",
    "AUGMENTATION",
    "GRID_SIZES",
    "ConvConfig",
    "ModelConfig",
    "StageConfig",
    "TrainConfig",
    "held_out",
]

ACTIVATIONS = ("gelu", "relu", "psa_hidden", "psa_both")
"""Functions at the neurons: at the hidden ones alone, or, for "psa_both", PSA at the input neurons as well."""

GRID_SIZES = (4, 8, 10, 22, 64)
"""Numbers of points at which a PSA may be evaluated.

The points of a coarse grid are among the 64 of the finest, so that the kernels, which interpolate between 64 points,
draw its straight lines exactly.
"""

MAX_WEIGHTS = 1 << 28
"""Most weights of a network; a network file has no room for more."""

Config = TypeVar("Config")


def _from_dict(cls: type[Config], data: Any, where: str) -> Config:
    """Return `cls(**data)`. Raises UserError for a wrong field or value, with a message that begins with `where`."""
    if not isinstance(data, dict):
        raise UserError(f"{where} must be a JSON object, not {quote(data)}")
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] # a dataclass
    for key in data:
        if key not in known:
            raise UserError(f"{where}: unknown field {quote(key)}; known are {', '.join(known)}")
    try:
        return cls(**data)
    except (TypeError, UserError) as error:
        raise UserError(f"{where}: {error}") from None


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UserError(f"{name} must be an integer in [{low}, {high}], not {quote(value)}")


def _check_number(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not low <= value <= high
        or (open_low and value == low)
    ):
        raise UserError(
            f"{name} must be a number in {'(' if open_low else '['}{low:g}, {high:g}], not {quote(value)}"
        )


def _check_pair(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise UserError(f"{name} must be two numbers, not {quote(value)}")


@dataclass(frozen=True)
class StageConfig:
    """Residual blocks on one grid of tokens.

    Parameters
    ----------
    channels
        Channels of a token, C.
    hidden
        Hidden neurons between the two linear layers of the channel mixing, H.
    blocks
        Number of blocks, L.
    groups
        Number of groups, G. Each group of C/G channels has its own token mixing.
    kernel
        Width of the neighbourhood that is mixed, 1, 3, 5, 7 or 9 tokens; None mixes all tokens.
    shared
        Use one kernel for all positions, which is a convolution, and a depthwise one if G = C.
    """

    channels: int
    hidden: int
    blocks: int
    groups: int = 1
    kernel: int | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        for name in ("channels", "hidden", "blocks", "groups"):
            _check_int(name, getattr(self, name), 1, 1 << 16)
        if self.channels % self.groups:
            raise UserError(f"groups must divide the {self.channels} channels, not {self.groups}")
        if self.kernel is not None and (type(self.kernel) is not int or self.kernel not in (1, 3, 5, 7, 9)):
            raise UserError(f"kernel must be 1, 3, 5, 7, 9 or null, not {quote(self.kernel)}")
        if not isinstance(self.shared, bool):
            raise UserError(f"shared must be true or false, not {quote(self.shared)}")
        if self.shared and self.kernel is None:
            raise UserError("shared must be false without a kernel, not True")


@dataclass(frozen=True)
class ModelConfig:
    """A ResMLP: patch embedding, stages with 2x2 patch merging between them, mean pooling, head.

    Parameters
    ----------
    stages
        The stages. Each one after the first has half as many rows and columns of tokens as the one before.
    patch_size, patch_stride
        Width of a patch and distance between patches, in pixels. Patches overlap if the size exceeds the stride.
    patch_padding
        Pixels of code 0 (mid grey) on each side of the image.
    activation
        One of `ACTIVATIONS`.
    segments
        Segments of a PSA.
    grid_size
        Points at which a PSA is evaluated, in training and for its table, with straight lines between them; one of
        `GRID_SIZES`.
    image
        Height and width in pixels.
    classes
        Number of classes.
    colours
        Colours of a pixel, or bytes at each position of the input.
    """

    stages: tuple[StageConfig, ...]
    patch_size: int = 4
    patch_stride: int = 4
    patch_padding: int = 0
    activation: str = "psa_both"
    segments: int = 8
    grid_size: int = 64
    image: tuple[int, int] = (32, 32)
    classes: int = 10
    colours: int = 3

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {quote(self.activation)}")
        if not self.stages:
            raise UserError("stages must not be empty")
        _check_int("patch_size", self.patch_size, 1, 64)
        _check_int("patch_stride", self.patch_stride, 1, self.patch_size)
        _check_int("patch_padding", self.patch_padding, 0, self.patch_size - 1)
        _check_int("segments", self.segments, 1, 1 << 10)
        if type(self.grid_size) is not int or self.grid_size not in GRID_SIZES:
            raise UserError(
                f"grid_size must be one of {', '.join(map(str, GRID_SIZES))}, not {quote(self.grid_size)}"
            )
        _check_int("classes", self.classes, 2, 1 << 16)
        _check_int("colours", self.colours, 1, 1 << 16)
        _check_pair("image", self.image)
        for n in self.image:
            _check_int("image", n, 1, 1024)
            if n + 2 * self.patch_padding < self.patch_size:
                raise UserError(
                    f"patch_size must be at most the {n} pixels of the image and the padding, not {self.patch_size}"
                )
        for index, (height, width) in enumerate(self.grids):
            if not (1 <= height <= 256 and 1 <= width <= 256):
                raise UserError(
                    f"the stages leave a grid of {height} x {width} tokens, which must be 1 to 256 each way"
                )
            if index + 1 < len(self.stages) and (height % 2 or width % 2):
                raise UserError(f"merging after stage {index} needs an even grid, not {height} x {width}")
        if (weights := self.weights()) > MAX_WEIGHTS:
            raise UserError(f"the network may have at most {MAX_WEIGHTS:,} weights, not {weights:,}")

    def terms(self) -> dict[str, int]:
        """Return the number of products in a row's sum, for each kind of linear map by name."""
        terms = {"patch embedding": self.colours * self.patch_size**2, "head": self.stages[-1].channels}
        for s, (stage, (height, width)) in enumerate(zip(self.stages, self.grids, strict=True)):
            if s:
                terms[f"merging before stage {s}"] = 4 * self.stages[s - 1].channels
            terms[f"token mixing of stage {s}"] = height * width if stage.kernel is None else stage.kernel**2
            terms[f"channel mixing of stage {s}"] = max(stage.channels, stage.hidden)
        return terms

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Rows and columns of tokens of every stage."""
        patches = SlidingWindow(*self.image, self.patch_size, self.patch_stride, self.patch_padding)
        height, width = patches.grid
        return [(height >> s, width >> s) for s in range(len(self.stages))]

    def macs(self) -> int:
        """Return the multiply-accumulates per image. Entries outside the grid of a local mixing do not count."""
        tokens = [h * w for h, w in self.grids]
        total = tokens[0] * self.colours * self.patch_size**2 * self.stages[0].channels
        total += self.stages[-1].channels * self.classes
        for s, stage in enumerate(self.stages):
            if s:
                total += tokens[s] * 4 * self.stages[s - 1].channels * stage.channels
            mixing = self._pairs(s) * stage.channels
            total += stage.blocks * (mixing + 2 * tokens[s] * stage.channels * stage.hidden)
        return total

    def largest_activation(self) -> int:
        """Return the number of values that the largest activation of an image has."""
        tokens = [h * w for h, w in self.grids]
        values = [tokens[0] * self.colours * self.patch_size**2]
        values += [n * max(stage.channels, stage.hidden) for n, stage in zip(tokens, self.stages, strict=True)]
        return max(values)

    def weights(self) -> int:
        """Return the entries of all weight matrices that may be non-zero. A shared kernel counts once."""
        total = self.colours * self.patch_size**2 * self.stages[0].channels + self.stages[-1].channels * self.classes
        for s, stage in enumerate(self.stages):
            if s:
                total += 4 * self.stages[s - 1].channels * stage.channels
            mixing = stage.kernel**2 if stage.kernel is not None and stage.shared else self._pairs(s)
            total += stage.blocks * (mixing * stage.groups + 2 * stage.channels * stage.hidden)
        return total

    def _pairs(self, stage: int) -> int:
        """Return the number of pairs of token and neighbour in one group's token mixing."""
        grid, kernel = self.grids[stage], self.stages[stage].kernel
        return (grid[0] * grid[1]) ** 2 if kernel is None else neighbour_count(grid, kernel)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON.

        `shared` is left out where it is false, and `colours` if it is 3, so that older runs can be resumed.
        """
        data = dataclasses.asdict(self)
        if self.colours == 3:
            del data["colours"]
        for stage in data["stages"]:
            if not stage["shared"]:
                del stage["shared"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "model configuration") -> "ModelConfig":
        """Return the configuration with these fields. Raises UserError, with a message that begins with `where`."""
        data = dict(data)
        stages = data.get("stages", ())
        if not isinstance(stages, list | tuple):
            raise UserError(f"{where}: stages must be a list, not {quote(stages)}")
        data["stages"] = tuple(_from_dict(StageConfig, s, f"{where}, stage {i}") for i, s in enumerate(stages))
        if isinstance(data.get("image"), list):
            data["image"] = tuple(data["image"])
        return _from_dict(cls, data, where)


@dataclass(frozen=True)
class ConvConfig:
    """A convolutional network (`ConvNet`), for teachers only, because it is never quantised.

    Parameters
    ----------
    widths
        Channels of each group of two convolutions. Each group halves the grid.
    stem
        Channels of the first convolution.
    image
        Height and width in pixels.
    classes
        Number of classes.
    colours
        Colours of a pixel.
    kind
        Always "conv"; tells this configuration from a `ModelConfig` in JSON.
    """

    widths: tuple[int, ...]
    stem: int = 24
    image: tuple[int, int] = (32, 32)
    classes: int = 10
    kind: str = "conv"
    colours: int = 3

    def __post_init__(self) -> None:
        if self.kind != "conv":
            raise UserError(f"kind must be 'conv', not {quote(self.kind)}")
        if not self.widths:
            raise UserError("widths must not be empty")
        for width in self.widths:
            _check_int("widths", width, 1, 1 << 16)
        _check_int("stem", self.stem, 1, 1 << 16)
        _check_int("classes", self.classes, 2, 1 << 16)
        _check_int("colours", self.colours, 1, 1 << 16)
        _check_pair("image", self.image)
        for n in self.image:
            _check_int("image", n, 1, 1024)
            if (n - 1) >> len(self.widths) == 0:
                raise UserError(f"an image side of {n} cannot be halved {len(self.widths)} times")

    def macs(self) -> int:
        """Return the multiply-accumulates per image, including those with the zeros outside of the grid."""
        (height, width), channels = (n - 1 for n in self.image), self.stem
        total = height * width * 4 * self.colours * channels + self.widths[-1] * self.classes
        for out in self.widths:
            total += height * width * 9 * channels * out
            height, width, channels = height // 2, width // 2, out
            total += height * width * 9 * out * out
        return total

    def largest_activation(self) -> int:
        """Return the number of values that the largest activation of an image has."""
        height, width = (n - 1 for n in self.image)
        return height * width * max(self.stem, self.widths[0])

    def weights(self) -> int:
        """Return the number of weights."""
        total = 4 * self.colours * self.stem + self.widths[-1] * self.classes
        for channels, out in zip((self.stem, *self.widths), self.widths, strict=False):
            total += 9 * out * (channels + out)
        return total

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON. `colours` is left out if it is 3, so that older runs can be resumed."""
        data = dataclasses.asdict(self)
        if self.colours == 3:
            del data["colours"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "model configuration") -> "ConvConfig":
        """Return the configuration with these fields. Raises UserError, with a message that begins with `where`."""
        data = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return _from_dict(cls, data, where)


AUGMENTATION = ("all_images", "flip", "crop", "randaugment", "magnitude", "colour", "cutout", "cutmix", "mixup")
"""Fields of `TrainConfig` on which the images of a view depend, besides the seed."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one run of the training loop. Learning rates are peaks, which the schedule multiplies."""

    epochs: int = 20  # passes over the training images
    block_epochs: int = 0  # epochs before those, in which each block by itself learns what the teacher's does
    batch: int = 256  # images per step, all processes together
    seed: int = 1  # of initial weights, order and augmentation
    optimizer: str = "muon"  # muon (for the matrices, and AdamW for the rest) | adamw
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    momentum: float = 0.95  # of Muon
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    weight_decay: float = 0.0  # of the matrices, per step, times the learning rate
    schedule: str = "linear"  # linear (to zero) | cosine | onecycle
    warmup: float = 0.05  # fraction of all steps in which the rate rises; 0.3 is usual for onecycle
    label_smoothing: float = 0.1  # probability that is spread over all classes
    alpha: float = 0.8  # weight of the teacher's answers in distillation; the labels have the rest
    temperature: float = 1.0  # of distillation
    all_images: bool = False  # train on the validation images too, with settings that were chosen without
    flip: bool = True  # mirror half of the images
    crop: int = 4  # pixels by which an image is shifted in each direction, with reflected borders
    cutout: int = 0  # side of a grey square, in pixels; 0 is off
    cutmix: float = 0.0  # probability that a box of an image is replaced by another image's
    mixup: float = 0.0  # probability that an image is blended with another
    randaugment: int = 0  # operations per image; 0 is off
    magnitude: float = 9.0  # strength of those operations, up to 30
    colour: float = 0.0  # strength of random brightness, contrast and saturation; 0 is off
    ema: float = 0.0  # decay per step of the averaged weights; 0 is off
    bf16: bool = False  # autocast to bfloat16, for GPUs and processors with AMX
    compile: bool = True  # with torch.compile

    def __post_init__(self) -> None:
        for name, known in (("optimizer", ("muon", "adamw")), ("schedule", ("linear", "cosine", "onecycle"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}, not {quote(getattr(self, name))}")
        for name, low, high in (
            ("epochs", 1, 1 << 20), ("block_epochs", 0, 1 << 20), ("batch", 1, 1 << 20),
            ("seed", 0, (1 << 63) // 1_000_003 - (1 << 20)),
            ("crop", 0, 512), ("cutout", 0, 1024), ("randaugment", 0, 16),
        ):  # fmt: skip
            _check_int(name, getattr(self, name), low, high)
        for name in ("muon_lr", "adamw_lr", "weight_decay"):
            _check_number(name, getattr(self, name), 0, 100)
        for name in ("warmup", "label_smoothing", "alpha", "cutmix", "mixup", "colour"):
            _check_number(name, getattr(self, name), 0, 1)
        if self.cutmix + self.mixup > 1:
            raise UserError(f"cutmix and mixup must add up to 1 at most, not {self.cutmix + self.mixup:g}")
        _check_number("magnitude", self.magnitude, 0, 30)
        for name in ("momentum", "ema"):
            _check_number(name, getattr(self, name), 0, 0.999999)
        _check_number("temperature", self.temperature, 0, 1000, open_low=True)
        _check_pair("betas", self.betas)
        for value in self.betas:
            _check_number("betas", value, 0, 0.999999)
        for name in ("all_images", "flip", "bf16", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name} must be true or false, not {quote(getattr(self, name))}")

    @property
    def all_epochs(self) -> int:
        """Epochs of the whole run, with those in which blocks are learned."""
        return self.block_epochs + self.epochs

    def augmentation(self) -> dict[str, Any]:
        """Return the settings on which the images of a view depend, besides the seed."""
        return {name: getattr(self, name) for name in AUGMENTATION}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrainConfig":
        """Return the settings with these fields, and defaults for the others. Raises UserError for a wrong one."""
        data = dict(data)
        if isinstance(data.get("betas"), list):
            data["betas"] = tuple(data["betas"])
        return _from_dict(cls, data, "training configuration")


def held_out(about: Any) -> bool:
    """Return True if no validation image was trained on, in a run or in anything that it started from.

    `about` is what describes the run, as JSON: its settings, its teachers, the model that it started from, and so on.
    """
    if isinstance(about, dict):
        return about.get("all_images") is not True and all(held_out(value) for value in about.values())
    return not isinstance(about, list) or all(map(held_out, about))
