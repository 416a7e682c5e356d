"""``python -m tests.boards.axi [NETWORK] [option of psahw package ...]``: 200 images through a kernel.

They are the shipped sample twice; the package is made in ``build/axi``. Prints one JSON object; exit status 1 if a
logit is wrong or the kernel too slow.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from psahw.cli import main
from psahw.network import file as networkfile
from psahw.network import samples
from tests.boards.axi.batch import classify, problems

IMAGES = 200
DIRECTORY = Path("build/axi")
OPTIONS = ["--engines", "mac", "--fps", "200000"]


def run(arguments: list[str]) -> int:
    name, *options = arguments or ["cifar10-psa-small"]
    command = ["package", name, "--for", "vitis", *(options or OPTIONS), "-o", str(DIRECTORY)]
    if status := main(command):
        return status
    images, _ = samples.load()
    images = np.concatenate([images] * -(-IMAGES // len(images)))[:IMAGES]
    start = time.monotonic()
    result = classify(DIRECTORY, networkfile.load(name), images)
    print(json.dumps(result | {"seconds": round(time.monotonic() - start, 1)}, indent=2))
    if found := problems(result):
        print(f"axi: {'; '.join(found)}", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
