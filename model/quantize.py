"""Turn a trained float model into an INT8 network file: calibrate, fine-tune, export, and compare the integers."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from psahw.callbacks import Log, Progress, silent
from psahw.errors import CheckFailed, UserError
from psahw.files import output_directory, writable_directory
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.checks import check_name
from psahw.network.graph import Network
from psahw.network.summary import summarise
from psahw.quoting import quote

from . import checkpoint
from . import data as datasets
from .compression import SEARCH_FILE, Compression, choose_bits
from .config import TrainConfig, held_out
from .convnet import ConvNet
from .data import Data, Dataset
from .datasets.source import Task
from .graphs.network import GraphNet
from .models import form, task_of
from .predict import images_at_once, predict
from .processes import processes
from .progress import EpochLines, TrainingObserver
from .prune import Pruning, cubic
from .quantised import Quantized, layer_names, quantise, scales, tables_compared, to_network
from .resmlp import ResMLP
from .run_directory import model_file, provenance, refuse_other_files
from .tasks import score
from .teaching import Teaching
from .training_loop import fit

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
        Score on the validation images in percent, as in `psahw.model.training.TrainingResult`: of the float model, of
        the integer model before fine-tuning, and of the network file. None if the validation images were trained on.
    logits_compared
        Logits of the fine-tuned model that were compared with those of the network file. All are equal.
    table_entries_compared
        Table entries that were compared with the float functions. All are equal but for rounding.
    adder_luts_estimated
        Estimated LUTs of all layers as adder graphs.
    seconds
        Time of fine-tuning, added over all calls.
    task
        What the network says: "class", "values" or "labels".
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
    task: Task = "class"

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
    calibration_seed: int | None = None,
    bits: str | None = None,
    lut_budget: int | None = None,
    search_images: int = 2000,
    prune: str | None = None,
    epochs: int = DEFAULTS["epochs"],
    stop_after: int | None = None,
    dataset: Data = "cifar10",
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
    calibration_seed
        Draw these images at random with this seed; None takes the first ones.
    bits
        Bits of the weights, 2 to 8: of all layers ("5") or by name ("5,head=8,*.token_mixing.*=4").
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
        A data set, or its name or path (`psahw.model.data.load`).
    data
        File or directory with a copy of the named data set.
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
    teaching = Teaching.load(teachers, targets)
    given = settings if epochs == 0 else settings | {"epochs": epochs}
    config = TrainConfig.from_dict(DEFAULTS | teaching.augmentation | given)
    if config.bf16:
        raise UserError("bf16 must be false: bfloat16 cannot hold the codes of a quantised network")
    model, about = _load(run)
    job = _Job(
        name=name,
        model=model,
        about=about,
        dataset=datasets.describe(dataset),
        teaching=teaching,
        config=config,
        tunes=epochs != 0,
        calibration=calibration,
        calibration_seed=calibration_seed,
        compression=Compression.parse(layer_names(model), bits, lut_budget, search_images, prune),
    )
    try:
        check_name("--name", name)  # before hours of training
    except ValueError as error:
        raise UserError(str(error)) from None
    if network_path is None and Path(name).name != name:
        raise UserError(
            f"--name must be a file name, not {quote(name)}: it names the network file (or use --network)"
        )
    refuse_other_files(directory, f"{name}.safetensors", SEARCH_FILE)
    with output_directory(directory) as output:
        path = Path(network_path or output / f"{name}.safetensors")
        _check_folder(path)
        images = datasets.load(dataset, data, log, models=[form(model, f"run {run}"), *teaching.forms])
        validation = _Validation.select(images, job)
        validation.measure("validation float", model)
        quantized, pruning, chosen_bits = _prepare(job, images, output, log, progress)
        validation.measure("validation INT8 before fine-tuning", quantized)
        seconds = 0.0
        if job.tunes:
            result = fit(
                quantized, images, config, output, teachers=teaching.models, targets=teaching.targets,
                describe=job.describe, stop_after=stop_after, log=log, observer=observer or EpochLines(log),
                before_epoch=None if pruning is None else _prune_before_epoch(pruning, config.epochs),
            )  # fmt: skip
            seconds = result.seconds
            if result.epoch < job.epochs:
                return QuantizeResult(result.epoch, job.epochs)
            if processes()[0] != 0:
                return QuantizeResult(result.epoch, job.epochs, path)
    network, logits, table_entries = _export(job, quantized, chosen_bits, seconds, images, validation)
    network_file.save(network, path)
    luts = summarise(network)["adder_luts"]
    if lut_budget is not None and luts > lut_budget:
        log(f"fine-tuned, it takes an estimated {luts:,} LUTs of the {lut_budget:,} asked for")
    return QuantizeResult(
        epoch=job.epochs,
        epochs=job.epochs,
        network=path,
        validation_float=validation.accuracies.get("validation float"),
        validation_before_tuning=validation.accuracies.get("validation INT8 before fine-tuning"),
        validation_int8=validation.accuracies.get("validation INT8"),
        logits_compared=logits.size,
        table_entries_compared=table_entries,
        adder_luts_estimated=luts,
        seconds=seconds,
        task=task_of(job.model.config),
    )


def _load(run: str | os.PathLike) -> tuple[ResMLP | GraphNet, dict[str, Any]]:
    """Return a float model, and how it was trained. Raises UserError if it cannot be quantised."""
    model, about = checkpoint.load_model(model_file(run))
    if isinstance(model, ConvNet):
        raise UserError(f'{run}: a teacher of kind "conv" is never quantised')
    return model, about


def _check_folder(path: Path) -> None:
    """Raise UserError unless a network file can be written."""
    if not path.parent.is_dir():
        raise UserError(f"directory {path.parent} for the network file does not exist (--network)")
    writable_directory(path.parent)


@dataclass(frozen=True)
class _Job:
    """A float model, and how it is to be quantised."""

    name: str  # of the network
    model: ResMLP | GraphNet
    about: dict[str, Any]  # how the float model was trained
    dataset: dict[str, Any]  # its name and options
    teaching: Teaching
    config: TrainConfig
    tunes: bool  # false: only the scales are set
    calibration: int  # images that set the scales
    calibration_seed: int | None  # by which they are drawn
    compression: Compression

    @property
    def epochs(self) -> int:
        """Epochs of fine-tuning."""
        return self.config.all_epochs if self.tunes else 0

    def calibration_images(self, count: int) -> np.ndarray:
        """Return the indices of the images that set the scales, of so many."""
        if self.calibration_seed is None:
            return np.arange(min(self.calibration, count))
        return np.random.default_rng(self.calibration_seed).permutation(count)[: self.calibration]

    @property
    def describe(self) -> dict[str, Any]:
        """Entries that identify the run, besides its settings."""
        return {
            "model": self.model.config.to_dict(),
            **self.dataset,
            "float": self.about,
            "calibration": self.calibration,
            **({} if self.calibration_seed is None else {"calibration_seed": self.calibration_seed}),
            **self.teaching.describe,
            **self.compression.describe(),
        }

    def metadata(self, quantized: Quantized, bits: dict[str, int], seconds: float) -> dict[str, Any]:
        """Return the metadata of the network file; its accuracies are still missing."""
        config = self.model.config
        return {
            **self.dataset,
            "preprocessing": "code = pixel - 128",
            "model": config.to_dict(),
            "macs": config.macs(),
            "weights": config.weights(),
            "float_training": self.about,
            "teacher": self.describe.get("teacher"),
            "targets": self.describe.get("targets"),
            "quantisation": {
                "train": self.config.to_dict() if self.tunes else None,
                "calibration_images": self.calibration,
                "seed": self.config.seed,
                "seconds": seconds,
                **self.compression.describe(),
                "bits": bits,
                **provenance(),
            },
            "accuracy": {},
            "scales": scales(quantized),
        }


@dataclass(frozen=True, eq=False)
class _Validation:
    """The validation images, and the accuracies that were measured on them."""

    images: np.ndarray  # uint8 [n, height, width, colours]
    labels: np.ndarray  # [n]
    task: Task
    held_out: bool  # false: they were trained on, and no accuracy is measured
    accuracies: dict[str, float] = field(default_factory=dict)  # in percent

    @classmethod
    def select(cls, dataset: Dataset, job: _Job) -> "_Validation":
        """Return the validation images of a data set."""
        _, indices = dataset.split()
        untouched = held_out([job.describe, job.config.to_dict()])
        return cls(dataset.train_images[indices], dataset.train_labels[indices], dataset.task, untouched)

    def measure(self, name: str, model: nn.Module) -> None:
        """Add the score of a model."""
        if self.held_out:
            self.add(name, predict(model, self.images), model)

    def add(self, name: str, outputs: np.ndarray, model: nn.Module) -> None:
        """Add the score of a model's outputs [n, classes], see `tasks`."""
        if self.held_out:
            self.accuracies[name] = score(outputs, self.labels, self.task, model)


