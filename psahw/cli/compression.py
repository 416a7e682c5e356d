"""Options of ``quantize`` that make the adder graphs smaller: bits per layer, a budget of LUTs, pruning."""

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import click

from ..errors import UserError
from ..files import write_whole
from . import output

__all__ = ["SEARCH_FILE", "Compression", "choose_bits", "compression_options", "parse"]

SEARCH_FILE = "bits.json"  # in the run directory: what the search for the budget measured and chose


def compression_options(command):
    options = [
        click.option(
            "--bits",
            metavar="BITS|LAYER=BITS,...",
            help="Bits of the weights, 2 to 8, of all layers or by name (as in psahw info; * is any part).",
        ),
        click.option(
            "--lut-budget",
            type=click.IntRange(1),
            metavar="LUTS",
            help="Choose bits of each layer for adder graphs of at most so many LUTs (estimated).",
        ),
        click.option(
            "--search-images",
            type=click.IntRange(1),
            default=2000,
            show_default=True,
            help="Training images on which --lut-budget measures the loss.",
        ),
        click.option(
            "--prune",
            metavar="PART|LAYER=PART,...",
            help="Part of the weights, 0 to 1, that become 0 while fine-tuning: of all layers together, or by name.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class Compression(NamedTuple):
    """What was asked for. `bits` has every layer. `own` has the layers with a part of pruned weights of their own,
    `common` is that of all others together; None is no pruning at all."""

    bits: dict[str, int]
    lut_budget: int | None
    search_images: int
    common: float | None
    own: dict[str, float]

    def describe(self) -> dict:
        """For a checkpoint, as JSON; nothing for what stayed as it is without these options."""
        described = {"bits": self.bits} if set(self.bits.values()) != {8} else {}
        if self.lut_budget is not None:
            described |= {"lut_budget": self.lut_budget, "search_images": self.search_images}
        if self.common is not None:
            described["prune"] = {"common": self.common, "layers": self.own}
        return described


def _per_layer(option: str, text: str, names: list[str], convert: Callable, wanted: str):
    """(value for all, {layer: value}) from "5", "head=8", "5,stages.*.token_mixing=4"; later parts win."""
    common, own = None, {}
    for part in text.split(","):
        pattern, separator, value = part.rpartition("=")
        try:
            number = convert(value)
        except ValueError:
            raise UserError(f"{option} must be {wanted}, not {value!r}") from None
        if not separator:
            common = number
            continue
        layers = [name for name in names if fnmatchcase(name, pattern.strip())]
        if not layers:
            raise UserError(f"{option}: no layer {pattern.strip()!r}; layers are {', '.join(names)}")
        own |= dict.fromkeys(layers, number)
    return common, own


def _bits(text: str) -> int:
    if not 2 <= (bits := int(text)) <= 8:
        raise ValueError
    return bits


def _part(text: str) -> float:
    if not 0 <= (part := float(text)) < 1:
        raise ValueError
    return part


def parse(names: list[str], bits: str | None, lut_budget: int | None, search_images: int, prune: str | None):
    """The options as a `Compression` of a network with these layers."""
    common_bits, own_bits = _per_layer("--bits", bits, names, _bits, "an integer from 2 to 8") if bits else (None, {})
    common, own = None, {}
    if prune is not None:
        common, own = _per_layer("--prune", prune, names, _part, "a number from 0 to below 1")
        common = common or 0.0
    every = {name: own_bits.get(name, common_bits or 8) for name in names}
    return Compression(every, lut_budget, search_images, common, own)


def choose_bits(asked: Compression, model, pruning, images, labels, about: dict, directory: Path) -> dict[str, int]:
    """Sets the bits of the quantised `model`'s layers, and says which: those asked for, or, within a budget, at most
    those. What was measured is kept in the run directory, and used again for the same `about`."""
    from ..model.bits import check_budget, choose, loss_by_bits, luts_by_bits

    layers = model.layers()
    for name, layer in layers.items():
        layer.rows.bits = asked.bits[name]
    if asked.lut_budget is None:
        return asked.bits
    path = directory / SEARCH_FILE
    about = json.loads(json.dumps(about | asked.describe()))
    measured = _measured(path, about)
    if measured is None:
        if pruning is not None:
            pruning.prune()
        luts = luts_by_bits(model)
        if pruning is not None:
            pruning.restart()
        check_budget(luts, asked.lut_budget)
        output.note(f"measures the loss with fewer bits in each of {len(layers)} layers")
        with output.progress("layers", len(layers)) as advance:
            loss = loss_by_bits(model, images[: asked.search_images], labels[: asked.search_images], advance)
        bits = choose(loss, luts, asked.lut_budget)
        measured = {"about": about, "bits": bits, "luts": luts, "loss": loss}
        write_whole(path, json.dumps(measured, indent=1))
    for name, layer in layers.items():
        layer.rows.bits = measured["bits"][name]
    return measured["bits"]


def _measured(path: Path, about: dict) -> dict | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("about") == about else None
