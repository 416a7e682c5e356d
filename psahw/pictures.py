"""Picture files as pixels with 8 bits per colour.

A picture becomes RGB or grey by these rules:

- Palettes become the colours that they stand for.
- Grey of 16 bits is scaled by its range: 65,535 becomes 255. So is grey of 12 bits in TIFF files.
- Behind transparent pixels there is black.
- The EXIF orientation turns the picture upright.
- Of an animation, or of a file with several pages, the first frame is used.
- Pictures whose range is not known are refused: integers of 32 bits or with a sign, floating point, and LAB. So is
  PostScript, a program that Ghostscript would run for as long as the program likes.

`fit` cuts out the largest part in the middle that has the proportions asked for, and scales it with Pillow's Lanczos
filter. A picture that has this size already keeps its pixels.
"""

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import documents
from .errors import UserError
from .quoting import printable

__all__ = ["MODES", "find", "fit", "is_grey", "read"]

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for a number of colours."""

MAX_BYTES = 256 << 20

_CONVERTIBLE = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"}
_GREY = {"1", "L", "LA", "La"}
_REFUSED = {
    "I": "a grey picture with 32 bits or a sign",
    "F": "a grey picture in floating point",
    "LAB": "a picture in LAB colours",
}
_GREY16_FORMATS = ("PNG", "PPM")  # which have 16 bits where Pillow says that there are 32
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF; photometric interpretation 0 means that 0 is white


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
        elif path.exists():  # perhaps a pipe
            pictures.append(path)
        else:
            raise UserError(f"{path} does not exist")
    return pictures


def _grey16(picture: Image.Image, file: Image.Image) -> Image.Image:
    """Return a grey picture of 9 to 16 bits with 8 bits, scaled by its range."""
    tags = getattr(file, "tag_v2", {})  # of a TIFF file
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    values, highest = np.asarray(picture).astype(np.uint32), (1 << bits) - 1
    grey = ((255 * values + highest // 2) // highest).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey)


def _with_8_bits(path: Path, picture: Image.Image, file: Image.Image) -> Image.Image:
    """Return an opaque picture that Pillow converts to RGB or grey without loss of range.

    Raises UserError for a picture of unknown range.
    """
    mode = file.mode
    if mode.startswith("I;16") or (mode == "I" and file.format in _GREY16_FORMATS):
        return _grey16(picture, file)
    if mode not in _CONVERTIBLE:
        kind = _REFUSED.get(mode, f"of Pillow's mode {mode}")
        raise UserError(f"{path} is {kind}: convert it to 8 bits per colour, RGB or grey")
    if picture.has_transparency_data:
        opaque = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
        return opaque.convert("L") if mode in _GREY else opaque
    return picture


@contextmanager
def _opened(path: Path, content: BinaryIO) -> Iterator[Image.Image]:
    """Open a picture, and turn everything that is raised for a damaged one into a UserError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(content) as file:
                if file.format == "EPS":
                    raise UserError(f"{path} is PostScript, which is not read: convert it to PNG")
                yield file
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture that Pillow can read: convert it to PNG, or leave it out") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(
            f"{path} must have at most {Image.MAX_IMAGE_PIXELS:,} pixels, which Pillow considers safe"
        ) from None
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of nearly every class for broken files
        reason = printable(" ".join(str(error).split()), 120) or type(error).__name__
        raise UserError(f"cannot read {path}: {reason}") from None


def is_grey(path: Path) -> bool:
    """Return whether a picture is grey, by its header alone. Raises UserError if it is no picture."""
    try:
        with open(path, "rb") as content, _opened(path, content) as file:
            return file.mode in _GREY or file.mode.startswith("I;16") or file.mode in ("I", "F")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def read(path: Path, mode: str | None = None) -> Image.Image:
    """Return a picture, upright and with 8 bits per colour.

    Parameters
    ----------
    path
        A file of any format that Pillow can read.
    mode
        "L" or "RGB". None keeps a grey picture grey, and makes any other RGB.

    Raises
    ------
    UserError
        If the file is not a picture, is damaged or too large, or its range is not known.
    """
    content = io.BytesIO(documents.read_bytes(path, MAX_BYTES))
    with _opened(path, content) as file:
        picture = _with_8_bits(path, ImageOps.exif_transpose(file), file)
        return picture.convert(mode or ("L" if picture.mode in _GREY else "RGB"))


def fit(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Return the middle of a picture, cut to the proportions of a size in pixels and scaled to it."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
