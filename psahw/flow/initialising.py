"""Begin a project with a data set: look at it, and write a configuration of a network that a board has room for."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..boards import Board
from ..callbacks import Log, silent
from ..errors import CheckFailed, UserError
from ..files import writable_directory, write_whole, writing
from ..network.checks import check_name
from ..quoting import printable
from ..report.overview import contact_sheet, histograms
from ..scratch import scratch_directory
from .arguments import board_of, check_number

if TYPE_CHECKING:
    from ..model.data import Data, Dataset
    from ..model.graphs.config import Shaped
    from ..network.graph import Network
    from .planning import BoardPlan

__all__ = ["InitResult", "Part", "init"]

CONFIGURATION = "config.toml"
_TABLE_WIDTHS = ((128, 64), (64, 64), (64, 32), (32, 32), (32, 16), (16, 16), (16,), (8,))
_CONVOLUTION_SCALES = (4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5, 0.25)
_CHANNELS = (16, 24, 32, 48)  # of the convolutions, before they are scaled
_SMALLEST_GRID = 4  # rows or columns that are not halved any more
_EPOCHS = 40
_COMPILED_MACS = 1e11  # of a training; a shorter one is over before torch has compiled it
_LONGEST_ROW = 1024  # most inputs of the output layer, if it sees each position
_CALIBRATION = 64  # images that set the scales of a network that is only planned
_SPARE = 0.03  # of LUTs and flip-flops: trained weights took up to 2 % more of them than random ones
_LIMITS = {"lut": "--max-lut", "ff": "--max-ff", "dsp": "--max-dsp", "bram36": "--max-bram"}


@dataclass(frozen=True)
class Part:
    """A class, value or label in the training rows of a data set.

    Parameters
    ----------
    name
        Its name.
    count
        Examples of a class, or with a label; None for a value.
    share
        The same in percent of all examples; None for a value.
    low, mean, high
        Least, mean and greatest value; None for a class or label.
    """

    name: str
    count: int | None = None
    share: float | None = None
    low: float | None = None
    mean: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class InitResult:
    """Result of `init`.

    Parameters
    ----------
    dataset, task
        Name of the data set, and what it is about: "class", "values" or "labels".
    shape
        Height, width and colours of an image; a row of a table has one pixel.
    training, validation, test
        Number of examples.
    parts
        The classes, values or labels.
    directory, configuration, picture
        What was written: the directory, the configuration in it, and the contact sheet or the histograms.
    kind
        Kind of the network, such as "convolutional".
    macs, weights
        Multiply-accumulates per image, and weights.
    plan
        Plan of a network of this shape with random weights, with MAC arrays only.
    commands
        The three commands that train, quantise and simulate it.
    """

    dataset: str
    task: str
    shape: tuple[int, int, int]
    training: int
    validation: int
    test: int
    parts: tuple[Part, ...]
    directory: Path
    configuration: Path
    picture: Path
    kind: str
    macs: int
    weights: int
    plan: "BoardPlan"
    commands: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw init --json`` prints."""
        return {
            "dataset": self.dataset,
            "task": self.task,
            "shape": list(self.shape),
            "training": self.training,
            "validation": self.validation,
            "test": self.test,
            "parts": [{key: value for key, value in vars(part).items() if value is not None} for part in self.parts],
            "directory": str(self.directory),
            "configuration": str(self.configuration),
            "picture": str(self.picture),
            "kind": self.kind,
            "macs": self.macs,
            "weights": self.weights,
            "board": self.plan.board.name,
            "fps": self.plan.fps,
            "estimated": self.plan.resources.to_dict(),
            "commands": list(self.commands),
        }


