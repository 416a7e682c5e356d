"""What to train and how: plain dataclasses, written as JSON into every checkpoint and network file."""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psahw.architecture.geometry import SlidingWindow, neighbour_count
from psahw.errors import UserError

__all__ = [
    "ACTIVATIONS",
    "AUGMENTATION",
    "GRID_SIZES",
    "PRESETS",
    "ConvConfig",
    "ModelConfig",
    "StageConfig",
    "TrainConfig",
    "held_out",
    "load_model_config",
    "model_config_from_dict",
]

ACTIVATIONS = ("gelu", "relu", "psa_hidden", "psa_both")

GRID_SIZES = (4, 8, 10, 22, 64)
"""Points at which a PSA may be evaluated. Those of a coarse grid are among the 64 of the finest, so that the kernels,
which interpolate between 64, draw its straight lines exactly."""


def _from_dict(cls, data: dict, where: str):
    """`cls(**data)`, with a clear error for a field that `cls` does not have."""
    if not isinstance(data, dict):
        raise UserError(f"{where} must be a JSON object, not {data!r}")
    known = [f.name for f in dataclasses.fields(cls)]
    for key in data:
        if key not in known:
            raise UserError(f"{where}: unknown field {key!r}; known are {', '.join(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from None


def _check_int(name: str, value, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UserError(f"{name} must be an integer in [{low}, {high}], not {value!r}")


def _check_number(name: str, value, low: float, high: float, *, open_low: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or (open_low and value == low):
        raise UserError(f"{name} must be a number in {'(' if open_low else '['}{low:g}, {high:g}], not {value!r}")


def _check_pair(name: str, value) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise UserError(f"{name} must be two numbers, not {value!r}")


@dataclass(frozen=True)
class StageConfig:
    """Blocks on one grid of tokens."""

    channels: int  # C
    hidden: int  # H, neurons between the two linears of the channel mixing
    blocks: int  # L
    groups: int = 1  # G: each group of C/G channels has its own token mixing
    kernel: int | None = None  # odd k: mix only the k x k neighbourhood; None: all tokens
    shared: bool = False  # with a kernel: one for all positions, a convolution; depthwise if groups = channels

    def __post_init__(self):
        for name in ("channels", "hidden", "blocks", "groups"):
            _check_int(name, getattr(self, name), 1, 1 << 16)
        if self.channels % self.groups:
            raise UserError(f"groups must divide the {self.channels} channels, not {self.groups}")
        if self.kernel is not None and (type(self.kernel) is not int or self.kernel not in (1, 3, 5, 7, 9)):
            raise UserError(f"kernel must be 1, 3, 5, 7, 9 or null, not {self.kernel!r}")
        if not isinstance(self.shared, bool):
            raise UserError(f"shared must be true or false, not {self.shared!r}")
        if self.shared and self.kernel is None:
            raise UserError("shared must be false without a kernel, not True")


@dataclass(frozen=True)
class ModelConfig:
    """A ResMLP: patch embedding, stages with 2x2 patch merging between them, mean pool, head."""

    stages: tuple[StageConfig, ...]
    patch_size: int = 4  # pixels; windows overlap where it exceeds the stride
    patch_stride: int = 4
    patch_padding: int = 0  # pixels of code 0 (mid grey) on each side
    activation: str = "psa_both"  # gelu | relu | psa_hidden | psa_both: what stands at input and hidden neurons
    segments: int = 8  # terms of the PSA
    grid_size: int = 64  # points at which a PSA is evaluated in training and for its table; straight lines between
    image: tuple[int, int] = (32, 32)
    classes: int = 10

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")
        if not self.stages:
            raise UserError("stages must not be empty")
        _check_int("patch_size", self.patch_size, 1, 64)
        _check_int("patch_stride", self.patch_stride, 1, self.patch_size)
        _check_int("patch_padding", self.patch_padding, 0, self.patch_size - 1)
        _check_int("segments", self.segments, 1, 1 << 10)
        if type(self.grid_size) is not int or self.grid_size not in GRID_SIZES:
            raise UserError(f"grid_size must be one of {', '.join(map(str, GRID_SIZES))}, not {self.grid_size!r}")
        _check_int("classes", self.classes, 2, 1 << 16)
        _check_pair("image", self.image)
        for n in self.image:
            _check_int("image", n, 1, 1024)
        for index, (height, width) in enumerate(self.grids):
            if not (1 <= height <= 256 and 1 <= width <= 256):
                raise UserError(f"the stages leave a grid of {height} x {width} tokens; 1 to 256 each way may be")
            if index + 1 < len(self.stages) and (height % 2 or width % 2):
                raise UserError(f"merging after stage {index} needs an even grid, not {height} x {width}")

    def terms(self) -> dict[str, int]:
        """Products in a row's sum of each kind of linear map, by name."""
        found = {"patch embedding": 3 * self.patch_size**2, "head": self.stages[-1].channels}
        for s, (stage, (height, width)) in enumerate(zip(self.stages, self.grids, strict=True)):
            if s:
                found[f"merging before stage {s}"] = 4 * self.stages[s - 1].channels
            found[f"token mixing of stage {s}"] = height * width if stage.kernel is None else stage.kernel**2
            found[f"channel mixing of stage {s}"] = max(stage.channels, stage.hidden)
        return found

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(rows, columns) of tokens of every stage."""
        patches = SlidingWindow(*self.image, self.patch_size, self.patch_stride, self.patch_padding)
        height, width = patches.grid
        return [(height >> s, width >> s) for s in range(len(self.stages))]

    def macs(self) -> int:
        """Multiply-accumulates of one frame; entries outside the grid of a local mixing are not counted."""
        tokens = [h * w for h, w in self.grids]
        total = tokens[0] * 3 * self.patch_size**2 * self.stages[0].channels
        total += self.stages[-1].channels * self.classes
        for s, stage in enumerate(self.stages):
            if s:
                total += tokens[s] * 4 * self.stages[s - 1].channels * stage.channels
            mixing = self._pairs(s) * stage.channels
            total += stage.blocks * (mixing + 2 * tokens[s] * stage.channels * stage.hidden)
        return total

    def weights(self) -> int:
        """Entries of all weight matrices that may be non-zero; a shared kernel counts once."""
        total = 3 * self.patch_size**2 * self.stages[0].channels + self.stages[-1].channels * self.classes
        for s, stage in enumerate(self.stages):
            if s:
                total += 4 * self.stages[s - 1].channels * stage.channels
            mixing = stage.kernel**2 if stage.shared else self._pairs(s)
            total += stage.blocks * (mixing * stage.groups + 2 * stage.channels * stage.hidden)
        return total

    def _pairs(self, stage: int) -> int:
        """(token, neighbour) pairs of one group's token mixing."""
        grid, kernel = self.grids[stage], self.stages[stage].kernel
        return (grid[0] * grid[1]) ** 2 if kernel is None else neighbour_count(grid, kernel)

    def to_dict(self) -> dict:
        """`shared` only where it is true: so a run from before the field is the same run."""
        data = dataclasses.asdict(self)
        for stage in data["stages"]:
            if not stage["shared"]:
                del stage["shared"]
        return data

    @classmethod
    def from_dict(cls, data: dict, where: str = "model configuration") -> "ModelConfig":
        data = dict(data)
        stages = data.get("stages", ())
        if not isinstance(stages, list | tuple):
            raise UserError(f"{where}: stages must be a list, not {stages!r}")
        data["stages"] = tuple(_from_dict(StageConfig, s, f"{where}, stage {i}") for i, s in enumerate(stages))
        if isinstance(data.get("image"), list):
            data["image"] = tuple(data["image"])
        return _from_dict(cls, data, where)


@dataclass(frozen=True)
class ConvConfig:
    """A convolutional network, for teachers only: it is never quantised (`convnet.py`)."""

    widths: tuple[int, ...]  # channels of each group of two convolutions; each group halves the grid
    stem: int = 24  # channels of the first convolution
    image: tuple[int, int] = (32, 32)
    classes: int = 10
    kind: str = "conv"

    def __post_init__(self):
        if self.kind != "conv":
            raise UserError(f"kind must be 'conv', not {self.kind!r}")
        if not self.widths:
            raise UserError("widths must not be empty")
        for width in self.widths:
            _check_int("widths", width, 1, 1 << 16)
        _check_int("stem", self.stem, 1, 1 << 16)
        _check_int("classes", self.classes, 2, 1 << 16)
        _check_pair("image", self.image)
        for n in self.image:
            _check_int("image", n, 1, 1024)
            if (n - 1) >> len(self.widths) == 0:
                raise UserError(f"an image side of {n} cannot be halved {len(self.widths)} times")

    def macs(self) -> int:
        """Multiply-accumulates of one frame; those with the zeros outside the grid are counted."""
        (height, width), channels = (n - 1 for n in self.image), self.stem
        total = height * width * 4 * 3 * channels + self.widths[-1] * self.classes
        for out in self.widths:
            total += height * width * 9 * channels * out
            height, width, channels = height // 2, width // 2, out
            total += height * width * 9 * out * out
        return total

    def weights(self) -> int:
        total = 4 * 3 * self.stem + self.widths[-1] * self.classes
        for channels, out in zip((self.stem, *self.widths), self.widths, strict=False):
            total += 9 * out * (channels + out)
        return total

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict, where: str = "model configuration") -> "ConvConfig":
        data = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return _from_dict(cls, data, where)


# The fields of TrainConfig that make up a view.
AUGMENTATION = ("all_images", "flip", "crop", "randaugment", "magnitude", "colour", "cutout", "cutmix", "mixup")


@dataclass(frozen=True)
class TrainConfig:
    """One run of the training loop. Learning rates are peaks; the schedule multiplies them."""

    epochs: int = 20
    block_epochs: int = 0  # before these: each block by itself learns what the teacher's does
    batch: int = 256  # images of one step, all processes together
    seed: int = 1
    optimizer: str = "muon"  # muon (matrices; AdamW for the rest) | adamw
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    momentum: float = 0.95  # of Muon
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    weight_decay: float = 0.0  # of the matrices, times the learning rate, a step
    schedule: str = "linear"  # linear (to zero) | cosine | onecycle
    warmup: float = 0.05  # fraction of all steps; of onecycle 0.3 is usual
    label_smoothing: float = 0.1
    alpha: float = 0.8  # distillation: weight of the teacher's targets against the labels
    temperature: float = 1.0  # distillation
    all_images: bool = False  # the validation images train too: for settings that were chosen without
    flip: bool = True
    crop: int = 4  # pixels of shift in each direction, reflected borders
    cutout: int = 0  # side of a grey square; 0 is off
    cutmix: float = 0.0  # probability that a box of an image is another image's
    mixup: float = 0.0  # probability that an image is blended with another
    randaugment: int = 0  # operations an image; 0 is off
    magnitude: float = 9.0  # of those operations, up to 30
    colour: float = 0.0  # strength of random brightness, contrast and saturation; 0 is off
    ema: float = 0.0  # decay per step of the averaged weights; 0 is off
    bf16: bool = False  # for GPUs and processors with AMX
    compile: bool = True

    def __post_init__(self):
        for name, known in (("optimizer", ("muon", "adamw")), ("schedule", ("linear", "cosine", "onecycle"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
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
                raise UserError(f"{name} must be true or false, not {getattr(self, name)!r}")

    @property
    def all_epochs(self) -> int:
        return self.block_epochs + self.epochs

    def augmentation(self) -> dict:
        """The settings that a view's images depend on, beside the seed."""
        return {name: getattr(self, name) for name in AUGMENTATION}

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "TrainConfig":
        data = dict(data)
        if isinstance(data.get("betas"), list):
            data["betas"] = tuple(data["betas"])
        return _from_dict(cls, data, "training configuration")


def held_out(about) -> bool:
    """Whether no validation image was trained on, by what describes a run: its settings, its teachers, the model that
    it started from, and so on."""
    if isinstance(about, dict):
        return about.get("all_images") is not True and all(held_out(value) for value in about.values())
    return not isinstance(about, list) or all(map(held_out, about))


@dataclass(frozen=True)
class Preset:
    """A named model configuration."""

    about: str
    model: ModelConfig | ConvConfig = field(repr=False)


def _local(activation: str, hidden: int) -> ModelConfig:
    stage = StageConfig(channels=96, hidden=hidden, blocks=4, groups=8, kernel=3)
    return ModelConfig((stage,), patch_size=6, patch_stride=4, patch_padding=1, activation=activation)


def _plain(activation: str, hidden: int, **mixing) -> ModelConfig:
    return ModelConfig((StageConfig(channels=96, hidden=hidden, blocks=4, **mixing),), activation=activation)


def _pyramid(activation: str, *stages: tuple[int, int, int]) -> ModelConfig:
    """Stages of (channels, hidden, blocks) with depthwise 3x3 token mixing on 16 x 16, 8 x 8, 4 x 4 tokens."""
    shapes = tuple(StageConfig(c, hidden=h, blocks=b, groups=c, kernel=3, shared=True) for c, h, b in stages)
    return ModelConfig(shapes, patch_size=4, patch_stride=2, patch_padding=1, activation=activation, segments=4)


PRESETS = {
    "teacher": Preset("64 tokens, C=96, H=192, local mixing, GELU", _local("gelu", 192)),
    "psa": Preset("64 tokens, C=96, H=96, local mixing, PSA at input and hidden", _local("psa_both", 96)),
    "gelu": Preset("the shape of psa with GELU", _local("gelu", 96)),
    "plain": Preset("the published shape: 4x4 patches, dense mixing, H=96", _plain("psa_both", 96)),
    "plain-half": Preset("the published shape with H=48", _plain("psa_both", 48)),
    "plain-local": Preset("plain with a shared 5x5 mixing: a start for plain, whose dense one overfits early",
                          _plain("psa_both", 96, kernel=5, shared=True)),
    "plain-gelu": Preset("the published shape with GELU", _plain("gelu", 96)),
    "plain-gelu-local": Preset("a start for plain-gelu, as plain-local", _plain("gelu", 96, kernel=5, shared=True)),
    "conv": Preset("a convolutional teacher of 65 M MAC", ConvConfig((64, 128, 256))),
    "conv-large": Preset("a convolutional teacher of 341 M MAC, for a GPU", ConvConfig((128, 384, 512), stem=32)),
    "pyramid": Preset("three stages, depthwise 3x3 mixing, ten blocks, PSA at input and hidden",
                      _pyramid("psa_both", (32, 32, 3), (64, 64, 4), (112, 96, 3))),
    "pyramid-max": Preset("pyramid for the largest devices: eleven blocks, 14 M MAC",
                          _pyramid("psa_both", (48, 48, 3), (96, 96, 4), (160, 128, 4))),
    "pyramid-small": Preset("pyramid for small devices: six blocks",
                            _pyramid("psa_both", (16, 16, 2), (40, 40, 2), (64, 64, 2))),
    "pyramid-lean": Preset("pyramid for few multiplications a frame: eight blocks, 2.6 M MAC",
                           _pyramid("psa_both", (16, 16, 2), (48, 48, 3), (80, 80, 3))),
    "tiny": Preset("for smoke runs: 16 tokens, C=16, H=16, two blocks",
                   ModelConfig((StageConfig(16, 16, 2, groups=2, kernel=3),), patch_size=8, patch_stride=8)),
}  # fmt: skip


def model_config_from_dict(data: dict, where: str = "model configuration") -> ModelConfig | ConvConfig:
    """Either kind of configuration; `kind` tells them apart."""
    return (ConvConfig if data.get("kind") == "conv" else ModelConfig).from_dict(data, where)


def load_model_config(
    shape: str | os.PathLike | ModelConfig | ConvConfig, changes: Sequence[str] = ()
) -> ModelConfig | ConvConfig:
    """Load the configuration of a network, and change single fields of it.

    Parameters
    ----------
    shape
        Name of a preset, JSON file with the fields of `ModelConfig` or `ConvConfig`, or a configuration.
    changes
        Changes as "NAME=VALUE", with JSON or plain text as value. The name is that of a field of the configuration,
        or of `StageConfig`; the latter changes all stages, or each stage if the value is a list.

    Raises
    ------
    UserError
        If the name is unknown, or the file or a change does not make a configuration.
    """
    config = shape if isinstance(shape, ModelConfig | ConvConfig) else _load_model_config(os.fspath(shape))
    if not changes:
        return config
    data = config.to_dict()
    stage_fields = [f.name for f in dataclasses.fields(StageConfig)] if "stages" in data else []
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator or (name not in data and name not in stage_fields) or name in ("stages", "kind"):
            names = [key for key in (*data, *stage_fields) if key not in ("stages", "kind")]
            raise UserError(f"--shape needs NAME=VALUE with a name of {', '.join(names)}, not {change!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if name in data:
            data[name] = value
            continue
        values = value if isinstance(value, list) else [value] * len(data["stages"])
        if len(values) != len(data["stages"]):
            raise UserError(f"--shape {name}: {len(data['stages'])} stages need as many values, not {len(values)}")
        data["stages"] = [stage | {name: v} for stage, v in zip(data["stages"], values, strict=True)]
    name = "the configuration" if isinstance(shape, ModelConfig | ConvConfig) else os.fspath(shape)
    return model_config_from_dict(data, f"{name} with {', '.join(changes)}")


def _load_model_config(name_or_path: str) -> ModelConfig | ConvConfig:
    if name_or_path in PRESETS:
        return PRESETS[name_or_path].model
    path = Path(name_or_path)
    if path.suffix != ".json":
        raise UserError(f"unknown configuration {name_or_path!r}; known are {', '.join(PRESETS)}, or a .json file")
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a JSON object")
    return model_config_from_dict(data, str(path))
