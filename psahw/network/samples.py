"""The hundred images that ship with the package: the first of CIFAR-10's test set, in its order."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "load"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Names of CIFAR-10's classes, by label."""

FOLDER = Path(__file__).parents[1] / "data"
"""The folder with the images and their labels."""


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images of shape (100, 32, 32, 3) and uint8 labels of shape (100,)."""
    with Image.open(FOLDER / "cifar10-test-100.png") as image:
        sheet = np.asarray(image.convert("RGB"))  # ten rows of ten images
    images = sheet.reshape(10, 32, 10, 32, 3).transpose(0, 2, 1, 3, 4).reshape(100, 32, 32, 3)
    labels = np.array(json.loads((FOLDER / "cifar10-test-100.json").read_text()), np.uint8)
    return np.ascontiguousarray(images), labels
