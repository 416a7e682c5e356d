"""Turn a trained float model into an INT8 network file: calibrate, fine-tune, export, and compare the integers."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from psahw.callbacks import Log, Progress, silent
from psahw.errors import CheckFailed, UserError
from psahw.files import output_directory, writable_directory
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.layers import Network
from psahw.network.summary import summarise

from . import checkpoint
from . import data as datasets
from .bits import layer_names
from .compression import SEARCH_FILE, Compression, choose_bits
from .config import TrainConfig, held_out
from .data import Dataset
from .export import to_network
from .functions import scales
from .processes import processes
from .progress import EpochLines, TrainingObserver
from .prune import Pruning, cubic
from .quant import QuantizedResMLP
from .resmlp import ResMLP
from .run_directory import model_file, provenance, refuse_other_files
from .tables import compare
from .teaching import Teaching
from .train import accuracy, fit

__all__ = ["DEFAULTS", "QuantizeResult", "quantize"]

DEFAULTS: dict[str, Any] = {
    "epochs": 2,
    "muon_lr": 0.0025,  # small learning rates: the network is trained already
    "adamw_lr": 4e-4,
    "bf16": False,  # codes must stay exact
    "label_smoothing": 0.1,
}
"""Settings of the fine-tuning that differ from, or must not follow, those of `TrainConfig`."""


@dataclass(frozen=True)
class QuantizeResult:
    """Result of `quantize`.

    An unfinished run (`stop_after`) has only the numbers of epochs.

    Parameters
    ----------
    epoch, epochs
        Epochs of fine-tuning that are complete, and all of them.
    network
        The network file.
    validation_float, validation_before_tuning, validation_int8
        Top-1 accuracy on the validation images, in percent: of the float model, of the integer model before
        fine-tuning, and of the network file. None if the validation images were trained on.
    logits_compared
        Logits of the fine-tuned model that were compared with those of the network file. All are equal.
    table_entries_compared
        Table entries that were compared with the float functions. All are equal but for rounding.
    adder_luts_estimated
        Estimated LUTs of all layers as adder graphs.
    seconds
        Time of fine-tuning, added over all calls.
    """

    epoch: int
    epochs: int
    network: Path | None = None
    validation_float: float | None = None
    validation_before_tuning: float | None = None
    validation_int8: float | None = None
    logits_compared: int = 0
    table_entries_compared: int = 0
    adder_luts_estimated: int = 0
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """True once all epochs are complete; only then is there a network file."""
        return self.epoch >= self.epochs

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw quantize --json`` prints."""
        if not self.finished:
            return {"finished": False, "epoch": self.epoch, "epochs": self.epochs}
        return {
            "network": str(self.network),
            "validation_float": self.validation_float,
            "validation_before_tuning": self.validation_before_tuning,
            "validation_int8": self.validation_int8,
            "logits_compared": self.logits_compared,
            "logits_different": 0,
            "table_entries_compared": self.table_entries_compared,
            "table_entries_different": 0,
            "adder_luts_estimated": self.adder_luts_estimated,
            "seconds": self.seconds,
        }


