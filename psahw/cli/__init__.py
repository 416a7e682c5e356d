"""The command ``psahw`` and its sub-commands, one module each.

A command parses its arguments, calls a function of the library, shows progress, and prints the result. The module of
a sub-command is imported only when it is used, so that ``psahw plan`` starts without torch.

The exit status is 0 on success, 1 if what the command checked does not hold (:class:`~psahw.errors.CheckFailed`), 2
for wrong use or bad input (:class:`~psahw.errors.UserError`), and 3 for an internal error. If a signal ends the
command, it is 128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. It is 141, without a
message, if the reader of standard output goes away.
"""

import contextlib
import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator

import click

from .. import signals
from ..errors import CheckFailed, UserError
from ..extras import EXTRAS, install_hint
from ..quoting import QUOTE_LIMIT, printable

# The matrices of the integer model are small: BLAS threads gain little, and lose a factor of ten on busy cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__all__ = ["main", "psahw"]

_COMMANDS = {  # name: (module, summary), in the order from images to hardware
    "demo": ("demo", "Run the whole flow on shipped data: plan, Verilog, simulation, report."),
    "init": ("init", "Look at a data set, and write a configuration for it and a board."),
    "train": ("training", "Train a teacher or a student in floating point."),
    "teach": ("teach", "Compute the answers of teachers once, for many students."),
    "distill": ("training", "Train a student from teachers' answers."),
    "quantize": ("quantize", "Turn a trained network into an INT8 network file."),
    "evaluate": ("evaluate", "Measure the accuracy of a network on the test images of a data set."),
    "info": ("info", "Show layers, weights, operations, tables and accuracy of a network."),
    "frontier": ("frontier", "Compare accuracy and cost of several networks."),
    "sweep": ("sweep", "Run a recipe of trainings, quantisations and evaluations."),
    "plan": ("hardware", "Choose an engine and a folding for every layer on a board."),
    "elaborate": ("elaborate", "Write Verilog, constraints and plan for a board."),
    "build": ("build", "Make a board's bitstream, and check the routed clock."),
    "program": ("program", "Load a bitstream into a board."),
    "package": ("package", "Write the accelerator as a part for Vivado, Vitis, FuseSoC or LiteX."),
    "import": ("import_model", "Turn a model of another tool into a network, and compare the two."),
    "export": ("export", "Write a network as ONNX or QONNX for other tools, and compare its logits."),
    "simulate": ("simulate", "Simulate the circuit on images, and compare it with the integer model."),
    "run": ("run", "Send images to a board, or to a simulated one, and check its answers."),
    "synth": ("hardware", "Synthesise the circuit with Yosys, and compare it with the plan's estimate."),
    "report": ("report", "Write one HTML page: pipeline, costs, functions, accuracy, comparison."),
}

_OUTPUT = "standard output"  # as errors name it, see psahw.__main__
_LONGEST_WORD = 300  # characters
_BROKEN_PIPE = 141  # 128 and the number of SIGPIPE, as a shell reports other programs; Windows has no such signal


class _BrokenPipe(Exception):
    """A BrokenPipeError, the only argument, which click would turn into exit status 1."""


@contextlib.contextmanager
def _broken_pipe_kept() -> Iterator[None]:
    """Keep click from handling a BrokenPipeError of the block."""
    try:
        yield
    except BrokenPipeError as error:
        raise _BrokenPipe(error) from error


