"""Pictures become images by the documented rule, and files that are not pictures are refused."""

import os
import struct
import threading
import zlib

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


def png(colour_type, bits, rows, *chunks):
    """Return a PNG file with these rows of bytes, made from its specification."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SHAPE[1], SHAPE[0], bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = [chunk(b"IHDR", header), *(chunk(*part) for part in chunks), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GREY16 = np.array([[0, 128, 129, 257, 32768, 65535]] * 4, np.uint16)
GREY8 = [0, 0, 1, 1, 128, 255]  # 129/257 is the first that rounds up to 1, and 32768/257 is 127.502


def tiff(path, pixels, photometric=1, bits=None):
    """Write an uncompressed grey TIFF file, made from its specification."""
    height, width = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = [
        (256, width), (257, height), (258, bits or 8 * pixels.itemsize), (259, 1), (262, photometric), (273, 8),
        (277, 1), (278, height), (279, pixels.nbytes), (339, kind),
    ]  # fmt: skip
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    table = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + table + bytes(4)
    )
    return path


def test_grey_of_16_bits_is_scaled_by_its_range(tmp_path):
    (tmp_path / "a.png").write_bytes(png(0, 16, [row.astype(">u2").tobytes() for row in GREY16]))
    tiff(tmp_path / "a.tiff", GREY16)
    tiff(tmp_path / "white.tiff", 65535 - GREY16, photometric=0)
    (tmp_path / "a.pgm").write_bytes(b"P5 6 4 65535\n" + GREY16.astype(">u2").tobytes())
    for name in ("a.png", "a.tiff", "white.tiff", "a.pgm"):
        image = load([tmp_path / name], SHAPE)[0]
        assert image[2, :, 1].tolist() == GREY8, name


@pytest.mark.parametrize(
    ("dtype", "complaint"),
    [
        (np.int32, "is a grey picture with 32 bits or a sign: convert it to 8 bits per colour, RGB or grey"),
        (np.uint32, "is a grey picture with 32 bits or a sign: convert it to 8 bits per colour, RGB or grey"),
        (np.int16, "is a grey picture with 32 bits or a sign: convert it to 8 bits per colour, RGB or grey"),
        (np.float32, "is a grey picture in floating point: convert it to 8 bits per colour, RGB or grey"),
    ],
)
def test_pictures_of_unknown_range_are_refused(dtype, complaint, tmp_path):
    path = tiff(tmp_path / "a.tiff", np.ones(SHAPE[:2], dtype))
    with pytest.raises(UserError) as error:
        load([path], SHAPE)
    assert str(error.value) == f"{path} {complaint}"


def test_lab_is_refused(tmp_path):
    Image.new("LAB", (6, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(UserError, match=r"a\.tiff is a picture in LAB colours: convert it to 8 bits per colour"):
        load([tmp_path / "a.tiff"], SHAPE)


def test_postscript_is_not_run(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.eps")
    with pytest.raises(UserError, match=r"a\.eps is PostScript, which is not read: convert it to PNG$"):
        load([tmp_path / "a.eps"], SHAPE)


def test_colours_of_16_bits_keep_the_upper_ones(tmp_path):
    row = np.array([[0x0102, 0x80FF, 0xFFFF]] * 6, ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(2, 16, [row] * 4))
    assert load([tmp_path / "a.png"], SHAPE)[0, 1, 1].tolist() == [0x01, 0x80, 0xFF]


def test_palettes_become_colours_and_their_transparency_black(tmp_path):
    """The second of the palette's three colours is transparent, and the third half so."""
    palette, alpha = (b"PLTE", bytes([9, 8, 7, 255, 255, 255, 200, 100, 50])), (b"tRNS", bytes([255, 0, 128]))
    (tmp_path / "a.png").write_bytes(png(3, 8, [[0, 1, 2, 0, 1, 2]] * 4, palette, alpha))
    image = load([tmp_path / "a.png"], SHAPE)[0]
    assert image[0, :3].tolist() == [[9, 8, 7], [0, 0, 0], [100, 50, 25]]
    (tmp_path / "b.png").write_bytes(png(3, 8, [[0, 1, 2, 0, 1, 2]] * 4, palette))
    assert load([tmp_path / "b.png"], SHAPE)[0, 0, :3].tolist() == [[9, 8, 7], [255, 255, 255], [200, 100, 50]]


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff"])
def test_the_first_frame_is_used(suffix, tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    assert load([tmp_path / f"a.{suffix}"], SHAPE)[0].reshape(-1, 3).tolist() == [[255, 0, 0]] * 24


def test_a_picture_comes_through_a_pipe(tmp_path):
    pixels = RNG.integers(0, 256, SHAPE, np.uint8)
    data = save(tmp_path / "a.png", pixels).read_bytes()
    os.mkfifo(pipe := tmp_path / "pipe")
    threading.Thread(target=lambda: pipe.write_bytes(data)).start()
    assert np.array_equal(load(find([pipe]), SHAPE)[0], pixels)


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
    with pytest.raises(
        UserError, match=r"a\.png is not a picture that Pillow can read: convert it to PNG, or leave it out$"
    ):
        load([text], SHAPE)
    whole = save(tmp_path / "b.png", RNG.integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"^cannot read .*b\.png: "):
        load([tmp_path / "b.png"], SHAPE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = save(tmp_path / "c.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"c\.png must have at most 1,000 pixels, which Pillow considers safe$"):
        load([path], SHAPE)
