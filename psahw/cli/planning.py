"""The options that determine a plan and a link, and what several commands do with them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..architecture.device import RESOURCES
from ..errors import UserError
from ..network.graph import Network
from ..planner.rules import KINDS
from ..quoting import quote
from . import output

if TYPE_CHECKING:
    from ..boards.link.options import LinkOptions
    from ..flow.elaboration import ElaborationResult
    from ..flow.packaging import PackageResult
    from ..flow.planning import BoardPlan

__all__ = ["Baud", "chosen_link", "link_options", "make_plan", "plan_options", "show_directory"]

BOARD_HELP = "kc705, genesys2, nereid, marble, alveo-u250, ulx3s-85f, ecpix5-85f, tangprimer20k or tangnano9k."
_BUDGET = {"lut": "max_lut", "ff": "max_ff", "dsp": "max_dsp", "bram36": "max_bram"}


AUTO = "auto"
"""The clock that `plan_at_highest_clock` finds."""


class ClockFrequency(click.ParamType):
    """A frequency in Hz, or `AUTO`."""

    name = "frequency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Return the frequency, or `AUTO`."""
        if value == AUTO:
            return AUTO
        try:
            return float(value)
        except ValueError:
            self.fail(f"{quote(value)} is neither a frequency in Hz nor {AUTO}.", param, ctx)


def plan_options(default_board: str | None = None, *, board_required: bool = True) -> Callable:
    """Return a decorator that adds the options that `make_plan` takes."""
    board: dict[str, Any] = (
        {"default": default_board, "show_default": True} if default_board else {"required": board_required}
    )
    options = (
        click.option("--board", "-b", metavar="BOARD", help=BOARD_HELP, **board),
        click.option(
            "--clock",
            type=ClockFrequency(),
            metavar="HZ",
            help="Clock, such as 143e6, or auto for the highest that an estimate supports; by default the board's.",
        ),
        click.option(
            "--fps", type=float, metavar="N", help="Frames per second to reach; by default the most that fit."
        ),
        click.option(
            "--bus-bytes", type=int, metavar="N", help="Image bytes per clock cycle; by default the board's."
        ),
        click.option("--max-lut", type=float, metavar="N", help="Limit of LUTs, if it is below the device's."),
        click.option("--max-ff", type=float, metavar="N", help="Limit of flip-flops."),
        click.option("--max-dsp", type=float, metavar="N", help="Limit of DSP slices."),
        click.option("--max-bram", type=float, metavar="N", help="Limit of block RAM, in units of 36 Kb."),
        click.option(
            "--utilisation",
            metavar="SHARE",
            help="Share of the device to fill, such as 0.7, or lut=0.7,ff=0.9; by default 0.8 of LUTs and "
            "flip-flops, and 1 of the rest.",
        ),
        click.option(
            "--engines",
            metavar="LIST",
            help=f"Engines to choose from, of {','.join(KINDS)}; by default all (mac on ECP5 and Gowin).",
        ),
        click.option(
            "--engine",
            "rules",
            multiple=True,
            metavar="LAYER=LIST",
            help="Engines of one layer, by its name or with wildcards; the last option that matches a layer counts.",
        ),
        click.option(
            "--plan", "plan_file", metavar="FILE", help="Take bus, token period and engines from a plan's JSON file."
        ),
    )

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _check_numbers(options: dict[str, Any]) -> None:
    """Raise UserError, naming the option, for numbers that are not possible."""
    clock = None if options["clock"] == AUTO else options["clock"]
    for name, value in (("clock", clock), ("fps", options["fps"]), ("bus_bytes", options["bus_bytes"])):
        flag = f"--{name.replace('_', '-')}"
        shown = f"{value:g}" if isinstance(value, float) else quote(value)  # a long integer is no float
        if value is not None and not value > 0:
            raise UserError(f"{flag} must be positive, not {shown}")
        if value is not None and value >= 1e12:
            raise UserError(f"{flag} must be below 1e12, not {shown}")
    for name in _BUDGET.values():
        value = options[name]
        if value is not None and not value >= 0:
            raise UserError(f"--{name.replace('_', '-')} must not be negative, not {value:g}")
    if clock is not None and clock < 1e6:
        raise UserError(f"--clock is in Hz and must be at least 1e6, not {clock:g}: did you mean {clock:g}e6?")