def init(
    dataset: "Data",
    directory: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    board: str | Board = "tangprimer20k",
    fps: float = 1000,
    budget: Mapping[str, float] | None = None,
    log: Log = silent,
) -> InitResult:
    """Summarise a data set, and write a configuration for it, a picture of it and the next commands.

    Of a few networks of usual shapes, the largest is taken of which a board has room for a circuit with MAC arrays at
    the frame rate, with a few percent to spare, because trained weights may take more than random ones. Whether a
    smaller one is as accurate, only training tells.

    Parameters
    ----------
    dataset
        A data set, or its name or path (`psahw.model.data.load`).
    directory
        Directory to write, which must not exist or be empty.
    data
        File or directory with a copy of the named data set.
    board, fps, budget
        As for `psahw.flow.planning.plan`.
    log
        Called with messages.

    Raises
    ------
    UserError
        If there is no such data set, something in it is wrong, or the directory holds files.
    CheckFailed
        If the board has no room for the smallest network. The message names the smallest overrun.

    Examples
    --------
    >>> result = init("digits", "digits-on-tang")  # doctest: +SKIP
    >>> result.commands[0]  # doctest: +SKIP
    'psahw train --config digits-on-tang/config.toml --dataset digits ...'
    """
    from ..model import data as datasets

    board = board_of(board)
    check_number("fps", fps)
    folder = Path(directory)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already: name a directory that does not, with -o")
    parent = writable_directory(folder.absolute().parent)
    loaded = datasets.load(dataset, data, log)
    name = "".join(letter if letter.isalnum() else "-" for letter in loaded.name).strip("-") or "network"
    check_name("the name of the network", name)
    config, planned = _largest(loaded, board, fps, budget, log)
    training, validation = loaded.split()
    with writing(folder), scratch_directory(f".{folder.name}.", parent) as scratch:
        fresh = scratch / "project"
        fresh.mkdir()
        picture = _draw(loaded, training, fresh)
        is_long = config.macs() * len(training) * _EPOCHS >= _COMPILED_MACS
        circuit: tuple[str, ...] = ("--board", board.name, "--fps", f"{fps:g}")
        for resource, limit in (budget or {}).items():
            circuit += (_LIMITS[resource], f"{limit:.15g}")
        circuit += () if board.engines == "mac" else ("--engines", "mac")  # as was planned here
        commands = _commands(loaded, folder, name, circuit, _options(dataset, data), is_long)
        write_whole(fresh / CONFIGURATION, _text(config, loaded, len(training), commands, planned).encode())
        os.rename(fresh, folder)
    return InitResult(
        dataset=loaded.name,
        task=loaded.task,
        shape=loaded.shape,
        training=len(training),
        validation=len(validation),
        test=len(loaded.test_images),
        parts=_parts(loaded, training),
        directory=folder,
        configuration=folder / CONFIGURATION,
        picture=folder / picture,
        kind=config.to_dict()["kind"],
        macs=config.macs(),
        weights=config.weights(),
        plan=planned,
        commands=commands,
    )


def _shapes(dataset: "Dataset") -> list["Shaped"]:
    """Return networks for a data set, the largest first."""
    from ..model.graphs.topologies import Convolutional, Mlp

    height, width, colours = dataset.shape
    form: dict[str, Any] = {
        "image": (height, width), "colours": colours, "classes": len(dataset.classes), "task": dataset.task,
    }  # fmt: skip
    if height * width == 1:
        return [Mlp(widths=widths, **form) for widths in _TABLE_WIDTHS]
    stages = 1
    while stages < len(_CHANNELS) and max(height, width) >> stages > _SMALLEST_GRID:
        stages += 1
    size = (1, 7) if height == 1 else (3, 3)
    widths = [
        tuple(max(4, round(channels * scale / 4) * 4) for channels in _CHANNELS[:stages])
        for scale in _CONVOLUTION_SCALES
    ]
    tokens = -(-height >> stages) * -(-width >> stages)
    return [
        Convolutional(widths=each, size=size, flatten=tokens * each[-1] <= _LONGEST_ROW, **form)
        for each in dict.fromkeys(widths)
    ]


