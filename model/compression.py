"""Smaller adder graphs: bits per layer, a budget of LUTs and pruning, as they are asked for by layer name."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from psahw import documents
from psahw.callbacks import Log, Progress, counter
from psahw.errors import UserError
from psahw.files import write_whole
from psahw.quoting import quote

from .bits import check_budget, choose, loss_by_bits, luts_by_bits
from .graphs.quantised import QuantizedGraph
from .prune import Pruning
from .quant import QuantizedResMLP

__all__ = ["SEARCH_FILE", "Compression", "choose_bits"]

SEARCH_FILE = "bits.json"  # in the run directory: the result of the search for the budget

Number = TypeVar("Number", int, float)


def _per_layer(
    parameter: str, text: str, names: list[str], convert: Callable[[str], Number], expected: str
) -> tuple[Number | None, dict[str, Number]]:
    """Parse "5", "head=8" or "5,stages.*.token_mixing.*=4", and return the value for all layers and those by name.

    Later parts override earlier ones. `convert` raises ValueError for a value that is not `expected`.
    """
    common: Number | None = None
    by_name: dict[str, Number] = {}
    for part in text.split(","):
        pattern, separator, value = part.rpartition("=")
        try:
            number = convert(value)
        except ValueError:
            raise UserError(f"{parameter} must be {expected}, not {quote(value)}") from None
        if not separator:
            common = number
            continue
        layers = [name for name in names if fnmatchcase(name, pattern.strip())]
        if not layers:
            raise UserError(f"{parameter}: no layer {quote(pattern.strip())}; layers are {', '.join(names)}")
        by_name |= dict.fromkeys(layers, number)
    return common, by_name


def _bits(text: str) -> int:
    if not 2 <= (bits := int(text)) <= 8:
        raise ValueError
    return bits


def _fraction(text: str) -> float:
    if not 0 <= (fraction := float(text)) < 1:
        raise ValueError
    return fraction


@dataclass(frozen=True)
class Compression:
    """How the weights of a network are to be made cheaper."""

    bits: dict[str, int]  # of the weights of each layer, 2 to 8; with a budget, the most that may be chosen
    lut_budget: int | None  # estimated LUTs of all adder graphs together
    search_images: int  # training images on which the search for the budget measures the loss
    prune: float | None  # fraction of the weights of all layers without one of their own; None: no pruning at all
    prune_by_layer: dict[str, float]  # fractions of single layers

    @classmethod
    def parse(
        cls, names: list[str], bits: str | None, lut_budget: int | None, search_images: int, prune: str | None
    ) -> "Compression":
        """Read what is asked for, for a network with layers of these names.

        Parameters
        ----------
        names
            Names of the layers with weights, as in the network file.
        bits
            Bits of the weights, as "5", "head=8" or "5,*.token_mixing.*=4". 8 unless given.
        lut_budget
            Estimated LUTs for which to choose bits.
        search_images
            Training images on which the search measures the loss.
        prune
            Fractions of the weights to prune, in the same form.

        Raises
        ------
        UserError
            If a number is out of range or no layer has a given name.
        """
        common, by_name = _per_layer("bits", bits, names, _bits, "an integer from 2 to 8") if bits else (None, {})
        every = {name: by_name.get(name, common or 8) for name in names}
        if prune is None:
            return cls(every, lut_budget, search_images, None, {})
        fraction, fractions = _per_layer("prune", prune, names, _fraction, "a number from 0 to below 1")
        return cls(every, lut_budget, search_images, fraction or 0.0, fractions)

    def describe(self) -> dict[str, Any]:
        """Return the entries for the description of a run.

        What keeps its default is left out, so that a run from before these options can be resumed.
        """
        described: dict[str, Any] = {"bits": self.bits} if set(self.bits.values()) != {8} else {}
        if self.lut_budget is not None:
            described |= {"lut_budget": self.lut_budget, "search_images": self.search_images}
        if self.prune is not None:
            described["prune"] = {"common": self.prune, "layers": self.prune_by_layer}
        return described


def choose_bits(
    compression: Compression,
    model: QuantizedResMLP | QuantizedGraph,
    pruning: Pruning | None,
    images: np.ndarray,
    labels: np.ndarray,
    about: dict,
    directory: Path,
    log: Log,
    progress: Progress,
) -> dict[str, int]:
    """Set the bits of each layer's weights, and return them.

    Without a budget they are those asked for. With one, they are searched for, and what the search measured is
    kept in the run directory (`SEARCH_FILE`) and used again for a run with the same description.

    Parameters
    ----------
    compression
        What is asked for.
    model
        The network whose bits are set.
    pruning
        Pruning that fine-tuning will do. The budget counts the weights that will be left.
    images, labels
        Training images uint8 [n, h, w, 3] and labels [n]; the first `search_images` of them are used.
    about
        Description of the run, as JSON.
    directory
        The run directory.
    log, progress
        Called with a message, and with the number of layers that are measured and of all, if a search takes place.

    Raises
    ------
    UserError
        If no choice of bits is within the budget.
    """
    layers = model.layers()
    for name, layer in layers.items():
        layer.rows.bits = compression.bits[name]
    if compression.lut_budget is None:
        return compression.bits
    path = directory / SEARCH_FILE
    about = json.loads(json.dumps(about | compression.describe()))
    bits = _read_search(path, about, layers)
    if bits is None:
        if pruning is not None:
            pruning.prune()
        luts = luts_by_bits(model)
        if pruning is not None:
            pruning.restart()
        check_budget(luts, compression.lut_budget)
        log(f"measures the loss with fewer bits in each of {len(layers)} layers")
        count = compression.search_images
        loss = loss_by_bits(model, images[:count], labels[:count], counter(progress, len(layers)))
        bits = choose(loss, luts, compression.lut_budget)
        search = {"about": about, "bits": bits, "luts": luts, "loss": loss}
        write_whole(path, json.dumps(search, indent=1))
    for name, layer in layers.items():
        layer.rows.bits = bits[name]
    return bits


class _Search(msgspec.Struct):
    """The entries of a search that matter here: what it was for, and the bits of each layer."""

    about: dict[str, Any]
    bits: dict[str, Annotated[int, msgspec.Meta(ge=2, le=8)]]


def _read_search(path: Path, about: dict, layers: Collection[str]) -> dict[str, int] | None:
    """Return the bits that a search has chosen, or None if there is none, or none for this description."""
    try:
        search = documents.read(path, _Search)
    except UserError:
        return None
    return search.bits if search.about == about and search.bits.keys() == set(layers) else None
