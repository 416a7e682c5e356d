"""Set before NumPy is imported: one BLAS thread a process; under `pytest -n` more would wait for each other."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
