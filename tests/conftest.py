"""Set before NumPy is imported: one BLAS thread a process. Under `pytest -n` more of them only wait for each other."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
