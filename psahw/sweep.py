"""Run a recipe of jobs that depend on each other; each job is a command of psahw.

A recipe is JSON: ``{"jobs": {NAME: {"command": "quantize", "arguments": [...], "after": [NAME, ...]}, ...}}``. In an
argument, ``{NAME}`` stands for the result of another job: the run directory of a training, or the network file of a
quantisation. That job then runs first. ``after`` names further jobs that must run first, and may be left out. The
directory of a job, and the name of a quantised network, are given to the job, so that ``-o``, ``--name`` and
``--json`` must not be among the arguments.

Everything about a job is below the sweep's directory: its run directory ``NAME/``, its output ``NAME.log``, and
``NAME.json`` with its arguments and its result, which is written when the job is done. A job is therefore done when
its result exists, and a job that was interrupted continues from the checkpoint in its run directory. Jobs share
nothing else, and no process watches them, so that they can run on several machines.
"""

import errno
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from subprocess import PIPE
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from . import documents, logs
from .errors import UserError
from .files import has_room, write_whole
from .processes import Child
from .quoting import quote

__all__ = ["COMMANDS", "Job", "Sweep", "find", "load", "shipped"]

COMMANDS = ("train", "teach", "distill", "quantize", "evaluate")
_GIVEN = ("-o", "--output", "--name", "--network", "--json", "--stop-after")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REFERENCE = re.compile(r"\{([^{}]*)\}")


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """A job as a recipe describes it."""

    command: Literal[COMMANDS]  # type: ignore[valid-type]  # a tuple stands for its entries
    arguments: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class _Recipe(msgspec.Struct):
    """The content of a recipe."""

    jobs: Annotated[dict[str, _Entry], msgspec.Meta(min_length=1)]


class _Result(msgspec.Struct):
    """The entry of a job's result that matters here: command and arguments."""

    job: list[str]


@dataclass(frozen=True)
class Job:
    """A job of a recipe.

    Parameters
    ----------
    name
        Name of the job.
    command
        One of `COMMANDS`.
    arguments
        Arguments of the command, with references to other jobs.
    after
        Names of all jobs that must run first.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    after: tuple[str, ...]

    def asked(self) -> list[str]:
        """Return command and arguments as in the recipe, which do not depend on the sweep's directory."""
        return [self.command, *self.arguments]


