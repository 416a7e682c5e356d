"""Classify images on the card with XRT's Python binding.

    python host.py psahw.xclbin images.npy [--results results.npy]

``images.npy`` contains the images, uint8 (images, height, width, colours), as numpy.save writes them. The program
prints one line per image: its number, its class and the class's name. It writes the logits to ``results.npy``, int32
(images, classes). The exit status is 0 if successful, 1 if the card reported an error, and 2 for wrong use.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

KERNEL = "psahw_kernel"
NOT_WRITTEN = 0xFFFFFFFF
FLAGS = 16  # position of the flags in a record's first word, above the class


class CardError(Exception):
    """An error that the card reported."""


class Batch:
    """The buffers of a batch on the host and on the card.

    With two batches the kernel works on one while the other is copied.
    """

    def __init__(self, pyxrt, device, kernel, manifest, size):
        self.pyxrt, self.kernel, self.count = pyxrt, kernel, 0
        self.classes = manifest["classes"]
        frame_bytes = manifest["image"][0] * manifest["image"][1] * manifest["colours"]
        self.images = pyxrt.bo(device, size * frame_bytes, pyxrt.bo.normal, kernel.group_id(0))
        self.results = pyxrt.bo(device, size * 4 * (1 + self.classes), pyxrt.bo.normal, kernel.group_id(1))

    def start(self, images):
        """Copy at most ``size`` images, uint8 (count, height, width, colours), to the card and start the kernel."""
        self.count = len(images)
        to_device = self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
        empty = np.full(self.count * (1 + self.classes), NOT_WRITTEN, np.uint32)
        for buffer, content in ((self.images, np.ascontiguousarray(images)), (self.results, empty)):
            buffer.write(content, 0)
            buffer.sync(to_device, content.nbytes, 0)
        self.run = self.kernel(self.images, self.results, self.count)

    def finish(self, timeout):
        """Return classes and logits. Raise CardError if the card did not finish, or could not read an image."""
        state = self.run.wait(timeout)
        if state != self.pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            raise CardError(f"the batch ended in state {state}")
        size = self.count * 4 * (1 + self.classes)
        self.results.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE, size, 0)
        records = np.frombuffer(bytes(self.results.read(size, 0)), "<i4").reshape(self.count, 1 + self.classes)
        heads = records[:, 0].astype(np.uint32)
        if np.any(heads == NOT_WRITTEN):
            raise CardError(f"the result of image {np.argmax(heads == NOT_WRITTEN)} of the batch was not written")
        if np.any(heads >> FLAGS):
            raise CardError(f"image {np.argmax(heads >> FLAGS != 0)} of the batch could not be read")
        self.count = 0
        return heads.astype(int), records[:, 1:]


def classify(pyxrt, xclbin, manifest, images, *, device=0, batch=4096, timeout=60_000):
    """Return classes and logits of images. ``timeout`` is that of one batch, in milliseconds."""
    card = pyxrt.device(device)
    kernel = pyxrt.kernel(card, card.load_xclbin(str(xclbin)), KERNEL, pyxrt.kernel.shared)
    size = min(batch, len(images))
    batches = [Batch(pyxrt, card, kernel, manifest, size) for _ in range(2)]
    results = []
    for turn, first in enumerate(range(0, len(images) + size, size)):
        this, other = batches[turn % 2], batches[(turn + 1) % 2]
        if first < len(images):
            this.start(images[first : first + size])
        if other.count:
            results.append(other.finish(timeout))
    return tuple(np.concatenate(parts) for parts in zip(*results, strict=True))


def load_manifest(path):
    """Return the description of the accelerator. Raise OSError or ValueError if the file does not contain one."""
    try:
        manifest = json.loads(path.read_text())
        sizes = [*manifest["image"], manifest["colours"], manifest["classes"]]
        names = manifest["class_names"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not what psahw package writes: {type(error).__name__}") from None
    counts = all(type(size) is int and 0 < size < 1 << 16 for size in sizes)
    if not counts or len(sizes) != 4 or not isinstance(names, list) or len(names) != manifest["classes"]:
        raise ValueError(f"{path} is not what psahw package writes: wrong image, colours, classes or class_names")
    return manifest


def load_images(path, manifest):
    """Return the images in a file. Raise OSError or ValueError if the file does not contain suitable images."""
    images = np.load(path, allow_pickle=False)
    shape = (*manifest["image"], manifest["colours"])
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        wanted = f"uint8 (images, {', '.join(map(str, shape))})"
        raise ValueError(f"{path} must be {wanted}, not {images.dtype} {images.shape}")
    return images


def main(arguments=None):
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("xclbin")
    parser.add_argument("images", help="images.npy, uint8 (images, height, width, colours)")
    parser.add_argument("--results", help="file for the logits, .npy")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--batch", type=int, default=4096, help="images per call of the kernel")
    options = parser.parse_args(arguments)
    if options.batch < 1:
        parser.error("--batch must be at least 1")
    try:
        manifest = load_manifest(Path(__file__).parent / "manifest.json")
        images = load_images(options.images, manifest)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        import pyxrt
    except ImportError:
        parser.error("no pyxrt: source XRT's setup.sh first")
    begin = time.monotonic()
    try:
        classes, logits = classify(
            pyxrt, options.xclbin, manifest, images, device=options.device, batch=options.batch
        )
    except (CardError, RuntimeError) as error:
        print(f"host.py: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    for number, index in enumerate(classes):
        print(number, index, manifest["class_names"][index])
    print(f"{len(images)} images, {len(images) / seconds:,.0f} images/s with copies", file=sys.stderr)
    if options.results:
        np.save(options.results, logits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
