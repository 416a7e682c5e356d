# amaranth: UnusedElaboratable=no
import json
import os
import re

import pytest

from psahw import boards
from psahw.boards.lint import lint
from psahw.boards.packages import TARGETS
from psahw.cli import main
from psahw.network import file as network_file
from tests.boards.packages.conftest import BOARDS

STREAM = {"tvalid", "tready", "tdata", "tkeep", "tlast"}
LITE = {f"{c}{s}" for c in ("aw", "w", "b", "ar", "r") for s in ("valid", "ready")} | {
    "awaddr", "awprot", "wdata", "wstrb", "bresp", "araddr", "arprot", "rdata", "rresp",
}  # fmt: skip
BURST = {f"{c}{s}" for c in ("aw", "ar") for s in ("id", "len", "size", "burst", "cache")}
FULL = LITE | BURST | {"wlast", "rlast", "bid", "rid"}


def ports(directory, source, top):
    """Return the directions and widths of a module's ports from its Verilog."""
    text = (directory / source).read_text()
    text = text[text.index(f"module {top}(") :]
    text = text[: text.index("endmodule")]
    declarations = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", text, re.M)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in declarations}


@pytest.mark.parametrize("tool", TARGETS)
def test_directory(tool, package, network):
    directory, content = package(tool)
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    assert content["files"] == files
    assert content["digest"] == network_file.digest(network)
    assert content["for"] == tool and content["board"] == BOARDS[tool]
    assert content["ports"] == sorted(ports(directory, content["sources"][0], content["top"]))


@pytest.mark.parametrize("tool", ["vivado", "vitis"])
def test_lint(tool, package):
    directory, content = package(tool)
    family = boards.get(BOARDS[tool]).device.family
    assert lint(directory, family, top=content["top"], sources=content["sources"]) == []


def test_ports_of_the_core(package):
    """The core has exactly the ports by whose names Vivado recognises AXI interfaces (UG1118)."""
    directory, _ = package("vivado")
    bus = json.loads((directory / "manifest.json").read_text())["bus_bytes"]
    widths = ports(directory, "axi.v", "psahw_axi")
    assert set(widths) == {"aclk", "aresetn"} | {f"s_axis_{n}" for n in STREAM} | {f"m_axis_{n}" for n in STREAM} | {
        f"s_axi_{n}" for n in LITE
    }
    assert widths["s_axis_tdata"] == ("input", 8 * bus) and widths["s_axis_tkeep"] == ("input", bus)
    assert widths["m_axis_tdata"] == ("output", 32) and widths["m_axis_tready"] == ("input", 1)
    assert widths["s_axi_araddr"] == ("input", 12) and widths["s_axi_rdata"] == ("output", 32)


def test_ports_of_the_kernel(package):
    """An RTL kernel needs clock, reset, interrupt, control, and memory with addresses of 64 bits (UG1393)."""
    directory, _ = package("vitis")
    widths = ports(directory, "kernel.v", "psahw_kernel")
    assert set(widths) == {"ap_clk", "ap_rst_n", "interrupt"} | {f"s_axi_control_{n}" for n in LITE} | {
        f"m_axi_gmem_{n}" for n in FULL
    }
    assert widths["interrupt"] == ("output", 1)
    assert widths["m_axi_gmem_araddr"] == ("output", 64) and widths["m_axi_gmem_wdata"] == ("output", 512)


def test_old_package_is_replaced(network_path, tmp_path, capsys):
    (tmp_path / "package.json").write_text("")
    (tmp_path / "old").write_text("")
    command = ["package", network_path, "--for", "litex", "--board", "marble", "--engines", "mac", "--bus-bytes", "2"]
    assert main([*command, "-o", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "old" not in os.listdir(tmp_path) and result["directory"] == str(tmp_path)
    assert result["fps"] == pytest.approx(143e6 / result["frame_interval"])
    assert ports(tmp_path, "axi.v", "psahw_axi")["s_axis_tdata"] == ("input", 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--for", "quartus"], "unknown target 'quartus' of --for; known targets: vivado, vitis, fusesoc, litex"),
        (["--for", "vivado"], "a package for vivado needs a board: kc705, genesys2, nereid, marble"),
        (["--for", "vivado", "--board", "kc706"], "unknown board 'kc706'; known boards: kc705,"),
        (["--for", "vivado", "--board", "ulx3s-85f"], "is for Xilinx devices, not for ulx3s-85f (lfe5u-85f)"),
        (["--for", "vitis", "--board", "marble"], "--for vitis is for alveo-u250, not for marble"),
        (["--for", "vitis", "--fps", "0"], "--fps must be positive, not 0"),
    ],
)  # fmt: skip
def test_wrong_use(options, message, network_path, tmp_path, capsys):
    assert main(["package", network_path, *options, "-o", str(tmp_path / "a" / "b")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_bus_that_is_wider_than_memory(tmp_path, capsys):
    import numpy as np

    from psahw.network.random import random_network
    from psahw.network.resmlp import Patch

    wide = random_network(np.random.default_rng(1), image=(4, 32), patch=Patch(4, 4), name="wide")
    network_file.save(wide, tmp_path / "wide.safetensors")
    command = [
        "package",
        str(tmp_path / "wide.safetensors"),
        "--for",
        "vitis",
        "--engines",
        "mac",
        "--bus-bytes",
        "96",
    ]
    assert main([*command, "-o", str(tmp_path / "x")]) == 2
    assert "--bus-bytes must be at most 64 for vitis, not 96" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_foreign_directory(network_path, tmp_path, capsys):
    (tmp_path / "thesis").write_text("")
    assert main(["package", network_path, "--for", "vitis", "-o", str(tmp_path), "--engines", "mac"]) == 2
    assert "was not written by psahw (it has no package.json)" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["thesis"]
