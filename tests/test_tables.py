"""Tables on terminals of several widths: no cell is broken where the table fits without."""

import io
import sys

import pytest
from rich.console import Console

from psahw import boards
from psahw.cli import hardware, info, output, tables
from psahw.display import cell
from psahw.flow.planning import BoardPlan
from psahw.network import file as network_file
from psahw.network.summary import summarise
from psahw.planner import search

NAMES = ["embed", "stages.0.blocks.0.mixing", "stages.0.blocks.0.mixing.table", "stages.0.blocks.1.mixing", "head"]


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that lets standard output be a terminal of so many columns."""

    def set_width(width):
        monkeypatch.setattr(
            tables, "_console", lambda: Console(file=sys.stdout, width=width, force_terminal=True, color_system=None)
        )

    return set_width


def _lines(capsys):
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_wide(terminal, capsys):
    terminal(60)
    rows = [["embed", 1200], ["head", None]]
    output.print_table(["name", "cycles per frame"], rows, title="A title", footer=["", 3.5])
    assert _lines(capsys) == [
        "A title",
        "name   cycles per frame",
        "───────────────────────",
        "embed             1,200",
        "head                  -",
        "",
        "                    3.5",
        "",
    ]


def test_narrower_and_narrower(terminal, capsys):
    """Headings are broken first, then names become an outline, then columns go, and at last cells are folded."""
    rows = [[name, 1000 + n, "a size in words"] for n, name in enumerate(NAMES)]

    def printed(width):
        terminal(width)
        output.print_table(["stage", "cycles per frame", "size"], rows, optional=("size",))
        return _lines(capsys)

    assert printed(65)[0] == f"{'stage':30}  cycles per frame  size"
    for width in (64, 55):
        assert printed(width)[:3] == [f"{'':32}cycles", f"{'':32}   per", f"{'stage':32} frame  size"]
    outline = printed(42)
    assert printed(54) == outline
    assert outline[4:11] == [
        "embed               1,000  a size in words",
        "stages.0.blocks.0",
        "  mixing            1,001  a size in words",
        "    .table          1,002  a size in words",
        "stages.0.blocks.1",
        "  mixing            1,003  a size in words",
        "head                1,004  a size in words",
    ]
    short = printed(41)
    assert short[4] == "embed               1,000"
    assert " ".join(short[11:]) == "A wider terminal, or a pipe, also shows: size. "
    assert printed(20)[4] == "embed          1,000"


def test_a_pipe_has_no_width(capsys):
    output.print_table(["name", "text"], [["x" * 300, "y" * 300]])
    assert f"{'x' * 300}  {'y' * 300}" in _lines(capsys)


def test_letters_that_the_encoding_does_not_have(monkeypatch):
    """They become question marks, as in the names of a user's classes where standard output is ASCII."""
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    tables.print_table(["value", "R\N{SUPERSCRIPT TWO}"], [["Stra\N{LATIN SMALL LETTER SHARP S}e", 0.5]])
    lines = written.getvalue().decode("ascii").splitlines()
    cells = [[text.strip() for text in line.split("|")] for line in lines]
    assert cells[0] == ["value", "R?"] and cells[2] == ["Stra?e", "0.5"]


def test_paragraph(terminal, capsys):
    terminal(20)
    output.print_paragraph("words are not broken, whatever their length-is-more-than-twenty")
    assert _lines(capsys) == ["words are not", "broken, whatever", "their", "length-is-more-than-twenty"]


@pytest.mark.parametrize("name", network_file.shipped())
def test_info_on_80_columns(terminal, capsys, name):
    """Each layer and each layer's tables have one line, and the columns of numbers are complete."""
    terminal(80)
    described = summarise(network_file.load(name))
    info._show(described)
    lines = _lines(capsys)
    assert max(map(len, lines)) <= 80
    for layer in described["layers"]:
        last, count = layer["name"].rpartition(".")[2], f"{layer['macs']:,}"
        assert any(line.split()[0].endswith(last) and count in line.split() for line in lines if line), layer["name"]
    assert len(lines) < 110


def test_plan_on_80_columns(terminal, capsys):
    """Each stage has one line with all its resources."""
    terminal(80)
    network, board = network_file.load("cifar10-psa"), boards.get("alveo-u250")
    planned = search.make(network, board.device, clock_hz=300e6, period=512, bus_bytes=8)
    hardware._show_plan(BoardPlan.for_board(planned, board))
    lines = _lines(capsys)
    assert max(map(len, lines)) <= 80
    assert len(lines) < 150
    for stage in planned.stages:
        numbers = [cell(value) for value in (stage.interval, *stage.resources.to_dict().values())]
        assert any(
            line.split()[0].endswith(stage.name.rpartition(".")[2]) and set(numbers) <= set(line.split())
            for line in lines
            if line
        ), stage.name
