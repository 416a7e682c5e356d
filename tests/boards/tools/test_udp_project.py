# amaranth: UnusedElaboratable=no
"""Tests of projects with a UDP link, as the tools would read them."""

import json
import re

import numpy as np
import pytest

from psahw import boards, verilog
from psahw.boards.core import AcceleratorInterface
from psahw.boards.ethernet.clock import RgmiiClock
from psahw.boards.link.options import choose_link
from psahw.boards.lint import lint
from psahw.boards.tools.project import clock_for, files
from psahw.cli import main
from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.network.random import random_network
from tests.boards.stub import Stub
from tests.boards.tools.test_project import FRAME, PARTS, interpreter, ports

ADDRESS = "192.168.1.50"
NAMES = [name for name, board in boards.BOARDS.items() if "udp" in board.links]


@pytest.fixture(scope="module", params=NAMES)
def project(request, tmp_path_factory):
    """A board, the text of its project's files, and the directory with these files and the accelerator."""
    board = boards.get(request.param)
    directory = tmp_path_factory.mktemp(board.name)
    stub = Stub(bus_bytes=board.bus_bytes, frame_bytes=FRAME)
    verilog.emit(stub, "accelerator", directory)
    link = choose_link(board, "udp", ADDRESS)
    accelerator = AcceleratorInterface("psahw_accelerator", stub.signature, FRAME, bytes(4), link.window)
    content = files(board, clock_for(board, link=link), accelerator, source="accelerator.v", link=link)
    for name, text in content.items():
        (directory / name).write_text(text)
    return board, content, directory


def test_boards():
    assert NAMES == ["genesys2", "marble"]


def bits(content):
    """Return the names of all bits of the top module's ports."""
    top = content["top.v"][content["top.v"].index("module top(") :]
    declared = re.findall(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);", top[: top.index("endmodule")], re.M)
    return {f"{name}[{bit}]" if high else name for high, name in declared for bit in range(int(high or 0) + 1)}


def test_every_port_is_constrained_once(project):
    _, content, _ = project
    by_direction, named = ports(content["top.v"]), bits(content)
    assert not by_direction["inout"] and "uart" not in content["top.v"]
    assert {f"eth_rgmii_0__{name}_data__io[3]" for name in ("rx", "tx")} | {"eth_rgmii_0__rst__io"} <= named
    calls = []
    interpreter(calls).eval(content["top.xdc"])
    for name in ("LOC", "IOSTANDARD"):
        assert sorted(call[-1] for call in calls if call[:2] == ("set_property", name)) == sorted(named)
    places = [call[2] for call in calls if call[:2] == ("set_property", "LOC")]
    assert len(set(places)) == len(places)


# Pins of rx, tx and the reset from the boards' documents, each in the order clock, control, data.
PINS = {
    "genesys2": ("AG10 AH11 AJ14 AH14 AK13 AJ13", "AE10 AK14 AJ12 AK11 AJ11 AK10", "AH24"),
    "marble": ("E11 J11 J10 J8 H8 H9", "F10 C9 H11 H12 D8 D9", "B9"),
}


def test_pins(project):
    board, content, _ = project
    calls = []
    interpreter(calls).eval(content["top.xdc"])
    places = {call[3]: call[2] for call in calls if call[:2] == ("set_property", "LOC")}
    for direction, wanted in zip(("rx", "tx"), PINS[board.name], strict=False):
        prefix = f"eth_rgmii_0__{direction}"
        names = [f"{prefix}_clk__io", f"{prefix}_ctl__io", *(f"{prefix}_data__io[{k}]" for k in range(4))]
        assert [places[name] for name in names] == wanted.split()
    assert places["eth_rgmii_0__rst__io"] == PINS[board.name][2]


