"""Test that the cache uses entries only as they were written, and what a full or read-only disk leaves behind."""

import errno
import fcntl
import hashlib
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from psahw import cache
from psahw.errors import UserError

DAY = 86400


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """The directory of the cache, with a space."""
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "c d"))
    return tmp_path / "c d"


def make(directory):
    (directory / "a.mem").write_text("0\n1\n")
    (directory / "deep").mkdir()
    (directory / "deep" / "b").write_bytes(bytes(100))


def entry(key="key", make=make, keep=3):
    return cache.directory("kind", key, make, keep=keep)


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_file(directory, caplog):
    path = cache.place("files") / "x"
    assert cache.read(path) is None
    cache.write(path, b"content\n\n")
    assert cache.read(path) == b"content\n\n"
    digest = hashlib.sha256(b"x\ncontent\n\n").hexdigest()
    assert path.read_bytes() == f"psahw-entry {digest}\ncontent\n\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["x"]
    assert not caplog.messages


@pytest.mark.parametrize("damage", [
    lambda text: b"",
    lambda text: text[:-1],
    lambda text: text + b" ",
    lambda text: text.partition(b"\n")[2],
    lambda text: text.replace(b"1", b"2", 1) if b"1" in text.partition(b"\n")[2] else text[::-1],
    lambda text: b"\xff" + text,
])  # fmt: skip
def test_damaged_file(damage, caplog):
    path = cache.place("files") / "x"
    cache.write(path, b"[[1, 2, 3]]")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read(path) is None
    assert len(caplog.messages) == 1 and str(path) in caplog.messages[0] and "made again" in caplog.messages[0]


def test_file_of_another_entry(caplog):
    """A file that was copied to another name is not used, although its own digest is right."""
    first, second = (cache.place("files") / name for name in "ab")
    cache.write(first, b"1")
    shutil.copyfile(first, second)
    assert (cache.read(first), cache.read(second)) == (b"1", None)


def test_directory(directory, caplog):
    calls = []
    path = entry(make=lambda fresh: calls.append(fresh) or make(fresh))
    assert path == directory / "kind" / "key"
    expected = {"a.mem": b"0\n1\n", "deep/b": bytes(100)}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in expected.items()]
    assert contents(path) == expected | {cache.SEAL: ("# key\n" + "".join(lines)).encode()}
    assert entry(make=None) == path
    assert os.listdir(directory / "kind") == ["key"]
    assert len(calls) == 1 and not caplog.messages


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda path: (path / "a.mem").write_text(""), "a.mem has another digest"),
    (lambda path: (path / "a.mem").write_text("1\n0\n"), "a.mem has another digest"),
    (lambda path: (path / "a.mem").unlink(), "a.mem is missing"),
    (lambda path: (path / "new.mem").write_text("0"), "new.mem does not belong to it"),
    (lambda path: (path / "deep" / "b").write_bytes(bytes(99)), "deep/b has another digest"),
    (lambda path: shutil.rmtree(path / "deep"), "deep/b is missing"),
    (lambda path: (path / cache.SEAL).unlink(), "is missing"),
    (lambda path: (path / cache.SEAL).write_text(""), "not a list of files"),
    (lambda path: (path / cache.SEAL).write_bytes(b"\xff"), "not a list of files"),
    (lambda path: (path / cache.SEAL).write_text("# key\n"), "another entry"),
    (lambda path: [file.unlink() for file in path.rglob("*") if file.is_file()], "is missing"),
    (lambda path: [shutil.rmtree(path), path.write_text("")], "Not a directory"),
])  # fmt: skip
def test_damaged_directory(directory, damage, reason, caplog):
    """A damaged entry is made again with one message, also in the process that has made it."""
    path = entry()
    before = contents(path)
    damage(path)
    assert entry() == path
    assert contents(path) == before
    assert len(caplog.messages) == 1 and str(path) in caplog.messages[0] and reason in caplog.messages[0]
    assert os.listdir(directory / "kind") == ["key"]
    assert entry(make=None) == path


def test_directory_of_another_entry(caplog):
    shutil.copytree(entry("one"), cache.place("kind") / "two")
    assert contents(entry("two"))[cache.SEAL].startswith(b"# two\n")
    assert "another entry" in caplog.text


def test_files_are_read_once(monkeypatch):
    """A process compares an entry with its digests once, unless a file changes."""
    path = entry()
    cache._intact.clear()
    read, actual = [], cache._sha256
    monkeypatch.setattr(cache, "_sha256", lambda file: read.append(file.name) or actual(file))
    for _ in range(3):
        entry(make=None)
    assert read == ["a.mem", "b"]
    os.utime(path / "a.mem", (0, 0))
    entry(make=None)
    assert len(read) == 4


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_nothing(directory, error):
    def fail(fresh):
        make(fresh)
        (fresh.parent / "object").write_text("")
        raise error

    with pytest.raises(error):
        entry(make=fail)
    assert os.listdir(directory / "kind") == []


