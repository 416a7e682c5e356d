"""Classifying images on a board from Python.

    from psahw import networkfile
    from psahw.host import Accelerator

    network = networkfile.load("cifar10-psa-small")
    with Accelerator("/dev/ttyUSB1", baud=3_000_000, network=network) as device:
        answers = device.run(images)  # uint8 (n, 32, 32, 3)
        answers.logits, answers.classes

It needs NumPy, pyserial and cobs, and neither Amaranth nor the rest of psahw's hardware.
"""

from .accelerator import Accelerator, Answers, Timing
from .protocol import Hello

__all__ = ["Accelerator", "Answers", "Hello", "Timing"]
