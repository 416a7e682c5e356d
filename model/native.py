"""Compiles a C file of this package on first use and keeps the library in the cache directory."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from torch import Tensor

from psahw.files import cache_directory

__all__ = ["FLAGS", "build", "can_compile", "pointer"]

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


def can_compile(device: str) -> bool:
    """Whether `torch.compile` finds the C++ compiler that it wants on a CPU."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return device != "cpu" or shutil.which(os.environ.get("CXX", usual)) is not None


def _processor() -> str:
    """What -march=native depends on."""
    lines = [platform.machine()]
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return "\n".join([*lines, platform.processor()])
    keys = ("model name", "flags", "CPU implementer", "CPU part", "Features")  # x86; Arm
    return "\n".join([*lines, *(line for line in first.splitlines() if line.startswith(keys))])


def build(source: Path, flags: list[str]) -> ctypes.CDLL:
    """Compiles with `flags`, or takes what an earlier process compiled. Raises OSError or CalledProcessError."""
    key = hashlib.sha256("\n".join([source.read_text(), *flags, _processor()]).encode()).hexdigest()[:16]
    path = cache_directory() / f"{source.stem}-{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / path.name
            compiler = [os.environ.get("CC", "cc"), *flags, "-I", str(source.parent)]
            command = [*compiler, str(source), "-lm", "-o", str(built)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            os.replace(built, path)
    return ctypes.CDLL(str(path))


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
