"""Child processes, none of which outlives the block, the command or the process that started it.

Each child leads a process group of its own, so that a terminal's interrupt reaches only psahw, and all that the child
has started ends with it. `end_all` ends all children of this process when a signal has ended the command. After a
SIGKILL, to which no process can react, a watchdog does the same (`psahw.watchdog`), on Linux.
"""

import atexit
import contextlib
import os
import pickle
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import watchdog

__all__ = ["Child", "call_each", "end_all", "run", "watch"]

_GROUPS = os.name == "posix"  # Windows has no process groups that can be ended at once

_SERVE = "import sys; sys.path[:] = {path!r}; from psahw.processes import _serve; _serve()"

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")


class _Watchdog:
    """The watchdog of this process, which is started once."""

    def __init__(self) -> None:
        self.token = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._inherited = os.environ.get(watchdog.VARIABLE, "")

    def start(self) -> None:
        """Start the watchdog, and put the token into the environment of this process' children."""
        with self._lock:
            if self._process is not None or not sys.executable or not Path("/proc/self/environ").exists():
                return
            os.environ[watchdog.VARIABLE] = f"{self._inherited} {self.token}".strip()
            # Without any token: a watchdog must not be ended by another one before it has done its work.
            others = {name: value for name, value in os.environ.items() if name != watchdog.VARIABLE}
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, self.token],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=others,
                start_new_session=True,  # it survives what ends this process' group or session
                bufsize=0,
            )
            atexit.register(self.dismiss)
            os.register_at_fork(after_in_child=self._forget)

    def dismiss(self) -> None:
        """End the watchdog without ending any other process."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(b".")
                self._process.stdin.close()
            self._process.wait()

    def _forget(self) -> None:
        """Close the pipe in a process that was forked, in which it would hide the end of this one."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process = None
            atexit.unregister(self.dismiss)


_watchdog = _Watchdog()
_children: set["Child"] = set()
_ending = threading.Event()


def watch() -> None:
    """Start the watchdog, for libraries that start processes by themselves. `Child` does so, too."""
    _watchdog.start()


class Child(subprocess.Popen):
    """A process, with all that it starts, which ends with the ``with`` block at the latest.

    Standard input is empty unless ``stdin`` says otherwise. Signals that are sent to a child reach its whole group.

    Parameters
    ----------
    command
        Program and arguments.
    **options
        Options of `subprocess.Popen`.

    Raises
    ------
    OSError
        If the program cannot be started.
    RuntimeError
        If this process is ending, see `end_all`.
    """

    def __init__(self, command: Sequence[str | os.PathLike], **options: Any) -> None:
        if _ending.is_set():
            raise RuntimeError("no process can be started any more, because this one is ending")
        _watchdog.start()
        if options.get("env") is not None and watchdog.VARIABLE in os.environ:
            options["env"] = {**options["env"], watchdog.VARIABLE: os.environ[watchdog.VARIABLE]}
        group = {"process_group": 0} if _GROUPS else {}
        super().__init__(command, **{"stdin": subprocess.DEVNULL} | group | options)
        _children.add(self)

    def __exit__(self, *details: Any) -> None:
        self.end()
        with contextlib.suppress(BrokenPipeError):  # what was still to be written concerns nobody any more
            super().__exit__(*details)
        self.wait()  # which an error leaves out

    def send_signal(self, number: int) -> None:
        """Send a signal to the process and to all in its group."""
        if _GROUPS:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: a zombie, on macOS
                os.killpg(self.pid, number)
        else:
            super().send_signal(number)

    def end(self) -> None:
        """End the process, if it still runs, and all that is left of its group."""
        if self.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(watchdog.PATIENCE_SECONDS)
        self.kill()
        self.wait()
        _children.discard(self)


def run(
    command: Sequence[str | os.PathLike],
    *,
    input: str | bytes | None = None,
    timeout: float | None = None,
    check: bool = False,
    capture_output: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess:
    """Run a process to its end. Arguments and result are those of `subprocess.run`, but standard input is empty."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Child(command, **options) as child:
        out, err = child.communicate(input, timeout)
    finished = subprocess.CompletedProcess(child.args, child.returncode, out, err)
    if check:
        finished.check_returncode()
    return finished


def end_all() -> None:
    """End all children of this process within two seconds, and let it start no more. It is about to end itself."""
    _ending.set()
    for child in list(_children):
        child.terminate()
    if watchdog.VARIABLE in os.environ:
        watchdog.end_family(_watchdog.token)  # with what libraries have started
    for child in list(_children):
        child.kill()


def _serve() -> None:
    """Answer calls from standard input until it ends, in a process that `call_each` has started."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not become part of an answer
    while True:
        try:
            function, argument = pickle.load(calls)
        except EOFError:
            return
        try:
            outcome: tuple[Any, Exception | None] = function(argument), None
        except Exception as error:
            outcome = None, error
        pickle.dump(outcome, answers)
        answers.flush()


def call_each(
    function: Callable[[_Argument], _Answer],
    arguments: Sequence[_Argument],
    *,
    workers: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, _Answer]]:
    """Call a function with each of several arguments in other processes, and yield index and answer of each.

    The calls begin in order, and are yielded as they end. The processes are killed if the iteration ends early, so
    that an interrupt takes effect at once, also where a library blocks signals.

    Parameters
    ----------
    function
        A function of a module.
    arguments
        Arguments of the calls.
    workers
        Largest number of processes.
    environment
        Environment variables of the processes, besides those of this one.

    Raises
    ------
    Exception
        What a call has raised.
    RuntimeError
        If a process has died, or if an argument, an answer or an exception cannot be pickled.
    """
    results: queue.Queue[tuple[int, Any, Exception | None]] = queue.Queue()
    indices = iter(range(len(arguments)))
    lock = threading.Lock()
    stopped = threading.Event()
    children: list[Child] = []

    def next_index() -> int | None:
        with lock:
            return None if stopped.is_set() else next(indices, None)

    def work(child: Child) -> None:
        assert child.stdin is not None and child.stdout is not None  # both are pipes
        while (index := next_index()) is not None:
            try:
                pickle.dump((function, arguments[index]), child.stdin)
                child.stdin.flush()
                answer, error = pickle.load(child.stdout)
            except (OSError, EOFError, pickle.UnpicklingError):
                child.kill()  # one that still runs is of no use
                message = f"a worker process ended with status {child.wait()}, perhaps for lack of memory"
                answer, error = None, RuntimeError(message)
            except Exception as problem:  # without a result, the caller would wait forever
                answer, error = None, RuntimeError(f"no value to or from a worker process: {problem}")
            results.put((index, answer, error))
            if error is not None:
                return

    with contextlib.ExitStack() as stack:
        for _ in range(min(workers, len(arguments))):
            command = [sys.executable, "-c", _SERVE.format(path=sys.path)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            children.append(stack.enter_context(Child(command, env={**os.environ, **(environment or {})}, **pipes)))
        threads = [threading.Thread(target=work, args=(child,), daemon=True) for child in children]
        try:
            for thread in threads:
                thread.start()
            for _ in arguments:
                index, answer, error = results.get()
                if error is not None:
                    raise error
                yield index, answer
        finally:
            stopped.set()
            for child in children:
                child.kill()
            for thread in threads:
                thread.join()
