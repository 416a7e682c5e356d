"""Bad data: one line that names the place and what was expected, exit status 2, and nothing left behind."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from psahw.cli import main

GREY = np.full((6, 4), 9, np.uint8)
IMAGES, LABELS = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2
ROWS = "".join(f"{n},{n * n},{'ab'[n % 2]}\n" for n in range(8))


def _picture(path, pixels=GREY):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _pets(folder, **files):
    """Write a folder with two classes of three pictures, and further files."""
    for name in ("cat", "dog"):
        for n in range(3):
            _picture(folder / name / f"{n}.png")
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _npy(descr, shape):
    """Return the header of an array of a type and shape, without values."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _npz(path, **members):
    """Write an archive of arrays, and of bytes as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            if isinstance(member, np.ndarray):
                file = io.BytesIO()
                np.save(file, member)
                member = file.getvalue()
            archive.writestr(f"{name}.npy", member)


def _idx(values, kind=8, shape=None):
    """Return an IDX file."""
    shape = values.shape if shape is None else shape
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + values.tobytes()


def _mnist(folder, **changes):
    folder.mkdir()
    files = {"train-images-idx3": _idx(IMAGES), "train-labels-idx1": _idx(LABELS.astype(np.uint8)),
             "t10k-images-idx3": _idx(IMAGES), "t10k-labels-idx1": _idx(LABELS.astype(np.uint8))}  # fmt: skip
    for name, content in (files | changes).items():
        if content is not None:
            (folder / f"{name}-ubyte").write_bytes(content)


def _write(text):
    return lambda path: path.write_text(text)


_GZIP, _HUGE = gzip.compress(_idx(IMAGES)), _idx(IMAGES, shape=(1 << 31, 999, 999))
T = ("--target", "kind")
CASES = {
    # name: (file or folder, how it is written, options, what the message says)
    "no such path": ("absent", lambda path: None, (), "unknown data set '"),
    "a file of another kind": ("a.txt", _write("x"), (), "must be a folder of pictures, a folder of IDX"),
    "empty folder": ("pets", lambda path: path.mkdir(), (), "pets must contain one folder per class"),
    "single class": ("pets", lambda path: _picture(path / "cat" / "1.png"), (), "pets has only the class 'cat'"),
    "empty class folder": ("pets", lambda path: (_pets(path), (path / "elk").mkdir()), (),
                           "pets/elk contains no pictures"),
    "one picture of a class": ("pets", lambda path: (_pets(path), _picture(path / "elk" / "1.png")), (),
                               "class 'elk' has 1 of the 7 examples; at least two"),
    "train without test": ("pets", lambda path: _pets(path / "train"), (), "pets must have both train and test"),
    "class in test only": ("pets", lambda path: (_pets(path / "train"), _pets(path / "test", elk__1_png=b"")), (),
                           "test/elk: there is no class 'elk' in"),
    "not a picture": ("pets", lambda path: _pets(path, cat__notes_txt=b"hello"), (),
                      "cat/notes.txt is not a picture that Pillow can read: convert it to PNG, or leave it out"),
    "truncated picture": ("pets", lambda path: _pets(path, dog__9_png=_png()[:-30]), (), "cannot read "),
    "pictures of two sizes": ("pets", lambda path: (_pets(path), _picture(path / "dog" / "9.png", GREY.T)), (),
                              "9.png is 4x6, not 6x4 like the first picture; --size 6x4 cuts"),
    "impossible size": ("pets", _pets, ("--size", "28"), "--size must be HEIGHTxWIDTH in pixels, such as 32x48, not"),
    "no group in a name": ("pets", _pets, ("--group", "cow"), "0.png: --group 'cow' finds nothing in its name"),
    "bad group pattern": ("pets", _pets, ("--group", "("), "--group must be a regular expression, not '('"),
    "target of pictures": ("pets", _pets, ("--target", "x"), "--target does not go with a folder of pictures"),
    "ragged CSV": ("a.csv", _write("x,y,kind\n1,2,a\n3,b\n"), T, "a.csv, row 3: 2 cells, not 3"),
    "too many cells": ("a.csv", _write("x,y,kind\n1,2,a\n3,4,b,5\n"), T, "a.csv, row 3: 4 cells, not 3"),
    "empty line": ("a.csv", _write("x,y,kind\n1,2,a\n\n3,4,b\n"), T, "a.csv, row 3: 0 cells, not 3"),
    "not a number": ("a.csv", _write(f"x,y,kind\n{ROWS}1,nan,a\n"), T, "row 10, column 'y': nan is not finite"),
    "infinite": ("a.csv", _write(f"x,y,kind\n{ROWS}1,-1e999,a\n"), T, "row 10, column 'y': -inf is not finite"),
    "category as text": ("a.csv", _write(f"x,y,kind\n{ROWS}1,red,a\n"), T, "row 10, column 'y': 'red' is no number"),
    "column without values": ("a.csv", _write("x,y,kind\n" + "1,,a\n1,,b\n" * 4), T,
                              "a.csv: column 'y' has no value in the training rows"),
    "missing target": ("a.csv", _write(f"x,y,kind\n{ROWS}1,2,\n"), T, "row 10, column 'kind': must not be empty"),
    "no target column": ("a.csv", _write(f"x,y,z\n{ROWS}"), T, "a.csv has no column 'kind'; it has x, y, z"),
    "no --target": ("a.csv", _write(f"x,y,z\n{ROWS}"), (), "a.csv needs --target COLUMN with the class of each row"),
    "duplicate column": ("a.csv", _write(f"x,x,kind\n{ROWS}"), T, "a.csv has two columns called 'x'"),
    "column without a name": ("a.csv", _write(f"x,,kind\n{ROWS}"), T, "a.csv: column 2 has no name"),
    "one row": ("a.csv", _write("x,y,kind\n1,2,a\n"), T, "a.csv, column 'kind' has only the class 'a'"),
    "no rows": ("a.csv", _write("x,y,kind\n"), T, "a.csv has no rows"),
    "empty CSV": ("a.csv", _write(""), T, "a.csv must have at least two columns"),
    "labels that are no integers": ("a.csv", _write("x,kind\n" + "1,1.5\n2,2\n" * 3), T,
                                    "a.csv, row 2, column 'kind': a class must be an integer or a name, not '1.5'"),
    "not text": ("a.csv", lambda path: path.write_bytes(b"x,kind\n\xff\xfe,a\n"), T, "it must be in UTF-8"),
    "damaged Parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1 and no more PAR1"), T, "cannot read "),
    "damaged Excel": ("a.xlsx", lambda path: path.write_bytes(b"PK\3\4 and no more"), T, "cannot read "),
    "no archive": ("a.npz", _write("text"), (), "cannot read "),
    "no arrays": ("a.npz", lambda path: _npz(path, images=IMAGES), (), "a.npz has no array x_train; it has images"),
    "mixed shapes": ("a.npz", lambda path: _npz(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:, :3],
                                                y_test=LABELS), (),
                     "x_train and x_test must have the same shape, not (4, 4) and (3, 4)"),
    "too few labels": ("a.npz", lambda path: _npz(path, x=IMAGES, y=LABELS[:5]), (),
                       "one label for each of the 6 in x"),
    "labels in floating point": ("a.npz", lambda path: _npz(path, x=IMAGES, y=LABELS + 0.5), (),
                                 "y[0] must be an integer or a name, not 0.5"),
    "objects": ("a.npz", lambda path: _npz(path, x=np.array([{}, {}], object), y=LABELS[:2]), (),
                "a.npz: x holds Python objects (a pickle), which are never read"),
    "images in floating point": ("a.npz", lambda path: _npz(path, x=IMAGES / 255, y=LABELS), (),
                                 "x must hold integers of 0 to 255 (or 65,535), not float64"),
    "values beyond a byte": ("a.npz", lambda path: _npz(path, x=np.full((6, 4, 4), 256), y=LABELS), (),
                             "a.npz: x must hold 0 to 255, not 256 to 256"),
    "rows that are not finite": ("a.npz", lambda path: _npz(path, x=np.full((6, 2), np.inf), y=LABELS), (),
                                 "a.npz: x[0, 0] must be finite, not inf"),
    "huge array": ("a.npz", lambda path: _npz(path, x=_npy("|u1", (1 << 40, 9, 9)), y=LABELS), (),
                   "more than the 16 GiB"),
    "array that is cut off": ("a.npz", lambda path: _npz(path, x=_npy("|u1", (6, 99, 99)), y=LABELS), (),
                              "x declares 58,806 bytes and has"),
    "truncated IDX": ("idx", lambda path: _mnist(path, **{"t10k-images-idx3": _idx(IMAGES)[:-1]}), (),
                      "declares 96 values and holds 95: it is damaged or incomplete"),
    "IDX with more values": ("idx", lambda path: _mnist(path, **{"t10k-images-idx3": _idx(IMAGES) + b"0"}), (),
                             "declares 96 values and holds more"),
    "truncated gzip": ("idx", lambda path: _mnist(path, **{"train-images-idx3": _GZIP[:-9]}), (),
                       "it is a damaged or incomplete gzip file"),
    "huge IDX": ("idx", lambda path: _mnist(path, **{"train-images-idx3": _HUGE}), (),
                 "declares 2147483648 x 999 x 999 values, more than the 16 GiB"),
    "IDX of another type": ("idx", lambda path: _mnist(path, **{"train-images-idx3": _idx(IMAGES, 13)}), (),
                            "must hold bytes (type 8) in 3 dimensions, not type 13 in 3"),
    "missing IDX file": ("idx", lambda path: _mnist(path, **{"t10k-labels-idx1": None}), (),
                         "idx must hold t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz as well"),
}  # fmt: skip


def _png():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 4), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("case", CASES)
def test_bad_data(case, tmp_path, capsys, monkeypatch):
    name, write, options, message = CASES[case]
    if name.endswith((".csv", ".parquet", ".xlsx")):
        pytest.importorskip("polars")
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / name)
    before = sorted(folder.rglob("*"))
    arguments = ["train", "--config", "tiny", "--dataset", str(folder / name), *options, "-o", str(tmp_path / "run")]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith("psahw: ") and message in err
    assert sorted(folder.rglob("*")) == before and [path.name for path in tmp_path.iterdir()] == ["data"]
