"""Fixtures of all tests.

Each process gets one thread for BLAS and for torch before they are imported, because the threads of several processes
would wait for each other under `pytest -n`.
"""

import os
import resource
import shutil
import subprocess

import hypothesis
import pytest

# A machine that does other work may pause a test for any time, so that Hypothesis sets no time limit for an example.
# The profile `fixed` tries the same examples every time, and does not look for the smallest one that fails.
hypothesis.settings.register_profile("psahw", deadline=None)
hypothesis.settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("psahw")

for _library in ("OPENBLAS", "OMP"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")


@pytest.fixture
def small_disk():
    """Let no file grow beyond 1,000 bytes, as on a full disk. Python then gets an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def small_file_system(tmp_path):
    """Return a function that mounts a file system of a number of kilobytes; skip without permission to mount."""
    mounted = []

    def mount(kilobytes):
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no permission to mount a file system")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", path], check=True)