def quantize(
    run: str | os.PathLike,
    name: str,
    directory: str | os.PathLike,
    *,
    network_path: str | os.PathLike | None = None,
    teachers: Sequence[str | os.PathLike] = (),
    targets: str | os.PathLike | None = None,
    calibration: int = 1000,
    bits: str | None = None,
    lut_budget: int | None = None,
    search_images: int = 2000,
    prune: str | None = None,
    epochs: int = DEFAULTS["epochs"],
    stop_after: int | None = None,
    dataset: str | Dataset = "cifar10",
    data: str | os.PathLike | None = None,
    log: Log = silent,
    progress: Progress = silent,
    observer: TrainingObserver | None = None,
    **settings: Any,
) -> QuantizeResult:
    """Fine-tune a float model as an INT8 network, and write the network file.

    The forward pass of the fine-tuning is the integer model itself. Before the file is written, its logits on all
    validation images are compared with those of the fine-tuned model, and its tables with the float functions.

    Parameters
    ----------
    run
        Run directory or ``model.safetensors`` of the float model.
    name
        Name of the network, written into its file.
    directory
        Run directory to write. An unfinished run in it is resumed.
    network_path
        Network file to write; ``NAME.safetensors`` in `directory` unless given.
    teachers, targets
        Teachers or their stored answers, to distil from while fine-tuning; see `psahw.model.training.distill`.
    calibration
        Number of training images that set the scales.
    bits
        Bits of the weights, 2 to 8: of all layers ("5") or by name ("5,head=8,*.token_mixing=4").
    lut_budget
        Estimated LUTs of all layers as adder graphs, for which to choose bits.
    search_images
        Training images on which the search for the budget measures the loss.
    prune
        Fraction of the weights, 0 to 1, that become 0 while fine-tuning: of all layers together, or by name.
    epochs
        Epochs of fine-tuning. With 0, scales are set and nothing is trained.
    stop_after
        Leave the run unfinished after this epoch.
    dataset
        Name of a data set (`psahw.model.data.DATASETS`), or a data set.
    data
        Directory with the official files of the named data set.
    log
        Called with messages.
    progress
        Called with the number of layers that the search for the budget has measured, and of all.
    observer
        Receives the progress of the fine-tuning. By default, `log` is called with one line per epoch.
    settings
        Other fields of `TrainConfig`; those not given are as in `DEFAULTS`.

    Raises
    ------
    UserError
        If something asked for is not possible, or the directory holds another run.
    CheckFailed
        If the loss is not finite, or the network file would not compute what was trained.
    """
    tuned = epochs != 0
    teaching = Teaching.load(teachers, targets)
    given = settings | ({"epochs": epochs} if tuned else {})
    config = TrainConfig.from_dict(DEFAULTS | teaching.augmentation | given)
    if config.bf16:
        raise UserError("bf16 must be false: bfloat16 cannot hold the codes of a quantised network")
    model, about = checkpoint.load_model(model_file(run))
    if not isinstance(model, ResMLP):
        raise UserError(f"{run}: a convolutional teacher is never quantised")
    compression = Compression.parse(layer_names(model.config), bits, lut_budget, search_images, prune)
    source = dataset if isinstance(dataset, str) else dataset.name
    describe = {"model": model.config.to_dict(), "dataset": source, "float": about, "calibration": calibration}
    describe |= teaching.describe
    refuse_other_files(directory, f"{name}.safetensors", SEARCH_FILE)
    with output_directory(directory) as output:
        path = Path(network_path or output / f"{name}.safetensors")
        if not path.parent.is_dir():
            raise UserError(f"directory {path.parent} for the network file does not exist (--network)")
        writable_directory(path.parent)
        images = datasets.load(dataset, data, log)
        images.check((*model.config.image, 3), model.config.classes, f"run {run}")
        teaching.check(images)
        train, held = datasets.split(len(images.train_images), all_images=config.all_images)
        validation, labels = images.train_images[held], images.train_labels[held]
        judged = held_out([describe, config.to_dict()])
        accuracies = {"validation float": accuracy(model, validation, labels)} if judged else {}
        quantized = QuantizedResMLP(model, images.train_images[train[:calibration]])
        pruning = None
        if compression.prune is not None:
            pruning = Pruning(quantized, compression.prune, compression.prune_by_layer)
        chosen = choose_bits(
            compression, quantized, pruning, images.train_images[train], images.train_labels[train], describe, output,
            log, progress,
        )  # fmt: skip
        describe |= compression.describe()
        if pruning is not None and not tuned:
            pruning.prune()
        if judged:
            accuracies["validation INT8 before fine-tuning"] = accuracy(quantized, validation, labels)
        seconds = 0.0
        if tuned:
            result = fit(
                quantized, images, config, output, teachers=teaching.models, targets=teaching.targets,
                describe=describe, stop_after=stop_after, log=log, observer=observer or EpochLines(log),
                before_epoch=None if pruning is None else _prune_before_epoch(pruning, config.epochs),
            )  # fmt: skip
            seconds = result.seconds
            if result.epoch < config.all_epochs:
                return QuantizeResult(result.epoch, config.all_epochs)
            if processes()[0] != 0:
                return QuantizeResult(result.epoch, config.all_epochs, path)
    metadata = {
        "dataset": source,
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
            **compression.describe(),
            "bits": chosen,
            **provenance(),
        },
        "accuracy": accuracies,
        "scales": scales(quantized),
    }
    quantized.cpu().eval()  # the integers are read out and compared on the CPU, wherever they were trained
    network = to_network(quantized, name, images.classes, metadata)
    logits = reference.run(network, validation)
    table_entries = _check_integers(network, logits, quantized, model, validation)
    if judged:
        accuracies["validation INT8"] = 100 * float((logits.argmax(1) == labels).mean())
    network_file.save(dataclasses.replace(network, metadata=metadata), path)
    luts = summarise(network)["adder_luts"]
    if lut_budget is not None and luts > lut_budget:
        log(f"fine-tuned, it takes an estimated {luts:,} LUTs of the {lut_budget:,} asked for")
    return QuantizeResult(
        epoch=config.all_epochs if tuned else 0,
        epochs=config.all_epochs if tuned else 0,
        network=path,
        validation_float=accuracies.get("validation float"),
        validation_before_tuning=accuracies.get("validation INT8 before fine-tuning"),
        validation_int8=accuracies.get("validation INT8"),
        logits_compared=logits.size,
        table_entries_compared=table_entries,
        adder_luts_estimated=luts,
        seconds=seconds,
    )


def _prune_before_epoch(pruning: Pruning, epochs: int) -> Callable[[int], None]:
    """Return a function that prunes as much as an epoch of fine-tuning needs, before it begins."""
    return lambda epoch: pruning.prune(cubic(epoch, epochs))


def _check_integers(
    network: Network, logits: np.ndarray, quantized: QuantizedResMLP, model: ResMLP, images: np.ndarray
) -> int:
    """Compare an exported network with what was trained, and return the number of table entries compared.

    Raises
    ------
    CheckFailed
        If the network's `logits` of `images` differ from those of the torch model `quantized`, or if its tables are
        not the functions of the float `model`.
    """
    parts = np.array_split(images, -(-len(images) // 500))
    with torch.no_grad():
        codes = np.concatenate([quantized.codes(torch.from_numpy(part)).numpy() for part in parts])
    if not (codes == logits).all():
        raise CheckFailed(f"{int((codes != logits).sum())} logits of the torch model differ from the integer model's")
    entries, different = compare(network, model.cpu())
    if different:
        raise CheckFailed(f"{len(different)} entries of tables are not what was trained: {different[0]}")
    return entries
