"""Options of ``quantize`` that make the adder graphs smaller: bits per layer, a budget of LUTs, pruning."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import output

__all__ = ["compression_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def compression_options(command: Command) -> Command:
    """Add ``--bits``, ``--lut-budget``, ``--search-images`` and ``--prune`` to a command, and return it."""
    options = [
        click.option(
            "--bits",
            metavar="BITS|LAYER=BITS,...",
            help="Bits of the weights, 2 to 8, of all layers or by name (as in psahw info; * is any part).",
        ),
        click.option(
            "--lut-budget",
            type=output.COUNT,
            metavar="LUTS",
            help="Choose bits for each layer so that the adder graphs take at most this many LUTs (estimated).",
        ),
        click.option(
            "--search-images",
            type=output.COUNT,
            default=2000,
            show_default=True,
            help="Training images on which --lut-budget measures the loss.",
        ),
        click.option(
            "--prune",
            metavar="PART|LAYER=PART,...",
            help="Fraction of the weights, 0 to 1, that become 0 while fine-tuning: of all layers together, or by "
            "name.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
