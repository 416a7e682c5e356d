# amaranth: UnusedElaboratable=no
"""Tests of the host programs with stand-ins for XRT. ``xrt/xrt_kernel.h`` says what their kernel computes."""

import importlib.util
import shutil
import subprocess
import types
from pathlib import Path

import numpy as np
import pytest

from psahw.boards import packages

CLASSES, IMAGE = 5, (8, 8, 3)
XRT = Path(__file__).parent / "xrt"
HOST = Path(packages.__file__).parent / "files" / "host.py"


def images(count):
    return np.random.default_rng(count).integers(0, 256, (count, *IMAGE), np.uint8)


def answers(batch):
    """Return the classes and logits that the stand-in computes."""
    total = batch.reshape(len(batch), -1).sum(1, dtype=np.int64)
    return total % CLASSES, total[:, None] * (np.arange(CLASSES) - 2)


@pytest.fixture(scope="module")
def host(package, tmp_path_factory):
    """Return a function that runs the C++ program."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    directory, _ = package("vitis")
    program = tmp_path_factory.mktemp("host") / "host"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1"]
    command = ["g++", *flags, f"-I{XRT}", f"-I{directory}", "-o", program, directory / "host.cpp"]
    compiler = subprocess.run(command, capture_output=True, text=True)
    assert compiler.returncode == 0, compiler.stderr

    def run(*arguments, fault=""):
        return subprocess.run([program, *arguments], capture_output=True, text=True, env={"CARD_FAULT": fault})

    return run


@pytest.mark.parametrize("count", [1, 4096, 10_000])
def test_host(host, count, tmp_path):
    """Test a small batch, a full one, and three batches of which the last is smaller."""
    batch = images(count)
    (tmp_path / "images").write_bytes(batch.tobytes())
    process = host("x.xclbin", tmp_path / "images", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    classes, logits = answers(batch)
    assert process.stdout.splitlines() == [f"{n} {c} class {c}" for n, c in enumerate(classes)]
    records = np.fromfile(tmp_path / "results", "<i4").reshape(count, 1 + CLASSES)
    np.testing.assert_array_equal(records, np.column_stack([classes, logits]))
    assert f"{count} images" in process.stderr


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("network", "holds another network than tiny"),
        ("read", "the batch that ends with image 2 failed; status register: 1"),
        ("write", "the batch that ends with image 2 failed; status register: 2"),
        ("hang", "the batch that ends with image 2 failed; status register: 0"),
    ],
)
def test_host_reports_errors_of_the_card(host, fault, message, tmp_path):
    (tmp_path / "images").write_bytes(images(3).tobytes())
    process = host("x.xclbin", tmp_path / "images", fault=fault)
    assert process.returncode == 1 and message in process.stderr and process.stdout == ""


def test_host_wrong_use(host, tmp_path):
    assert host("x.xclbin").returncode == 2
    (tmp_path / "images").write_bytes(bytes(191))
    process = host("x.xclbin", tmp_path / "images")
    assert process.returncode == 2 and "must hold images of 192 bytes each" in process.stderr
    assert host("x.xclbin", tmp_path / "none").returncode == 2
    (tmp_path / "images").write_bytes(bytes(192))
    process = host("x.xclbin", tmp_path / "images", "", "1")
    assert process.returncode == 1 and "no such device" in process.stderr


class Bo:
    """Stand-in for a buffer of pyxrt."""

    normal = 0

    def __init__(self, device, size, flags, group):
        self.host, self.card = bytearray(size), bytearray(size)

    def write(self, content, at):
        self.host[at : at + content.nbytes] = content.tobytes()

    def sync(self, direction, size, at):
        source, sink = (self.host, self.card) if direction == "to" else (self.card, self.host)
        sink[at : at + size] = source[at : at + size]

    def read(self, size, at):
        return np.frombuffer(self.host[at : at + size], np.int8)


class Kernel:
    """Stand-in for a kernel of pyxrt, which computes `answers` unless a fault is set."""

    shared, fault = "shared", ""

    def __init__(self, device, uuid, name, mode):
        assert (uuid, name, mode) == ("x.xclbin", "psahw_kernel", "shared")

    def group_id(self, index):
        return index

    def __call__(self, images, results, count):
        return types.SimpleNamespace(wait=lambda timeout: self.run(images, results, count))

    def run(self, images, results, count):
        if self.fault == "hang":
            return "TIMEOUT"
        batch = np.frombuffer(images.card, np.uint8)[: count * np.prod(IMAGE)].reshape(count, *IMAGE)
        classes, logits = answers(batch)
        records = np.column_stack([classes, logits]).astype("<i4")
        if self.fault == "read":
            records[-1, 0] |= 1 << 19
        first = 1 if self.fault == "write" else 0
        results.card[first * 4 * (1 + CLASSES) : records.nbytes] = records[first:].tobytes()
        return "COMPLETED"


@pytest.fixture
def script(package, monkeypatch):
    """Import the Python program, with stand-ins for pyxrt."""
    directory, _ = package("vitis")
    pyxrt = types.ModuleType("pyxrt")
    pyxrt.bo, pyxrt.kernel = Bo, Kernel
    pyxrt.device = lambda index: types.SimpleNamespace(load_xclbin=lambda path: path)
    pyxrt.xclBOSyncDirection = types.SimpleNamespace(XCL_BO_SYNC_BO_TO_DEVICE="to", XCL_BO_SYNC_BO_FROM_DEVICE="from")
    pyxrt.ert_cmd_state = types.SimpleNamespace(ERT_CMD_STATE_COMPLETED="COMPLETED")
    monkeypatch.setitem(__import__("sys").modules, "pyxrt", pyxrt)
    spec = importlib.util.spec_from_file_location("psahw_host", directory / "host.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "[" * 100_000, "{}",
        '{"image": [8, 8], "colours": 3, "classes": 2, "class_names": ["a"]}',
        '{"image": [8], "colours": 3, "classes": 1, "class_names": ["a"]}',
        '{"image": [8, "8"], "colours": 3, "classes": 1, "class_names": ["a"]}',
    ],
    ids=range(7),
)  # fmt: skip
def test_script_with_a_wrong_manifest(text, tmp_path):
    spec = importlib.util.spec_from_file_location("psahw_host", HOST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError):
        module.load_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(("count", "batch"), [(1, 10), (10, 10), (25, 10)])
def test_script(script, count, batch, tmp_path, capsys):
    sent = images(count)
    np.save(tmp_path / "images.npy", sent)
    command = ["x.xclbin", str(tmp_path / "images.npy"), "--results", str(tmp_path / "r.npy"), "--batch", str(batch)]
    assert script.main(command) == 0
    classes, logits = answers(sent)
    assert capsys.readouterr().out.splitlines() == [f"{n} {c} class {c}" for n, c in enumerate(classes)]
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), logits)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("read", "image 2 of the batch could not be read"),
        ("write", "the result of image 0 of the batch was not written"),
        ("hang", "the batch ended in state TIMEOUT"),
    ],
)
def test_script_reports_errors_of_the_card(script, fault, message, tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "images.npy", images(3))
    monkeypatch.setattr(Kernel, "fault", fault)
    assert script.main(["x.xclbin", str(tmp_path / "images.npy")]) == 1
    assert capsys.readouterr() == ("", f"host.py: {message}\n")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.int8), "must be uint8 (images, 8, 8, 3), not int8 (2, 8, 8, 3)"),
        (np.zeros((0, 8, 8, 3), np.uint8), "must be uint8 (images, 8, 8, 3), not uint8 (0, 8, 8, 3)"),
        (np.zeros((2, 8, 9, 3), np.uint8), "must be uint8 (images, 8, 8, 3), not uint8 (2, 8, 9, 3)"),
        (np.array([{}], object), "Object arrays cannot be loaded"),
    ],
)
def test_script_wrong_images(script, array, message, tmp_path, capsys):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(SystemExit, match="2"):
        script.main(["x.xclbin", str(tmp_path / "images.npy")])
    assert message in capsys.readouterr().err