def test_clocks(project):
    """The oscillator and the PHY's clock are constrained. Paths from the PHY's clock or the MMCM's are not timed."""
    board, content, _ = project
    clocks = re.findall(r"^create_clock -name (\w+) -period ([\d.]+) ", content["top.xdc"], re.M)
    periods = {name: float(period) for name, period in clocks}
    assert periods.pop("eth_rgmii_0__rx_clk__io") == 8.0
    assert list(periods.values()) == [pytest.approx(1e9 / board.platform().default_clk_frequency)]
    groups = re.findall(r"^set_clock_groups -asynchronous -group \[get_clocks (.*)\]$", content["top.xdc"], re.M)
    assert groups == ["eth_rgmii_0__rx_clk__io", "-of_objects [get_pins ethernet/clock/pll/CLKOUT*]"]


def test_hierarchy_that_the_constraints_name(project):
    """The Verilog contains the instance ``ethernet/clock/pll``."""
    _, content, _ = project
    text = content["top.v"]

    def body(name):
        return re.search(rf"^module {re.escape(name)} ?\(.*?^endmodule", text, re.M | re.S)[0]

    assert re.search(r"^  \\top\.ethernet  ?ethernet \(", body("top"), re.M)
    assert re.search(r"^  \\top\.ethernet\.clock  ?clock \(", body("\\top.ethernet"), re.M)
    assert re.search(r"^  \) pll \(", body("\\top.ethernet.clock"), re.M)


def test_delays(project):
    """The FPGA delays what the PHY does not.

    Genesys 2's PHY is strapped to delay nothing, and Marble's delays only the clock that it receives.
    """
    board, content, _ = project
    text = content["top.v"]
    clock = re.search(r"^module \\top\.ethernet\.clock ?\(.*?^endmodule", text, re.M | re.S)[0]
    phase = re.search(r"\.CLKOUT1_PHASE\(([\d.]+)\)", clock)[1]
    assert float(phase) == {"genesys2": 90, "marble": 0}[board.name]
    assert float(re.search(r"\.CLKOUT0_PHASE\(([\d.]+)\)", clock)[1]) == 0
    assert [text.count(f"  {name} #(") for name in ("IDDR", "IDELAYE2", "ODDR")] == [5, 5, 6]
    assert text.count(".IDELAY_VALUE(32'd26)") == 5, "26 taps of 78 ps"
    assert text.count("IDELAYCTRL") == 1


def test_mmcm(project):
    """The VCO runs at 1,000 MHz (DS182: 600 to 1,440 for speed grade 2), the outputs at 125, 125 and 200 MHz."""
    board, content, _ = project
    clock = re.search(r"^module \\top\.ethernet\.clock ?\(.*?^endmodule", content["top.v"], re.M | re.S)[0]
    values = {name: float(value) for name, value in re.findall(r"\.(\w+)\((?:32'd)?([\d.]+)\)", clock)}
    vco = board.platform().default_clk_frequency / 1e6 * values["CLKFBOUT_MULT_F"] / values["DIVCLK_DIVIDE"]
    assert vco == 1000
    divided = [vco / values[f"CLKOUT{k}_DIVIDE{'' if k else '_F'}"] for k in range(3)]
    assert divided == [125, 125, 200]


def test_clock_that_cannot_be_made():
    with pytest.raises(ValueError, match=r"^input_hz must divide 1e9, not 300000000\.0$"):
        RgmiiClock(input_hz=300e6, txc_phase=0)


def test_vivado_script_runs(project, monkeypatch):
    _, content, directory = project
    monkeypatch.chdir(directory)
    calls = []
    interpreter(calls).eval(content["top.tcl"])
    (create,) = (call for call in calls if call[0] == "create_project")
    assert create[create.index("-part") + 1] in PARTS
    assert "write_bitstream" in [name for name, *_ in calls]


