"""Tests of ``psahw program``: commands and error messages, with stand-ins for the tools."""

import json
from pathlib import Path

import pytest

from psahw import boards
from psahw.cli import main

OPEN_FAILED = "unable to open ftdi device: {} \nJTAG init failed with: unable to open ftdi device"


@pytest.fixture
def built(tmp_path):
    """Return a function that writes a directory like ``psahw build``, with a bitstream."""

    def write(board="ulx3s-85f", met=True):
        (tmp_path / "top.bit").write_bytes(b"bits")
        result = {"board": board, "bitstream": "/elsewhere/top.bit", "met": met, "fmax_hz": 35e6, "clock_hz": 40e6}
        (tmp_path / "build.json").write_text(json.dumps(result))
        return str(tmp_path)

    return write


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return a function that installs a program on an otherwise empty PATH.

    The program writes its arguments to a file, prints a text and exits with a status.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, text="", status=0):
        path = folder / name
        lines = ["#!/bin/sh", f'for word in "$@"; do echo "$word"; done > {folder}/arguments']
        lines += [f"echo '{line}'" for line in text.splitlines()]
        path.write_text("\n".join([*lines, f"exit {status}", ""]))
        path.chmod(0o755)
        return folder / "arguments"

    return install


LOADER = {
    "kc705": ["--board", "kc705"],
    "genesys2": ["--board", "genesys2"],
    "nereid": ["--cable", "ft2232", "--fpga-part", "xc7k160tfbg676"],
    "marble": ["--cable", "ft4232", "--fpga-part", "xc7k160tffg676"],
    "ulx3s-85f": ["--board", "ulx3s"],
    "ecpix5-85f": ["--board", "ecpix5"],
    "tangprimer20k": ["--board", "tangprimer20k"],
    "tangnano9k": ["--board", "tangnano9k"],
}


@pytest.mark.parametrize("name", boards.BOARDS)
def test_command_of_every_board(name, built, tool, capsys):
    directory = built(name)
    assert main(["program", directory, "--dry-run", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["board"], result["programmed"]) == (name, False)
    bitstream = f"{directory}/top.bit"
    if name in LOADER:
        assert result["command"] == ["openFPGALoader", *LOADER[name], bitstream]
    else:
        assert (result["tool"], result["command"][-2:]) == ("vivado", [bitstream, "xcu250"])


def test_flash(built, tool, capsys):
    arguments = tool("openFPGALoader")
    assert main(["program", built(), "--flash"]) == 0
    assert arguments.read_text().split() == ["--board", "ulx3s", "--write-flash", f"{built()}/top.bit"]
    assert "Radiona ULX3S 85F runs" in capsys.readouterr().out


def test_cable(built, tool):
    arguments = tool("openFPGALoader")
    assert main(["program", built("nereid"), "--cable", "ft232"]) == 0
    assert arguments.read_text().split()[:2] == ["--cable", "ft232"]
    assert main(["program", built(), "--cable", "ft2232"]) == 0
    assert arguments.read_text().split()[:4] == ["--board", "ulx3s", "--cable", "ft2232"]


def test_vivado_and_openocd(built, tool, capsys):
    tool("vivado")
    assert main(["program", built("marble"), "--json"]) == 0  # the only tool on the PATH
    command = json.loads(capsys.readouterr().out)["command"]
    assert command[:3] == ["vivado", "-mode", "batch"] and command[-1] == "xc7k160t"
    script = Path(command[command.index("-source") + 1])  # must exist for those who run the command of --dry-run
    assert "program_hw_devices" in script.read_text()
    arguments = tool("openocd")
    assert main(["program", built("kc705"), "--tool", "openocd"]) == 0
    assert arguments.read_text().splitlines() == [
        *("-f", "board/kc705.cfg", "-c"),
        f"init; pld load 0 {{{built('kc705')}/top.bit}}; exit",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OPEN_FAILED.format("-3 (device not found)"), "no cable was found: is the board plugged in"),
        (OPEN_FAILED.format("-4 (usb_open() failed)"), "may not be opened: install the udev rules (https://"),
        ("Error: libusb_open() failed with LIBUSB_ERROR_ACCESS", "may not be opened: install the udev rules"),
        ("ERROR: [Labtools 27-2269] No devices detected on target localhost:3121", "no FPGA answers behind it"),
        ("ERROR: [Labtoolstcl 44-469] There is no current hw_target.", "no cable was found"),
        ("write to flash\nflash chip unknown", "openFPGALoader ended with status 7: flash chip unknown"),
        ("", "openFPGALoader ended with status 7"),
    ],
)
def test_failures_are_explained(text, message, built, tool, capsys):
    tool("openFPGALoader", text, status=7)
    assert main(["program", built()]) == 1
    out, err = capsys.readouterr()
    error = err.splitlines()[-1]
    assert error.startswith("psahw: ulx3s-85f: ") and message in error
    assert out == "" and "Traceback" not in err


