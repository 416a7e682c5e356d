# amaranth: UnusedElaboratable=no
import json
import os
import re
import subprocess

import pytest

from psahw import boards, verilog
from psahw.boards.core import AcceleratorInterface
from psahw.boards.lint import lint
from psahw.boards.tools.project import clock_for, files
from psahw.errors import UserError
from psahw.records import routed
from tests.boards.stub import Stub

FRAME = 3072


@pytest.fixture(scope="module", params=boards.BOARDS)
def project(request, tmp_path_factory):
    """A board, the text of its project's files, and the directory with these files and the accelerator."""
    board = boards.get(request.param)
    directory = tmp_path_factory.mktemp(board.name)
    stub = Stub(bus_bytes=board.bus_bytes, frame_bytes=FRAME)
    verilog.emit(stub, "accelerator", directory)
    accelerator = AcceleratorInterface("psahw_accelerator", stub.signature, FRAME, bytes(4))
    content = files(board, clock_for(board), accelerator, source="accelerator.v")
    for name, text in content.items():
        (directory / name).write_text(text)
    return board, content, directory


def ports(text):
    """Return the top module's ports by direction."""
    top = text[text.index("module top(") :]
    top = top[: top.index("endmodule")]
    return {kind: set(re.findall(rf"^  {kind} (\w+);", top, re.M)) for kind in ("input", "output", "inout")}


def test_every_port_is_constrained_once(project):
    board, content, _ = project
    by_direction = ports(content["top.v"])
    named = by_direction["input"] | by_direction["output"]
    assert {"uart_0__rx__io", "led_0__io"} <= named
    assert not by_direction["inout"]
    if board.device.family in ("gw2a", "gw1n"):
        text = content["top.cst"]
        located = re.findall(r'^IO_LOC "(\w+)" \w+;', text, re.M)
        standards = re.findall(r'^IO_PORT "(\w+)" IO_TYPE=\w+;', text, re.M)
    elif board.device.family == "ecp5":
        text = content["top.lpf"]
        located = re.findall(r'^LOCATE COMP "(\w+)" SITE "\w+";', text, re.M)
        standards = re.findall(r'^IOBUF PORT "(\w+)" .*IO_TYPE=\w+', text, re.M)
    else:
        text = content["top.xdc"]
        located = re.findall(r'^set_property LOC \w+ \[get_ports "(\w+)"\]', text, re.M)
        standards = re.findall(r'^set_property IOSTANDARD "\w+" \[get_ports "(\w+)"\]', text, re.M)
    assert sorted(located) == sorted(standards) == sorted(named)


def test_the_oscillator_is_constrained(project):
    board, content, _ = project
    hertz = board.platform().default_clk_frequency
    if board.device.family in ("gw2a", "gw1n"):
        # nextpnr takes one frequency for all clocks, that of the accelerator, which is the highest.
        (route,) = (c for c in json.loads(content["build_top.json"])["commands"] if c[0] == "nextpnr-himbaechel")
        assert float(route[route.index("--freq") + 1]) == board.clock_hz / 1e6 >= hertz / 1e6
    elif board.device.family == "ecp5":
        assert re.findall(r'^FREQUENCY PORT "(\w+)" ([\d.]+) HZ;', content["top.lpf"], re.M) == [
            (f"{board.platform().default_clk}_0__io", str(hertz))
        ]
    else:
        ((net, period),) = re.findall(r"^create_clock -name (\w+) -period ([\d.]+) ", content["top.xdc"], re.M)
        assert float(period) == pytest.approx(1e9 / hertz)
        assert net in ports(content["top.v"])["input"]


def test_scripts_name_files_that_exist(project):
    board, content, directory = project
    script = content["top.ys" if board.device.family in ("ecp5", "gw2a", "gw1n") else "top.tcl"]
    named = re.findall(r"^ *(?:add_files|read_xdc|read_verilog|read_rtlil) +\"?([\w.]+)\"?$", script, re.M)
    assert "accelerator.v" in named
    assert all((directory / name).is_file() for name in named)


# Combinations of device, package and speed grade from DS180 (Kintex-7), and the card of DS962.
PARTS = {
    *(f"xc7k160t{package}-{speed}" for package in ("fbg484", "fbg676", "ffg676") for speed in ("1", "2", "2L", "3")),
    *(
        f"xc7k325t{package}-{speed}"
        for package in ("fbg676", "ffg676", "fbg900", "ffg900")
        for speed in ("1", "2", "2L", "3")
    ),
    "xcu250-figd2104-2L-e",
}


@pytest.fixture
def xilinx(project):
    board, content, directory = project
    if board.device.family not in ("xc7", "xcup"):
        pytest.skip("not Xilinx's")
    return board, content, directory


