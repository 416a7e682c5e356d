"""What to train and how: plain dataclasses, written as JSON into every checkpoint and network file."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from psahw.errors import UserError

__all__ = ["ACTIVATIONS", "PRESETS", "ModelConfig", "StageConfig", "TrainConfig", "load_model_config"]

ACTIVATIONS = ("gelu", "relu", "psa_hidden", "psa_both")


def _from_dict(cls, data: dict, where: str):
    """`cls(**data)`, with a clear error for a field that `cls` does not have."""
    known = [f.name for f in dataclasses.fields(cls)]
    for key in data:
        if key not in known:
            raise UserError(f"{where}: unknown field {key!r}; known are {', '.join(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from None


@dataclass(frozen=True)
class StageConfig:
    """Blocks on one grid of tokens."""

    channels: int  # C
    hidden: int  # H, neurons between the two linears of the channel mixing
    blocks: int  # L
    groups: int = 1  # G: each group of C/G channels has its own token mixing
    kernel: int | None = None  # odd k: mix only the k x k neighbourhood; None: all tokens

    def __post_init__(self):
        for name in ("channels", "hidden", "blocks", "groups"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"{name} must be a positive integer, not {getattr(self, name)!r}")
        if self.channels % self.groups:
            raise UserError(f"groups must divide the {self.channels} channels, not {self.groups}")
        if self.kernel is not None and (self.kernel < 1 or self.kernel % 2 == 0 or self.kernel > 9):
            raise UserError(f"kernel must be 1, 3, 5, 7, 9 or null, not {self.kernel!r}")


@dataclass(frozen=True)
class ModelConfig:
    """A ResMLP: patch embedding, stages with 2x2 patch merging between them, mean pool, head."""

    stages: tuple[StageConfig, ...]
    patch_size: int = 4  # pixels; windows overlap where it exceeds the stride
    patch_stride: int = 4
    patch_padding: int = 0  # pixels of code 0 (mid grey) on each side
    activation: str = "psa_both"  # gelu | relu | psa_hidden | psa_both: what stands at input and hidden neurons
    segments: int = 8  # terms of the PSA
    image: tuple[int, int] = (32, 32)
    classes: int = 10

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")
        if not self.stages:
            raise UserError("stages must not be empty")
        for height, width in self.grids:
            if height < 1 or width < 1:
                raise UserError(f"the stages leave a grid of {height} x {width} tokens")

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(rows, columns) of tokens of every stage."""
        height, width = ((n + 2 * self.patch_padding - self.patch_size) // self.patch_stride + 1 for n in self.image)
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
        """Entries of all weight matrices that may be non-zero."""
        total = 3 * self.patch_size**2 * self.stages[0].channels + self.stages[-1].channels * self.classes
        for s, stage in enumerate(self.stages):
            if s:
                total += 4 * self.stages[s - 1].channels * stage.channels
            total += stage.blocks * (self._pairs(s) * stage.groups + 2 * stage.channels * stage.hidden)
        return total

    def _pairs(self, stage: int) -> int:
        """(token, neighbour) pairs of one group's token mixing."""
        height, width = self.grids[stage]
        kernel = self.stages[stage].kernel
        if kernel is None:
            return (height * width) ** 2
        return _reach(height, kernel) * _reach(width, kernel)

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict, where: str = "model configuration") -> "ModelConfig":
        data = dict(data)
        stages = data.get("stages", ())
        if not isinstance(stages, list | tuple):
            raise UserError(f"{where}: stages must be a list, not {stages!r}")
        data["stages"] = tuple(_from_dict(StageConfig, s, f"{where}, stage {i}") for i, s in enumerate(stages))
        if "image" in data:
            data["image"] = tuple(data["image"])
        return _from_dict(cls, data, where)


def _reach(length: int, kernel: int) -> int:
    """Pairs (i, j) on a line of `length` with |i - j| <= kernel // 2."""
    return sum(1 for i in range(length) for j in range(length) if abs(i - j) <= kernel // 2)


@dataclass(frozen=True)
class TrainConfig:
    """One run of the training loop. Learning rates are peaks; the schedule multiplies them."""

    epochs: int = 20
    batch: int = 256  # images of one step, all processes together
    seed: int = 1
    optimizer: str = "muon"  # muon (matrices; AdamW for the rest) | adamw
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    momentum: float = 0.95  # of Muon
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    weight_decay: float = 0.0
    schedule: str = "linear"  # linear (to zero) | cosine | onecycle
    warmup: float = 0.05  # fraction of all steps; of onecycle 0.3 is usual
    label_smoothing: float = 0.1
    alpha: float = 0.8  # distillation: weight of the teacher's targets against the labels
    temperature: float = 1.0  # distillation
    flip: bool = True
    crop: int = 4  # pixels of shift in each direction, reflected borders
    cutout: int = 0  # side of a grey square; 0 is off
    cutmix: float = 0.0  # probability that a batch is mixed
    colour: float = 0.0  # strength of random brightness, contrast and saturation; 0 is off
    ema: float = 0.0  # decay per step of the averaged weights; 0 is off
    bf16: bool = True
    compile: bool = True

    def __post_init__(self):
        for name, known in (("optimizer", ("muon", "adamw")), ("schedule", ("linear", "cosine", "onecycle"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be positive, not {getattr(self, name)!r}")

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "TrainConfig":
        data = dict(data)
        if "betas" in data:
            data["betas"] = tuple(data["betas"])
        return _from_dict(cls, data, "training configuration")


@dataclass(frozen=True)
class Preset:
    """A named model configuration."""

    about: str
    model: ModelConfig = field(repr=False)


def _local(activation: str, hidden: int) -> ModelConfig:
    stage = StageConfig(channels=96, hidden=hidden, blocks=4, groups=8, kernel=3)
    return ModelConfig((stage,), patch_size=6, patch_stride=4, patch_padding=1, activation=activation)


def _plain(activation: str, hidden: int) -> ModelConfig:
    return ModelConfig((StageConfig(channels=96, hidden=hidden, blocks=4),), activation=activation)


PRESETS = {
    "teacher": Preset("64 tokens, C=96, H=192, local mixing, GELU", _local("gelu", 192)),
    "psa": Preset("64 tokens, C=96, H=96, local mixing, PSA at input and hidden", _local("psa_both", 96)),
    "gelu": Preset("the shape of psa with GELU", _local("gelu", 96)),
    "plain": Preset("the published shape: 4x4 patches, dense mixing, H=96", _plain("psa_both", 96)),
    "plain-half": Preset("the published shape with H=48", _plain("psa_both", 48)),
    "tiny": Preset("for smoke runs: 16 tokens, C=16, H=16, two blocks",
                   ModelConfig((StageConfig(16, 16, 2, groups=2, kernel=3),), patch_size=8, patch_stride=8)),
}  # fmt: skip


def load_model_config(name_or_path: str) -> ModelConfig:
    """A preset by name, or a JSON file with `ModelConfig`'s fields."""
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
    return ModelConfig.from_dict(data, str(path))