def _largest(
    dataset: "Dataset", board: Board, fps: float, budget: Mapping[str, float] | None, log: Log
) -> tuple["Shaped", "BoardPlan"]:
    """Return the largest network that a board has room for, with a plan of it with random weights."""
    shapes = _shapes(dataset)
    for config in shapes:
        try:
            return config, _with_spare(_random(config, dataset), board, fps, budget)
        except (CheckFailed, UserError):
            if config is shapes[-1]:
                raise
            speed = f"{board.name} at {fps:g} frames per second"
            log(f"{config.weights():,} weights are too many for {speed}: trying fewer")
    raise AssertionError("there is always a shape")


def _with_spare(network: "Network", board: Board, fps: float, budget: Mapping[str, float] | None) -> "BoardPlan":
    """Return a plan that leaves `_SPARE` of what may be used. Raises CheckFailed if there is none."""
    from .planning import plan

    limits = plan(network, board, fps=fps, budget=budget, engines="mac").limits
    less = {name: (1 - _SPARE) * limits[name] for name in ("lut", "ff")}
    try:
        return plan(network, board, fps=fps, budget={**(budget or {}), **less}, engines="mac")
    except CheckFailed as error:
        raise CheckFailed(f"{error}; {100 * _SPARE:g} % of the limits are kept for what training changes") from None


def _random(config: "Shaped", dataset: "Dataset") -> "Network":
    """Return a network with random weights that has the shape of a configuration."""
    import torch

    from ..model.graphs.export import to_network
    from ..model.graphs.network import GraphNet
    from ..model.graphs.quantised import QuantizedGraph

    images = dataset.train_images[:_CALIBRATION]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = GraphNet(config).eval()
    return to_network(QuantizedGraph(model, images), "the smallest network", dataset.classes)


def _parts(dataset: "Dataset", training: np.ndarray) -> tuple[Part, ...]:
    """Return the classes, values or labels of the training examples."""
    labels = dataset.train_labels[training]
    if dataset.task == "values":
        ends = labels.min(0).tolist(), labels.mean(0).tolist(), labels.max(0).tolist()
        numbers = zip(dataset.classes, *ends, strict=True)
        return tuple(Part(name, low=low, mean=mean, high=high) for name, low, mean, high in numbers)
    if dataset.task == "labels":
        counts = labels.sum(0, dtype=int)
    else:
        counts = np.bincount(labels, minlength=len(dataset.classes))
    return tuple(
        Part(name, int(count), 100 * int(count) / len(labels))
        for name, count in zip(dataset.classes, counts, strict=True)
    )


def _draw(dataset: "Dataset", training: np.ndarray, folder: Path) -> str:
    """Write a picture of the training examples, and return its name."""
    height, width, colours = dataset.shape
    if height * width == 1:
        columns = dataset.columns
        names = columns.names if columns is not None else [str(index) for index in range(colours)]
        rules = columns.rules() if columns is not None else []
        ends = [(rule.offset, rule.offset + 255 * rule.step) for rule in rules] or [(0.0, 255.0)] * colours
        text = histograms(dataset.train_images[training, 0, 0], names, ends)
        write_whole(folder / "columns.svg", text.encode())
        return "columns.svg"
    rows = [training[start : start + 12].tolist() for start in range(0, min(len(training), 120), 12)]
    if dataset.task == "class":
        labels = dataset.train_labels[training]
        rows = [training[labels == number][:12].tolist() for number in range(len(dataset.classes))]
    write_whole(folder / "images.png", contact_sheet(dataset.train_images, rows))
    return "images.png"


def _options(dataset: "Data", data: str | os.PathLike | None) -> tuple[str, ...]:
    """Return the options of the command line that name a data set and say how it is read."""
    from ..model.data import Source, title

    if not isinstance(dataset, Source):
        dataset = Source(dataset if isinstance(dataset, str) else title(dataset))
    given = {"dataset": dataset.name, "data": data or dataset.data, **dataset.options()}
    return tuple(text for name, value in given.items() if value is not None for text in (f"--{name}", str(value)))


