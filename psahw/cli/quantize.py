"""``psahw quantize``: a trained network as an INT8 network file."""

import click

from . import output
from .compression import compression_options
from .training_options import parse_settings, run_options, targets_option, teacher_option
from .training_output import TrainingBar, print_run_result

__all__ = ["COMMANDS"]

_EPOCHS = 2  # the library's, so that --help need not import torch


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="Name of the network, written into its file.")
@click.option(
    "--network",
    "network_path",
    metavar="FILE",
    help="Network file to write; NAME.safetensors in the run directory unless given.",
)
@teacher_option
@targets_option
@click.option(
    "--calibration",
    type=output.COUNT,
    default=1000,
    show_default=True,
    help="Training images that set the scales.",
)
@compression_options
@run_options(epochs=_EPOCHS, fewest=0)
def quantize(
    run, name, network_path, teachers, targets, calibration, bits, lut_budget, search_images, prune, epochs,
    stop_after, batch, seed, settings, directory, dataset, data, as_json,
):  # fmt: skip
    """Fine-tune the float model of RUN as an INT8 network and write the network file.

    The forward pass of the fine-tuning is the integer model itself; with --epochs 0 scales are set and nothing is
    trained. With teachers, or the answers that they left, fine-tuning distils as well. Fewer bits and pruned weights
    make the layers smaller where they become adder graphs.

    \b
    psahw quantize runs/student --teacher runs/teacher --name cifar10-psa -o runs/int8
    psahw quantize runs/smoke --dataset sample --epochs 1 --set compile=false --name smoke -o runs/smoke-int8
    psahw quantize runs/student --bits 5,head=8 --name w5 -o runs/w5
    psahw quantize runs/student --lut-budget 400000 --prune 0.3 --epochs 6 --name small -o runs/small
    """
    from ..model import quantize as quantization

    with output.progress("layers") as progress:
        result = quantization.quantize(
            run, name, directory, network_path=network_path, teachers=teachers, targets=targets,
            calibration=calibration, bits=bits, lut_budget=lut_budget, search_images=search_images, prune=prune,
            stop_after=stop_after, dataset=dataset, data=data, log=output.note, progress=progress,
            observer=TrainingBar(), **parse_settings(settings, epochs=epochs, batch=batch, seed=seed),
        )  # fmt: skip
    print_run_result(result.to_dict(), as_json, result.task)


COMMANDS = [quantize]
