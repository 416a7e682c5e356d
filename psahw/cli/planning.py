"""The options that determine a plan, and the plan."""

import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from ..architecture.device import RESOURCES
from ..errors import UserError
from ..network import file as networkfile
from ..planner import search
from ..planner.plan import Plan
from ..planner.rules import KINDS, Rules
from . import output

__all__ = ["Baud", "link_options", "make_plan", "plan_beside", "plan_options", "show_directory"]

BOARD_HELP = "kc705, genesys2, nereid, marble, alveo-u250, ulx3s-85f, ecpix5-85f or tangprimer20k."
_BUDGET = {"lut": "max_lut", "ff": "max_ff", "dsp": "max_dsp", "bram36": "max_bram"}


def plan_options(default_board: str | None = None, *, board_required: bool = True):
    """A decorator: the options that `make_plan` takes."""
    board = {"default": default_board, "show_default": True} if default_board else {"required": board_required}
    options = (
        click.option("--board", "-b", metavar="BOARD", help=BOARD_HELP, **board),
        click.option("--clock", type=float, metavar="HZ", help="Clock, such as 143e6; the board's if not given."),
        click.option(
            "--fps", type=float, metavar="N", help="Frames a second to reach; the most that fit if not given."
        ),
        click.option("--bus-bytes", type=int, metavar="N", help="Image bytes a cycle; the board's if not given."),
        click.option("--max-lut", type=float, metavar="N", help="Budget of LUTs, if it is below the device's."),
        click.option("--max-ff", type=float, metavar="N", help="The same for flip-flops."),
        click.option("--max-dsp", type=float, metavar="N", help="The same for DSP slices."),
        click.option("--max-bram", type=float, metavar="N", help="In units of 36 Kb."),
        click.option(
            "--utilisation",
            metavar="SHARE",
            help="Share of the device to fill: 0.7, or lut=0.7,ff=0.9; else 0.8 of LUTs and FFs, 1 of the rest.",
        ),
        click.option(
            "--engines",
            metavar="LIST",
            help=f"Engines to choose from, of {','.join(KINDS)}; if not given, all (mac on ECP5 and Gowin).",
        ),
        click.option(
            "--engine",
            "rules",
            multiple=True,
            metavar="LAYER=LIST",
            help="Engines of one layer, by its name or with wildcards; the last that fits a layer counts.",
        ),
        click.option(
            "--plan", "plan_file", metavar="FILE", help="Bus, token period and engines of a plan, edited perhaps."
        ),
    )

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _check_numbers(options):
    for name in ("clock", "fps", "bus_bytes"):
        value, flag = options[name], f"--{name.replace('_', '-')}"
        if value is not None and not value > 0:
            raise UserError(f"{flag} must be positive, not {value:g}")
        if value is not None and value >= 1e12:
            raise UserError(f"{flag} must be below 1e12, not {value:g}")
    for name in _BUDGET.values():
        value = options[name]
        if value is not None and not value >= 0:
            raise UserError(f"--{name.replace('_', '-')} must not be negative, not {value:g}")
    clock = options["clock"]
    if clock is not None and clock < 1e6:
        raise UserError(f"--clock is in Hz and must be at least 1e6, not {clock:g}: did you mean {clock:g}e6?")


def _utilisation(text: str | None) -> dict[str, float]:
    """From "0.7", or "lut=0.7,ff=0.9"."""
    found = {}
    parts = [] if text is None else text.split(",")
    for part in parts:
        name, separator, value = part.rpartition("=")
        names = (name,) if separator or len(parts) > 1 else RESOURCES
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 < share <= 1 or not set(names) <= set(RESOURCES):
            raise UserError(f"--utilisation needs a share in (0, 1] or {'|'.join(RESOURCES)}=SHARE, not {part!r}")
        found |= dict.fromkeys(names, share)
    return found


def _written(path: str, network) -> dict:
    """What a plan fixes: token period, bytes a cycle, and engines by layer."""
    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    fields = {"digest": str, "token_period": int, "bus_bytes": int, "engines": dict}
    for name, kind in fields.items():
        value = data.get(name) if isinstance(data, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is int and not 0 < value < 1 << 31):
            raise UserError(f"{path}: {name} must be {kind.__name__} as psahw plan -o writes it, not {value!r}")
    if data["digest"] != networkfile.digest(network):
        raise UserError(f"{path} is a plan for another network than {network.name}")
    return data


