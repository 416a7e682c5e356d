"""Picture files as the input of a network: read as `psahw.pictures` says, cut and scaled to the network's size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..pictures import MODES, find, fit, read

__all__ = ["find", "load"]


def load(
    paths: list[Path], shape: tuple[int, int, int], *, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Return picture files as the input of a network.

    Parameters
    ----------
    paths
        Files of any format that Pillow can read.
    shape
        Height, width and number of colours of the network's images.
    progress
        Called with 1 after each file.

    Returns
    -------
    numpy.ndarray
        uint8 (n, height, width, colours).

    Raises
    ------
    UserError
        If a file is not a picture, or the network has neither one colour nor three.
    """
    height, width, colours = shape
    if colours not in MODES:
        raise UserError(f"the network must take 1 or 3 colours to classify pictures, not {colours}")
    images = np.empty((len(paths), *shape), np.uint8)
    for index, path in enumerate(paths):
        images[index] = np.asarray(fit(read(path, MODES[colours]), height, width)).reshape(shape)
        if progress is not None:
            progress(1)
    return images
