"""Test simulation results, and arguments that are refused before any long work."""

import dataclasses
import types

import numpy as np
import pytest

import psahw
from psahw.errors import CheckFailed, UserError
from psahw.flow import simulation
from psahw.flow.images import LabelledImages, images_for, load_test_images
from psahw.flow.simulation import SimulationResult, check_simulation

RESULT = SimulationResult(
    dataset="sample", mode="back to back", netlist=None, network="tiny", images=2, mismatched_logits=0,
    mismatched_classes=0, correct=1, accuracy=50.0, frame_interval=100, frame_interval_predicted=100,
    settling_frames=0, draining_frames=0, latency=300, latency_predicted=300, latency_all=[300, 300],
    sim_cycles_per_second=1000,
    cycles=600, seconds=0.6, build_seconds=0.0, results=2, stalls=False, resets=0, gap=[0, 0], seed=1,
    frames_counted=2, stage_stalls={}, mismatches=[], clock_hz=100e6,
)  # fmt: skip


def test_result():
    """A result that is as predicted has no problems, and its dictionary has the rate."""
    assert RESULT.problems == []
    RESULT.check()
    assert RESULT.fps == RESULT.to_dict()["fps"] == 1e6
    assert not {"batches", "batches_kept", "jobs"} & RESULT.to_dict().keys()
    assert {"batches", "batches_kept", "jobs"} <= dataclasses.replace(RESULT, batches=1).to_dict().keys()


def test_random_images_are_of_the_bytes_in_use():
    """Random images of an input with three numbers take all three equally often."""
    network = psahw.load("dry-bean-psa")
    table = np.repeat(np.array([[-5, 0, 7]], np.int8), [1, 1, 254], 1).repeat(16, 0)
    images = load_test_images(dataclasses.replace(network, input_table=table), 30, dataset="random").pixels
    numbers, counts = np.unique(images, return_counts=True)
    assert numbers.tolist() == [0, 1, 2] and counts.min() > 100


def test_random_images():
    """They fit every network, are the same in each run, and have no classes."""
    network = psahw.load("dry-bean-psa")
    images = load_test_images(network, 7, dataset="random")
    assert images.pixels.shape == (7, 1, 1, 16) and images.labels is None
    assert np.array_equal(images.pixels, load_test_images(network, dataset="random").pixels[:7])


@pytest.mark.parametrize("interval", [None, [99, 100]])
def test_no_rate(interval):
    result = dataclasses.replace(RESULT, frame_interval=interval)
    assert result.fps is None and "fps" not in result.to_dict()


def test_problems():
    """Differences from the integer model and from the plan are both named."""
    result = dataclasses.replace(RESULT, mismatched_logits=3, mismatches=["image 0"], latency=301)
    assert result.problems == [
        "3 logits differ from the integer model (image 0)",
        "the latency is 301 cycles, not 300 as planned",
    ]
    with pytest.raises(CheckFailed, match=r"^tiny: 3 logits differ"):
        result.check()


@pytest.mark.parametrize(
    ("kind", "rows", "problem"),
    [
        ("class", ["wrong logits", "wrong classes"], "2 classes differ"),
        ("values", ["wrong outputs"], "2 indices of the greatest output differ"),
        ("labels", ["wrong outputs"], "2 indices of the greatest output differ"),
    ],
)
def test_words_of_a_task(kind, rows, problem):
    """Only a network that chooses a class has logits and classes."""
    result = dataclasses.replace(RESULT, output=kind, mismatched_classes=2, mismatches=["frame 0"])
    assert [row[0] for row in result.table()[1]][1:-2] == rows
    assert result.problems == [f"{problem} from the integer model (frame 0)"]


def test_table_in_a_notebook():
    html = dataclasses.replace(RESULT, frame_interval=[1999, 2000])._repr_html_()
    assert "1,999 to 2,000" in html and "tiny, sample test images, back to back" in html


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(waves="x.vcd"), "waves: the name must end in .fst or .saif, not 'x.vcd'"),
        (dict(waves="absent/x.fst"), "waves: directory .*/absent does not exist"),
        (dict(waves="x.fst", jobs=2), "waves are recorded in a single run"),
        (dict(keep="file"), "cannot write into directory file: File exists"),
    ],
)
def test_refused_early(options, message, tmp_path, monkeypatch):
    pytest.importorskip("cocotb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        check_simulation(**options)


def test_images(network):
    """The first test images of a data set are loaded, and no more than there are."""
    images = load_test_images(network, 3)
    assert (images.dataset, len(images), images.pixels.shape) == ("sample", 3, (3, 32, 32, 3))
    with pytest.raises(UserError, match="sample has 100 test images, not 101"):
        load_test_images(network, 101, dataset="sample")


def test_no_images_of_this_form():
    """Functions that take a number of images advise what they take besides, not an option of the command line."""
    message = "sample has .* in 10; give images of this form, which psahw.flow.images.load_test_images loads$"
    with pytest.raises(UserError, match=message):
        images_for(psahw.load("dry-bean-psa"), 3)


def test_other_images(network, tmp_path):
    pytest.importorskip("cocotb")
    small = LabelledImages("mine", np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"tiny takes images of \(32, 32, 3\); mine has \(8, 8, 3\)"):
        psahw.simulate(network, tmp_path, images=small)


@pytest.fixture
def ways(monkeypatch, tmp_path):
    """Return a function that says how images of a design are simulated: the size of a batch and the jobs, or None."""
    (tmp_path / "accelerator.v").write_bytes(bytes(10_000_000))
    timing = {"frame_interval": 3500, "latency": 14_000, "settling_frames": 1, "draining_frames": 0}
    design = types.SimpleNamespace(verilog=tmp_path / "accelerator.v", **timing)
    monkeypatch.setattr(simulation, "_cores", lambda: 3)

    def way(images, waves=None, jobs=None, batch=None, keep=None):
        chosen = simulation._runs(design, images, waves, jobs, batch, keep).keywords
        return (chosen["batch"], chosen["jobs"]) if "batch" in chosen else None

    return way


def test_long_simulations_are_split(ways):
    """A batch has at least 8 times as many images as come while it fills and empties the pipeline: 8 x 5 + 1."""
    assert ways(20) is ways(81) is None
    assert (ways(82), ways(200), ways(201)) == ((41, 3), (50, 3), (51, 3))
    assert (ways(656), ways(1000)) == ((41, 3), (63, 3))
    assert (ways(4000), ways(9990)) == ((250, 3), (500, 3))
    assert ways(10_000, batch=50) == (50, 3)
    assert ways(1000, keep="x") == (500, 3)
    assert ways(1000, jobs=2) == (500, 2)
    assert ways(1000, jobs=1) is ways(1000, waves="x.fst") is None


def test_directory_of_another_network(network, tmp_path):
    pytest.importorskip("cocotb")
    with pytest.raises(UserError, match=r"cannot read .*manifest\.json"):
        psahw.simulate(network, tmp_path, images=1)


@pytest.mark.parametrize("count", [0, -1])
def test_no_images(count, network):
    with pytest.raises(ValueError, match=f"^the number of images must be positive, not {count}$"):
        images_for(network, count)


def test_number_of_images_as_numpy_has_it(network):
    assert len(images_for(network, np.int64(3))) == 3
    with pytest.raises(TypeError, match="float"):
        images_for(network, 3.0)
