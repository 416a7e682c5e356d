# amaranth: UnusedElaboratable=no
"""Tests of ``psahw elaborate``, and of the elaborated link with a real accelerator."""

import dataclasses
import json
import os
import re
import struct

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.sim import Simulator

from psahw import boards, generate
from psahw.boards.link.link import Link
from psahw.boards.link.options import choose_link
from psahw.boards.lint import lint
from psahw.boards.ports import interface
from psahw.boards.tools import project
from psahw.cli import main
from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.network import reference
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from tests.plans import inferred
from tests.wire import answers, message, words

FAMILIES = ["marble", "alveo-u250", "ulx3s-85f", "tangprimer20k"]


@pytest.fixture(scope="module")
def network():
    return random_network(np.random.default_rng(5))


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(network, path)
    return str(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_elaborate(name, path, network, tmp_path, capsys):
    directory = tmp_path / "new" / name
    assert main(["elaborate", path, "--board", name, "-o", str(directory), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["directory"] == str(directory)
    assert result["files"] == sorted(os.listdir(directory))
    assert result["board"] == name
    assert result["clock"]["hz"] == result["clock"]["target_hz"] == boards.get(name).clock_hz
    assert result["fps"] == pytest.approx(result["clock"]["hz"] / result["frame_interval"])
    assert json.loads((directory / "plan.json").read_text())["frame_interval"] == result["frame_interval"]
    assert json.loads((directory / "project.json").read_text())["digest"] == network_file.digest(network)
    assert os.access(directory / "build_top.sh", os.X_OK)
    assert lint(directory, boards.get(name).device.family) == []


def test_lint_of_overlapping_patches_that_keep_pace(tmp_path):
    """Two rows of a window are read at once, which is more than the padding, so one of them begins in the image."""
    shape = StageShape(channels=4, hidden=4, groups=4, kernel=3, shared=True)
    network = random_network(np.random.default_rng(5), patch=Patch(4, 2, 1), stages=(shape,))
    network_file.save(network, tmp_path / "overlapping.safetensors")
    directory = tmp_path / "new"
    arguments = ["--board", "marble", "--engines", "mac", "-o", str(directory)]
    assert main(["elaborate", str(tmp_path / "overlapping.safetensors"), *arguments]) == 0
    rows = 4 * 4 * 4  # rows of all windows of a frame
    assert json.loads((directory / "plan.json").read_text())["frame_interval"] < rows
    assert lint(directory, "xc7") == []


def test_clock_and_bus_options_over_an_old_project(path, tmp_path, capsys):
    for name in ("project.json", "old"):
        (tmp_path / name).write_text("")
    command = ["elaborate", path, "--board", "nereid", "-o", str(tmp_path)]
    assert main([*command, "--clock", "111.1e6", "--bus-bytes", "2", "--baud", "12000000"]) == 0
    assert "old" not in os.listdir(tmp_path)
    assert "(requested, not confirmed)" in capsys.readouterr().out
    project = json.loads((tmp_path / "project.json").read_text())
    assert project["link"]["baud"] == 12_000_000
    clock = project["clock"]
    assert clock["target_hz"] == 111.1e6
    assert 0.999 * 111.1e6 < clock["hz"] <= 111.1e6
    assert json.loads((tmp_path / "manifest.json").read_text())["bus_bytes"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "kc706"], "unknown board 'kc706'; known boards: kc705, genesys2, nereid, marble"),
        (["--board", "marble", "--fps", "0"], "--fps must be positive, not 0"),
        (["--board", "marble", "--clock", "2e9"], "a clock of 2000 MHz cannot be made from 125 MHz"),
        (
            ["--board", "ulx3s-85f", "--clock", "20e6"],
            "too slow for the board's UART at 3000000 baud: it must be at least 24 MHz, or --baud at most 2500000",
        ),
        (
            ["--board", "ecpix5-85f", "--baud", "12000000"],
            "too slow for the board's UART at 12000000 baud: it must be at least 96 MHz, or --baud at most 6250000",
        ),
        (
            ["--board", "marble", "--link", "udp", "--address", "10.0.0.2", "--clock", "100e6"],
            "a clock of 100 MHz is too slow for gigabit Ethernet, which carries a byte every 8 ns: it must be",
        ),
    ],
)
def test_wrong_use(options, message, path, tmp_path, capsys, monkeypatch):
    # These checks come first, because planning takes minutes if adder graphs must be solved.
    monkeypatch.setattr(search, "make", None)
    assert main(["elaborate", path, *options, "-o", str(tmp_path / "a" / "b")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_foreign_directory(path, tmp_path, capsys):
    (tmp_path / "thesis").write_text("")
    assert main(["elaborate", path, "--board", "marble", "-o", str(tmp_path)]) == 2
    assert "was not written by psahw" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["thesis"]


def test_unwritable_directory(path, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["elaborate", path, "--board", "marble", "-o", str(tmp_path / "file" / "x")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_link_and_accelerator_compute_what_the_integer_model_does(network):
    """The host sends images through the real protocol, and gets classes, logits and the planned times."""
    plan = search.make(network, boards.get("marble").device, clock_hz=143e6, bus_bytes=4)
    circuit = generate.accelerator(network, inferred(plan))
    signature = interface(generate.manifest(network, plan, circuit))
    assert signature == circuit.signature
    images = random_images(np.random.default_rng(6), network, 3)
    payload = signature.members["o"].signature.members["payload"].shape
    link = Link(hello=bytes(4), bus_bytes=4, frame_bytes=images[0].size, result=payload)
    m = Module()
    m.submodules.link, m.submodules.circuit = link, ResetInserter(link.reset)(circuit)
    wiring.connect(m, link.image, circuit.i)
    wiring.connect(m, circuit.o, link.result)
    wiring.connect(m, link.counters, circuit.counters)
    received = bytearray()

    def image(index, repeat=1):
        return message(2, 1 + index, struct.pack("<H", repeat) + images[index].tobytes())

    frames = plan.settling_frames + 4

    async def host(ctx):
        async def send(data, wait):
            for byte in data:
                ctx.set(link.rx.valid, 1)
                ctx.set(link.rx.payload, {"byte": byte, "error": 0})
                await ctx.tick().until(link.rx.ready)
            ctx.set(link.rx.valid, 0)
            await ctx.tick().repeat(wait)

        await send(image(0), plan.latency + 200)
        await send(image(1)[: images[1].size // 2], 1)
        await send(image(1, frames), plan.latency + frames * plan.frame_interval + 200)
        await send(image(2), plan.latency + 200)

    async def listener(ctx):
        ctx.set(link.tx.ready, 1)
        async for _, _, valid, byte in ctx.tick().sample(link.tx.valid, link.tx.payload):
            if valid:
                received.append(byte)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(listener, background=True)
    simulator.run()

    messages = answers(bytes(received))
    assert [kind for kind, *_ in messages] == [0x82, 0xFF, 0x82, 0x82]
    assert [sequence for kind, sequence, _ in messages if kind == 0x82] == [1, 2, 3]
    results = [payload for kind, _, payload in messages if kind == 0x82]
    for payload, logits in zip(results, reference.run(network, images), strict=True):
        assert words(payload)[0] == logits.argmax()
        assert payload[16:] == logits.astype("<i4").tobytes()
    latency, spans = [words(payload)[1] for payload in results], [words(payload)[2] for payload in results]
    assert latency == [plan.latency] * 3
    assert spans[0] == spans[2] == 0
    if not plan.settling_frames:
        assert spans[1] == (frames - 1) * plan.frame_interval


@pytest.mark.parametrize(("kind", "link_bram36"), [("uart", 0.5), ("udp", 2)])
def test_room_for_the_link(kind, link_bram36, network, tmp_path):
    """The UART's link buffers 4 images of 192 bytes, the UDP link 8 images and packets.

    If the device lacks half a block RAM, the message says how much the accelerator may use.
    """
    board = boards.get("marble")
    plan = search.make(network, board.device, clock_hz=board.clock_hz, fps=1000)
    link = choose_link(board, kind, "10.0.0.9" if kind == "udp" else None)
    for missing in (0.5, 0):
        device = dataclasses.replace(board.device, bram36=plan.resources.bram36 + link_bram36 - missing)
        smaller = dataclasses.replace(board, device=device)
        if missing:
            room = f"{device.bram36 - link_bram36:g}"
            message = f"the link's buffers {link_bram36:g}, and xc7k160t has {device.bram36:g}: plan it with"
            message += f" --max-bram {room}"
            with pytest.raises(UserError, match=re.escape(message)):
                project.write(smaller, network, plan, tmp_path, link=link)
            assert os.listdir(tmp_path) == []
        else:
            project.write(smaller, network, plan, tmp_path, link=link)


def test_a_plan_leaves_room_for_the_link(path, tmp_path, monkeypatch, capsys):
    """The device has only the block RAM that the accelerator would use on a larger one."""
    board = boards.get("marble")
    command = ["elaborate", path, "--board", "marble", "--engines", "mac", "--fps", "1000", "--json"]
    assert main([*command, "-o", str(tmp_path / "free")]) == 0
    taken = json.loads(capsys.readouterr().out)["resources"]["bram36"]
    assert taken >= 1
    device = dataclasses.replace(board.device, bram36=taken)
    monkeypatch.setitem(boards.BOARDS, "marble", dataclasses.replace(board, device=device))
    assert main([*command, "-o", str(tmp_path / "tight")]) == 0
    assert json.loads(capsys.readouterr().out)["resources"]["bram36"] <= taken - 0.5
