# amaranth: UnusedElaboratable=no
import re

import pytest

import boards
from boards.core import Inside
from boards.lint import lint
from boards.project import clock_for, files
from psahw import verilog
from psahw.errors import UserError

from .stub import Stub

FRAME = 3072


@pytest.fixture(scope="module", params=boards.BOARDS)
def project(request, tmp_path_factory):
    """Board, its files and the directory with them and the accelerator."""
    board = boards.get(request.param)
    directory = tmp_path_factory.mktemp(board.name)
    stub = Stub(bus_bytes=board.bus_bytes, frame_bytes=FRAME)
    verilog.emit(stub, "accelerator", directory)
    inside = Inside("psahw_accelerator", stub.signature, FRAME, bytes(4))
    content = files(board, clock_for(board), inside, source="accelerator.v")
    for name, text in content.items():
        (directory / name).write_text(text)
    return board, content, directory


def ports(text):
    """The top module's ports by direction."""
    top = text[text.index("module top(") :]
    top = top[: top.index("endmodule")]
    return {kind: set(re.findall(rf"^  {kind} (\w+);", top, re.M)) for kind in ("input", "output", "inout")}


def test_every_port_is_constrained_once(project):
    board, content, _ = project
    found = ports(content["top.v"])
    named = found["input"] | found["output"]
    assert {"uart_0__rx__io", "led_0__io"} <= named
    assert not found["inout"]
    if board.device.family == "ecp5":
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
    if board.device.family == "ecp5":
        assert re.findall(r'^FREQUENCY PORT "(\w+)" ([\d.]+) HZ;', content["top.lpf"], re.M) == [
            ("clk25_0__io", str(hertz))
        ]
    else:
        ((net, period),) = re.findall(r"^create_clock -name (\w+) -period ([\d.]+) ", content["top.xdc"], re.M)
        assert float(period) == pytest.approx(1e9 / hertz)
        assert net in ports(content["top.v"])["input"]


def test_scripts_name_files_that_exist(project):
    board, content, directory = project
    script = content["top.ys" if board.device.family == "ecp5" else "top.tcl"]
    named = re.findall(r"^ *(?:add_files|read_xdc|read_verilog|read_rtlil) +\"?([\w.]+)\"?$", script, re.M)
    assert "accelerator.v" in named
    assert all((directory / name).is_file() for name in named)


def test_parts():
    parts = {
        name: re.search(r"-part (\S+)", files_of(name)["top.tcl"])[1] for name in ("nereid", "marble", "alveo-u250")
    }
    assert parts == {
        "nereid": "xc7k160tfbg676-1",
        "marble": "xc7k160tffg676-2",
        "alveo-u250": "xcu250-figd2104-2L-e",
    }


def files_of(name):
    board = boards.get(name)
    stub = Stub(bus_bytes=board.bus_bytes, frame_bytes=FRAME)
    return files(board, clock_for(board), Inside("a", stub.signature, FRAME, bytes(4)), source="a.v")


def test_differential_clocks_and_inverted_pins(project):
    board, content, _ = project
    text = content["top.v"]
    assert ("IBUFDS" in text) == (board.name in ("kc705", "genesys2", "marble", "alveo-u250"))
    active_low = re.search(r"module \\top\.rst_buffer .*?endmodule", text, re.S)
    assert (active_low is not None) == (board.name != "marble")
    if active_low:
        assert ("~" in active_low[0]) == (board.name in ("genesys2", "alveo-u250", "ulx3s-85f"))


def test_lint(project):
    board, _, directory = project
    assert lint(directory, board.device.family) == []


def test_lint_finds_what_is_not_waived(project, tmp_path):
    board, content, directory = project
    broken, changes = re.subn(r"    \.RST\([^)]*\),?\n", "", content["top.v"])
    assert changes == 1
    (tmp_path / "top.v").write_text(broken)
    (tmp_path / "accelerator.v").write_text((directory / "accelerator.v").read_text())
    assert any("PINMISSING" in message and "'RST'" in message for message in lint(tmp_path, board.device.family))


def test_unknown_board():
    message = "^unknown board 'kc706'; known boards: kc705, genesys2, nereid, marble, alveo-u250, ulx3s-85f$"
    with pytest.raises(UserError, match=message):
        boards.get("kc706")


@pytest.mark.parametrize("name", boards.BOARDS)
def test_platform_is_of_the_device(name):
    board = boards.get(name)
    assert board.platform().device.lower() == board.device.name
