"""Test the cache of designs."""

import os
import shutil
import time

import pytest

import psahw
from psahw.sim import design_cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path))
    return tmp_path / "verilog"


def key(number):
    return f"{number:064x}"[::-1]


def write(directory):
    (directory / "manifest.json").write_text("{}")


def test_a_design_is_written_once(cache):
    written = []

    def count(directory):
        written.append(directory)
        write(directory)

    first = design_cache.cached_design(key(1), count)
    assert design_cache.cached_design(key(1), count) == first
    assert design_cache.cached_design(key(2), count) != first
    assert len(written) == 2
    assert sorted(os.listdir(cache)) == sorted(key(number)[:20] for number in (1, 2))


def test_a_failure_leaves_nothing(cache):
    def fail(directory):
        write(directory)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        design_cache.cached_design(key(1), fail)
    assert os.listdir(cache) == []


def test_old_designs_are_removed(cache):
    """Designs that were not used for a day are removed, all but the latest ones."""
    total = design_cache.CACHED_DESIGNS + 3
    for number in range(total):
        directory = design_cache.cached_design(key(number), write)
        used = time.time() - 2 * 86400 + number
        os.utime(directory, (used, used))
    design_cache.cached_design(key(total), write)
    assert len(os.listdir(cache)) == design_cache.CACHED_DESIGNS
    assert key(0)[:20] not in os.listdir(cache)


@pytest.mark.parametrize("name", ["gateware/multipliers.v", "gateware/new/part.py", "generate.py"])
def test_every_source_counts(name, tmp_path, monkeypatch):
    """Python and Verilog files of every package change the digest, other files do not."""
    for part in ("generate.py", "gateware/multipliers.v"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.copyfile(os.path.join(os.path.dirname(psahw.__file__), part), tmp_path / part)
    monkeypatch.setattr(psahw, "__file__", str(tmp_path / "__init__.py"))
    before = design_cache.source_digest()
    (tmp_path / "notes.txt").write_text("")
    assert design_cache.source_digest() == before
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with open(tmp_path / name, "a") as file:
        file.write("\n")
    assert design_cache.source_digest() != before
