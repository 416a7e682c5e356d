"""The kinds of models that can be trained: their configurations, by the entry "kind" in JSON, and their modules."""

from typing import Any, TypeAlias

import msgspec

from psahw import documents
from psahw.errors import UserError
from psahw.quoting import quote

from .config import ConvConfig, ModelConfig
from .convnet import ConvNet
from .datasets.dataset import Dataset, Form
from .datasets.source import Task
from .graphs.config import GraphConfig, Shaped
from .graphs.network import GraphNet
from .graphs.topologies import Autoencoder, Convolutional, DepthwiseSeparable, Mixer, Mlp, ResNet
from .resmlp import ResMLP

__all__ = ["Config", "Model", "config_from_dict", "fitted", "form", "make_model", "task_of"]

Config: TypeAlias = ModelConfig | ConvConfig | Shaped
"""The configuration of a model."""

Model: TypeAlias = ResMLP | ConvNet | GraphNet
"""A float model."""

_GRAPHS: dict[str, type[Shaped]] = {
    "graph": GraphConfig,
    "mlp": Mlp,
    "autoencoder": Autoencoder,
    "convolutional": Convolutional,
    "mixer": Mixer,
    "resnet": ResNet,
    "depthwise_separable": DepthwiseSeparable,
}


def config_from_dict(data: dict[str, Any], where: str = "model configuration", *, check: bool = True) -> Config:
    """Return a configuration of any kind; the entry "kind" tells them apart, and a `ModelConfig` has none.

    Without ``check``, it is not checked whether the layers of a topology fit each other, which `fitted` does as well.

    Raises
    ------
    UserError
        If a field is unknown or has an impossible value; the message begins with `where`.
    """
    kind = data.get("kind")
    if kind == "conv":
        return ConvConfig.from_dict(data, where)
    if kind is None:
        return ModelConfig.from_dict(data, where)
    if not isinstance(kind, str) or kind not in _GRAPHS:
        raise UserError(f"{where}: kind must be one of conv, {', '.join(_GRAPHS)}, not {quote(kind)}")
    config = documents.convert(data, _GRAPHS[kind], where)
    if check:
        config.check(where)
    return config


def make_model(config: Config) -> Model:
    """Return a float model with random weights, drawn from torch's global generator."""
    if isinstance(config, Shaped):
        return GraphNet(config)
    return ConvNet(config) if isinstance(config, ConvConfig) else ResMLP(config)


def task_of(config: Config) -> Task:
    """Return what a model learns. `ModelConfig` and `ConvConfig` are classifiers."""
    return config.task if isinstance(config, Shaped) else "class"


def fitted(config: Shaped, dataset: Dataset, where: str) -> Shaped:
    """Return a configuration with image, colours, classes and task of a data set.

    Raises UserError, with a message that begins with `where`, if the layers do not fit these.
    """
    height, width, colours = dataset.shape
    changed = msgspec.structs.replace(
        config, image=(height, width), colours=colours, classes=len(dataset.classes), task=dataset.task
    )
    changed.check(f"{where} for the images of {dataset.name}")
    return changed


def form(model: Model, name: str) -> Form:
    """Return what a model takes and gives; messages call it `name`."""
    config: Config = model.config
    return Form(name, (*config.image, config.colours), config.classes, task_of(config))