def interpreter(calls):
    """Return a Tcl interpreter that appends every command unknown to Tcl, thus one of Vivado's, to ``calls``."""
    tcl = pytest.importorskip("tkinter", reason="Python without Tcl").Tcl()

    def vivado(name, *arguments):
        calls.append((name, *map(str, arguments)))
        answers = {
            "get_clocks": "clk slow",
            "get_timing_paths": "path",
            "get_ports": arguments[-1] if arguments else "",
        }
        if name == "get_property":
            return {"PERIOD": "7.0", "SLACK": "-1.0"}.get(arguments[0], "")
        return answers.get(name, "")

    tcl.createcommand("vivado", vivado)
    tcl.eval("proc unknown args {uplevel 1 [list vivado {*}$args]}")
    return tcl


@pytest.mark.parametrize("script", ["build_top.sh", "openxc7.sh"])
def test_shell_script_runs_anywhere(project, script, tmp_path):
    """A script runs its commands in its own directory, wherever that, the tools and their settings are."""
    _, content, _ = project
    if script not in content:
        pytest.skip("not for this board")
    directory, programs = tmp_path / "a b ü $x 'y'", tmp_path / "to ols"
    for folder in (directory, programs, tmp_path / "elsewhere"):
        folder.mkdir()
    (directory / script).write_text(content[script])
    names = {"vivado", "yosys", "nextpnr-ecp5", "ecppack", "nextpnr-himbaechel", "gowin_pack"}
    for name in names | {"nextpnr-xilinx", "fasm2frames", "xc7frames2bit"}:
        (programs / name).write_text(f'#!/bin/sh\n[ "$SETTINGS" ] && pwd >> "{tmp_path}/calls"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "set up.sh").write_text("export SETTINGS=read\n")
    settings = {f"AMARANTH_ENV_{name}": str(tmp_path / "set up.sh") for name in ("VIVADO", "TRELLIS", "APICULA")}
    settings |= {name.upper().replace("-", "_"): str(programs / name) for name in names}
    if script == "openxc7.sh":
        settings = {"SETTINGS": "read", "CHIPDB": "c d", "PRJXRAY_DB_DIR": "p d"}
    settings["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        ["sh", directory / script], cwd=tmp_path / "elsewhere", env=settings, capture_output=True
    )
    assert (process.returncode, process.stderr) == (0, b"")
    commands = len(json.loads(content["build_top.json"])["commands"]) if script == "build_top.sh" else 4
    assert (tmp_path / "calls").read_text() == f"{directory}\n" * commands


def test_vivado_script_runs(xilinx, monkeypatch):
    """A real Tcl interpreter runs the whole script: part, files, constraints, and the file that psahw reads."""
    _, content, directory = xilinx
    monkeypatch.chdir(directory)
    calls = []
    tcl = interpreter(calls)
    tcl.eval(content["top.tcl"])
    names = [name for name, *_ in calls]
    wanted = ["create_project", "read_xdc", "synth_design", "place_design", "route_design", "write_bitstream", "quit"]
    assert [name for name in names if name in wanted] == wanted
    (create,) = (call for call in calls if call[0] == "create_project")
    assert create[create.index("-part") + 1] in PARTS
    read = [call[-1] for call in calls if call[0] in ("add_files", "read_xdc")]
    assert {"top.v", "accelerator.v", "top.xdc", *(path.name for path in directory.glob("*.mem"))} <= set(read)
    assert all((directory / name).is_file() for name in read)
    (bitstream,) = (call for call in calls if call[0] == "write_bitstream")
    assert bitstream[-1] == "top.bit"
    assert (directory / "routed.txt").read_text() == "clk 7.0 -1.0\nslow 7.0 -1.0\n"


def test_power_script(xilinx, monkeypatch):
    """The script routes the accelerator alone, with the board's clock, before it reads the activity and reports."""
    board, content, directory = xilinx
    monkeypatch.chdir(directory)
    (directory / "some.saif").touch()
    calls = []
    tcl = interpreter(calls)
    tcl.eval("set argv some.saif")
    tcl.eval(content["power.tcl"])
    wanted = ["synth_design", "create_clock", "route_design", "read_saif", "report_power", "exit"]
    arguments_of = {name: arguments for name, *arguments in calls}
    assert [name for name, *_ in calls if name in wanted] == wanted
    assert arguments_of["create_project"][-1] in PARTS
    assert {call[1] for call in calls if call[0] == "add_files"} >= {"accelerator.v"}
    assert arguments_of["synth_design"][:2] == ["-top", "psahw_accelerator"]
    assert float(arguments_of["create_clock"][3]) == pytest.approx(1e9 / board.clock_hz, rel=1e-3)
    assert arguments_of["read_saif"][-1] == str(directory / "some.saif")
    assert "module psahw_accelerator" in (directory / "accelerator.v").read_text()


def test_timing_script(xilinx, monkeypatch):
    """The script routes the accelerator alone, with its hierarchy, and writes a file that psahw reads."""
    board, content, directory = xilinx
    monkeypatch.chdir(directory)
    calls = []
    tcl = interpreter(calls)
    answers = {
        "DATAPATH_DELAY": "3.5",
        "SLACK": "0.5",
        "LOGIC_LEVELS": "4",
        "STARTPOINT_PIN": "chain/input/x_reg[0]/C",
    }
    tcl.createcommand("get_property", lambda name, *_: answers[name])
    tcl.createcommand(
        "get_cells", lambda *options: "chain/embed chain/head" if "-hierarchical" in options else "a_reg"
    )
    tcl.createcommand("version", lambda *_: "2024.2")
    tcl.createcommand("exit", lambda *_: "")
    tcl.eval(content["timing.tcl"])
    arguments_of = {name: arguments for name, *arguments in calls}
    assert arguments_of["synth_design"][-2:] == ["-flatten_hierarchy", "none"]
    assert float(arguments_of["create_clock"][3]) == pytest.approx(1e9 / board.clock_hz, rel=1e-3)
    result = routed.read(directory / "timing.json")
    assert (result.tool, result.part) == ("Vivado 2024.2", arguments_of["create_project"][-1])
    assert [module.module for module in result.modules] == [
        "psahw_accelerator.chain.embed",
        "psahw_accelerator.chain.head",
    ]
    assert result.worst == routed.ModuleTiming("psahw_accelerator.chain.embed", 3.5, 0.5, 4, "chain/input/x_reg[0]/C")
    assert result.highest_mhz == pytest.approx(1000 / (1e9 / board.clock_hz - 0.5), rel=1e-3)


@pytest.mark.parametrize("arguments", ["", "none.saif", "some.saif some.saif"])
def test_power_script_without_activity(xilinx, monkeypatch, arguments, capfd):
    _, content, directory = xilinx
    monkeypatch.chdir(directory)
    (directory / "some.saif").touch()
    calls = []
    tcl = interpreter(calls)
    tcl.eval(f"set argv {{{arguments}}}; proc exit status {{error $status}}")
    with pytest.raises(Exception, match=r"^2$"):
        tcl.eval(content["power.tcl"])
    assert calls == []
    assert "power.tcl needs one argument, a SAIF file" in capfd.readouterr().err


def test_constraints_are_tcl(xilinx):
    """Every port has a location and an I/O standard, and the configuration is set on the design."""
    _, content, _ = xilinx
    calls = []
    interpreter(calls).eval(content["top.xdc"])
    named = ports(content["top.v"])
    for name in ("LOC", "IOSTANDARD"):
        assert {call[-1] for call in calls if call[:2] == ("set_property", name)} == named["input"] | named["output"]
    assert any(call[:2] == ("set_property", "CONFIG_VOLTAGE") for call in calls)
    assert ("current_design",) in calls


def test_openxc7_scripts(project):
    board, content, _ = project
    assert ("openxc7.sh" in content) == (board.device.family == "xc7")
    if board.device.family != "xc7":
        return
    named = ports(content["top.v"])
    for name in ("LOC", "IOSTANDARD"):  # without quotes, which nextpnr-xilinx treats as a part of the value
        lines = re.findall(rf"^set_property {name} (\S+) \[get_ports (\w+)\]$", content["openxc7.xdc"], re.M)
        assert {port for _, port in lines} == named["input"] | named["output"]
        assert not any('"' in value for value, _ in lines)
    sources = re.findall(r"^read_verilog (\S+)$", content["openxc7.ys"], re.M)
    assert set(sources) == {"accelerator.v", "top.v"}
    assert f"--freq {board.clock_hz / 1e6:g} " in content["openxc7.sh"]


def test_differential_clocks_and_inverted_pins(project):
    board, content, _ = project
    text = content["top.v"]
    assert ("IBUFDS" in text) == (board.name in ("kc705", "genesys2", "marble", "alveo-u250"))
    active_low = re.search(r"module \\top\.rst_buffer .*?endmodule", text, re.S)
    assert (active_low is not None) == (board.name != "marble")
    if active_low:
        inverted = ("genesys2", "alveo-u250", "ulx3s-85f", "ecpix5-85f", "tangprimer20k", "tangnano9k")
        assert ("~" in active_low[0]) == (board.name in inverted)


def test_lint(project):
    board, _, directory = project
    assert lint(directory, board.device.family) == []


def test_lint_finds_what_is_not_waived(project, tmp_path):
    board, content, directory = project
    port = "RESET" if board.device.family in ("gw2a", "gw1n") else "RST"
    broken, changes = re.subn(rf"    \.{port}\([^)]*\),?\n", "", content["top.v"])
    assert changes == 1
    (tmp_path / "top.v").write_text(broken)
    (tmp_path / "accelerator.v").write_text((directory / "accelerator.v").read_text())
    assert any("PINMISSING" in message and f"'{port}'" in message for message in lint(tmp_path, board.device.family))


def test_unknown_board():
    known = "kc705, genesys2, nereid, marble, alveo-u250, ulx3s-85f, ecpix5-85f, tangprimer20k, tangnano9k"
    with pytest.raises(UserError, match=f"^unknown board 'kc706'; known boards: {known}$"):
        boards.get("kc706")


@pytest.mark.parametrize("name", boards.BOARDS)
def test_platform_has_the_device(name):
    board = boards.get(name)
    assert board.platform().device.lower() == board.device.name