def _utilisation(text: str | None) -> dict[str, float] | None:
    """Return the shares that "0.7" or "lut=0.7,ff=0.9" stands for."""
    if text is None:
        return None
    shares: dict[str, float] = {}
    parts = text.split(",")
    for part in parts:
        name, separator, value = part.rpartition("=")
        names = (name,) if separator or len(parts) > 1 else RESOURCES
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 < share <= 1 or not set(names) <= set(RESOURCES):
            raise UserError(
                f"--utilisation needs a share in (0, 1] or {'|'.join(RESOURCES)}=SHARE, not {quote(part)}"
            )
        shares |= dict.fromkeys(names, share)
    return shares


def make_plan(
    network: Network,
    *,
    board: str,
    engines: str | None,
    rules: tuple[str, ...],
    plan_file: str | None,
    utilisation: str | None,
    link: "LinkOptions | None" = None,
    **options: Any,
) -> "BoardPlan":
    """Return the plan that the options of `plan_options` ask for."""
    from ..flow.highest_clock import plan_at_highest_clock
    from ..flow.planning import plan

    _check_numbers(options)
    settings: dict[str, Any] = {
        "fps": options["fps"],
        "bus_bytes": options["bus_bytes"],
        "budget": {name: options[option] for name, option in _BUDGET.items() if options[option] is not None},
        "utilisation": _utilisation(utilisation),
        "engines": engines,
        "layer_engines": rules,
        "template": plan_file,
        "link": link,
        "log": output.note,
    }
    if options["clock"] == AUTO:
        with output.steps() as shown:
            return plan_at_highest_clock(network, board, step=shown.step, progress=shown.progress, **settings)
    with output.progress("adder graphs") as progress:
        return plan(network, board, clock_hz=options["clock"], progress=progress, **settings)


class Baud(click.ParamType):
    """Bits per second, such as 3000000 or 3e6."""

    name = "baud"

    def convert(self, value, param, ctx):
        """Return the value as a whole number."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 300 <= number <= 100_000_000 or number != int(number):  # neither nan nor inf
            self.fail(f"{quote(value)} is not a whole number from 300 to 100e6", param, ctx)
        return int(number)


def link_options(command: Callable) -> Callable:
    """Add ``--link``, ``--address`` and ``--baud``, which say how a board is reached, and return the command."""
    address = click.option(
        "--address",
        metavar="ADDRESS[:PORT]",
        help="With --link udp: the board's own IPv4 address, such as 192.168.1.50; the port is 50000 by default.",
    )
    baud = click.option(
        "--baud",
        type=Baud(),
        metavar="N",
        help="With --link uart: bits per second, at most an eighth of the clock; by default the board's.",
    )
    return click.option(
        "--link",
        default="uart",
        show_default=True,
        metavar="NAME",
        help="How the board is reached: uart, or udp over gigabit Ethernet (genesys2, marble).",
    )(address(baud(command)))


def chosen_link(board: str, link: str, address: str | None, baud: int | None) -> "LinkOptions":
    """Return the link that the options of `link_options` ask for."""
    from .. import boards
    from ..boards.link.options import choose_link

    return choose_link(boards.get(board), link, address, baud)


def show_directory(result: "ElaborationResult | PackageResult", files: list[str], last: str, as_json: bool) -> None:
    """Print the files that a command wrote, and the lines ``last`` about what to do next; or the result as JSON."""
    if as_json:
        output.print_json(result.to_dict())
        return
    others = [name for name in files if not name.endswith(".mem")]
    memories = len(files) - len(others)
    text = f"{Path(result.directory)}: {', '.join(others)}"
    output.print_line(text + (f" and {memories} memory files" if memories else ""))
    for line in last.split("\n"):
        output.print_line(line)
