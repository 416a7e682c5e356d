"""Test files that are written whole, checked directories, and the cache."""

import errno
import os
import time

import pytest

from psahw.errors import UserError
from psahw.files import (
    cache_directory,
    check_room,
    long_unused,
    output_directory,
    real_path,
    refuse_foreign,
    temporary_directory,
    whole_file,
    writable_directory,
    write_whole,
    writing,
)


def test_write_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "text ×")
    assert path.read_text() == "text ×"
    write_whole(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=r"^cannot write .*a\.txt: No space left on device$"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("small_disk")
def test_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UserError, match=r"^cannot write .*/a\.txt: File too large$"):
        write_whole(path, bytes(1001))
    with pytest.raises(UserError, match=r"^cannot write .*/a\.txt: File too large$"), whole_file(path) as fresh:
        fresh.write_bytes(bytes(1001))
    with pytest.raises(UserError, match=r"^cannot write .*/place: File too large$"), writing(tmp_path / "place"):
        (tmp_path / "b.txt").write_bytes(bytes(1001))
    (tmp_path / "b.txt").unlink()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupt_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as fresh:
        fresh.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_into_an_absent_directory(tmp_path):
    path = tmp_path / "absent" / "a.txt"
    with pytest.raises(UserError, match=r"^cannot write .*: No such file or directory$"):
        write_whole(path, "")


def test_write_into_a_pipe(tmp_path):
    """A pipe or a device gets the content, and is not replaced by a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, "text")
    assert os.read(reader, 100) == b"text"
    (tmp_path / "link").symlink_to(f"/proc/self/fd/{reader}")  # like /dev/stdout
    write_whole(tmp_path / "link", "more")
    assert os.read(reader, 100) == b"more"
    os.close(reader)
    assert path.is_fifo() and len(list(tmp_path.iterdir())) == 2


def test_write_through_a_link(tmp_path):
    """The file that a link leads to is replaced, or created, and the link stays."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for text in ("first", "second"):
        write_whole(tmp_path / "link", text)
        assert (tmp_path / "folder" / "file").read_text() == text
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


def test_permissions(tmp_path):
    """A new file has those of any other new file, and one that is replaced keeps its own."""
    (tmp_path / "other").touch()
    write_whole(tmp_path / "new", "text")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    write_whole(tmp_path / "new", "another")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_writable_directory(tmp_path):
    path = tmp_path / "a" / "b"
    assert writable_directory(path) == path
    assert list(path.iterdir()) == []
    assert writable_directory(path) == path


def test_directory_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "b"
    with pytest.raises(UserError, match=r"^cannot write into directory .*: Not a directory$"):
        writable_directory(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_output_directory_is_removed_after_a_failure(tmp_path):
    with pytest.raises(UserError, match="no data"), output_directory(tmp_path / "a" / "b") as directory:
        assert directory.is_dir()
        raise UserError("no data")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError), output_directory(tmp_path / "a" / "b") as directory:
        (directory / "log").write_text("started")
        raise UserError("no data")
    assert (tmp_path / "a" / "b" / "log").exists()
    with pytest.raises(UserError), output_directory(tmp_path / "a") as directory:
        raise UserError("a directory that was there stays")
    assert (tmp_path / "a" / "b" / "log").exists()


def test_refuse_foreign(tmp_path):
    def ours(path):
        return (path / "mark").exists()

    refuse_foreign(tmp_path / "absent", ours, "mark")
    (tmp_path / ".hidden").write_text("")
    refuse_foreign(tmp_path, ours, "mark")
    (tmp_path / "text").write_text("")
    with pytest.raises(UserError, match=r"holds other files and no mark: name a new or empty directory$"):
        refuse_foreign(tmp_path, ours, "mark")
    (tmp_path / "mark").write_text("")
    refuse_foreign(tmp_path, ours, "mark")


def test_long_unused_entries(tmp_path):
    now, hour = time.time(), 3600
    for n, ago in enumerate((60, 50, 40, 2)):
        (tmp_path / str(n)).mkdir()
        os.utime(tmp_path / str(n), (now - ago * hour,) * 2)
    entries = [*tmp_path.iterdir(), tmp_path / "just removed by another process"]
    assert long_unused(entries, 2) == [tmp_path / "0", tmp_path / "1"]
    assert long_unused(entries, 4) == []


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "elsewhere"))
    assert cache_directory() == tmp_path / "elsewhere"
    monkeypatch.delenv("PSAHW_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "psahw"
    assert not cache_directory().exists()


def test_error_of_another_file(tmp_path):
    """A block that writes into one directory may fail to read elsewhere, and its error names that file."""
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError), writing(tmp_path / "a" / "x"):
        (tmp_path / "b" / "y").read_text()
    with pytest.raises(UserError, match=r"^cannot write .*/a/x/y: No such file"), writing(tmp_path / "a" / "x" / "y"):
        (tmp_path / "a" / "x" / "z").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*/a: No space left on device$"), writing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ConnectionResetError), writing(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


@pytest.mark.usefixtures("small_disk")
def test_full_disk_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hint = "; make room, or set TMPDIR to another directory"
    message = rf"^cannot write {tmp_path}: File too large{hint}$"
    with pytest.raises(UserError, match=message), temporary_directory("test-") as directory:
        (directory / "x").write_bytes(bytes(1001))
    message = rf"^cannot write {tmp_path}: No space left on device{hint}$"
    with pytest.raises(UserError, match=message), temporary_directory("test-") as directory:
        check_room(directory)
    with pytest.raises(FileNotFoundError), temporary_directory("test-") as directory:
        (tmp_path.parent / "elsewhere" / "y").read_text()
    assert list(tmp_path.iterdir()) == []


def test_links_that_lead_to_themselves(tmp_path):
    """They stay as they are, so that opening them is an OSError."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "other").symlink_to("new")
    assert real_path(tmp_path / "loop").name == "loop"
    assert real_path(tmp_path / "other" / "x") == tmp_path.resolve() / "new" / "x"
