"""Faults in a command, and the checks afterwards."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .running import Command, Ended

__all__ = ["Injection", "Reference", "can_mount", "leftovers"]

_OURS = re.compile(r"\.psahw-\w{8}|^psahw-\w+-\w{8}|\.scratch$|\.lock$")
"""Names of psahw's temporary files, and of the files beside its temporary directories and locked entries."""

_SIGNALLED = {signal.SIGTERM: (143, -signal.SIGTERM), signal.SIGKILL: (-signal.SIGKILL,)}
_NO_ROOM = re.compile(r"No space left|File too large|room")
_LONGEST = 700  # characters of a message


@dataclass(frozen=True)
class Reference:
    """Duration and output of a command without a fault.

    Parameters
    ----------
    seconds
        How long it takes.
    size
        Bytes that it writes and leaves, with cache and temporary files.
    outputs
        Digest of each file of its outputs, or None if it is not the same in every run.
    """

    seconds: float
    size: int
    outputs: dict[str, str | None]


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount file systems."""
    try:
        with _disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Mount a file system with room at a directory."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "faults", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _resize(folder: Path, size: int) -> None:
    """Change the size of the file system at a directory."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True, capture_output=True)


def _size(folder: Path) -> int:
    """Return the bytes in all files below a directory, or 0 if it does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _remove(path: Path) -> None:
    """Remove whatever is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _message(ended: Ended) -> list[str]:
    """Return what is wrong with the end of standard error: it must be one short line that begins with psahw."""
    last = ended.err.rstrip("\n").rpartition("\n")[2]
    if not last.startswith("psahw") or len(last) > _LONGEST or "Traceback" in ended.err:
        return [f"no message of one line, but {ended.err[-300:]!r}"]
    return []


def leftovers(folder: Path) -> list[str]:
    """Return what is wrong if psahw has left temporary files or directories below a directory."""
    paths = {*(folder / "tmp").iterdir(), *(path for path in folder.rglob("*") if _OURS.search(path.name))}
    return [f"{path.relative_to(folder)} was left" for path in sorted(paths)]


