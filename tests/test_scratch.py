"""Files and directories for what is being made: removed at the end of a block, and after a kill by the next run."""

import os
import signal
import subprocess
import sys

import pytest

from psahw import scratch
from psahw.files import whole_file

pytest.importorskip("fcntl")


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_removed_at_the_end(tmp_path, error):
    with pytest.raises(error) if error else scratch.scratch_directory("other-", tmp_path):  # noqa: SIM117
        with scratch.scratch_directory("making-", tmp_path) as directory:
            (directory / "inner").mkdir()
            (directory / "inner" / "file").write_text("half")
            assert directory.parent == tmp_path and directory.name.startswith("making-")
            if error:
                raise error
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_moved_stays(tmp_path):
    with scratch.scratch_file("making-", tmp_path) as path:
        os.replace(path, tmp_path / "result")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


HOLD = """
import sys, time
from psahw.files import whole_file
from psahw.scratch import scratch_directory
with scratch_directory("making-", sys.argv[1]) as directory, whole_file(sys.argv[1] + "/result") as file:
    (directory / "file").write_text("half")
    file.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that makes a directory and a file, and return it when it has begun."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def _names(folder):
    return sorted(path.name.rpartition("-")[0] for path in folder.iterdir())


def test_what_a_killed_process_has_left(tmp_path, holder):
    """It stays while the process runs, and the next block with the same prefix removes it."""
    before = _names(tmp_path)
    assert before == [".result.psahw", "making", "making"]  # with the lock
    with scratch.scratch_directory("making-", tmp_path), whole_file(tmp_path / "result") as file:
        file.write_text("new")
    assert _names(tmp_path) == ["", *before]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with scratch.scratch_directory("other-", tmp_path), whole_file(tmp_path / "another"):
        assert set(before) < set(_names(tmp_path))
    with scratch.scratch_directory("making-", tmp_path), whole_file(tmp_path / "result"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"result", "another"}


def test_files_of_others_stay(tmp_path):
    """A name must have exactly the form of ours, and a link to another place is not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (outside / "x.lock").write_text("")
    here = tmp_path / "here"
    here.mkdir()
    for name in ("making-1234567", "making-12345678", "making-123456789.lock", "amaking-12345678.lock"):
        (here / name).write_text("mine")
    (here / "making-abcdefgh.lock").symlink_to(outside / "x.lock")
    (here / "making-abcdefgh").symlink_to(outside)
    before = sorted(here.iterdir())
    with scratch.scratch_directory("making-", here):
        pass
    assert sorted(here.iterdir()) == before and (outside / "file").exists()


def test_many_processes_at_once(tmp_path):
    """No directory is taken for a leftover while its process uses it."""
    code = """
import sys
from psahw.scratch import scratch_directory
for _ in range(40):
    with scratch_directory("making-", sys.argv[1]) as directory:
        (directory / "file").write_text("x")
        assert (directory / "file").read_text() == "x"
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_file_systems_without_locks(tmp_path, monkeypatch):
    """There, work goes on, and nothing is taken for a leftover."""

    def refuse(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(scratch.fcntl, "flock", refuse)
    (tmp_path / "making-abcdefgh.scratch").touch()
    with scratch.scratch_directory("making-", tmp_path) as directory:
        assert directory.is_dir()
    for wait in (True, False):
        with scratch.locked(tmp_path / "lock", wait=wait) as free:
            assert free
    assert [path.name for path in tmp_path.iterdir()] == ["making-abcdefgh.scratch"]


def test_remove_all(tmp_path):
    """A process that does not leave its blocks removes their files before it ends."""
    code = HOLD.replace("time.sleep(60)", "import os; from psahw import scratch; scratch.remove_all(); os._exit(0)")
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, stdout=subprocess.DEVNULL)
    assert list(tmp_path.iterdir()) == []
