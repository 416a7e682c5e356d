"""A short selection of the faults of ``make faults``, and the checks themselves."""

import signal
import sys
from pathlib import Path

import pytest

from psahw import cache
from psahw.files import whole_file

from .cases import CASES, GROUPS, Case, networks
from .injection import Injection, can_mount, leftovers

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")


@pytest.fixture(scope="module")
def injection(tmp_path_factory):
    """Return the injection of faults into ``psahw frontier --plot``, which is quick."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "bin").mkdir()
    case = next(case for case in CASES if case.name == "frontier")
    return Injection(case, folder / "work", {**dict(networks(folder)), "bin": folder / "bin"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed(injection, number):
    assert injection.killed(number, 0.7, False) == []


def test_full_disk(injection, tmp_path):
    assert injection.full(0.2, False, can_mount(tmp_path / "disk")) == []


def test_wrong_inputs(injection):
    for n, (kind, wrong) in enumerate(injection.wrong_inputs()):
        assert wrong == [], kind
        if n == 4:
            return


def test_cases_cover_every_command():
    from psahw import cli

    assert {case.arguments[0] for case in CASES} == set(cli._COMMANDS)
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(case.name for case in CASES)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Return a function that runs Python code in place of psahw, with an injection around it."""

    def make(code):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "python").write_text(f"#!{Path(sys.base_prefix, 'bin', 'python3')}\n{code}")
        (tmp_path / "python").chmod(0o755)
        (tmp_path / "network").write_text("a network")
        materials = {"network": tmp_path / "network", "bin": tmp_path}
        case = Case("broken", ("write", "{network}", "out"), ("out",))
        return Injection(case, tmp_path / "work", materials)

    return make


HALF = """
import sys, time
with open("out", "w") as file:
    file.write("half")
    file.flush()
    time.sleep(1)
    file.write(open(sys.argv[4]).read())
"""


def test_half_an_output_is_noticed(broken):
    wrong = broken(HALF).killed(signal.SIGKILL, 0.6, False)
    assert wrong == ["neither old (out is not part of the output) nor new (out differs)"]


def test_a_process_that_stays_is_noticed(broken):
    with pytest.raises(RuntimeError, match="sleep 30"):
        broken("import subprocess; subprocess.Popen(['sleep', '30'], stdout=2, stderr=2); open('out', 'w').close()")


def test_a_leftover_and_a_traceback_are_noticed(broken):
    code = "import sys; open('.out.psahw-abcdefgh', 'w'); open(sys.argv[4]); open('out', 'w').close()"
    injection = broken(code)
    kind, wrong = next(injection.wrong_inputs())
    assert kind == "nothing in place of network"
    assert wrong[0].startswith("no message of one line, but ") and wrong[1:] == [".out.psahw-abcdefgh was left"]


def test_what_a_cache_leaves_is_noticed(tmp_path, monkeypatch):
    """An entry that is being made is a leftover, as well as its lock and a file that is being written."""
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    lines = []

    def make(entry):
        with whole_file(entry / "file") as file:
            file.write_text("text")
            lines.extend(leftovers(tmp_path))

    cache.directory("kind", "key", make, keep=1)
    assert [line.partition("-")[0] for line in lines] == [
        "cache/kind/key.lock was left",
        "cache/kind/new",
        "cache/kind/new",
    ]
    assert lines[2].endswith(".scratch was left")
    assert leftovers(tmp_path) == []
