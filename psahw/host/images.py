"""Picture files as the input of a network.

A picture is turned upright by its EXIF orientation; of several frames the first is used. It becomes RGB, or grey for
a network of one colour, with black behind transparent pixels. The largest part in the middle that has the network's
proportions is scaled to the network's size with Pillow's Lanczos filter. A picture that has this size already keeps
its pixels.
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError

__all__ = ["find", "load"]

MODES = {1: "L", 3: "RGB"}  # Pillow's name for a number of colours


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Return the picture files that some paths stand for.

    Parameters
    ----------
    paths
        Files, and directories, which stand for all files below them whose suffix is that of a picture, sorted.

    Raises
    ------
    UserError
        If a path does not exist, or a directory contains no pictures.
    """
    suffixes, pictures = Image.registered_extensions(), list[Path]()
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            if not inside:
                raise UserError(f"{path} contains no pictures")
            pictures += inside
        elif path.is_file():
            pictures.append(path)
        else:
            raise UserError(f"{path} does not exist")
    return pictures


def _load(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    """Return a picture as uint8 (height, width) or (height, width, 3), for ``size`` (width, height)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                picture = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(
            f"{path} must have at most {Image.MAX_IMAGE_PIXELS:,} pixels, which Pillow considers safe"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders raise these for broken files
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
    picture = picture.convert(mode)
    if picture.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return np.asarray(picture)


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
        images[index] = _load(path, (width, height), MODES[colours]).reshape(shape)
        if progress is not None:
            progress(1)
    return images
