"""Tests of simulations of a stand-in: it passes, and each of its bugs is detected."""

import dataclasses
import re

import numpy as np
import pytest

from psahw.boards.tools.power import PREFIX
from psahw.sim.runner import problems, simulate
from tests.sim.conftest import standin_logits

EARLY = "a result was offered before the beats on which it depends had been taken"


def test_back_to_back(standin):
    design, images, expected = standin
    progress = []
    labels = expected.argmax(1)
    labels[0] ^= 1
    result = simulate(design, images, expected, labels=labels, progress=progress.append)
    assert problems(result) == []
    assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)
    assert (result["frame_interval"], result["latency"]) == (83, 65)
    assert result["latency_all"] == [65, 65]
    assert result["accuracy"] == round(100 * 11 / 12, 2)
    assert result["cycles"] > 11 * 83 + 65
    assert sum(progress) == len(images)


@pytest.mark.parametrize("seed", [1, 2])
def test_stalls(standin, seed):
    result = simulate(*standin, stalls=True, seed=seed)
    assert problems(result) == []
    assert result["mismatched_logits"] == 0
    assert result["frame_interval"][1] > 120


def test_same_seed_same_run(standin):
    first, again = (simulate(*standin, stalls=True, resets=2, seed=7) for _ in range(2))
    for result in (first, again):
        del result["seconds"], result["sim_cycles_per_second"]
    assert first == again


@pytest.mark.parametrize("stalls", [False, True])
def test_reset_during_a_frame(standin, stalls):
    result = simulate(*standin, resets=8, stalls=stalls)
    assert problems(result) == []
    assert result["resets"] == 8 and result["results"] > len(standin[1])


def test_gaps(standin):
    """With long gaps, every frame enters an idle accelerator."""
    result = simulate(*standin, gap=(100, 0))
    assert problems(result) == []
    assert (result["frame_interval"], result["latency_all"]) == (164, [65, 65])
    spread = simulate(*standin, gap=(0, 50))["frame_interval"]
    assert spread[0] == 83 and 83 < spread[1] <= 64 + 50


def test_direct(standin):
    """The source and the sink in Python measure the same cycles as the harness."""
    result = simulate(*standin, driver="direct")
    assert problems(result) == []
    assert (result["frame_interval"], result["latency"]) == (83, 65)
    assert problems(simulate(*standin, driver="direct", stalls=True)) == []


@pytest.mark.parametrize(
    ("bug", "options", "message"),
    [
        (2, {}, "logits differ from the integer model"),
        (3, {}, "the frame interval is 83 to 84 cycles, not 83 as planned"),
        (5, {}, r"1 logits differ from the integer model \(frame 1: output 1 is (-?\d+), not (-?\d+)\)"),
        (8, {}, r"12 classes differ from the integer model \(frame 0: the greatest is output"),
    ],
)
def test_wrong_result(standin, bug, options, message):
    complaints = problems(simulate(*standin, plusargs=(f"+bug={bug}",), **options))
    assert re.search(message, "; ".join(complaints))


@pytest.mark.parametrize(
    ("bug", "options", "message"),
    [
        (
            1,
            {},
            r"nothing moved for \d+ cycles; input: frame 3 of 12, beat 0 of 64 \(64 needed\), valid 1, ready 0; "
            r"output: 3 results taken, valid 0, ready 1; 3 results before, 0 logits wrong",
        ),
        (4, {"stalls": True}, "the result was withdrawn before it was taken"),
        (6, {"resets": 5}, f"{EARLY}|logits differ"),
        (7, {}, EARLY),
        (9, {"stalls": True}, "the result changed while it was offered and not taken"),
    ],
)
def test_broken_protocol(standin, bug, options, message):
    with pytest.raises(RuntimeError, match=message):
        simulate(*standin, plusargs=(f"+bug={bug}",), **options)


def early(standin, needed):
    """Return a stand-in of whose frames only the first beats count, with its arguments and the plusarg for it."""
    design, images, _ = standin
    kept = images.copy()
    kept.reshape(len(images), -1)[:, 2 * needed :] = 0
    timing = {"latency": needed + 1, "frame_interval": 84 if needed < 64 else 83}
    return (
        dataclasses.replace(design, needed_beats=needed, **timing),
        images,
        standin_logits(kept),
    ), f"+needed={needed}"