def _commands(
    dataset: "Dataset", folder: Path, name: str, circuit: tuple[str, ...], options: tuple[str, ...], is_long: bool
) -> tuple[str, ...]:
    """Return the commands that train, quantise and simulate a network, the last one with the options of a plan."""
    # Many pictures mean something else in a mirror, and whoever knows that these do not can leave the setting out.
    settings: tuple[str, ...] = () if dataset.shape[:2] == (1, 1) else ("--set", "flip=false")
    if min(dataset.shape[:2]) > 1:
        settings += ("--set", f"crop={min(2, min(dataset.shape[:2]) - 1)}")
    elif dataset.shape[1] > 1:
        settings += ("--set", "crop=0")
    if not is_long:
        settings += ("--set", "compile=false")
    batch = str(max(16, min(256, len(dataset.train_images) // 20)))
    configuration, in_float, in_int8 = (str(folder / part) for part in (CONFIGURATION, "float", "int8"))
    network = str(folder / "int8" / f"{name}.safetensors")
    train = ("psahw", "train", "--config", configuration, *options, "--epochs", str(_EPOCHS), "--batch", batch)
    quantise = ("psahw", "quantize", in_float, *options, "--name", name, "--batch", batch)
    simulate = ("psahw", "simulate", network, *options)
    images = min(20, len(dataset.test_images))
    return (
        shlex.join((*train, *settings, "-o", in_float)),
        shlex.join((*quantise, *settings, "-o", in_int8)),
        shlex.join((*simulate, *circuit, "--images", str(images))),
    )


_COMMENTS = {
    "kind": "a topology; docs/reference/training-settings.md lists all of them and their fields",
    "image": "rows and columns of an image; a row of a table is one pixel",
    "classes": "number of classes, values or labels",
    "colours": "colours of a pixel, or columns of a table",
    "task": '"class", "values" or "labels"',
    "activation": '"psa" learns the function of each neuron; "relu" costs least, "gelu" is fixed',
    "bits": "of the activations behind this function, 2 to 8; fewer make smaller tables",
    "segments": "of a PSA; more make finer functions, and cost nothing in the circuit",
    "grid_size": "points at which a PSA is evaluated: 4, 8, 10, 22 or 64",
    "widths": "channels of the layers: the first to change for a smaller or a more accurate network",
    "size": "rows and columns of the windows of a convolution",
    "flatten": "true: the output sees each position of the last grid; false: the mean over them",
    "pooling": "true: maxima of 2x2 halve the grid; false: strides of 2 do",
    "input_function": "true: learn a function for each input as well",
}


def _text(
    config: "Shaped", dataset: "Dataset", training: int, commands: tuple[str, ...], planned: "BoardPlan"
) -> str:
    """Return a configuration as TOML, with comments."""
    height, width, colours = dataset.shape
    examples = "rows" if height * width == 1 else "images"
    pixels = f"{height} x {width} pixels, {'grey' if colours == 1 else f'{colours} colours'}"
    what = f"{colours} columns" if height * width == 1 else pixels
    resources = planned.resources
    lines = [
        f"# A network for {printable(dataset.name)}: {training:,} {examples} to train on, of {what}.",
        f"# {config.macs():,} multiply-accumulates per image, {config.weights():,} weights.",
        f"# With MAC arrays it takes about {resources.lut:,.0f} LUTs, {resources.dsp:g} multipliers",
        f"# and {resources.bram36:g} block RAMs for {planned.fps:,.0f} frames per second (estimated),",
        f"# on {planned.where}.",
        "#",
        "# Next:",
        *(f"#   {printable(command)}" for command in commands),
        "",
    ]
    for key, value in config.to_dict().items():
        comment = f"  # {_COMMENTS[key]}" if key in _COMMENTS else ""
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value
        lines.append(f"{key} = {shown}{comment}")
    return "\n".join(lines) + "\n"
