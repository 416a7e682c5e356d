"""Pictures become images by the documented rule, and files that are not pictures are refused."""

import numpy as np
import pytest
from PIL import Image

from psahw.errors import UserError
from psahw.host.images import find, load

SHAPE = (4, 6, 3)
RNG = np.random.default_rng(4)


def save(path, pixels, mode="RGB", **options):
    """Write a picture and return its path."""
    Image.fromarray(pixels, mode).save(path, **options)
    return path


def test_right_size_keeps_its_pixels(tmp_path):
    pixels = RNG.integers(0, 256, SHAPE, np.uint8)
    images = load([save(tmp_path / "a.png", pixels)], SHAPE)
    assert images.dtype == np.uint8 and np.array_equal(images[0], pixels)


@pytest.mark.parametrize(("height", "width"), [(4, 12), (12, 6)])
def test_middle_is_used(height, width, tmp_path):
    """A picture that is too wide, or too high, is cut equally on both sides."""
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = (height - 4) // 2, (width - 6) // 2
    middle = RNG.integers(0, 256, SHAPE, np.uint8)
    pixels[top : top + 4, left : left + 6] = middle
    assert np.array_equal(load([save(tmp_path / "a.png", pixels)], SHAPE)[0], middle)


def test_large_pictures_are_scaled(tmp_path):
    """Two halves of one colour each stay two halves, except that the Lanczos filter rings at their edge."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = (10, 200, 90)
    image = load([save(tmp_path / "a.png", pixels)], SHAPE)[0].astype(int)
    assert np.abs(image[:, :1]).max() <= 4 and np.abs(image[:, 5:] - (10, 200, 90)).max() <= 4
    assert np.abs(image[:, 1:3]).max() <= 30 and np.abs(image[:, 3:5] - (10, 200, 90)).max() <= 30


def test_upright(tmp_path):
    """EXIF orientation 6 says that the stored pixels are turned left by a quarter."""
    pixels = RNG.integers(0, 256, SHAPE, np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", np.ascontiguousarray(np.rot90(pixels)), exif=exif)
    assert np.array_equal(load([path], SHAPE)[0], pixels)


def test_transparency_is_black(tmp_path):
    pixels = np.full((*SHAPE[:2], 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    image = load([save(tmp_path / "a.png", pixels, "RGBA")], SHAPE)[0]
    assert np.all(image[0] == 0) and np.all(image[1:] == 255)


def test_grey(tmp_path):
    grey = RNG.integers(0, 256, SHAPE[:2], np.uint8)
    path = save(tmp_path / "a.png", grey, "L")
    assert np.array_equal(load([path], (4, 6, 1))[0, ..., 0], grey)
    assert np.array_equal(load([path], SHAPE)[0], np.repeat(grey[..., None], 3, 2))
    with pytest.raises(UserError, match=r"^the network must take 1 or 3 colours to classify pictures, not 2$"):
        load([path], (4, 6, 2))


def test_find(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert find([tmp_path, tmp_path / "notes.txt"]) == [
        tmp_path / "b.png",
        tmp_path / "deep/a.JPG",
        tmp_path / "notes.txt",
    ]
    with pytest.raises(UserError, match=r"empty contains no pictures$"):
        find([tmp_path / "empty"])
    with pytest.raises(UserError, match="gone does not exist"):
        find([tmp_path / "gone"])


def test_broken_files(tmp_path, monkeypatch):
    text = tmp_path / "a.png"
    text.write_text("not a picture")
    with pytest.raises(UserError, match=r"a\.png is not a picture that Pillow can read$"):
        load([text], SHAPE)
    whole = save(tmp_path / "b.png", RNG.integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"^cannot read .*b\.png: "):
        load([tmp_path / "b.png"], SHAPE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = save(tmp_path / "c.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"c\.png must have at most 1,000 pixels, which Pillow considers safe$"):
        load([path], SHAPE)