class Sweep:
    """The jobs of a recipe, and the directory with their results.

    Parameters
    ----------
    jobs
        The jobs, each after those that it needs.
    directory
        The sweep's directory.
    """

    def __init__(self, jobs: list[Job], directory: Path) -> None:
        self.jobs, self.directory = {job.name: job for job in jobs}, Path(directory)
        self._running: set[Child] = set()
        self._stopped = threading.Event()

    def result_path(self, job: Job) -> Path:
        """Return the file of a job's result."""
        return self.directory / f"{job.name}.json"

    def log_path(self, job: Job) -> Path:
        """Return the file of a job's output on standard error."""
        return self.directory / f"{job.name}.log"

    def product(self, name: str) -> str:
        """Return what ``{name}`` stands for in arguments."""
        run = self.directory / name
        return str(run / f"{name}.safetensors" if self.jobs[name].command == "quantize" else run)

    def arguments(self, job: Job) -> list[str]:
        """Return the command line of a job, without ``psahw``."""
        filled = [_REFERENCE.sub(lambda match: self.product(match[1]), argument) for argument in job.arguments]
        if job.command == "quantize":
            filled += ["--name", job.name]
        if job.command != "evaluate":
            filled += ["-o", str(self.directory / job.name)]
        return [job.command, *filled, "--json"]

    def done(self, job: Job) -> bool:
        """Return whether a job has a result. Raises UserError if it belongs to other arguments, or is unreadable."""
        path = self.result_path(job)
        if not path.exists():
            return False
        asked = documents.read(path, _Result, hint="remove it, and the job runs again").job
        if asked != job.asked():
            was, now = " ".join(asked), " ".join(job.asked())
            raise UserError(
                f"{path}: job {quote(job.name)} was {quote(was)} and now is {quote(now)}: "
                "name another job or directory"
            )
        return True

    def missing(self, job: Job) -> list[str]:
        """Return the names of the jobs that this one needs and that are not done."""
        return [name for name in job.after if not self.done(self.jobs[name])]

    def run_job(self, job: Job) -> str | None:
        """Run a job to its end, and return None, or one line that says why there is no result."""
        arguments = self.arguments(job)
        with logs.open_text(self.log_path(job)) as log:
            begin = log.tell()
            command = [sys.executable, "-m", "psahw", *arguments]
            with Child(command, stdout=PIPE, stderr=log, text=True) as process:
                self._running.add(process)
                if self._stopped.is_set():
                    process.terminate()
                out, _ = process.communicate()
                self._running.discard(process)
        if process.returncode:
            return f"exit status {process.returncode}, {self.log_path(job)}{_last_line(self.log_path(job), begin)}"
        try:
            result = documents.decode(out, "the result")
        except UserError:
            return f"no JSON on standard output, {self.log_path(job)}"
        write_whole(
            self.result_path(job),
            json.dumps({"job": job.asked(), "arguments": arguments, "result": result}, indent=1) + "\n",
        )
        return None

    def run(self, workers: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Run the jobs that are not done, ``workers`` at once, and yield each with what `run_job` returns.

        A job that needs the result of a failed job is neither run nor yielded.
        """
        waiting = [job for job in self.jobs.values() if not self.done(job)]
        finished = {name for name, job in self.jobs.items() if job not in waiting}
        with ThreadPoolExecutor(workers) as pool:
            futures: dict[Future, Job] = {}
            try:
                while True:
                    for job in [job for job in waiting if finished.issuperset(job.after)]:
                        waiting.remove(job)
                        futures[pool.submit(self.run_job, job)] = job
                    if not futures:
                        return
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        job, problem = futures.pop(future), future.result()
                        if problem is None:
                            finished.add(job.name)
                        yield job, problem
            finally:
                for future in futures:
                    future.cancel()
                self._stop()

    def _stop(self) -> None:
        """Terminate the jobs that still run."""
        self._stopped.set()
        for process in list(self._running):
            process.terminate()


def _last_line(log: Path, begin: int) -> str:
    """Return the last line of a log written since byte ``begin``, which usually has the reason of a failure.

    If nothing was written because the disk is full, this is the reason.
    """
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").strip().splitlines()
    if lines:
        return f": {lines[-1].strip()[:200]}"
    return "" if has_room(log.parent) else f": {os.strerror(errno.ENOSPC)}"


def _fail(path: str | Path, where: str, problem: str) -> NoReturn:
    """Raise UserError that names the recipe and the place in it."""
    raise UserError(f"{path}: {where}: {problem}")


def _job(path: str | Path, name: str, entry: _Entry, known: dict[str, Any]) -> Job:
    """Return a job of a recipe. Raises UserError, naming the job, if it is not valid."""
    where = f"job {quote(name)}"
    if not _NAME.fullmatch(name):
        _fail(
            path, where, "a name must consist of letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    for argument in entry.arguments:
        if argument.partition("=")[0] in _GIVEN:
            _fail(path, where, f"{argument.partition('=')[0]} must not be among the arguments of a job")
    mentioned = [name for argument in entry.arguments for name in _REFERENCE.findall(argument)]
    after = tuple(dict.fromkeys([*entry.after, *mentioned]))
    for other in after:
        if other not in known:
            _fail(path, where, f"there is no job {quote(other)}")
    return Job(name, entry.command, entry.arguments, after)


def _shipped_files() -> dict[str, Path]:
    """Return the files of the recipes that come with the package by their names."""
    folder = Path(str(files("psahw.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.json"), key=lambda path: path.stem)}


def shipped() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return list(_shipped_files())


def find(recipe: str | Path) -> Path:
    """Return the file of a recipe by its path, or by its name if it ships with psahw.

    Raises UserError if there is no such file.
    """
    known = _shipped_files()
    if str(recipe) in known:
        return known[str(recipe)]
    if not os.path.exists(recipe):  # unlike Path.exists, false for a name that is too long
        raise UserError(
            f"no recipe {quote(str(recipe))}: neither a file nor one that ships with psahw ({', '.join(known)})"
        )
    return Path(recipe)


def load(recipe: str | Path, directory: str | Path) -> Sweep:
    """Read a recipe.

    Parameters
    ----------
    recipe
        A JSON file, or the name of a recipe that ships with psahw (`shipped`).
    directory
        Directory for the results.

    Returns
    -------
    Sweep
        The jobs, each after those that it needs. Nothing is run or written.

    Raises
    ------
    UserError
        If there is no such recipe, the file cannot be read, or it is not valid. The message names the job.

    Examples
    --------
    >>> list(load("claims", "runs/claims").jobs)[:2]
    ['answers', 'h192-relu-s1']
    """
    path = find(recipe)
    entries = documents.read(path, _Recipe).jobs
    jobs = {name: _job(path, name, entry, entries) for name, entry in entries.items()}
    order: list[Job] = []
    while len(order) < len(jobs):
        names = {job.name for job in order}
        ready = [job for job in jobs.values() if job.name not in names and names.issuperset(job.after)]
        if not ready:
            _fail(path, f"jobs {', '.join(sorted(jobs.keys() - names))}", "each waits for another job")
        order += ready
    return Sweep(order, Path(directory))
