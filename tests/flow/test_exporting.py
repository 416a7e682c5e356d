"""Test `psahw.export` and its command: both files, the comparison, and nothing written after a fault."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import psahw
from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.exporting import execution

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def bean():
    return psahw.load("dry-bean-psa")


def test_command(here, capfd):
    pytest.importorskip("qonnx")
    arguments = ["export", "dry-bean-psa", "--onnx", "a.onnx", "--qonnx", "b.onnx", "--check", "7"]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert [(entry["format"], entry["file"], entry["images"]) for entry in result["files"]] == [
        ("onnx", "a.onnx", 7),
        ("qonnx", "b.onnx", 7),
    ]
    assert [entry["bytes"] for entry in result["files"]] == [os.path.getsize(name) for name in ("a.onnx", "b.onnx")]
    assert result["files"][0]["operators"]["MatMul"] == 2
    session = onnxruntime.InferenceSession("a.onnx", providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["name"], metadata["digest"]) == (result["network"], result["digest"])
    assert [value.name for value in session.get_outputs()] == ["logits", "class"]
    before = (here / "a.onnx").read_bytes()
    assert main(arguments[:4]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("a.onnx: dry-bean-psa in ") and out.endswith("logits equal on 100 random images\n")
    assert [line.split("  ")[0] for line in err.splitlines()] == ["integer model", "onnxruntime"]
    assert (here / "a.onnx").read_bytes() == before


@pytest.mark.parametrize("kind", ["onnx", "qonnx"])
def test_a_wrong_logit(kind, bean, here, monkeypatch):
    """A file whose logits differ is not written, and the message says which logit."""
    pytest.importorskip("qonnx")
    compute = getattr(execution, f"{kind}_logits")

    def wrong(*arguments, **options):
        logits = compute(*arguments, **options)
        logits[2, 1] += 1
        return logits

    monkeypatch.setattr(execution, f"{kind}_logits", wrong)
    with pytest.raises(
        CheckFailed, match=r"^x was not written: 1 logit of 5 images differ .* output 1 of image 2 is "
    ):
        psahw.export(bean, **{kind: "x"}, check=5)
    assert list(here.iterdir()) == []


def test_progress(bean, here):
    """Both steps report every image; without a comparison there are none, and onnxruntime is not needed."""
    steps: list[object] = []
    psahw.export(bean, onnx="x", check=12, step=steps.append, progress=lambda *counts: steps.append(counts))
    assert steps == ["integer model", (12, 12), "onnxruntime", (10, 12), (12, 12)]


def test_no_comparison(bean, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert psahw.export(bean, onnx="x", check=0).files[0].images == 0
    with pytest.raises(UserError, match=r"^this needs onnxruntime, which is not installed: install psahw with its "):
        psahw.export(bean, onnx="y")
    assert os.listdir() == ["x"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UserError, r"^nothing to write: name a file for onnx, qonnx or both$"),
        ({"onnx": "x", "check": -1}, UserError, r"^check must be 0 images or more, not -1$"),
        ({"onnx": "x", "check": 1.5}, TypeError, r"^check must be a number of images, not 1.5$"),
        ({"onnx": "absent/x"}, UserError, r"^cannot write absent/x: No such file or directory$"),
        ({"onnx": "x" * 5000}, UserError, r"^cannot write x+: File name too long$"),
        ({"onnx": "x", "qonnx": "./x"}, UserError, r"^x: onnx and qonnx need two files$"),
    ],
)
def test_wrong_arguments(options, error, message, bean, here):
    with pytest.raises(error, match=message):
        psahw.export(bean, **options)
    assert list(here.iterdir()) == []


def test_a_pipe_or_device(bean):
    assert psahw.export(bean, onnx="/dev/null", check=0).files[0].bytes > 1000


def test_too_large(bean, here, monkeypatch):
    monkeypatch.setattr("psahw.flow.exporting.MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"^cannot write x: the model takes \d+ bytes, and an ONNX file holds 1000$"):
        psahw.export(bean, onnx="x")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("package", ["onnxruntime", "qonnx.core.onnx_exec"])
def test_onnxruntime_leaves_nothing(package, tmp_path):
    """Neither onnxruntime nor qonnx, which imports it, reports its use or writes an identifier."""
    pytest.importorskip("qonnx")
    code = f"from psahw.extras import require; require('qonnx'); require({package!r})"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    places = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path))
    subprocess.run([sys.executable, "-c", code], env=environment | places, cwd=tmp_path, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_shipped_networks_through_onnxruntime():
    """Twenty real or realistic images of each; ``make exports`` takes a thousand."""
    from tests import exports

    assert {name: exports.wrong_logits(psahw.load(name), 20) for name in psahw.shipped()} == dict.fromkeys(
        psahw.shipped(), 0
    )


def test_images_differ():
    from tests import exports

    images = exports.images_for(psahw.load("mnist-psa"), 50)
    assert images.shape == (50, 28, 28, 1) and len(np.unique(images.mean((1, 2, 3)).round())) > 20
