"""A disk that fills up ends a training in one line with the path; the state before stays, and the run goes on."""

import pytest

from psahw.cli import main
from psahw.model import checkpoint
from psahw.network import file as network_file
from psahw.report.curves import read_run
from tests.test_logs import full_disk

OPTIONS = ["--dataset", "sample", "--batch", "16", "--set", "compile=false"]
TRAIN = ["train", "--config", "tiny", "--epochs", "2", *OPTIONS, "-o"]


def _fails(words, size, capsys):
    """Run a command that fails on a disk with room for files of `size` bytes, and return its message."""
    capsys.readouterr()
    with full_disk(size):
        status = main([str(word) for word in words])
    message = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and message.startswith("psahw: cannot write "), message
    return message


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "teacher"
    assert main([*TRAIN, str(directory)]) == 0
    return directory


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_no_room_for_the_checkpoint(tmp_path, teacher, capsys, share):
    """Also if it has room for a part."""
    assert main([*TRAIN, str(tmp_path), "--stop-after", "1"]) == 0
    path = tmp_path / "checkpoint.safetensors"
    before = path.read_bytes()
    size = max(int(share * len(before)), (tmp_path / "log.jsonl").stat().st_size + 10_000)
    message = _fails([*TRAIN, tmp_path], size, capsys)
    assert message == f"psahw: cannot write {path}: File too large"
    assert path.read_bytes() == before and not list(tmp_path.glob("*.part*"))
    assert main([*TRAIN, str(tmp_path)]) == 0
    ours, theirs = (checkpoint.read(run / "model.safetensors")[0] for run in (tmp_path, teacher))
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())
    assert [epoch["epoch"] for epoch in read_run(tmp_path)] == [1, 2]


def test_no_room_for_the_model(tmp_path, capsys):
    """All epochs are complete, and the model is written by the next run."""
    assert main([*TRAIN, str(tmp_path)]) == 0
    path = tmp_path / "model.safetensors"
    path.unlink()
    assert _fails([*TRAIN, tmp_path], 10_000, capsys) == f"psahw: cannot write {path}: File too large"
    assert not path.exists() and main([*TRAIN, str(tmp_path)]) == 0 and path.exists()


@pytest.mark.parametrize("begun", [False, True])
def test_no_room_for_the_log(tmp_path, capsys, begun):
    """A run that has not written its first record can be started again in its directory."""
    log = tmp_path / "log.jsonl"
    if begun:
        assert main([*TRAIN, str(tmp_path), "--stop-after", "1"]) == 0
    before = log.read_bytes() if begun else b""
    message = _fails([*TRAIN, tmp_path], len(before) + 5, capsys)
    assert message == f"psahw: cannot write {log}: File too large" and log.read_bytes() == before
    assert main([*TRAIN, str(tmp_path)]) == 0
    assert [epoch["epoch"] for epoch in read_run(tmp_path)] == [1, 2]


def test_no_room_for_answers(tmp_path, teacher, capsys):
    """Views that were written stay."""
    answers = tmp_path / "answers"
    words = ["teach", "--teacher", str(teacher), "--dataset", "sample", "--set", "compile=false", "-o", str(answers)]
    assert main([*words, "--views", "1"]) == 0
    before = (answers / "view0000.safetensors").read_bytes()
    message = _fails([*words, "--views", "2"], 1000, capsys)
    assert message == f"psahw: cannot write {answers / 'view0001.safetensors'}: File too large"
    assert [path.name for path in answers.iterdir()] == ["view0000.safetensors"]
    assert main([*words, "--views", "2"]) == 0
    assert (answers / "view0000.safetensors").read_bytes() == before and len(list(answers.iterdir())) == 2


@pytest.mark.parametrize("budget", [None, "15000"])
def test_no_room_for_a_network(tmp_path, teacher, capsys, budget):
    words = ["quantize", teacher, "--name", "w8", "--epochs", "0", "--dataset", "sample", "-o", tmp_path]
    words += [] if budget is None else ["--lut-budget", budget, "--search-images", "20"]
    name = "w8.safetensors" if budget is None else "bits.json"
    assert _fails(words, 500, capsys) == f"psahw: cannot write {tmp_path / name}: File too large"
    assert not list(tmp_path.iterdir())
    assert main(list(map(str, words))) == 0
    assert network_file.load(tmp_path / "w8.safetensors").name == "w8"
