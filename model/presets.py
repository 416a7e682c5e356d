"""Configurations of networks by name, from JSON or TOML files, and with changes to single fields."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psahw import documents
from psahw.errors import UserError
from psahw.quoting import printable, quote

from .config import ConvConfig, ModelConfig, StageConfig
from .graphs.config import Shaped
from .graphs.topologies import Autoencoder, Convolutional, DepthwiseSeparable, Mixer, Mlp, ResNet
from .models import Config, config_from_dict

__all__ = ["PRESETS", "Preset", "load_model_config", "takes_form"]


@dataclass(frozen=True)
class Preset:
    """A named configuration."""

    about: str  # what it is good for, in one line
    model: Config


def _local(activation: str, hidden: int) -> ModelConfig:
    """Return one stage of 8x8 tokens with local token mixing in groups, behind overlapping patches."""
    stage = StageConfig(channels=96, hidden=hidden, blocks=4, groups=8, kernel=3)
    return ModelConfig((stage,), patch_size=6, patch_stride=4, patch_padding=1, activation=activation)


def _plain(activation: str, hidden: int, **mixing: Any) -> ModelConfig:
    """Return the published shape, with fields of `StageConfig` for another token mixing."""
    return ModelConfig((StageConfig(channels=96, hidden=hidden, blocks=4, **mixing),), activation=activation)


def _pyramid(activation: str, *stages: tuple[int, int, int]) -> ModelConfig:
    """Return stages of (channels, hidden, blocks) on 16x16, 8x8 and 4x4 tokens, with depthwise 3x3 token mixing."""
    shapes = tuple(StageConfig(c, hidden=h, blocks=b, groups=c, kernel=3, shared=True) for c, h, b in stages)
    return ModelConfig(shapes, patch_size=4, patch_stride=2, patch_padding=1, activation=activation, segments=4)


# Topologies take image, colours, classes and task of the data set that they are trained on.
_ANY: dict[str, Any] = {"image": (32, 32), "colours": 3, "classes": 10}

PRESETS: dict[str, Preset] = {
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
    "pyramid-lean": Preset("pyramid for few multiplications per frame: eight blocks, 2.6 M MAC",
                           _pyramid("psa_both", (16, 16, 2), (48, 48, 3), (80, 80, 3))),
    "tiny": Preset("for smoke runs: 16 tokens, C=16, H=16, two blocks",
                   ModelConfig((StageConfig(16, 16, 2, groups=2, kernel=3),), patch_size=8, patch_stride=8)),
    "mlp": Preset("a multilayer perceptron of 64 and 32 hidden neurons with PSA, for tables", Mlp(**_ANY)),
    "convolutional": Preset("three strided convolutions of 8, 16 and 16 channels with PSA", Convolutional(**_ANY)),
    "mixer": Preset("an MLP-Mixer of two blocks with 32 channels and PSA", Mixer(**_ANY)),
    "resnet8": Preset("the ResNet8 of MLPerf Tiny, with ReLU", ResNet(**_ANY)),
    "depthwise-separable": Preset("the keyword spotter of MLPerf Tiny, with ReLU", DepthwiseSeparable(**_ANY)),
    "autoencoder": Preset("values to themselves through 128, 8 and 128 neurons", Autoencoder(**_ANY)),
}  # fmt: skip
"""The configurations that have a name."""


def takes_form(shape: object, changes: Sequence[str] = ()) -> bool:
    """Return whether a model takes its form from the data set: a preset of a topology whose form no change says."""
    if not isinstance(shape, str) or shape not in PRESETS or not isinstance(PRESETS[shape].model, Shaped):
        return False
    return not any(change.partition("=")[0] in ("image", "colours", "classes", "task") for change in changes)


def load_model_config(
    shape: str | os.PathLike | ModelConfig | ConvConfig | Shaped, changes: Sequence[str] = ()
) -> Config:
    """Load the configuration of a network, and change single fields of it.

    Parameters
    ----------
    shape
        Name of a preset, JSON or TOML file with the fields of a configuration, or a configuration.
    changes
        Changes as "NAME=VALUE", with JSON or plain text as value. The name is that of a field of the configuration,
        or of `StageConfig`; the latter changes all stages, or each stage if the value is a list.

    Raises
    ------
    UserError
        If the name is unknown, or the file or a change does not make a configuration.
    """
    config = shape if isinstance(shape, ModelConfig | ConvConfig | Shaped) else _load_model_config(os.fspath(shape))
    if not changes:
        return config
    data = config.to_dict() | {"colours": config.colours}  # which is not written if it is 3
    stage_fields = [field.name for field in dataclasses.fields(StageConfig)] if "stages" in data else []
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator or (name not in data and name not in stage_fields) or name in ("stages", "kind"):
            names = [key for key in (*data, *stage_fields) if key not in ("stages", "kind")]
            raise UserError(f"--shape needs NAME=VALUE with a name of {', '.join(names)}, not {quote(change)}")
        try:
            value = documents.decode(text, "--shape")
        except UserError:
            value = text  # a word without quotation marks
        if name in data:
            data[name] = value
            continue
        values = value if isinstance(value, list) else [value] * len(data["stages"])
        if len(values) != len(data["stages"]):
            raise UserError(f"--shape {name}: {len(data['stages'])} stages need as many values, not {len(values)}")
        data["stages"] = [stage | {name: entry} for stage, entry in zip(data["stages"], values, strict=True)]
    origin = "the configuration" if isinstance(shape, ModelConfig | ConvConfig | Shaped) else os.fspath(shape)
    where = f"{origin} with {printable(', '.join(changes), 80)}"
    return config_from_dict(data, where, check=not takes_form(shape, changes))


def _load_model_config(name_or_path: str) -> Config:
    if name_or_path in PRESETS:
        return PRESETS[name_or_path].model
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return config_from_dict(documents.read_toml(path), str(path))
    if path.suffix != ".json":
        known = ", ".join(PRESETS)
        raise UserError(f"unknown configuration {quote(name_or_path)}; known are {known}, or a .json or .toml file")
    return config_from_dict(documents.read(path, dict[str, Any]), str(path))
