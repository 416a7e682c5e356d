"""Simulate 200 images in a kernel: ``python -m tests.boards.axi [NETWORK] [option of psahw package ...]``.

The images are the shipped sample, twice. The package is written to ``build/axi``. The program
prints one JSON object; its exit status is 1 if a logit is wrong or the kernel is too slow.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network import samples
from tests.boards.axi.batch import classify, problems

IMAGES = 200
DIRECTORY = Path("build/axi")
OPTIONS = ["--engines", "mac", "--fps", "200000"]


def run(arguments: list[str]) -> int:
    """Write the package, simulate it, and return the exit status."""
    name, *options = arguments or ["cifar10-psa-small"]
    command = ["package", name, "--for", "vitis", *(options or OPTIONS), "-o", str(DIRECTORY)]
    if status := main(command):
        return status
    images, _ = samples.load()
    images = np.concatenate([images] * -(-IMAGES // len(images)))[:IMAGES]
    start = time.monotonic()
    result = classify(DIRECTORY, network_file.load(name), images)
    print(json.dumps(result | {"seconds": round(time.monotonic() - start, 1)}, indent=2))
    complaints = problems(result)
    if complaints:
        print(f"axi: {'; '.join(complaints)}", file=sys.stderr)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
