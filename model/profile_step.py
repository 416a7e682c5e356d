"""Processor time of a training step with PSA against the same network with GELU.

    OMP_NUM_THREADS=1 python -m psahw.model.profile_step [--bf16] [--torch] [--batch 256] [--steps 8] [SHAPE ...]

The step is the one that training would take: in C where `fused.usable`, else, or with --torch, compiled by torch.

Processor time and not wall time, so that other programs on the machine do not show.
"""

import argparse
import dataclasses
import statistics
import time

import torch

from . import fused
from .config import load_model_config
from .losses import cross_entropy, smooth_targets
from .resmlp import ResMLP

__all__ = ["measure"]


def measure(shape: str, activation: str, batch: int, steps: int, bf16: bool, in_torch: bool) -> float:
    """Median seconds of forward and backward pass over `steps` steps, after compilation and two more."""
    torch.manual_seed(0)
    torch.compiler.reset()
    model = ResMLP(dataclasses.replace(load_model_config(shape), activation=activation))
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
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--torch", action="store_true", dest="in_torch")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        options = (arguments.batch, arguments.steps, arguments.bf16, arguments.in_torch)
        gelu, psa = (measure(shape, activation, *options) for activation in ("gelu", "psa_both"))
        rate = arguments.batch / psa
        times = f"GELU {1e3 * gelu:.0f} ms, PSA {1e3 * psa:.0f} ms a step ({rate:.0f} images/s)"
        print(f"{shape}: {times}, ratio {psa / gelu:.2f}")


if __name__ == "__main__":
    main()
