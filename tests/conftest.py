"""Fixtures of all tests.

Each process gets one BLAS thread before NumPy is imported, because the threads of several processes would wait for
each other under `pytest -n`.
"""

import os
import resource

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def small_disk():
    """Let no file grow beyond 1,000 bytes, as on a full disk. Python then gets an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
