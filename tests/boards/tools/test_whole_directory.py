import pytest

from psahw.boards.tools.whole_directory import whole_directory
from psahw.errors import UserError


def write(path, text="new"):
    """Write a directory with a marker and one other file."""
    with whole_directory(path, marker="mark") as fresh:
        (fresh / "mark").write_text("")
        (fresh / "content").write_text(text)


def listing(path):
    """Return the relative paths of everything below a directory."""
    return sorted(str(entry.relative_to(path)) for entry in path.rglob("*"))


def test_new_with_parents(tmp_path):
    write(tmp_path / "a" / "b")
    assert listing(tmp_path) == ["a", "a/b", "a/b/content", "a/b/mark"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o777


def test_replaces_marked_and_empty_directories(tmp_path):
    target = tmp_path / "x"
    target.mkdir()
    write(target, "first")
    (target / "left over").write_text("")
    write(target, "second")
    assert listing(tmp_path) == ["x", "x/content", "x/mark"]
    assert (target / "content").read_text() == "second"


def test_keeps_a_directory_without_marker(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis").write_text("")
    message = r"^.*/x exists and was not written by psahw \(it has no mark\); name another directory$"
    with pytest.raises(UserError, match=message):
        write(tmp_path / "x")
    assert listing(tmp_path) == ["x", "x/thesis"]


def test_keeps_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="exists and was not written by psahw"):
        write(tmp_path / "x")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_deletes_the_new_directory(tmp_path, error):
    with pytest.raises(error), whole_directory(tmp_path / "a" / "b", marker="mark") as fresh:
        (fresh / "content").write_text("")
        raise error
    assert listing(tmp_path) == []


def test_failure_keeps_the_old_directory(tmp_path):
    write(tmp_path / "x", "old")
    with pytest.raises(RuntimeError), whole_directory(tmp_path / "x", marker="mark") as fresh:
        (fresh / "content").write_text("new")
        raise RuntimeError
    assert (tmp_path / "x" / "content").read_text() == "old"


def test_disk_error_in_the_block(tmp_path):
    with (
        pytest.raises(UserError, match=r"^cannot write .*/x: No space left on device$"),
        whole_directory(tmp_path / "x", marker="mark"),
    ):
        raise OSError(28, "No space left on device")
    assert listing(tmp_path) == []


def test_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*/file/x: Not a directory$"):
        write(tmp_path / "file" / "x")
