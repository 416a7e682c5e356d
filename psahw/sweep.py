"""A recipe of jobs, each a command of psahw, that can run anywhere and in any order that their dependencies allow.

A recipe is JSON: `{"jobs": {NAME: {"command": "quantize", "arguments": [...], "after": [NAME, ...]}, ...}}`. In an
argument `{NAME}` stands for the result of another job, which then comes first: the run directory of a training, the
network file of a quantisation. A job's own directory and, of `quantize`, its name are given to it, so `-o`, `--name`
and `--json` are no arguments. `after` names jobs that come first and are not mentioned, and may be left out.

All of a job stands under the sweep's directory: `NAME/` its run directory, `NAME.log` what it said, `NAME.json` its
arguments and its result, written whole when it is done and not before. So a job is done when its result exists; one
that broke off goes on from its run directory's checkpoint. Jobs share nothing else, and no process watches them.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .files import write_whole

__all__ = ["COMMANDS", "Job", "Sweep", "load"]

COMMANDS = ("train", "teach", "distill", "quantize", "evaluate")
_GIVEN = ("-o", "--output", "--name", "--network", "--json", "--stop-after")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REFERENCE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Job:
    """A command with its arguments, references to other jobs still in them; `after` names all that come first."""

    name: str
    command: str
    arguments: tuple[str, ...]
    after: tuple[str, ...]

    def asked(self) -> list[str]:
        """What the recipe says, the same wherever the sweep's directory lies."""
        return [self.command, *self.arguments]


class Sweep:
    """The jobs of a recipe, each after those that it needs, and the directory with their results."""

    def __init__(self, jobs: list[Job], directory: Path):
        self.jobs, self.directory = {job.name: job for job in jobs}, Path(directory)
        self._running: set[subprocess.Popen] = set()
        self._stopped = threading.Event()

    def result_path(self, job: Job) -> Path:
        return self.directory / f"{job.name}.json"

    def log_path(self, job: Job) -> Path:
        return self.directory / f"{job.name}.log"

    def product(self, name: str) -> str:
        """What `{name}` stands for in arguments."""
        run = self.directory / name
        return str(run / f"{name}.safetensors" if self.jobs[name].command == "quantize" else run)

    def arguments(self, job: Job) -> list[str]:
        """The command line behind `psahw`."""
        filled = [_REFERENCE.sub(lambda found: self.product(found[1]), argument) for argument in job.arguments]
        if job.command == "quantize":
            filled += ["--name", job.name]
        if job.command != "evaluate":
            filled += ["-o", str(self.directory / job.name)]
        return [job.command, *filled, "--json"]

    def done(self, job: Job) -> bool:
        """Raises UserError if the result is that of other arguments, or no result."""
        path = self.result_path(job)
        if not path.exists():
            return False
        try:
            asked = json.loads(path.read_text())["job"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is no result of a job: remove it, and the job runs again") from error
        if asked != job.asked():
            was, now = " ".join(asked), " ".join(job.asked())
            raise UserError(f"{path}: job {job.name!r} was {was!r} and now is {now!r}: name another job or directory")
        return True

    def missing(self, job: Job) -> list[str]:
        """The jobs that must be done before this one and are not."""
        return [name for name in job.after if not self.done(self.jobs[name])]

    def run_job(self, job: Job) -> str | None:
        """Runs it to its end, whatever came before. Returns None, or in a line why there is no result."""
        arguments = self.arguments(job)
        with open(self.log_path(job), "a") as log:
            begin = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "psahw", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
            self._running.add(process)
            if self._stopped.is_set():
                process.terminate()
            out, _ = process.communicate()
            self._running.discard(process)
        if process.returncode:
            return f"exit status {process.returncode}, {self.log_path(job)}{_last_words(self.log_path(job), begin)}"
        try:
            result = json.loads(out)
        except ValueError:
            return f"no JSON on standard output, {self.log_path(job)}"
        write_whole(
            self.result_path(job),
            json.dumps({"job": job.asked(), "arguments": arguments, "result": result}, indent=1) + "\n",
        )
        return None

    def run(self, workers: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Runs what is not done, `workers` jobs at a time, and yields each with what `run_job` returns. A job
        that needs one without a result is not run, and not yielded."""
        waiting = [job for job in self.jobs.values() if not self.done(job)]
        finished = {name for name, job in self.jobs.items() if job not in waiting}
        with ThreadPoolExecutor(workers) as pool:
            futures = {}
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
        """Ends what still runs, if the work was broken off."""
        self._stopped.set()
        for process in list(self._running):
            process.terminate()


def _last_words(log: Path, begin: int) -> str:
    """The last line written since byte `begin`, where the reason usually stands."""
    lines = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()[:200]}" if lines else ""


def _fail(path, where: str, problem: str):
    raise UserError(f"{path}: {where}: {problem}")


def _strings(path, where: str, value) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        _fail(path, where, f"must be a list of strings, not {value!r}")
    return tuple(value)


def _job(path, name: str, entry, known) -> Job:
    where = f"job {name!r}"
    if not _NAME.fullmatch(name):
        _fail(path, where, "a name has letters, digits, '.', '_' and '-' only, and begins with a letter or digit")
    if not isinstance(entry, dict):
        _fail(path, where, f"must be an object, not {entry!r}")
    if unknown := sorted(entry.keys() - {"command", "arguments", "after"}):
        _fail(path, where, f"unknown field {unknown[0]!r}; known are command, arguments, after")
    if (command := entry.get("command")) not in COMMANDS:
        _fail(path, where, f"command must be one of {', '.join(COMMANDS)}, not {command!r}")
    arguments = _strings(path, f"{where}, arguments", entry.get("arguments", []))
    for argument in arguments:
        if argument.partition("=")[0] in _GIVEN:
            _fail(path, where, f"{argument.partition('=')[0]} is no argument of a job in a sweep")
    mentioned = [name for argument in arguments for name in _REFERENCE.findall(argument)]
    after = tuple(dict.fromkeys([*_strings(path, f"{where}, after", entry.get("after", [])), *mentioned]))
    for other in after:
        if other not in known:
            _fail(path, where, f"there is no job {other!r}")
    return Job(name, command, arguments, after)


def load(path: str | Path, directory: str | Path) -> Sweep:
    """The recipe's jobs, with results under `directory`. Raises UserError, naming the job, for what is no recipe."""
    try:
        recipe = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} must be JSON: {error}") from error
    entries = recipe.get("jobs") if isinstance(recipe, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise UserError(f'{path} must be {{"jobs": {{NAME: ...}}}}, with a job at least')
    jobs = {name: _job(path, name, entry, entries) for name, entry in entries.items()}
    order: list[Job] = []
    while len(order) < len(jobs):
        names = {job.name for job in order}
        ready = [job for job in jobs.values() if job.name not in names and names.issuperset(job.after)]
        if not ready:
            _fail(path, f"jobs {', '.join(sorted(jobs.keys() - names))}", "each waits for another one")
        order += ready
    return Sweep(order, Path(directory))
