"""Give each process one BLAS thread, because the threads of several would wait for each other under `pytest -n`.

This must happen before NumPy is imported.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