def test_what_a_killed_process_left_is_removed(directory):
    """A lock and a half-made entry of a process that was killed are removed when the same entry is made."""
    (directory / "kind" / "new-12345678" / "entry").mkdir(parents=True)
    (directory / "kind" / "new-12345678" / "entry" / "a.mem").write_text("9")
    for name in ("new-12345678.scratch", "key.lock"):
        (directory / "kind" / name).write_text("")
    assert "0" in (entry() / "a.mem").read_text()
    assert os.listdir(directory / "kind") == ["key"]


@pytest.mark.parametrize("use", [entry, lambda: cache.find("kind", "key")], ids=["directory", "find"])
def test_what_a_process_killed_at_the_end_left_is_removed(directory, use):
    """A kill after the entry is in its place leaves a lock and an empty directory; the next use removes them."""
    entry()
    (directory / "kind" / "new-12345678").mkdir()
    for name in ("new-12345678.scratch", "key.lock"):
        (directory / "kind" / name).write_text("")
    assert use() == directory / "kind" / "key"
    assert os.listdir(directory / "kind") == ["key"]


@pytest.mark.parametrize("held", ["key.lock", "new-12345678.scratch"])
def test_what_another_process_holds_stays(directory, held):
    entry()
    (directory / "kind" / "new-12345678").mkdir()
    names = ["key.lock", "new-12345678.scratch"]
    for name in names:
        (directory / "kind" / name).write_text("")
    with open(directory / "kind" / held) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entry()
        left = {"key", *names} if held == "key.lock" else {"key", held}
        assert set(os.listdir(directory / "kind")) == {*left, "new-12345678"}


def test_unused_entries_are_removed(directory):
    """Entries that were not used for a day are removed, all but the latest ones."""
    (directory / "kind" / "building-1234").mkdir(parents=True)  # of an earlier version
    os.utime(directory / "kind" / "building-1234", (time.time() - 3 * DAY,) * 2)
    for n in range(5):
        os.utime(entry(str(n), keep=9), (time.time() - 2 * DAY + n,) * 2)
    entry("new", keep=3)
    assert sorted(os.listdir(directory / "kind")) == ["3", "4", "new"]


def test_entry_that_another_process_holds_is_not_removed(directory):
    for n in range(5):
        os.utime(entry(str(n), keep=9), (time.time() - 2 * DAY + n,) * 2)
    with open(directory / "kind" / "0.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entry("new", keep=3)
    assert sorted(os.listdir(directory / "kind")) == ["0", "0.lock", "3", "4", "new"]


def _slow(path):
    time.sleep(0.05)
    make(path)
    with open(path.parents[1] / "calls", "a") as file:
        file.write("x")


def _entry(key):
    return str(entry(key, _slow))


def test_processes_wait_for_each_other(directory):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        paths = pool.map(_entry, ["a", "b"] * 8, chunksize=1)
    assert {Path(path).name for path in paths} == {"a", "b"}
    assert (directory / "kind" / "calls").read_text() == "xx"
    assert sorted(os.listdir(directory / "kind")) == ["a", "b", "calls"]


def test_read_only_directory(monkeypatch):
    """A cache that cannot be written serves the entries that it has."""
    path = entry()

    def fail(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for name in ("open", "mkdir", "utime", "rename", "unlink"):
        monkeypatch.setattr(os, name, fail)
    assert entry(make=None) == path
    for key in ("other", "key"):
        with pytest.raises(UserError, match=rf"^cannot write .*/kind/{key}: Read-only file system; .*PSAHW_CACHE"):
            entry(key)
        (path / "a.mem").write_text("")


def test_cache_below_a_file(directory):
    directory.write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*/c d/kind/key: .*; make room, or set PSAHW_CACHE to"):
        entry()
    with pytest.raises(UserError, match=r"^cannot write .*/c d/files/x: .*; make room, or set PSAHW_CACHE to"):
        cache.write(cache.place("files") / "x", b"")


@pytest.mark.usefixtures("small_disk")
def test_full_disk(directory):
    """A full disk is reported with the entry and the way to move the cache, and nothing half-written stays."""
    hint = r"File too large; make room, or set PSAHW_CACHE to another directory than .*/c d$"
    with pytest.raises(UserError, match=rf"^cannot write .*/c d/kind/key: {hint}"):
        entry(make=lambda fresh: (fresh / "big").write_bytes(bytes(1001)))
    with pytest.raises(UserError, match=rf"^cannot write .*/c d/files/x: {hint}"):
        cache.write(cache.place("files") / "x", bytes(1001))
    assert [file for file in directory.rglob("*") if file.is_file()] == []
