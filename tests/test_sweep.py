"""Test order, resumption and failures of a sweep, with a stand-in for the commands, and once with real ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from psahw import sweep
from psahw.cli import main
from psahw.errors import UserError
from psahw.network.file import load
from tests.test_logs import full_disk

RECIPE = {
    "teacher": {"command": "train", "arguments": ["--config", "tiny"]},
    "student": {"command": "distill", "arguments": ["--teacher", "{teacher}"]},
    "w8": {"command": "quantize", "arguments": ["{student}", "--teacher", "{teacher}"]},
    "w4": {"command": "quantize", "arguments": ["{student}", "--bits", "4"], "after": ["w8"]},
    "test": {"command": "evaluate", "arguments": ["{w4}"]},
}
STAND_IN = """
import json, sys, time
from pathlib import Path
arguments = sys.argv[1:]
with open({calls!r}, "a") as file:
    file.write(json.dumps(arguments) + "\\n")
marker = Path({broken!r})
if marker.exists() and marker.read_text() in arguments:
    sys.exit("something is wrong")
print(json.dumps({{"command": arguments[0]}}))
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"jobs": RECIPE}))
    return path


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Run a script in place of psahw; return functions that list its calls and that make a job fail."""
    calls, broken = tmp_path / "calls", tmp_path / "broken"
    script = STAND_IN.format(calls=str(calls), broken=str(broken))
    child = sweep.Child

    def start(command, **options):
        assert command[:3] == [sys.executable, "-m", "psahw"]
        return child([sys.executable, "-c", script, *command[3:]], **options)

    monkeypatch.setattr(sweep, "Child", start)

    def called():
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    return called, broken.write_text


def _run(capsys, recipe, directory, *arguments):
    status = main(["sweep", str(recipe), "-o", str(directory), "--json", *arguments])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


@pytest.mark.parametrize("workers", ["1", "3"])
def test_each_job_after_what_it_needs(recipe, stand_in, tmp_path, capsys, workers):
    called, _ = stand_in
    out = tmp_path / "out"
    status, result, _ = _run(capsys, recipe, out, "--jobs", workers)
    assert status == 0 and set(result["jobs"].values()) == {"done"}
    student, w4 = str(out / "student"), str(out / "w4" / "w4.safetensors")
    assert called() == [
        ["train", "--config", "tiny", "-o", str(out / "teacher"), "--json"],
        ["distill", "--teacher", str(out / "teacher"), "-o", student, "--json"],
        ["quantize", student, "--teacher", str(out / "teacher"), "--name", "w8", "-o", str(out / "w8"), "--json"],
        ["quantize", student, "--bits", "4", "--name", "w4", "-o", str(out / "w4"), "--json"],
        ["evaluate", w4, "--json"],
    ]
    for name, arguments in zip(RECIPE, called(), strict=True):
        written = json.loads((out / f"{name}.json").read_text())
        asked = [RECIPE[name]["command"], *RECIPE[name]["arguments"]]
        assert written == {"job": asked, "arguments": arguments, "result": {"command": arguments[0]}}


def test_again_does_what_is_left(recipe, stand_in, tmp_path, capsys):
    called, break_job = stand_in
    break_job("w8")
    status, result, err = _run(capsys, recipe, tmp_path / "out")
    assert status == 1
    assert result["jobs"] == {
        "teacher": "done", "student": "done", "w8": "failed", "w4": "not run", "test": "not run",
    }  # fmt: skip
    assert err.endswith("psahw: 1 of 5 jobs failed: w8; not run because they need those results: w4, test\n")
    assert "something is wrong" in (tmp_path / "out" / "w8.log").read_text()
    assert not (tmp_path / "out" / "w8.json").exists()
    break_job("nothing")
    status, result, _ = _run(capsys, recipe, tmp_path / "out")
    assert status == 0
    assert list(result["jobs"].values()) == ["was done", "was done", "done", "done", "done"]
    assert [arguments[0] for arguments in called()] == [
        "train", "distill", "quantize", "quantize", "quantize", "evaluate",
    ]  # fmt: skip


def test_failure_does_not_stop_the_others(recipe, stand_in, tmp_path, capsys):
    jobs = {name: {"command": "train", "arguments": ["--seed", name]} for name in ("a", "b", "c")}
    recipe.write_text(json.dumps({"jobs": jobs}))
    stand_in[1]("a")
    status, result, _ = _run(capsys, recipe, tmp_path / "out")
    assert (status, result["jobs"]) == (1, {"a": "failed", "b": "done", "c": "done"})


def test_only_one(recipe, stand_in, tmp_path, capsys):
    called, break_job = stand_in
    out = tmp_path / "out"
    status, _, err = _run(capsys, recipe, out, "--only", "student")
    assert (status, err) == (2, "psahw: job 'student' needs teacher, which must be done first\n")
    for already in (False, True):
        status, result, _ = _run(capsys, recipe, out, "--only", "teacher")
        assert (status, result["already"]) == (0, already)
    assert len(called()) == 1
    break_job("distill")
    status, _, err = _run(capsys, recipe, out, "--only", "student")
    log = out / "student.log"
    assert (status, err) == (1, f"psahw: job 'student' failed: exit status 1, {log}: something is wrong\n")
    status, _, err = _run(capsys, recipe, out, "--only", "nobody")
    assert (status, err) == (2, "psahw: --only: no job 'nobody'; jobs are teacher, student, w8, w4, test\n")


def test_list(recipe, tmp_path, capsys):
    """The lines can be run by a shell as they are, and nothing is run or written."""
    awkward = tmp_path / "with a space"
    assert main(["sweep", str(recipe), "-o", str(awkward), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shell = [["sh", "-c", f"printf '%s\\n' {line}"] for line in lines]
    assert [subprocess.run(command, capture_output=True, text=True).stdout.splitlines() for command in shell] == [
        [sys.executable, "-m", "psahw", "sweep", str(recipe), "-o", str(awkward), "--only", name] for name in RECIPE
    ]
    status, result, _ = _run(capsys, recipe, awkward, "--list")
    assert status == 0
    assert {job["name"]: job["after"] for job in result["jobs"]} == {
        "teacher": [], "student": ["teacher"], "w8": ["student", "teacher"], "w4": ["w8", "student"], "test": ["w4"],
    }  # fmt: skip
    command = ["psahw", "train", "--config", "tiny", "-o", str(awkward / "teacher"), "--json"]
    assert result["jobs"][0]["command"] == command
    assert not awkward.exists()


def test_result_of_other_arguments(recipe, stand_in, tmp_path, capsys):
    assert _run(capsys, recipe, tmp_path / "out")[0] == 0
    changed = RECIPE | {"teacher": {"command": "train", "arguments": ["--config", "psa"]}}
    recipe.write_text(json.dumps({"jobs": changed}))
    status, _, err = _run(capsys, recipe, tmp_path / "out")
    assert status == 2
    message = "job 'teacher' was 'train --config tiny' and now is 'train --config psa': name another job or directory"
    assert f"teacher.json: {message}" in err
    (tmp_path / "out" / "teacher.json").write_text("{")
    err = _run(capsys, recipe, tmp_path / "out")[2]
    assert "teacher.json must be JSON: " in err and err.endswith("; remove it, and the job runs again\n")


def test_another_spelling_of_the_directory(recipe, stand_in, tmp_path, capsys, monkeypatch):
    called, _ = stand_in
    assert _run(capsys, recipe, tmp_path / "out")[0] == 0
    monkeypatch.chdir(tmp_path)
    count = len(called())
    assert _run(capsys, recipe, "out")[0] == 0
    assert len(called()) == count


@pytest.mark.parametrize("name", sweep.shipped())
def test_shipped_recipe(name, tmp_path, monkeypatch, capsys):
    """A recipe is listed by its name wherever the command runs, and the lines have that name, too."""
    monkeypatch.chdir(tmp_path)
    status, result, _ = _run(capsys, name, "out", "--list")
    assert status == 0 and result["jobs"] and not any(job["done"] for job in result["jobs"])
    assert all(job["line"][4:6] == [name, "-o"] for job in result["jobs"])


def test_shipped_recipes_are_those_of_the_repository():
    files = {path.stem: path for path in (Path(__file__).parents[1] / "recipes").glob("*.json")}
    assert "cifar10" in files and sweep.shipped() == sorted(files)
    assert {name: sweep.find(name) for name in files} == files


def _jobs(**changes):
    return {"jobs": RECIPE | changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "recipe.json must be an object, not []"),
        ({}, "recipe.json: jobs is missing"),
        ({"jobs": {}}, "recipe.json: jobs must be an object of length 1 or more, not {}"),
        (_jobs(**{"../x": {"command": "train"}}), "job '../x': a name must consist of letters, digits,"),
        (_jobs(x=3), ": jobs['x'] must be an object, not 3"),
        (_jobs(x={"command": "rm"}), ": jobs['x'].command must be one of distill, evaluate, quantize, teach, train"),
        (_jobs(x={"command": "train", "arguments": "-x"}), ": jobs['x'].arguments must be a list, not '-x'"),
        (_jobs(x={"command": "train", "when": 1}), ": jobs['x']: unknown field 'when'; known fields: command, "),
        (_jobs(x={"command": "train", "arguments": ["-o", "y"]}), "job 'x': -o must not be among the arguments"),
        (_jobs(x={"command": "train", "arguments": ["{y}"]}), "job 'x': there is no job 'y'"),
        (_jobs(x={"command": "train", "after": ["y"]}), "job 'x': there is no job 'y'"),
        (_jobs(teacher={"command": "train", "after": ["test"]}), "jobs student, teacher, test, w4, w8: each waits"),
    ],
)  # fmt: skip
def test_wrong_recipe(content, message, recipe, tmp_path):
    recipe.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        sweep.load(recipe, tmp_path)
    assert str(caught.value).startswith(f"{recipe}") and message in str(caught.value)


def test_no_file(recipe, tmp_path):
    known = r"neither a file nor one that ships with psahw \(ablations, cifar10, .*\)"
    with pytest.raises(UserError, match=rf"^no recipe '.*/absent': {known}$"):
        sweep.load(tmp_path / "absent", tmp_path)
    with pytest.raises(UserError, match=r"^cannot read .*: Is a directory$"):
        sweep.load(tmp_path, tmp_path)
    recipe.write_text("{")
    with pytest.raises(UserError, match="must be JSON"):
        sweep.load(recipe, tmp_path)


def test_interrupted(recipe, tmp_path, monkeypatch):
    """The running job is terminated, and no other job begins."""
    processes, child = [], sweep.Child

    def start(command, **options):
        processes.append(child([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return processes[-1]

    def interrupt(*given, **options):
        while not processes:
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "Child", start)
    monkeypatch.setattr(sweep, "wait", interrupt)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        list(sweep.load(recipe, tmp_path / "out").run())
    assert len(processes) == 1 and processes[0].returncode < 0
    assert not (tmp_path / "out" / "teacher.json").exists()


def test_real_commands(tmp_path, capsys):
    """A training, a quantisation and an evaluation run, and then nothing is left to do."""
    pytest.importorskip("torch")
    smoke = ["--dataset", "sample", "--epochs", "1", "--batch", "16", "--set", "compile=false", "--set", "bf16=false"]
    jobs = {
        "float": {"command": "train", "arguments": ["--config", "tiny", *smoke]},
        "w8": {"command": "quantize", "arguments": ["{float}", *smoke]},
        "test": {"command": "evaluate", "arguments": ["{w8}", "--dataset", "sample", "--record"]},
    }
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"jobs": jobs}))
    status, _, err = _run(capsys, recipe, tmp_path / "out", "--jobs", "2")
    assert status == 0, err
    network = load(tmp_path / "out" / "w8" / "w8.safetensors")
    written = json.loads((tmp_path / "out" / "test.json").read_text())["result"]
    assert network.metadata["accuracy"]["sample test INT8"] == written["accuracy"]
    assert set(_run(capsys, recipe, tmp_path / "out")[1]["jobs"].values()) == {"was done"}
    assert Path(tmp_path / "out" / "float" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["teacher.log", "teacher.json"])
def test_full_disk(recipe, stand_in, tmp_path, capsys, name):
    """The sweep ends in one line that names the file, and goes on when there is room."""
    called, _ = stand_in
    out = tmp_path / "out"
    out.mkdir()
    log = out / "teacher.log"
    if name == "teacher.log":
        log.write_text("epoch 1/2\nepo")  # and it was killed before
    with full_disk(log.stat().st_size if log.exists() else 150):
        status, _, err = _run(capsys, recipe, out)
    assert (status, err) == (2, f"psahw: cannot write {out / name}: File too large\n")
    assert not (out / "teacher.json").exists() and len(called()) == (name == "teacher.json")
    assert _run(capsys, recipe, out)[0] == 0
    assert log.read_text() == ("epoch 1/2\nepo\n" if name == "teacher.log" else "")


def test_a_full_disk_is_the_reason_of_an_empty_log(tmp_path, monkeypatch):
    log = tmp_path / "job.log"
    log.write_text("of an earlier run\n")
    assert sweep._last_line(log, log.stat().st_size) == ""
    monkeypatch.setattr(sweep, "has_room", lambda directory: False)
    assert sweep._last_line(log, log.stat().st_size) == ": No space left on device"
    assert sweep._last_line(log, 0) == ": of an earlier run"
