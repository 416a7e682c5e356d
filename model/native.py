"""Compile a C file of this package on first use, and call its functions with tensors."""

import ctypes
import hashlib
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from psahw import cache, processes

__all__ = ["FLAGS", "build", "call", "can_compile", "pointer", "reason_against_compiling"]

CACHED = 8
"""Libraries that stay in the cache, besides those used within the last day."""

FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
]


def reason_against_compiling(device: str) -> str | None:
    """Return why `torch.compile` cannot work on a device, or None if it can."""
    if device != "cpu":
        return None
    usual = "clang++" if sys.platform == "darwin" else "g++"
    if shutil.which(os.environ.get("CXX", usual)) is None:
        return f"no C++ compiler ({usual}, or $CXX) is found"
    # It does not quote these paths for the compiler.
    cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or tempfile.gettempdir()
    for path in (str(Path(torch.__file__).parent), sysconfig.get_path("include"), cache):
        if any(character.isspace() for character in path):
            return f"torch.compile cannot handle the space in {path}"
    return None


def can_compile(device: str) -> bool:
    """Return whether `torch.compile` has what it needs; on a CPU that is a C++ compiler, and paths without spaces."""
    return reason_against_compiling(device) is None


def _processor() -> str:
    """Describe the processor, on which the code depends through -march=native."""
    lines = [platform.machine()]
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return "\n".join([*lines, platform.processor()])
    keys = ("model name", "flags", "CPU implementer", "CPU part", "Features")  # of x86 and Arm
    return "\n".join([*lines, *(line for line in first.splitlines() if line.startswith(keys))])


def build(source: Path, flags: list[str]) -> ctypes.CDLL:
    """Compile a C file and load the library, which is kept in the cache directory.

    The library's name contains a hash of the source, the flags and the processor, so that any change compiles anew.

    Raises
    ------
    OSError
        If there is no compiler, or the library cannot be loaded.
    subprocess.CalledProcessError
        If the compiler fails; `stderr` holds its messages.
    UserError
        If the cache cannot be written.
    """
    key = hashlib.sha256("\n".join([source.read_text(), *flags, _processor()]).encode()).hexdigest()[:16]
    name = f"{source.stem}.so"

    def compile_into(folder: Path) -> None:
        compiler = [os.environ.get("CC", "cc"), *flags, "-I", str(source.parent)]
        command = [*compiler, str(source), "-lm", "-o", str(folder / name)]
        processes.run(command, check=True, capture_output=True, text=True)

    return ctypes.CDLL(str(cache.directory("kernels", f"{source.stem}-{key}", compile_into, keep=CACHED) / name))


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Return the address of a tensor's data, or a null pointer for None."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _converted(argument: Tensor | ctypes.Structure | float | None) -> Any:
    if argument is None or isinstance(argument, Tensor):
        return pointer(argument)
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return ctypes.c_int64(argument)


def call(library: ctypes.CDLL | None, name: str, *arguments: Tensor | ctypes.Structure | float | None) -> None:
    """Call a C function without a result.

    It receives tensors, structures and None as pointers, a float as `float`, and an int as `int64_t`. Tensors must be
    contiguous and as large as the function expects, since it knows their addresses only.
    """
    getattr(library, name)(*map(_converted, arguments))
