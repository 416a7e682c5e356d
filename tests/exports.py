"""Compare the shipped networks' ONNX files, computed by onnxruntime, with the integer model.

    python -m tests.exports [NETWORK ...] [--images N] [--json] [--record]

The images are the shipped ones where they fit, and random ones that differ in brightness and contrast.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from psahw.exporting import onnx_model
from psahw.exporting.execution import onnx_logits
from psahw.flow.reporting import fits_samples
from psahw.network import reference, samples
from psahw.network.file import load, shipped
from psahw.network.graph import Network
from psahw.records import Value
from psahw.records.capture import add_record

__all__ = ["images_for", "wrong_logits"]

ROOT = Path(__file__).resolve().parents[1]


def images_for(network: Network, count: int, seed: int = 0) -> np.ndarray:
    """Return images: first the shipped ones if they fit, then random ones, each with a range of its own."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 256, (2, count, 1, 1, network.colours)), axis=0)
    images = rng.integers(low, high + 1, (count, *network.image, network.colours)).astype(np.uint8)
    if fits_samples(network):
        real = samples.load()[0][:count]
        images[: len(real)] = real
    return images


def wrong_logits(network: Network, count: int) -> int:
    """Return the number of logits of images that differ from the integer model."""
    images = images_for(network, count)
    actual = onnx_logits(network, onnx_model(network).SerializeToString(), images)
    expected = reference.run(network, images)
    if len(np.unique(expected, axis=0)) < count // 2:
        raise RuntimeError(f"{network.name}: most images have the same logits, so that the comparison says little")
    return int((actual != expected).sum())


def main(arguments: list[str]) -> int:
    """Compare networks, and return 0 if all logits are equal, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.exports", description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="by default all that ship")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="images of each network")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="write the figures to results/")
    options = parser.parse_args(arguments)
    wrong: dict[str, int] = {}
    for name in options.networks or shipped():
        start = time.monotonic()
        wrong[name] = wrong_logits(load(name), options.images)
        seconds = time.monotonic() - start
        print(f"{name}: {wrong[name]} wrong logits, {seconds:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"images": options.images, "wrong_logits": wrong}, indent=2))
    if options.record:
        add_record(
            ROOT / "results",
            "verification",
            "export/onnxruntime",
            [
                Value("images of each network", options.images, "images", "measured"),
                *(Value(f"{name}, wrong logits", count, "logits", "measured") for name, count in wrong.items()),
            ],
            command=" ".join(["python -m tests.exports", *options.networks, f"--images {options.images}"]),
            configuration="the shipped images where they fit, and random ones that differ in brightness and contrast",
        )
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