def _prepare(
    job: _Job, dataset: Dataset, directory: Path, log: Log, progress: Progress
) -> tuple[Quantized, Pruning | None, dict[str, int]]:
    """Return the network before fine-tuning, with its pruning if there is any, and the bits of its layers.

    If no fine-tuning follows, the weights are pruned already.
    """
    indices, _ = dataset.split(all_images=job.config.all_images)
    images, labels = dataset.train_images[indices], dataset.train_labels[indices]
    compression = job.compression
    quantized = quantise(job.model, images[job.calibration_images(len(images))])
    pruning = None
    if compression.prune is not None:
        pruning = Pruning(quantized, compression.prune, compression.prune_by_layer)
    bits = choose_bits(compression, quantized, pruning, images, labels, job.describe, directory, log, progress)
    if pruning is not None and not job.tunes:
        pruning.prune()
    return quantized, pruning, bits


def _prune_before_epoch(pruning: Pruning, epochs: int) -> Callable[[int], None]:
    """Return a function that prunes as much as an epoch of fine-tuning needs, before it begins."""
    return lambda epoch: pruning.prune(cubic(epoch, epochs))


def _export(
    job: _Job,
    quantized: Quantized,
    bits: dict[str, int],
    seconds: float,
    dataset: Dataset,
    validation: _Validation,
) -> tuple[Network, np.ndarray, int]:
    """Return the network, its logits of the validation images, and the number of table entries that were compared.

    The accuracy of the network becomes part of its metadata. Raises CheckFailed as `_check_integers` does.
    """
    quantized.cpu().eval()  # the integers are read out and compared on the CPU, wherever they were trained
    metadata = job.metadata(quantized, bits, seconds)
    if dataset.columns is not None:
        metadata["columns"] = dataset.columns.to_dict()
    network = to_network(quantized, job.name, dataset.classes, metadata)
    logits = reference.run(network, validation.images)
    table_entries = _check_integers(network, logits, quantized, job.model, validation.images)
    outputs = logits * quantized.output_scale.double().numpy()
    validation.add("validation INT8", outputs, quantized)
    recorded = {name: max(share, 0.0) for name, share in validation.accuracies.items()}  # R² may be negative
    metadata = network.metadata | {"accuracy": recorded}
    return dataclasses.replace(network, metadata=metadata), logits, table_entries


def _check_integers(
    network: Network, logits: np.ndarray, quantized: Quantized, model: ResMLP | GraphNet, images: np.ndarray
) -> int:
    """Compare an exported network with what was trained, and return the number of table entries compared.

    Raises
    ------
    CheckFailed
        If the network's `logits` of `images` differ from those of the torch model `quantized`, or if its tables are
        not the functions of the float `model`.
    """
    parts = np.array_split(images, -(-len(images) // images_at_once(quantized, 500)))
    with torch.no_grad():
        codes = np.concatenate([quantized.codes(torch.from_numpy(part)).numpy() for part in parts])
    if not (codes == logits).all():
        raise CheckFailed(f"{int((codes != logits).sum())} logits of the torch model differ from the integer model's")
    entries, different = tables_compared(network, quantized, model.cpu())
    if different:
        raise CheckFailed(f"{len(different)} entries of tables are not what was trained: {different[0]}")
    return entries
