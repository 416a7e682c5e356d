"""``python -m psahw.records``: render the tables of the documentation, and add records.

python -m psahw.records                                            render README.md and docs/ from results/
python -m psahw.records --check                                    only say which pages differ from their records
python -m psahw.records add NAME [OPTIONS] -- COMMAND ...           run a command of psahw and record its figures
python -m psahw.records timing NAME [OPTIONS] FILE                  record what timing.tcl of a Vivado project wrote
"""

import argparse
import sys
from pathlib import Path

from ..errors import CheckFailed, UserError
from ..files import write_whole
from .capture import add_record, capture
from .schema import Value, load_all, store
from .tables import render_page

ROOT = Path(__file__).resolve().parents[2]


def pages(root: Path) -> list[Path]:
    """Return the pages of a checkout that may hold tables."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def outdated(root: Path) -> dict[Path, str]:
    """Return the pages of a checkout whose tables differ from the records, with the text that they should have.

    Raises UserError if there is no checkout at ``root``, or if a file of records is not valid.
    """
    if not (root / "results").is_dir():
        raise UserError(f"{root} must be a checkout of psahw, with results/")
    records = load_all(root / "results")
    texts = {page: page.read_text() for page in pages(root)}
    rendered = {page: render_page(text, records) for page, text in texts.items()}
    return {page: rendered[page] for page, text in texts.items() if rendered[page] != text}


def _add(options: argparse.Namespace) -> None:
    """Run a command, and add the record of its figures to the file of its kind."""
    kind, record = capture(
        options.name, options.command, configuration=options.configuration, device=options.device, note=options.note
    )
    path = store(ROOT / "results", kind, record)
    print(f"{path.relative_to(ROOT)}: {record.name}")


def _timing(options: argparse.Namespace) -> None:
    """Add the record of a file that ``timing.tcl`` has written."""
    from .routed import read

    result = read(options.file)
    values = [
        Value("clock", round(result.highest_mhz, 2), "MHz", "measured"),
        Value("longest path", result.worst.path_ns, "ns", "measured"),
        Value("ends in", result.worst.module, "", "measured"),
        Value("logic levels", result.worst.levels, "", "measured"),
    ]
    configuration = (
        options.configuration or f"accelerator alone, {result.part}, {1000 / result.period_ns:g} MHz asked for"
    )
    record = add_record(
        ROOT / "results", "routing", options.name, values, command="vivado -mode batch -source timing.tcl",
        configuration=configuration, device=result.part, note=" ".join([result.tool, options.note]).strip(),
    )  # fmt: skip
    print(f"results/routing.json: {record.name}")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m psahw.records", description="Tables and records of figures.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    actions = parser.add_subparsers(dest="action")
    add = actions.add_parser("add", help="run a command of psahw with --json and record its figures")
    add.add_argument("name", help="the record's name, such as cifar10-psa/marble-mac")
    add.add_argument("--configuration", default="", help="the conditions, in words")
    add.add_argument("--device", default="", help="the device's name, if not the command's")
    add.add_argument("--note", default="", help="anything that a reader of the figures must know")
    add.add_argument("command", nargs="+", help="the command line behind --, without psahw")
    timing = actions.add_parser("timing", help="record the routed timing of a Vivado project")
    timing.add_argument("name", help="the record's name, such as cifar10-psa-small/marble-vivado")
    timing.add_argument("--configuration", default="", help="the conditions, in words")
    timing.add_argument("--note", default="", help="anything that a reader of the figures must know")
    timing.add_argument("file", type=Path, help="timing.json in the project's directory")
    return parser


def main(arguments: list[str]) -> int:
    """Run one action and return the exit status: 1 if a page differs or a command failed, 2 for wrong use."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "add":
            _add(options)
            return 0
        if options.action == "timing":
            _timing(options)
            return 0
        differing = outdated(ROOT)
    except UserError as error:
        print(f"psahw.records: {error}", file=sys.stderr)
        return 2
    except CheckFailed as error:
        print(f"psahw.records: {error}", file=sys.stderr)
        return 1
    for page, text in differing.items():
        print(f"{page.relative_to(ROOT)}: {'differs from its records' if options.check else 'written'}")
        if not options.check:
            write_whole(page, text)
    return 1 if options.check and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
