"""Compare the processor time of a training step with PSA to that of the same network with GELU.

    OMP_NUM_THREADS=1 python -m psahw.model.profile_step [--bf16] [--torch] [--batch 256] [--steps 8] [SHAPE ...]

The step is the one that training would take: in C if `fused.usable` says so, else compiled by torch. With --torch it
is always compiled by torch. Processor time is measured instead of wall time, so that other programs on the machine
have little influence.
"""

import argparse
import dataclasses
import statistics
import time

import torch

from psahw.errors import UserError

from . import fused
from .config import ModelConfig
from .losses import cross_entropy, smooth_targets
from .presets import load_model_config
from .resmlp import ResMLP

__all__ = ["measure"]


def measure(shape: str, activation: str, batch: int, steps: int, bf16: bool, in_torch: bool) -> float:
    """Return the median processor time of a forward and backward pass, in seconds.

    Parameters
    ----------
    shape
        Name or file of a ResMLP's configuration.
    activation
        One of `config.ACTIVATIONS`, in place of the configuration's own.
    batch
        Images per step.
    steps
        Number of measured steps; three steps before them, the first with the compilation, are not counted.
    bf16
        Use bfloat16, which only the step in torch can.
    in_torch
        Use the step in torch even where the one in C is possible.

    Raises
    ------
    UserError
        If the configuration is unknown, or not that of a ResMLP.
    """
    torch.manual_seed(0)
    torch.compiler.reset()
    config = load_model_config(shape)
    if not isinstance(config, ModelConfig):
        raise UserError(f"{shape} must be a ResMLP, not a convolutional network: only a ResMLP has PSA")
    model = ResMLP(dataclasses.replace(config, activation=activation))
    images = torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8)
    targets = smooth_targets(torch.randint(0, 10, (batch,)), 10, 0.1)

    @torch.compile
    def loss_in_torch():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(images)
        return cross_entropy(logits, targets)

    def loss_in_c():
        return cross_entropy(fused.forward(model, images), targets)

    in_c = fused.usable(model, batch) and not bf16 and not in_torch
    loss = loss_in_c if in_c else loss_in_torch

    times = []
    for _ in range(steps + 3):
        model.zero_grad()
        started = time.process_time()
        loss().backward()
        times.append(time.process_time() - started)
    return statistics.median(times[3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["psa"])
    parser.add_argument("--bf16", action="store_true", help="use bfloat16")
    parser.add_argument("--torch", action="store_true", dest="in_torch", help="use torch even where C is possible")
    parser.add_argument("--batch", type=int, default=256, help="images per step")
    parser.add_argument("--steps", type=int, default=8, help="number of measured steps")
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        options = (arguments.batch, arguments.steps, arguments.bf16, arguments.in_torch)
        try:
            gelu, psa = (measure(shape, activation, *options) for activation in ("gelu", "psa_both"))
        except UserError as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        rate = arguments.batch / psa
        times = f"GELU {1e3 * gelu:.0f} ms, PSA {1e3 * psa:.0f} ms per step ({rate:.0f} images/s)"
        print(f"{shape}: {times}, ratio {psa / gelu:.2f}")


if __name__ == "__main__":
    main()
