"""Checkpoints and trained models as safetensors files: tensors, and JSON in the header, without pickle.

A file is written under another name and then renamed, so one that exists is complete. Numbers that no model may hold
(`finite`) are neither written nor read.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from psahw import documents
from psahw.errors import CheckFailed, UserError
from psahw.files import write_whole, writing
from psahw.quoting import printable

from . import finite
from .models import Config, Model, config_from_dict, make_model

__all__ = ["load_model", "pack_optimizer", "read", "save_model", "unpack_optimizer", "write"]

FORMAT = 1
OPTIMIZER = "optimizer"  # begins the names of an optimiser's tensors, which may hold larger numbers than a model's


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata into a file, which appears whole or not at all.

    Raises
    ------
    CheckFailed
        If a tensor holds a number that no model may hold; the message names the tensor and the index.
    UserError
        If the file cannot be written.
    """
    finite.require(f"{path} was not written", tensors, error=CheckFailed, unlimited=[OPTIMIZER])
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **metadata}, allow_nan=False)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(contiguous, metadata={"psahw": text}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file that `write` has written.

    Raises
    ------
    UserError
        If the file cannot be read, is of another kind, has another version of the format, or holds a number that no
        model may hold; then the message names the tensor and the index.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("psahw")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        reason = str(error).removesuffix(f": {path}")
        raise UserError(f"cannot read {path}: {reason}") from None
    metadata = documents.decode(header, f"{path}: the description") if header is not None else None
    if not isinstance(metadata, dict) or "format" not in metadata:
        raise UserError(f"{path} must be a checkpoint or a float model of psahw")
    if type(version := metadata["format"]) is not int:
        raise UserError(f"{path} must be a run directory or its model.safetensors, not a network file")
    if version != FORMAT:
        raise UserError(f"{path} has checkpoint format {version}; this version reads {FORMAT}")
    finite.require(str(path), tensors, error=UserError, unlimited=[OPTIMIZER])
    return tensors, metadata


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of an optimiser: tensors, named "index/key", and the rest as JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{index}/{key}"] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Load what `pack_optimizer` returned into an optimiser over the same parameters.

    Raises
    ------
    ValueError
        If the parameter groups differ.
    """
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *rest["scalars"].items()]:
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})


def save_model(path: Path, model: nn.Module, config: Config, about: dict[str, Any]) -> None:
    """Write a trained float model; `about` says how it was trained, as JSON."""
    write(path, model.state_dict(), {"kind": "model", "model": config.to_dict(), "about": about})


class _Described(msgspec.Struct):
    """The entries that a trained model has besides its tensors."""

    model: dict[str, Any]
    about: dict[str, Any]


def load_model(path: Path) -> tuple[Model, dict[str, Any]]:
    """Return a float model in evaluation mode, and how it was trained.

    Raises
    ------
    UserError
        If the file cannot be read or holds something else.
    """
    tensors, metadata = read(path)
    if metadata.get("kind") != "model":
        raise UserError(f"{path} must be a trained model: give the run's model.safetensors")
    described = documents.convert(metadata, _Described, path)
    config = config_from_dict(described.model, str(path))
    with torch.device("meta"):  # before memory is spent on a size that the file does not have
        expected = {name: tensor.shape for name, tensor in make_model(config).state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in expected:
            raise UserError(f"{path}: {printable(name, 120)}: this tensor does not belong to the model described")
        if name not in tensors:
            raise UserError(f"{path}: {name}: this tensor is missing")
        if tensors[name].shape != expected[name]:
            raise UserError(
                f"{path}: {name} must have shape {tuple(expected[name])}, not {tuple(tensors[name].shape)}"
            )
    model = make_model(config)
    model.load_state_dict(tensors)
    return model.eval(), described.about
