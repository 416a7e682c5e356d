"""``psahw quantize``: a trained network as an INT8 network file."""

import dataclasses
from pathlib import Path

import click

from ..errors import CheckFailed, UserError
from ..files import output_directory, writable_directory
from . import output
from .compression import SEARCH_FILE, choose_bits, compression_options, parse
from .runs import (
    Teaching,
    check_fits,
    model_file,
    refuse_other_files,
    run_options,
    show,
    targets_option,
    teacher_option,
    train_config,
    unfinished,
)

__all__ = ["COMMANDS"]


# Fine-tuning of a trained network: small learning rates, and float32 because codes must stay exact.
_DEFAULTS = {
    "epochs": 2,
    "muon_lr": 0.0025,
    "adamw_lr": 4e-4,
    "bf16": False,
    "label_smoothing": 0.1,
}


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
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Training images that set the scales.",
)
@compression_options
@run_options(epochs=_DEFAULTS["epochs"], fewest=0)
def quantize(
    run,
    name,
    network_path,
    teacher_paths,
    targets_path,
    calibration,
    bits,
    lut_budget,
    search_images,
    prune,
    epochs,
    stop_after,
    batch,
    seed,
    settings,
    directory,
    dataset,
    data,
    as_json,
):
    """Fine-tune the float model of RUN as an INT8 network and write the network file.

    The forward pass of the fine-tuning is the integer model itself; with --epochs 0 scales are set and nothing
    is trained. With teachers, or the answers that they left, it distils while fine-tuning, too. Fewer bits and pruned
    weights make the layers smaller where they become adder graphs.

    \b
    psahw quantize runs/student --teacher runs/teacher --name cifar10-psa -o runs/int8
    psahw quantize runs/smoke --dataset sample --epochs 1 --set compile=false --name smoke -o runs/smoke-int8
    psahw quantize runs/student --bits 5,head=8 --name w5 -o runs/w5
    psahw quantize runs/student --lut-budget 400000 --prune 0.3 --epochs 6 --name small -o runs/small
    """
    import numpy as np

    from ..model import checkpoint
    from ..model import data as datasets
    from ..model.bits import layer_names
    from ..model.config import ModelConfig, held_out
    from ..model.export import to_network
    from ..model.functions import scales
    from ..model.prune import Pruning, cubic
    from ..model.quant import QuantizedResMLP
    from ..model.tables import compare
    from ..model.train import accuracy, fit, processes, provenance
    from ..network import file as networkfile
    from ..network import reference
    from ..network.summary import summarise

    tuned = epochs != 0
    teaching = Teaching.load(teacher_paths, targets_path)
    config = train_config(_DEFAULTS | teaching.augmentation, settings, epochs=epochs or None, batch=batch, seed=seed)
    if config.bf16:
        raise UserError("--set bf16: bfloat16 cannot hold the codes of a quantised network; leave it false")
    model, about = checkpoint.load_model(model_file(run))
    if not isinstance(model.config, ModelConfig):
        raise UserError(f"{run}: a convolutional teacher is never quantised")
    asked = parse(layer_names(model.config), bits, lut_budget, search_images, prune)
    describe = {"model": model.config.to_dict(), "dataset": dataset, "float": about, "calibration": calibration}
    describe |= teaching.describe
    refuse_other_files(directory, f"{name}.safetensors", SEARCH_FILE)
    with output_directory(directory) as directory:
        path = Path(network_path or directory / f"{name}.safetensors")
        if not path.parent.is_dir():
            raise UserError(f"--network: directory {path.parent} does not exist")
        writable_directory(path.parent)
        images = datasets.load(dataset, data, log=output.note)
        check_fits(images, model.config, f"run {run}")
        teaching.check(images)
        train_part, validation_part = datasets.split(len(images.train_images), all_images=config.all_images)
        validation, labels = images.train_images[validation_part], images.train_labels[validation_part]
        judged = held_out([describe, config.to_dict()])
        accuracies = {"validation float": accuracy(model, validation, labels)} if judged else {}
        quantized = QuantizedResMLP(model, images.train_images[train_part[:calibration]])
        pruning = None if asked.common is None else Pruning(quantized, asked.common, asked.own)
        pixels, answers = images.train_images[train_part], images.train_labels[train_part]
        chosen = choose_bits(asked, quantized, pruning, pixels, answers, describe, directory)
        describe |= asked.describe()
        if pruning is not None and not tuned:
            pruning.prune()
        if judged:
            accuracies["validation INT8 before fine-tuning"] = accuracy(quantized, validation, labels)
        seconds = 0.0
        if tuned:
            result = fit(
                quantized, images, config, directory, **teaching.options, describe=describe, stop_after=stop_after,
                before_epoch=pruning and (lambda epoch: pruning.prune(cubic(epoch, config.epochs))),
            )  # fmt: skip
            seconds = result.seconds
            if processes()[0] != 0 or unfinished(config, result, as_json):
                return
    metadata = {
        "dataset": dataset,
        "preprocessing": "code = pixel - 128",
        "model": model.config.to_dict(),
        "macs": model.config.macs(),
        "weights": model.config.weights(),
        "float_training": about,
        "teacher": describe.get("teacher"),
        "targets": describe.get("targets"),
        "quantisation": {
            "train": config.to_dict() if tuned else None,
            "calibration_images": calibration,
            "seed": config.seed,
            "seconds": seconds,
            **asked.describe(),
            "bits": chosen,
            **provenance(),
        },
        "accuracy": accuracies,
    }
    metadata["scales"] = scales(quantized)
    quantized.cpu().eval()  # the integers are read out and compared on the CPU, wherever they were trained
    network = to_network(quantized, name, images.classes, metadata)
    codes = np.concatenate(
        [_codes(quantized, part) for part in np.array_split(validation, -(-len(validation) // 500))]
    )
    logits = reference.run(network, validation)
    if not (codes == logits).all():
        raise CheckFailed(f"{int((codes != logits).sum())} logits of the torch model differ from the integer model's")
    table_entries, wrong_entries = compare(network, model.cpu())
    if wrong_entries:
        raise CheckFailed(f"{len(wrong_entries)} entries of tables are not what was trained: {wrong_entries[0]}")
    if judged:
        accuracies["validation INT8"] = 100 * float((logits.argmax(1) == labels).mean())
    networkfile.save(dataclasses.replace(network, metadata=metadata), path)
    luts = summarise(network)["adder_luts"]
    if lut_budget is not None and luts > lut_budget:
        output.note(f"fine-tuned, it takes an estimated {luts:,} LUTs of the {lut_budget:,} asked for")
    shown = {
        "network": str(path),
        "validation_float": accuracies.get("validation float"),
        "validation_before_tuning": accuracies.get("validation INT8 before fine-tuning"),
        "validation_int8": accuracies.get("validation INT8"),
        "logits_compared": codes.size,
        "logits_different": 0,
        "table_entries_compared": table_entries,
        "table_entries_different": 0,
        "adder_luts_estimated": luts,
        "seconds": seconds,
    }
    show(shown, as_json)


def _codes(quantized, images):
    import torch

    with torch.no_grad():
        return quantized.codes(torch.from_numpy(images)).numpy()


COMMANDS = [quantize]
