"""What the width of the residual stream costs: a float network in which nothing but the stream is rounded.

    OMP_NUM_THREADS=1 python -m psahw.model.residual_bits [--bits 6 7 8 9 10] [--calibration 1000] [--json] MODEL ...

MODEL is a run's `model.safetensors`, or one of `trained/`. Accuracy is that of CIFAR-10's validation images. The
stream is rounded where that of the INT8 network has its codes, after embedding, merging and every sublayer, with
that network's scales; what a sublayer adds is rounded by itself there, and is not here. The scales are those that
suit 8 bits; others might be better for more.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from psahw.errors import UserError

from . import checkpoint, data
from .quant import QuantizedResMLP
from .resmlp import ResMLP
from .train import accuracy

__all__ = ["rounded", "rounded_stream", "scan"]


def rounded(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """`x` [..., C] in its own units, as two's complement codes of `bits` bits, halves up. The least one is that of
    8 bits at `scale` [C], -128·scale; a bit more is a step of half the size."""
    step, limit = scale * 2.0 ** (8 - bits), 2 ** (bits - 1)
    return (x / step + 0.5).floor().clamp(-limit, limit - 1) * step


@contextmanager
def rounded_stream(model: ResMLP, scales: list[list[Tensor]], bits: int) -> Iterator[None]:
    """Within: `model` rounds its residual stream. `scales` are those of each stage, before each sublayer and after
    the last, as `QuantizedStage.scales` returns them."""

    def hook(scale: Tensor) -> Callable:
        return lambda module, inputs, output: rounded(output, scale, bits)

    with ExitStack() as hooks:
        for stage, (entry, *after) in zip(model.stages, scales, strict=True):
            sublayers = [part for block in stage.blocks for part in (block.token_mixing, block.channel_mixing)]
            before = model.embed if stage.merge is None else stage.merge
            for module, scale in zip((before, *sublayers), (entry, *after), strict=True):
                hooks.callback(module.register_forward_hook(hook(scale)).remove)
        yield


def scan(
    model: ResMLP, bits: list[int], calibration: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Top-1 in percent on `images`: as "float", and with a stream of each of `bits`, scaled on `calibration`."""
    found = {"float": accuracy(model, images, labels)}
    scales = [stage.scales() for stage in QuantizedResMLP(model, calibration).stages]
    for width in bits:
        with rounded_stream(model, scales, width):
            found[str(width)] = accuracy(model, images, labels)
    return found


def _load(path: Path) -> ResMLP:
    model, _ = checkpoint.load_model(path)
    if not isinstance(model, ResMLP):
        raise UserError(f"{path} is a convolutional teacher: it has no residual stream of tokens")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--bits", nargs="+", type=int, default=[6, 7, 8, 9, 10], choices=range(2, 17))
    parser.add_argument("--calibration", type=int, default=1000, help="training images that set the scales")
    parser.add_argument("--json", action="store_true", help="a JSON object a model, a line each")
    arguments = parser.parse_args()
    try:
        models = {path: _load(path) for path in arguments.models}
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    dataset = data.load("cifar10")
    train, validation = data.split(len(dataset.train_labels))
    calibration = dataset.train_images[train[: arguments.calibration]]
    images, labels = dataset.train_images[validation], dataset.train_labels[validation]
    for path, model in models.items():
        found = scan(model, arguments.bits, calibration, images, labels)
        if arguments.json:
            print(json.dumps({"model": str(path), "accuracy": found}), flush=True)
        else:
            print(f"{path}:", ", ".join(f"{width} {percent:.2f} %" for width, percent in found.items()), flush=True)


if __name__ == "__main__":
    main()