def test_lint(project):
    board, _, directory = project
    assert lint(directory, board.device.family) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kc705", "udp", ADDRESS), "kc705 has no udp link; boards that have one: genesys2, marble"),
        (("marble", "pcie", None), "unknown link 'pcie'; known links: uart, udp"),
        (("marble", "udp", None), "--link udp requires the board's own address, for example --address 192.168.1.50"),
        (("marble", "uart", ADDRESS), "--address requires --link udp"),
        (("marble", "udp", "192.168.1"), "--address must be an IPv4 address such as 192.168.1.50, not '192.168.1'"),
        (("marble", "udp", ""), "--address must be an IPv4 address such as 192.168.1.50, not ''"),
        (("marble", "udp", "board"), "--address must be an IPv4 address such as 192.168.1.50, not 'board'"),
        (
            ("marble", "udp", "224.0.0.1"),
            "--address 224.0.0.1: address must belong to a single station, not 224.0.0.1",
        ),
        (("marble", "udp", "0.0.0.0"), "--address 0.0.0.0: address must belong to a single station, not 0.0.0.0"),
        (
            ("marble", "udp", "127.0.0.1"),
            "--address 127.0.0.1: address must belong to a single station, not 127.0.0.1",
        ),
        (("marble", "udp", "255.255.255.255"), "--address 255.255.255.255: address must belong to a single station"),
        (("marble", "udp", "10.0.0.9:0"), "--address 10.0.0.9:0: port must be in [1, 65535], not 0"),
        (("marble", "udp", "10.0.0.9:65536"), "--address 10.0.0.9:65536: port must be in [1, 65535], not 65536"),
        (("marble", "udp", "10.0.0.9:x"), "--address 10.0.0.9:x: port must be in [1, 65535], not 'x'"),
        (("marble", "udp", "10.0.0.9:"), "--address 10.0.0.9:: port must be in [1, 65535], not ''"),
    ],
)
def test_wrong_links(arguments, message):
    name, *rest = arguments
    with pytest.raises(UserError, match=rf"^{re.escape(message)}"):
        choose_link(boards.get(name), *rest)


def test_identity():
    link = choose_link(boards.get("marble"), "udp", "10.0.0.9:4000")
    assert link.to_dict() == {
        "kind": "udp",
        "address": "10.0.0.9",
        "port": 4000,
        "mac": "02:00:0a:00:00:09",
        "protocol": 2,
    }


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(random_network(np.random.default_rng(5)), path)
    return str(path)


def test_elaborate(network, tmp_path, capsys):
    """125 MHz is the slowest clock that the link allows."""
    command = ["elaborate", network, "--board", "marble", "--engines", "mac", "--clock", "125e6", "-o", str(tmp_path)]
    assert main([*command, "--link", "udp", "--address", "192.168.1.9", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["link"]["address"] == "192.168.1.9" and result["link"]["port"] == 50_000
    assert lint(tmp_path, "xc7") == []
    text = (tmp_path / "top.v").read_text()
    assert "eth_rgmii_0__rx_clk__io" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "ulx3s-85f", "--link", "udp", "--address", ADDRESS], "ulx3s-85f has no udp link"),
        (["--board", "marble", "--link", "udp"], "--link udp requires the board's own address"),
        (["--board", "marble", "--address", ADDRESS], "--address requires --link udp"),
        (
            ["--board", "marble", "--link", "udp", "--address", ADDRESS, "--baud", "9600"],
            "--baud requires --link uart",
        ),
        (
            ["--board", "marble", "--baud", "10000000"],
            "the board's FT4232H cannot run at 10000000 baud; the nearest rates it supports are 8000000 and 12000000",
        ),
        (
            ["--board", "kc705", "--baud", "3000000"],
            "the board's CP2103 cannot run at 3000000 baud; the nearest rates it supports are 921600 and 1000000",
        ),
    ],
)
@pytest.mark.parametrize("command", ["elaborate", "build"])
def test_wrong_use(command, options, message, network, tmp_path, capsys):
    assert main([command, network, *options, "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "out").exists()
