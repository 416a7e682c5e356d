"""Simulate images in the kernel of a package, with the RAM of cocotbext-axi."""

import json
import tempfile
from pathlib import Path

import numpy as np

from psahw.boards.axi.kernel import DATA_BYTES
from psahw.network import reference
from tests.boards.axi.designs import OFFSETS

__all__ = ["ALLOWED", "classify", "problems"]

ALLOWED = 1.05  # maximum ratio to the cycles that the accelerator or the bus needs
IMAGES_AT, RESULTS_AT = 0x1001, 0x1003  # odd addresses, not aligned to a word


def classify(directory: Path, network, images: np.ndarray) -> dict:
    """Return the results of a batch, compared with the integer model.

    The measured time is that of the whole batch, from ap_start to the last acknowledged result; it
    includes the latency of the first image.
    """
    from psahw.sim.cocotb_tests import run

    manifest = json.loads((directory / "manifest.json").read_text())
    count, frame_bytes, record = len(images), images[0].size, 4 * (1 + manifest["classes"])
    results_at = (IMAGES_AT + images.nbytes + 0xFFFF) // 0x10000 * 0x10000 + RESULTS_AT
    size = 1 << (results_at + count * record).bit_length()
    bus_cycles = max(frame_bytes, record) / DATA_BYTES
    with tempfile.TemporaryDirectory(prefix="psahw-") as folder:
        path = Path(folder) / "images"
        path.write_bytes(np.ascontiguousarray(images).tobytes())
        report = run(
            directory,
            "psahw_kernel",
            ["kernel.v", "accelerator.v"],
            "axi_testbench.kernel",
            {
                "batches": [{"images": IMAGES_AT, "results": results_at, "count": count}],
                "fill": [[IMAGES_AT, str(path)]],
                "dump": [[results_at, count * record]],
                "memory": size,
                "offsets": OFFSETS["kernel"],
                "patience": 2 * count * manifest["frame_interval"] + 4 * manifest["latency"] + 10_000,
            },
        )
    records = np.frombuffer(bytes.fromhex(report["memory"][0]), "<i4").reshape(count, -1)
    logits = reference.run(network, images)
    limit = max(manifest["frame_interval"], bus_cycles)
    return {
        "network": network.name,
        "images": count,
        "mismatched_logits": int((records[:, 1:] != logits).sum()),
        "mismatched_classes": int((records[:, 0] != logits.argmax(1)).sum()),
        "status": report["registers"]["STATUS"],
        "cycles": report["registers"]["BUSY_CYCLES"],
        "cycles_per_image": report["registers"]["BUSY_CYCLES"] / count,
        "frame_interval": manifest["frame_interval"],
        "latency": manifest["latency"],
        "bus_cycles_per_image": bus_cycles,
        "over_limit": report["registers"]["BUSY_CYCLES"] / count / limit - 1,
    }


def problems(result: dict) -> list[str]:
    """Return a sentence for each thing that is wrong in a result of `classify`."""
    complaints = [
        f"{result[key]} {key.replace('_', ' ')}" for key in ("mismatched_logits", "mismatched_classes") if result[key]
    ]
    if result["status"]:
        complaints.append(f"the kernel's status is {result['status']}")
    if 1 + result["over_limit"] > ALLOWED:
        complaints.append(
            f"an image takes {100 * result['over_limit']:.1f} % more cycles than the accelerator or the bus needs"
        )
    return complaints
