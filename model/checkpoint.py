"""Checkpoints and trained models as safetensors files: tensors, and JSON in the header; no pickle.

Files appear by renaming, so one that exists is complete.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from psahw.errors import UserError

from .config import ConvConfig, ModelConfig, model_config_from_dict
from .convnet import ConvNet
from .resmlp import ResMLP

__all__ = ["load_model", "make_model", "pack_optimizer", "read", "save_model", "unpack_optimizer", "write"]

FORMAT = 1


def write(path: Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Atomically; `metadata` is any JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, part, metadata={"psahw": json.dumps({"format": FORMAT, **metadata})})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """What `write` wrote. Raises UserError for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("psahw")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        reason = str(error).removesuffix(f": {path}")
        raise UserError(f"cannot read {path}: {reason}") from None
    if header is None:
        raise UserError(f"{path} is no checkpoint of psahw")
    try:
        metadata = json.loads(header)
        version = metadata["format"]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path} is no checkpoint of psahw") from None
    if type(version) is not int:
        raise UserError(f"{path} is a network file; a run directory or its model.safetensors is wanted")
    if version != FORMAT:
        raise UserError(f"{path} has checkpoint format {version}; this version reads {FORMAT}")
    return tensors, metadata


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict]:
    """Its state as tensors named "index/key", and the rest as JSON."""
    state = optimizer.state_dict()
    tensors, scalars = {}, {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{index}/{key}"] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict) -> None:
    """The inverse of `pack_optimizer`, into an optimiser over the same parameters."""
    state: dict[int, dict] = {}
    for name, value in [*tensors.items(), *rest["scalars"].items()]:
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})


def make_model(config: ModelConfig | ConvConfig) -> ResMLP | ConvNet:
    """With random weights."""
    return ConvNet(config) if isinstance(config, ConvConfig) else ResMLP(config)


def save_model(path: Path, model: nn.Module, config: ModelConfig | ConvConfig, about: dict) -> None:
    """A trained float model; `about` says how it was trained."""
    write(path, model.state_dict(), {"kind": "model", "model": config.to_dict(), "about": about})


def load_model(path: Path) -> tuple[ResMLP | ConvNet, dict]:
    """A float model in evaluation mode, and how it was trained."""
    tensors, metadata = read(path)
    if metadata.get("kind") != "model":
        raise UserError(f"{path} is no trained model; give the run's model.safetensors")
    model = make_model(model_config_from_dict(metadata["model"], str(path)))
    model.load_state_dict(tensors)
    return model.eval(), metadata["about"]
