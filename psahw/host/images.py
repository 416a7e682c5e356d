"""Picture files as a network's input.

The rule: upright (EXIF), first frame, RGB, or grey for networks of one colour, transparency on black; the largest
part in the middle that has the network's proportions; scaled to the network's size with Pillow's Lanczos filter. A
picture of just that size is taken as it is.
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError

__all__ = ["find", "load"]

MODES = {1: "L", 3: "RGB"}


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Files as they are named, and all pictures in directories, by their suffix, sorted. UserError for what is not
    there, and if there is nothing."""
    suffixes, found = Image.registered_extensions(), []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            if not inside:
                raise UserError(f"{path} has no pictures in it")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist")
    return found


def _load(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        raise UserError(f"{path} is no picture that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} has more pixels than Pillow takes for safe, {Image.MAX_IMAGE_PIXELS:,}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise for broken files
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright.convert("RGBA"))
    picture = upright.convert(mode)
    if picture.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return np.asarray(picture)


def load(
    paths: list[Path], shape: tuple[int, int, int], *, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """uint8 (n, height, width, colours) for ``shape`` (height, width, colours). UserError naming a file that is no
    picture, and for networks of neither one colour nor three."""
    height, width, colours = shape
    if colours not in MODES:
        raise UserError(f"pictures have 1 or 3 colours; the network takes {colours}")
    images = np.empty((len(paths), *shape), np.uint8)
    for index, path in enumerate(paths):
        images[index] = _load(path, (width, height), MODES[colours]).reshape(shape)
        if progress is not None:
            progress(1)
    return images