class _LazyGroup(click.Group):
    """A group that imports the module of a command when it is used."""

    def make_context(self, *arguments, **options):
        """Return the context of a command line, as click does. This is where help is printed."""
        with _broken_pipe_kept():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx):
        """Run the command, as click does."""
        with _broken_pipe_kept():
            return super().invoke(ctx)

    def list_commands(self, ctx):
        """Return the names of all commands, in the order from images to hardware."""
        return list(_COMMANDS)

    def get_command(self, ctx, name):
        """Return a command, or None if there is none with this name."""
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{_COMMANDS[name][0]}", __package__)
        return next(command for command in module.COMMANDS if command.name == name)

    def resolve_command(self, ctx, args):
        """Return the command of a command line, as click does, and suggest names that are close to an unknown one."""
        name = args[0]
        if name not in _COMMANDS and (close := difflib.get_close_matches(name, _COMMANDS)):
            ctx.fail(f"No such command {name!r}. Did you mean {' or '.join(map(repr, close))}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx, formatter):
        """Write the names and summaries of all commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="NETWORK is a network file, or the name of a network that ships with psahw (psahw info lists them). "
    "Exit status: 0 success, 1 a check failed, 2 wrong use or bad input, 128 + N ended by signal N.",
)
@click.version_option(package_name="psahw")
def psahw():
    """Small neural networks as streaming FPGA circuits, bit-exact from training to Verilog.

    \b
    psahw demo                                     the whole flow, in minutes
    psahw init photos/signs -o signs               a network for your own data, and the next commands
    psahw info cifar10-psa-small                   layers, weights and accuracy of a network
    psahw plan cifar10-psa-small --board marble    its cost and speed on a board
    psahw elaborate cifar10-psa-small --board marble -o build/marble
    psahw simulate cifar10-psa-small --images 20   the circuit against the integer model
    """


def _missing_module(error: ModuleNotFoundError) -> str | None:
    """Return a message that names the extra to install, or None if no extra has the module."""
    package = (error.name or "").partition(".")[0]
    if package in EXTRAS:
        return f"this needs {package}, which is not installed: {install_hint(package)}"
    return None


def _shortened(message: str) -> str:
    """Return a message of click with what it quotes of the command line, which may be long, cut."""
    return re.sub(
        rf"'[^']{{{QUOTE_LIMIT},}}'|\S{{{QUOTE_LIMIT},}}", lambda match: printable(match[0], QUOTE_LIMIT), message
    )


def _one_line(message: object) -> str:
    """Return a message as one line without control characters.

    Of a word, such as a path, that is longer than `_LONGEST_WORD`, it has beginning and end.
    """
    half = _LONGEST_WORD // 2
    words = (f"{word[:half]}…{word[-half:]}" if len(word) > _LONGEST_WORD else word for word in str(message).split())
    return printable(" ".join(words))


def _complain(where: str, message: object, *listed: str) -> None:
    """Print an error as one line on standard error, and a line for each fault that it lists."""
    lines = [f"{where}: {_one_line(message)}", *(f"  {_one_line(line)}" for line in listed)]
    with contextlib.suppress(OSError):  # its reader may have gone, too
        print("\n".join(lines), file=sys.stderr, flush=True)


def _give_up_output() -> None:
    """Redirect standard output, which cannot be written, so that the interpreter does not fail on it once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # not a file, in a test
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _of_system(error: OSError) -> int:
    """Return the exit status of an error of the system, and print it unless nobody reads the output any more.

    Errors without a text are raised again, because psahw did not foresee them.
    """
    if isinstance(error, BrokenPipeError) and error.filename == _OUTPUT:
        _give_up_output()
        return _BROKEN_PIPE
    if error.strerror is None:
        raise error
    if error.filename == _OUTPUT:
        _give_up_output()
    place = f"{error.filename}: " if error.filename else ""
    _complain("psahw", f"{place}{error.strerror}")
    return 2


def _run(arguments: list[str] | None) -> int:
    """Run one command line and return its exit status. Errors that psahw did not foresee are raised."""
    if sys.stdout is None:
        _complain("psahw", "standard output is closed: redirect it to /dev/null if it is not wanted")
        return 2
    try:
        with signals.decisive():
            status = psahw.main(arguments, prog_name="psahw", standalone_mode=False)
            sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "psahw"
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            print(error.format_message())
        else:
            _complain(where, f"{_shortened(error.format_message()).rstrip('.')} (see {where} --help)")
        return 2
    except click.ClickException as error:
        _complain("psahw", _shortened(error.format_message()))
        return 2
    except UserError as error:
        _complain("psahw", *error.lines)
        return 2
    except CheckFailed as error:
        _complain("psahw", error)
        return 1
    except (click.Abort, KeyboardInterrupt, signals.Ended) as error:
        end = error if isinstance(error, signals.Ended) else KeyboardInterrupt()
        _complain("psahw", signals.describe(end))
        return signals.status(end)
    except ModuleNotFoundError as error:
        if (message := _missing_module(error)) is None:
            raise
        _complain("psahw", message)
        return 2
    except OSError as error:
        return _of_system(error)
    except _BrokenPipe as error:
        return _of_system(error.args[0])
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _of_system(end.__context__)  # rich makes it an exit


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit status; errors become one line on standard error.

    If ``PSAHW_DEBUG`` is set, an internal error shows its traceback.
    """
    try:
        return _run(arguments)
    except Exception as error:
        if os.environ.get("PSAHW_DEBUG"):
            raise
        _complain("psahw", f"internal error: {type(error).__name__}: {error} (PSAHW_DEBUG=1 shows the traceback)")
        return 3
