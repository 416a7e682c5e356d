"""Children that end with the block, and calls in other processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psahw import processes, watchdog

SLEEP = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]


def _runs(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] != "Z"


def _wait_for_end(number, seconds=2):
    end = time.monotonic() + seconds
    while _runs(number) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(number)


def test_run():
    code = "import sys; print(sys.stdin.read() + sys.argv[1]); print('bad', file=sys.stderr); sys.exit(3)"
    finished = processes.run([sys.executable, "-c", code, "x"], capture_output=True, text=True)
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, "x\n", "bad\n")
    assert (
        processes.run([sys.executable, "-c", code, "x"], input="in", stdout=subprocess.PIPE, text=True).stdout
        == "inx\n"
    )
    with pytest.raises(subprocess.CalledProcessError):
        processes.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)
    with pytest.raises(FileNotFoundError, match="nonsense"):
        processes.run(["nonsense"])
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(SLEEP, timeout=0.1, capture_output=True)


@pytest.mark.parametrize("asks", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_the_block_ends_the_child_and_its_children(asks):
    """Processes that ignore SIGTERM are killed."""
    code = f"{asks}import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {asks + SLEEP[2]!r}]); "
    code += "print(p.pid, flush=True); time.sleep(60)"
    with processes.Child([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        lines = {child.stdout.readline(), child.stdout.readline()}
        grandchild = int((lines - {"ready\n"}).pop())
        assert _runs(grandchild)
    assert child.returncode == (-signal.SIGKILL if asks else -signal.SIGTERM)
    _wait_for_end(grandchild)


def test_a_daemon_that_a_child_has_left():
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    code += " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    finished = processes.run([sys.executable, "-c", code], capture_output=True, text=True)
    _wait_for_end(int(finished.stdout))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the watchdog needs /proc")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_the_watchdog(end, tmp_path):
    """It ends a grandchild in a session of its own when the process has ended in any way but by itself."""
    child = f"import subprocess, sys, time; p = subprocess.Popen({SLEEP!r}, start_new_session=True); "
    child += "open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    code = f"""
import os, sys, time
from psahw.processes import Child
Child([sys.executable, "-c", {child!r}, sys.argv[1]])
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
{end}
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "pid"])
    _wait_for_end(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the watchdog needs /proc")
def test_the_watchdog_leaves_daemons_of_a_process_that_ends_by_itself(tmp_path):
    """Servers that a compiler's cache or a programming tool start on purpose stay."""
    code = f"""
import subprocess
from psahw import processes
processes.watch()
print(subprocess.Popen({SLEEP!r}, stdout=subprocess.DEVNULL).pid)
"""
    finished = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    time.sleep(0.3)
    assert _runs(int(finished.stdout))
    os.kill(int(finished.stdout), signal.SIGKILL)


def test_family():
    """Only processes with the token in this very variable are members."""
    own = subprocess.Popen(SLEEP, env=os.environ | {watchdog.VARIABLE: "a token-1 b"}, stdout=subprocess.PIPE)
    other = subprocess.Popen(SLEEP, env=os.environ | {"OTHER": "token-1"}, stdout=subprocess.PIPE)
    try:
        assert own.stdout.readline() and other.stdout.readline()
        assert watchdog.family("token-1") == {own.pid}
        watchdog.end_family("token-1")
        assert (own.wait(1), other.poll()) == (-signal.SIGTERM, None)
    finally:
        for process in (own, other):
            process.kill()
            process.communicate()


def test_nothing_starts_while_the_process_ends(monkeypatch):
    monkeypatch.setattr(processes._ending, "is_set", lambda: True)
    with pytest.raises(RuntimeError, match="this one is ending"):
        processes.run(["true"])


def _power(argument):
    base, exponent = argument
    if exponent < 0:
        raise ValueError(f"exponent {exponent}")
    if exponent == 9:
        os._exit(7)
    print("noise of a library")
    return base**exponent


@pytest.mark.parametrize("workers", [1, 9])
def test_call_each(workers, capfd):
    """Answers come as the calls end. What a call prints does not disturb them."""
    arguments = [(2, n) for n in range(6)]
    assert sorted(processes.call_each(_power, arguments, workers=workers)) == [(n, 2**n) for n in range(6)]
    assert list(processes.call_each(_power, [], workers=workers)) == []


def test_call_each_environment():
    assert list(processes.call_each(os.getenv, ["PSAHW_X"], workers=1, environment={"PSAHW_X": "1"})) == [(0, "1")]


def test_call_each_that_fails():
    with pytest.raises(ValueError, match="exponent -1"):
        list(processes.call_each(_power, [(2, 1), (2, -1), (2, 2)], workers=2))
    with pytest.raises(RuntimeError, match="a worker process ended with status 7, perhaps for lack of memory"):
        list(processes.call_each(_power, [(2, 1), (2, 9)], workers=2))


class Awkward(Exception):
    """An exception that can be pickled, but not read back."""

    def __init__(self, first, second):
        super().__init__(first)


def raise_awkward(argument):
    raise Awkward(argument, 2)


def test_call_each_with_what_cannot_be_pickled():
    """The iteration ends, in place of waiting for the answer."""
    for function, arguments in ((raise_awkward, [1]), (len, [[lambda: None]])):
        with pytest.raises(RuntimeError, match=r"^no value to or from a worker process: .*(second|lambda)"):
            list(processes.call_each(function, arguments, workers=1))


def test_call_each_that_is_left():
    """The processes are killed, and nothing waits for the calls."""
    start = time.monotonic()
    answers = processes.call_each(time.sleep, [0, 60, 60], workers=2)
    assert next(answers) == (0, None)
    answers.close()
    assert time.monotonic() - start < 20


def test_child_that_leaves_its_input_unread():
    """Closing the pipe writes what is still in its buffer, although nobody reads it."""
    with processes.Child([sys.executable, "-c", ""], stdin=subprocess.PIPE) as child:
        child.wait()
        child.stdin.write(b"unread")
    assert child.returncode == 0
