"""Measure what the width of the residual stream costs, in a float network in which only the stream is rounded.

    OMP_NUM_THREADS=1 python -m psahw.model.residual_bits [--bits 6 7 8 9 10] [--calibration 1000] [--json] MODEL ...

MODEL is a run's `model.safetensors`, or one of `trained/`. Accuracy is that of CIFAR-10's validation images. The
stream is rounded where the INT8 network has codes, after embedding, patch merging and every sublayer, with that
network's scales. Unlike there, what a sublayer adds to the stream is not rounded by itself. The scales are those that
suit 8 bits; others might be better for more bits.
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
from .predict import accuracy
from .quant import QuantizedResMLP
from .resmlp import ResMLP

__all__ = ["rounded", "rounded_stream", "scan"]


def rounded(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return `x` [..., C] rounded half up to two's complement codes of `bits` bits, in its own units.

    `scale` [C] is that of 8 bits. The least code stands for -128·scale with any number of bits, and each further bit
    halves the step.
    """
    step, limit = scale * 2.0 ** (8 - bits), 2 ** (bits - 1)
    return (x / step + 0.5).floor().clamp(-limit, limit - 1) * step


@contextmanager
def rounded_stream(model: ResMLP, scales: list[list[Tensor]], bits: int) -> Iterator[None]:
    """Return a context in which a model rounds its residual stream.

    Parameters
    ----------
    model
        The float network.
    scales
        For each stage the scales of the stream before each sublayer and after the last one, as
        `QuantizedStage.scales` returns them.
    bits
        Width of the stream.
    """

    def hook(scale: Tensor) -> Callable[..., Tensor]:
        return lambda module, inputs, output: rounded(output, scale, bits)

    with ExitStack() as hooks:
        for stage, (entry, *after) in zip(model.stages, scales, strict=True):
            sublayers = [part for block in stage.blocks for part in (block.token_mixing, block.channel_mixing)]
            first = model.embed if stage.merge is None else stage.merge
            for module, scale in zip((first, *sublayers), (entry, *after), strict=True):
                hooks.callback(module.register_forward_hook(hook(scale)).remove)
        yield


def scan(
    model: ResMLP, bits: list[int], calibration: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Return the accuracy for several widths of the residual stream.

    Parameters
    ----------
    model
        The float network.
    bits
        Widths of the stream.
    calibration
        uint8 images [n, height, width, 3] that set the scales.
    images, labels
        uint8 [n, height, width, 3] and integers [n], on which the accuracy is measured.

    Returns
    -------
    dict
        Top-1 accuracy in percent, by the width as a string, and by "float" without rounding.
    """
    accuracies = {"float": accuracy(model, images, labels)}
    scales = [stage.scales() for stage in QuantizedResMLP(model, calibration).stages]
    for width in bits:
        with rounded_stream(model, scales, width):
            accuracies[str(width)] = accuracy(model, images, labels)
    return accuracies


def _load(path: Path) -> ResMLP:
    model, _ = checkpoint.load_model(path)
    if not isinstance(model, ResMLP):
        raise UserError(f"{path} must be a ResMLP, not a convolutional teacher, which has no residual stream")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument(
        "--bits", nargs="+", type=int, default=[6, 7, 8, 9, 10], choices=range(2, 17), help="widths of the stream"
    )
    parser.add_argument("--calibration", type=int, default=1000, help="number of training images that set the scales")
    parser.add_argument("--json", action="store_true", help="print one JSON object per model, each on a line")
    arguments = parser.parse_args()
    try:
        models = {path: _load(path) for path in arguments.models}
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    dataset = data.load("cifar10")
    train, validation = dataset.split()
    calibration = dataset.train_images[train[: arguments.calibration]]
    images, labels = dataset.train_images[validation], dataset.train_labels[validation]
    for path, model in models.items():
        accuracies = scan(model, arguments.bits, calibration, images, labels)
        if arguments.json:
            print(json.dumps({"model": str(path), "accuracy": accuracies}), flush=True)
        else:
            columns = (f"{width} {percent:.2f} %" for width, percent in accuracies.items())
            print(f"{path}:", ", ".join(columns), flush=True)


if __name__ == "__main__":
    main()