def test_no_tool(built, tool, capsys):
    assert main(["program", built()]) == 2
    err = capsys.readouterr().err
    assert err.startswith("psahw: openFPGALoader is not on the PATH: install it") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}", "--board", "kc705"], "was built for ulx3s-85f, not for kc705"),
        (["{}/top.bit"], "top.bit does not say which board it is for: give --board"),
        (["{}/top.bit", "--board", "kc706"], "unknown board 'kc706'"),
        (["{}/absent.bit", "--board", "kc705"], "absent.bit: No such file or directory"),
        (["{}/absent"], "absent: No such file or directory"),
        (["{}/build.json", "--board", "kc705"], "its name must end in .bit or .fs"),
        (["{}/bin"], "bin was not written by psahw build or elaborate"),
        (["{}", "--tool", "jtagd"], "--tool must be one of openfpgaloader, vivado, openocd, not 'jtagd'"),
        (["{}", "--tool", "vivado"], "no tool can load ulx3s-85f: vivado: ulx3s-85f is not Xilinx's"),
        (
            ["{}/top.bit", "-b", "alveo-u250", "--flash"],
            "no tool can load alveo-u250: openFPGALoader: it does not know",
        ),
        (["{}/top.bit", "-b", "alveo-u250", "--cable", "x"], "vivado: only openFPGALoader has --cable"),
    ],
)
def test_wrong_use(arguments, message, built, tool, capsys):
    directory = built()
    assert main(["program", *(argument.replace("{}", directory) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and out == ""


def test_design_that_misses_its_clock_is_not_loaded(built, tool, capsys):
    arguments = tool("openFPGALoader")
    assert main(["program", built(met=False)]) == 2
    assert "misses its clock (35.00 of 40 MHz) and may compute wrongly" in capsys.readouterr().err
    assert not arguments.exists()


@pytest.mark.parametrize(("board", "name"), [("marble", "top.bit"), ("tangprimer20k", "top.fs")])
def test_bitstream_built_by_hand(board, name, tmp_path, tool, capsys):
    """``psahw elaborate`` wrote the project, and the user ran its script."""
    (tmp_path / "project.json").write_text(json.dumps({"board": board}))
    assert main(["program", str(tmp_path), "--dry-run"]) == 2
    assert "has no bitstream yet: run ./build_top.sh in it" in capsys.readouterr().err
    (tmp_path / name).write_bytes(b"bits")
    assert main(["program", str(tmp_path), "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out.rstrip().endswith(f"{tmp_path}/{name}")
    assert "was not made by psahw build: check in the reports of the tools that the clock is met" in err
    (tmp_path / "project.json").write_text("[]")
    assert main(["program", str(tmp_path), "--dry-run"]) == 2
    assert "project.json must be an object, not []; build again, or name a bitstream file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"bitstream": None}, "build.json: bitstream must be a string, not null; build again"),
        ({"board": ["marble"]}, "build.json: board must be a string, not ['marble']; build again"),
        ({"met": "yes"}, "build.json: met must be true or false, not 'yes'; build again"),
    ],
)
def test_wrong_build_json(entries, message, built, tool, capsys, tmp_path):
    result = json.loads((Path(built()) / "build.json").read_text())
    (tmp_path / "build.json").write_text(json.dumps(result | entries))
    assert main(["program", str(tmp_path), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_name_that_tcl_would_interpret(tmp_path, tool, capsys):
    path = tmp_path / "a}[exit].bit"
    path.write_bytes(b"bits")
    assert main(["program", str(path), "--board", "kc705", "--tool", "openocd", "--dry-run"]) == 2
    assert "braces and backslashes in the name" in capsys.readouterr().err
