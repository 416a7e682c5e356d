"""Classify images on a board, from Python::

    import psahw
    from psahw.host import Accelerator

    network = psahw.load("cifar10-psa-small")
    with Accelerator("/dev/ttyUSB1", baud=3_000_000, network=network) as device:
        answers = device.run(images)  # uint8 (n, 32, 32, 3)
    print(answers.logits, answers.classes)

This package needs NumPy, pyserial and cobs, but neither Amaranth nor the other packages that make circuits.
``docs/reference/host-protocol.md`` specifies the protocol.
"""

from .accelerator import Accelerator, Answers, Timing
from .exchange import NoAnswer, Statistics
from .protocol import Hello

__all__ = ["Accelerator", "Answers", "Hello", "NoAnswer", "Statistics", "Timing"]
