"""Write a published network as a network file: ``python -m calibration.published psa96 FILE``."""

import sys

from calibration.published import convert, directory
from psahw.network.file import save

if len(sys.argv) != 3 or sys.argv[1] not in ("psa96", "relu96"):
    sys.exit("usage: python -m calibration.published psa96|relu96 FILE")
try:
    network, _ = convert(sys.argv[1])
except FileNotFoundError:
    sys.exit(f"no {sys.argv[1]}.npz in {directory()}: set PSAHW_REFERENCE to the directory that holds it")
save(network, sys.argv[2])