@pytest.mark.parametrize(
    ("needed", "driver", "options"),
    [
        (1, "harness", {"stalls": True}),
        (20, "harness", {}),
        (20, "direct", {}),
        (63, "harness", {"stalls": True, "seed": 2}),
        (63, "direct", {"stalls": True}),
    ],
)
def test_results_before_the_end_of_a_frame(standin, needed, driver, options):
    arguments, plusarg = early(standin, needed)
    result = simulate(*arguments, driver=driver, plusargs=(plusarg,), **options)
    assert problems(result) == [] and result["mismatched_logits"] == 0
    assert result["results"] == 12


@pytest.mark.parametrize("stalls", [False, True])
def test_reset_between_a_result_and_the_end_of_its_frame(standin, stalls):
    """Two thirds of a frame follow its result, so that some of the resets come between the two."""
    arguments, plusarg = early(standin, 20)
    result = simulate(*arguments, plusargs=(plusarg,), resets=12, stalls=stalls)
    assert problems(result) == [] and result["mismatched_logits"] == 0
    assert result["results"] > 12


@pytest.mark.parametrize("driver", ["harness", "direct"])
@pytest.mark.parametrize(("needed", "planned", "bug"), [(20, 21, 0), (20, 20, 11)])
def test_results_that_come_too_early(standin, needed, planned, bug, driver):
    """A result that is offered a single beat too early is detected, and so is a second one of the same frame."""
    (design, images, expected), plusarg = early(standin, needed)
    design = dataclasses.replace(design, needed_beats=planned)
    message = EARLY if driver == "harness" else f"a result was offered after {0 if bug else needed} beats"
    with pytest.raises(RuntimeError, match=message):
        simulate(design, images, expected, driver=driver, plusargs=(plusarg, f"+bug={bug}"))


@pytest.mark.parametrize("driver", ["harness", "direct"])
def test_rest_of_the_last_frame_that_is_not_taken(standin, driver):
    arguments, plusarg = early(standin, 20)
    message = r"nothing moved for \d+ cycles; input: frame 11 of 12, beat 20 of 64 \(20 needed\), valid 1, ready 0"
    with pytest.raises(RuntimeError, match=message if driver == "harness" else "no beat moved"):
        simulate(*arguments, driver=driver, plusargs=(plusarg, "+bug=10"))


def test_other_working_directory(standin, tmp_path, monkeypatch):
    """The simulator finds its tests by their installed name, not below the working directory."""
    monkeypatch.chdir(tmp_path)
    assert problems(simulate(*standin)) == []


def test_every_wrong_logit_counts(standin):
    design, images, expected = standin
    wrong = expected.copy()
    wrong[3] += 1
    wrong[7, 0] -= 1
    result = simulate(design, images, wrong)
    assert result["mismatched_logits"] == 3
    assert [line.split(":")[0] for line in result["mismatches"]] == ["frame 3", "frame 7"]


@pytest.mark.slow  # builds another simulator
def test_activity(standin, tmp_path):
    """The recorded activity suits Vivado's power script.

    The clock toggles twice per cycle and has the design's frequency, and the accelerator has the instance name that
    the script expects.
    """
    design, images, expected = standin
    design = dataclasses.replace(design, clock_hz=143e6)
    result = simulate(design, images, expected, waves=tmp_path / "activity.saif")
    assert problems(result) == []
    text = (tmp_path / "activity.saif").read_text()
    assert re.search(r"\(TIMESCALE 1\s?ps\)", text)
    (duration,) = re.findall(r"\(DURATION (\d+)\)", text)
    assert int(duration) / result["cycles"] == pytest.approx(1e12 / 143e6, rel=0.1)
    outer, name = PREFIX.split("/")
    assert re.findall(r"^ \(INSTANCE (\S+)$", text, re.M) == ["$rootio", outer]
    match = re.search(rf"^  \(INSTANCE {name}$", text, re.M)
    accelerator = text[match.end() :]
    (toggles,) = re.findall(r"\(clk\s.*?\(TC (\d+)\)", accelerator, re.S)[:1]
    assert abs(int(toggles) - 2 * result["cycles"]) < 100


def test_wrong_arrays(standin):
    design, images, expected = standin
    with pytest.raises(ValueError, match="images must be uint8"):
        simulate(design, images.astype(np.int16), expected)
    with pytest.raises(ValueError, match="expected must be integers"):
        simulate(design, images, expected[:3])
