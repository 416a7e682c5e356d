"""Batches put together say what one run says; what is kept is not simulated again."""

import json

import numpy as np
import pytest
from psahw.sim import batches, runner
from psahw.sim.runner import problems, simulate

from psahw.errors import UserError
from tests.sim.conftest import write_standin


def _result(images, correct, interval, latency, **more):
    return {
        "images": images, "mismatched_logits": 0, "mismatched_classes": 0, "correct": correct, "cycles": 100 * images,
        "seconds": 0.5, "results": images, "frame_interval": interval, "latency": latency, "latency_all": [5, 9],
        "frames_counted": images, "stage_stalls": {"a": 1, "b": 2}, "mismatches": [],
    } | more  # fmt: skip


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
    """One batch that is slower is not hidden by the others."""
    merged = batches.merge({0: _result(4, 1, 83, 5), 4: _result(4, 1, [83, 84], 6)})
    assert (merged["frame_interval"], merged["latency"]) == ([83, 84], [5, 6])


def test_equals_one_run(standin):
    design, images, expected = standin
    labels = expected.argmax(1)
    labels[3] ^= 1
    seen = []
    together = batches.simulate(
        design, images, expected, labels=labels, batch=5, jobs=2, seed=4, progress=seen.append
    )
    alone = simulate(design, images, expected, labels=labels, seed=4)
    assert problems(together) == [] and sum(seen) == 12
    assert (together["batches"], together["batches_kept"]) == (3, 0)
    for name in ("images", "accuracy", "frame_interval", "latency", "mismatched_logits", "frames_counted"):
        assert together[name] == alone[name]


def test_goes_on_where_it_was(standin, tmp_path, monkeypatch):
    """The second batch of three breaks off; then only what is missing is simulated."""
    design, images, expected = standin
    ran = []

    def breaks(design, images, *arguments, **options):
        ran.append(options["seed"] - 1)
        if broken and options["seed"] == 6:
            raise RuntimeError("killed")
        return simulate(design, images, *arguments, **options)

    monkeypatch.setattr(runner, "simulate", breaks)
    run = {"labels": expected.argmax(1), "batch": 5, "directory": tmp_path, "stalls": True}
    broken = True
    with pytest.raises(RuntimeError, match="killed"):
        batches.simulate(*standin, **run)
    broken = False
    first = set(ran)
    ran.clear()
    result = batches.simulate(*standin, **run)
    assert problems(result) == [] and (result["images"], result["accuracy"]) == (12, 100.0)
    assert 5 in ran and 0 not in ran and first >= {0, 5} and result["batches_kept"] == 3 - len(ran)
    other = images.copy()
    other[0, 0, 0] ^= 1
    changes = ({"stalls": False}, standin), ({"labels": expected.argmin(1)}, standin), ({}, (design, other, expected))
    for change, arguments in changes:
        with pytest.raises(UserError, match=r"images00000-00004\.json is of another simulation"):
            batches.simulate(*arguments, **run | change)


def test_more_images_than_before(standin, tmp_path):
    """Kept beside the design itself."""
    _, images, expected = standin
    design = runner.load_design(write_standin(tmp_path / "design"))
    run = {"batch": 4, "directory": design.directory}
    batches.simulate(design, images[:8], expected[:8], labels=expected[:8].argmax(1), **run)
    result = batches.simulate(design, images, expected, labels=expected.argmax(1), **run)
    assert (result["images"], result["batches_kept"]) == (12, 2)


def test_error_names_the_images(standin):
    with pytest.raises(RuntimeError, match=r"^images 0 to 7: .*nothing moved"):
        batches.simulate(*standin, labels=np.zeros(12, int), batch=8, plusargs=("+bug=1",))


def test_record_that_is_none(standin, tmp_path):
    (tmp_path / "images00000-00011.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"images00000-00011\.json cannot be read as a batch's result"):
        batches.simulate(*standin, labels=np.zeros(12, int), batch=12, directory=tmp_path)


@pytest.mark.parametrize("name", ["batch", "jobs"])
def test_wrong_numbers(standin, name):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, not 0$"):
        batches.simulate(*standin, labels=np.zeros(12, int), **{"batch": 4, name: 0})