def _rules(engines: str | None, rules: tuple[str, ...]) -> Rules:
    """All engines, unless something else is asked for or da4ml, which finds adder graphs, is missing."""
    every = Rules.parse(",".join(KINDS) if engines is None else engines, rules)
    multipliers = Rules.parse("mac", rules)
    if engines is not None or multipliers.kinds() != {"mac"}:
        return every
    try:
        import da4ml  # noqa: F401 (is it there?)
    except ImportError:
        output.note("MAC arrays only: adder graphs need da4ml (pip install -e '.[graph]')")
        return multipliers
    return every


@contextmanager
def _solving():
    """Yields what `psahw.planner.search.make` calls as it solves adder graphs: a bar, if there are any to solve."""
    with output.progress("adder graphs") as advance:
        before = None

        def progress(done: int, of: int) -> None:
            nonlocal before
            if before is None and done < of:
                output.note(f"solving {of - done} adder graphs, large ones for minutes; once, then they are kept")
            advance(done - (before or 0), of)
            before = done

        yield progress


def make_plan(network, *, board, engines, rules, plan_file, link=None, **options):
    """Board and plan for the options of `plan_options`; with room for ``link``'s buffers, unless a file says what."""
    from .. import boards
    from ..boards.tools import project

    _check_numbers(options)
    board, written = boards.get(board), None
    if link is not None:  # before minutes of solving
        project.clock_for(board, options["clock"], link)
    elif options["clock"] is not None:
        project.clock_of(board, options["clock"])
    if plan_file is not None:
        if options["fps"] or options["bus_bytes"]:
            raise UserError("--plan has a token period and a bus: give neither --fps nor --bus-bytes with it")
        written = _written(plan_file, network)
        rules = (*(f"{layer}={engine}" for layer, engine in written["engines"].items()), *rules)
    row = network.image[1] * network.colours
    bus_bytes = written["bus_bytes"] if written else options["bus_bytes"]
    if bus_bytes and row % bus_bytes:
        raise UserError(f"--bus-bytes must divide the {row} bytes of an image's row, not {bus_bytes}")
    budget = {name: options[option] for name, option in _BUDGET.items() if options[option] is not None}
    with _solving() as progress:
        make = partial(
            search.make,
            network,
            board.device,
            clock_hz=options["clock"] or board.clock_hz,
            fps=options["fps"],
            bus_bytes=bus_bytes or search.widest_bus(network, board.bus_bytes),
            utilisation=_utilisation(options["utilisation"]),
            rules=_rules(engines or board.engines, rules),
            period=written and written["token_period"],
            progress=progress,
        )
        if link is None or written is not None:
            return board, make(budget=budget)
        return board, plan_beside(link, board, make, budget)


def plan_beside(link, board, make, budget: dict | None = None):
    """The plan that ``make(budget=...)`` makes, with room for the link's buffers."""
    made, budget = make(budget=budget), budget or {}
    room = board.device.bram36 - link.bram36(frame_bytes=made.image_bytes, bus_bytes=made.bus_bytes)
    return make(budget=budget | {"bram36": room}) if made.resources.bram36 > room > 0 else made


class Baud(click.ParamType):
    """Bits a second, as 3000000 or 3e6."""

    name = "baud"

    def convert(self, value, param, ctx):
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 300 <= number <= 100_000_000 or number != int(number):  # neither nan nor inf
            self.fail(f"{value!r} is no whole number from 300 to 100e6", param, ctx)
        return int(number)


def link_options(command):
    """``--link``, ``--address`` and ``--baud``: how a board is reached."""
    address = click.option(
        "--address",
        metavar="ADDRESS[:PORT]",
        help="With --link udp: the board's own IPv4 address, such as 192.168.1.50; port 50000 if not given.",
    )
    baud = click.option(
        "--baud",
        type=Baud(),
        metavar="N",
        help="With --link uart: bits a second, at most an eighth of the clock; the board's if not given.",
    )
    return click.option(
        "--link",
        default="uart",
        show_default=True,
        metavar="NAME",
        help="How the board is reached: uart, or udp over gigabit Ethernet (genesys2, marble).",
    )(address(baud(command)))


def show_directory(directory: str, made: Plan, written: dict, last: str, as_json: bool) -> None:
    """What a command wrote of a plan: its files and the plan's figures, and a line that says what to do next."""
    path = Path(directory).resolve()
    if as_json:
        planned = made.to_dict()
        figures = {name: planned[name] for name in ("frame_interval", "fps", "latency", "resources", "limits")}
        output.print_json({"directory": path, **written, **figures})
        return
    rest = [name for name in written["files"] if not name.endswith(".mem")]
    memories = len(written["files"]) - len(rest)
    click.echo(f"{path}: {', '.join(rest)}" + (f" and {memories} memory files" if memories else ""))
    click.echo(last)
