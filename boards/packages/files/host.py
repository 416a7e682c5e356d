"""Classifies images on the card, through XRT's Python binding.

    python host.py psahw.xclbin images.npy [--results results.npy]

``images.npy``: uint8 (images, height, width, colours), as numpy.save writes it. One line an image is printed: its
number, class and name; ``results.npy`` gets the logits, int32 (images, classes). Exit status: 0 done, 1 the card
reported an error, 2 wrong use.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

KERNEL = "psahw_kernel"
NOT_WRITTEN = 0xFFFFFFFF
FLAGS = 16  # in a record's first word, above the class


class CardError(Exception):
    """What the card reported."""


class Batch:
    """Buffers on both sides. Two of them keep the kernel busy while the other one is copied."""

    def __init__(self, pyxrt, device, kernel, about, size):
        self.pyxrt, self.kernel, self.count = pyxrt, kernel, 0
        self.classes = about["classes"]
        frame_bytes = about["image"][0] * about["image"][1] * about["colours"]
        self.images = pyxrt.bo(device, size * frame_bytes, pyxrt.bo.normal, kernel.group_id(0))
        self.results = pyxrt.bo(device, size * 4 * (1 + self.classes), pyxrt.bo.normal, kernel.group_id(1))

    def start(self, images):
        """Images, uint8 (count, height, width, colours), at most ``size`` of them."""
        self.count = len(images)
        to_device = self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
        empty = np.full(self.count * (1 + self.classes), NOT_WRITTEN, np.uint32)
        for buffer, content in ((self.images, np.ascontiguousarray(images)), (self.results, empty)):
            buffer.write(content, 0)
            buffer.sync(to_device, content.nbytes, 0)
        self.run = self.kernel(self.images, self.results, self.count)

    def finish(self, timeout):
        """Classes and logits; CardError if the card did not finish, or could not read an image."""
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


def classify(pyxrt, xclbin, about, images, *, device=0, batch=4096, timeout=60_000):
    """Classes and logits of images. ``timeout`` of a batch in milliseconds."""
    card = pyxrt.device(device)
    kernel = pyxrt.kernel(card, card.load_xclbin(str(xclbin)), KERNEL, pyxrt.kernel.shared)
    size = min(batch, len(images))
    batches = [Batch(pyxrt, card, kernel, about, size) for _ in range(2)]
    found = []
    for turn, first in enumerate(range(0, len(images) + size, size)):
        mine, other = batches[turn % 2], batches[(turn + 1) % 2]
        if first < len(images):
            mine.start(images[first : first + size])
        if other.count:
            found.append(other.finish(timeout))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _images(path, about):
    """What is wrong with them, or None, and the images."""
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        return str(error), None
    shape = (*about["image"], about["colours"])
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        return f"{path} must be uint8 (images, {', '.join(map(str, shape))}), not {images.dtype} {images.shape}", None
    return None, images


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("xclbin")
    parser.add_argument("images", help="images.npy, uint8 (images, height, width, colours)")
    parser.add_argument("--results", help="write the logits there, as .npy")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--batch", type=int, default=4096, help="images a call of the kernel")
    options = parser.parse_args(arguments)
    if options.batch < 1:
        parser.error("--batch must be at least 1")
    about = json.loads((Path(__file__).parent / "manifest.json").read_text())
    message, images = _images(options.images, about)
    if message:
        parser.error(message)
    try:
        import pyxrt
    except ImportError:
        parser.error("no pyxrt: source XRT's setup.sh first")
    begin = time.monotonic()
    try:
        classes, logits = classify(pyxrt, options.xclbin, about, images, device=options.device, batch=options.batch)
    except (CardError, RuntimeError) as error:
        print(f"host.py: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    for number, index in enumerate(classes):
        print(number, index, about["class_names"][index])
    print(f"{len(images)} images, {len(images) / seconds:,.0f} images/s with copies", file=sys.stderr)
    if options.results:
        np.save(options.results, logits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
