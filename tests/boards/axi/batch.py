"""Images through the kernel of a package, from cocotbext-axi's RAM and back."""

import json
import tempfile
from pathlib import Path

import numpy as np
from psahw.boards.axi.kernel import DATA_BYTES

from psahw.network import reference
from tests.boards.axi.designs import OFFSETS

__all__ = ["ALLOWED", "classify", "problems"]

ALLOWED = 1.05  # of the cycles that accelerator or bus need
IMAGES_AT, RESULTS_AT = 0x1001, 0x1003  # neither at a word, both odd


def classify(directory: Path, network, images: np.ndarray) -> dict:
    """What was measured, with the whole batch's time: from ap_start to the last acknowledged result, the latency of
    the first image included."""
    from psahw.sim.cocotb_tests import run

    about = json.loads((directory / "manifest.json").read_text())
    count, frame_bytes, record = len(images), images[0].size, 4 * (1 + about["classes"])
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
                "patience": 2 * count * about["frame_interval"] + 4 * about["latency"] + 10_000,
            },
        )
    found = np.frombuffer(bytes.fromhex(report["memory"][0]), "<i4").reshape(count, -1)
    logits = reference.run(network, images)
    limit = max(about["frame_interval"], bus_cycles)
    return {
        "network": network.name,
        "images": count,
        "mismatched_logits": int((found[:, 1:] != logits).sum()),
        "mismatched_classes": int((found[:, 0] != logits.argmax(1)).sum()),
        "status": report["registers"]["STATUS"],
        "cycles": report["registers"]["BUSY_CYCLES"],
        "cycles_per_image": report["registers"]["BUSY_CYCLES"] / count,
        "frame_interval": about["frame_interval"],
        "latency": about["latency"],
        "bus_cycles_per_image": bus_cycles,
        "over_limit": report["registers"]["BUSY_CYCLES"] / count / limit - 1,
    }


def problems(result: dict) -> list[str]:
    """What the result proves wrong, in words."""
    found = [
        f"{result[key]} {key.replace('_', ' ')}" for key in ("mismatched_logits", "mismatched_classes") if result[key]
    ]
    if result["status"]:
        found.append(f"the kernel's status is {result['status']}")
    if 1 + result["over_limit"] > ALLOWED:
        found.append(f"an image takes {100 * result['over_limit']:.1f} % more cycles than accelerator or bus need")
    return found
