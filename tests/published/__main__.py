"""``python -m tests.published psa96 FILE`` writes a published network as one of ours."""

import sys

from psahw import networkfile

from . import convert, directory

if len(sys.argv) != 3 or sys.argv[1] not in ("psa96", "relu96"):
    sys.exit("usage: python -m tests.published psa96|relu96 FILE")
try:
    network, _ = convert(sys.argv[1])
except FileNotFoundError:
    sys.exit(f"no {sys.argv[1]}.npz in {directory()}: set PSAHW_REFERENCE to the directory that holds it")
networkfile.save(network, sys.argv[2])