class Injection:
    """Faults in one command, which runs in a directory of its own.

    Each method returns what is wrong after a fault, one line for each thing.

    Parameters
    ----------
    case
        The command.
    folder
        The directory.
    materials
        Paths of the inputs by name, from `tests.faults.cases.prepare`.

    Raises
    ------
    RuntimeError
        If the command fails without a fault.
    """

    def __init__(self, case: Case, folder: Path, materials: dict[str, Path]) -> None:
        self.case, self._folder, self._materials = case, folder, materials
        self._cached = folder.with_name(f"{folder.name} cache")
        self.reference = self._measure()

    def killed(self, number: signal.Signals, share: float, replace: bool) -> list[str]:
        """Send a signal to the command after a share of its time; it replaces old outputs, or writes new ones."""
        old = self._begin(self._folder, replace)
        ended = self._start(self._folder).end(number, share * self.reference.seconds)
        lines = []
        if ended.status not in (0, *_SIGNALLED[number]):
            lines.append(f"status {ended.status}, {ended.err[-300:]!r}")
        if ended.left:
            lines.append(f"these processes were left: {ended.left}")
        if number != signal.SIGKILL:
            lines += leftovers(self._folder)
        return lines + self._state(self._folder, old) + self._next(self._folder)

    def full(self, share: float, replace: bool, mount: bool) -> list[str]:
        """Run the command on a disk with room for a share of its files.

        Without ``mount``, each file is limited to that share of all.
        """
        room = max(int(share * self.reference.size), 4096)
        if not mount:
            old = self._begin(self._folder, replace)
            ended = self._start(self._folder, prefix=("prlimit", f"--fsize={room}")).finish(self._patience())
            return self._after_full(self._folder, old, ended) + self._next(self._folder)
        disk = self._folder / "disk"
        with _disk(disk):
            old = self._begin(disk, replace)
            _resize(disk, room + sum(path.lstat().st_blocks * 512 for path in disk.rglob("*")))
            ended = self._start(disk).finish(self._patience())
            lines = self._after_full(disk, old, ended)
            _resize(disk, 4 << 30)
            return lines + self._next(disk)

    def wrong_inputs(self) -> Iterator[tuple[str, list[str]]]:
        """Give the command every kind of wrong input; yield the kind, and what is wrong afterwards."""
        path = self._folder / "wrong"
        for name in self.case.inputs:
            self._fresh(self._folder)
            for kind, may_pass in _wrong(path, self._materials[name]):
                ended = self._start(self._folder, **{name: path}).finish(self._patience())
                lines = [f"these processes were left: {ended.left}"] if ended.left else []
                if ended.status not in ((0, 1, 2) if may_pass else (1, 2)):
                    lines.append(f"status {ended.status}, {ended.err[-300:]!r}")
                if ended.status:
                    lines += _message(ended) + self._differences(self._folder, {})
                yield f"{kind} in place of {name}", lines + leftovers(self._folder)
                for output in self.case.outputs:
                    _remove(self._folder / output)

    def _patience(self) -> float:
        """Return the seconds after which a command does not end any more."""
        return 120 + 20 * self.reference.seconds

    def _measure(self) -> Reference:
        """Return what the command does without a fault, from two runs."""
        digests = []
        for _ in range(2):
            self._fresh(self._folder)
            ended = self._start(self._folder).finish()
            if ended.status or ended.left:
                raise RuntimeError(f"{self.case.name}: status {ended.status}, {ended.left}: {ended.err[-2000:]}")
            for kind in self.case.cached:
                shutil.copytree(self._folder / "cache" / kind, self._cached / kind, dirs_exist_ok=True)
            digests.append(self._digests(self._folder))
        first, second = digests
        if first.keys() != second.keys():
            raise RuntimeError(f"{self.case.name} wrote {sorted(first)}, and then {sorted(second)}")
        return Reference(
            seconds=ended.seconds,
            size=_size(self._folder) - _size(self._cached),
            outputs={name: digest if second[name] == digest else None for name, digest in first.items()},
        )

    def _fresh(self, folder: Path) -> None:
        """Empty a directory for the command, and put a copy of the network there."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            _remove(path)
        shutil.copyfile(self._materials["network"], folder / "own")
        self._fill_cache(folder)

    def _fill_cache(self, folder: Path) -> None:
        """Empty the cache, apart from what belongs there from the beginning."""
        _remove(folder / "cache")
        if self._cached.exists():
            shutil.copytree(self._cached, folder / "cache")

    def _begin(self, folder: Path, replace: bool) -> dict[str, str]:
        """Empty a directory, write old outputs into it if some are to be replaced, and return their digests."""
        self._fresh(folder)
        if replace and self.case.variant:
            ended = self._start(folder, *self.case.variant).finish(self._patience())
            if ended.status:
                raise RuntimeError(
                    f"{self.case.name} {self.case.variant}: status {ended.status}: {ended.err[-2000:]}"
                )
            self._fill_cache(folder)
        return self._digests(folder)

    def _start(self, folder: Path, *extra: str, prefix: tuple[str, ...] = (), **materials: Path) -> Command:
        """Start the command, with other materials than usual if some are given."""
        path = f"{self._materials['bin']}{os.pathsep}{os.environ['PATH']}"
        return Command(
            folder,
            *self.case.command_line(self._materials | materials),
            *extra,
            prefix=prefix,
            environment={"PATH": path, **dict(self.case.environment)},
        )

    def _digests(self, folder: Path) -> dict[str, str]:
        """Return the SHA-256 of each file of the outputs by its relative name."""
        roots = [folder / name for name in self.case.outputs]
        paths = [path for root in roots for path in (root, *sorted(root.rglob("*"))) if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def _differences(self, folder: Path, expected: dict[str, str | None]) -> list[str]:
        """Return how the outputs differ from the expected ones."""
        digests = self._digests(folder)
        lines = [f"{name} is missing" for name in expected.keys() - digests.keys()]
        lines += [f"{name} is not part of the output" for name in digests.keys() - expected.keys()]
        for name in expected.keys() & digests.keys():
            # The log of a job that was run again has both attempts.
            again = self.case.runs_others and name.endswith(".log")
            if expected[name] not in (None, digests[name]) and not again:
                lines.append(f"{name} differs")
        return sorted(lines)

    def _state(self, folder: Path, old: dict[str, str]) -> list[str]:
        """Return how the outputs differ from both the old ones and the new ones."""
        if self.case.resumes:
            return []
        before, after = self._differences(folder, old), self._differences(folder, self.reference.outputs)
        return [f"neither old ({'; '.join(before)}) nor new ({'; '.join(after)})"] if before and after else []

    def _after_full(self, folder: Path, old: dict[str, str], ended: Ended) -> list[str]:
        """Return what is wrong after the command had too little room, or enough."""
        lines = []
        if ended.status not in ((0, 1, 2) if self.case.runs_others else (0, 2)):
            lines.append(f"status {ended.status}, {ended.err[-300:]!r}")
        if ended.status:
            lines += _message(ended)
            if not _NO_ROOM.search(ended.err):
                lines.append(f"the message does not say that room is missing: {ended.err[-300:]!r}")
        return lines + leftovers(folder) + self._state(folder, old)

    def _next(self, folder: Path) -> list[str]:
        """Run the command again without a fault, and return what is wrong with it."""
        if self.case.once and not self._differences(folder, self.reference.outputs):
            return []
        ended = self._start(folder).finish(self._patience())
        if ended.status:
            return [f"the next run ended with status {ended.status}: {ended.err[-500:]!r}"]
        lines = self._differences(folder, self.reference.outputs) + leftovers(folder)
        lines += [f"these processes were left: {ended.left}"] if ended.left else []
        return [f"after the next run, {line}" for line in lines]


_DEEP = b"[" * 100_000
_WRONG: dict[str, bytes | None] = {
    "nothing": None, "empty": b"", "text": b"not what it should be\n", "zeros": bytes(5000),
    "other bytes": bytes(range(256)) * 40, "an empty list": b"[]", "an empty object": b"{}", "null": b"null",
    "deep": _DEEP, "not UTF-8": b'{"a": "\xff\xfe"}', "a lone surrogate": b'{"\\ud800": "\\ud800"}',
    "a long number": b'{"a": ' + b"9" * 5000 + b"}",
}  # fmt: skip


def _wrong(path: Path, good: Path) -> Iterator[tuple[str, bool]]:
    """Write wrong files at a path one after the other; yield the kind of each, and whether it may be accepted.

    An empty directory is one of them, and a link to itself; for a directory, its files are damaged one by one.
    """
    for kind, content in _WRONG.items():
        _remove(path)
        if content is not None:
            path.write_bytes(content)
        yield kind, False
    _remove(path)
    path.mkdir()
    yield "an empty directory", False
    _remove(path)
    path.symlink_to(path)
    yield "a link to itself", False
    if good.is_file():
        content = good.read_bytes()
        for kind, damaged in (("cut off", content[: len(content) // 2]), ("one byte less", content[:-1])):
            _remove(path)
            path.write_bytes(damaged)
            yield kind, kind == "one byte less" and content[-1:].isspace()
        return
    for file in sorted(file for file in good.rglob("*") if file.is_file()):
        for kind in ("nothing", "empty", "zeros"):
            _remove(path)
            shutil.copytree(good, path)
            inside = path / file.relative_to(good)
            inside.unlink()
            if (content := _WRONG[kind]) is not None:
                inside.write_bytes(content)
            yield f"{kind} as {file.relative_to(good)}", True  # files that the command does not read may be anything
