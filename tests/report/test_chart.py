"""Points lie where a straight line through the ticks of the axes puts them, and files are well-formed."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.report.chart import Series, chart, standalone, ticks
from psahw.report.curves import read_run, training_charts
from tests.report import NASTY


def _elements(picture, name, kind):
    """Return the elements of a class."""
    root = ElementTree.fromstring(picture)
    return [element for element in root.iter(name) if element.get("class") == kind]


def _axis_ticks(picture):
    """Return [(place, value)] of the ticks along x and along y, read from the texts of the picture."""
    texts = [e for e in ElementTree.fromstring(picture).iter("text") if e.get("x") and e.get("class") is None]
    scale = {"k": 1e3, "M": 1e6}

    def value(text):
        number, _, unit = text.partition(" ")
        return float(number) * scale.get(unit, 1)

    across = [(float(e.get("x")), value(e.text)) for e in texts if e.get("text-anchor") == "middle"]
    upwards = [(float(e.get("y")) - 4, value(e.text)) for e in texts if e.get("text-anchor") == "end"]
    return across, upwards


@pytest.mark.parametrize("log_x", [False, True])
def test_points_lie_between_their_ticks(log_x):
    points = [(30_000, 1.0), (100_000, 5.0), (1_500_000, -2.0)]
    picture = chart([Series("a", points, dots=True)], x="LUTs", y="loss", log_x=log_x)
    across, upwards = _axis_ticks(picture)
    assert len(across) >= 3 and len(upwards) >= 3
    f = np.log10 if log_x else np.asarray
    slope_x, offset_x = np.polyfit([f(v) for _, v in across], [p for p, _ in across], 1)
    slope_y, offset_y = np.polyfit([v for _, v in upwards], [p for p, _ in upwards], 1)
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in _elements(picture, "circle", "dot")]
    for (x, y), (a, b) in zip(points, places, strict=True):
        assert a == pytest.approx(slope_x * f(x) + offset_x, abs=0.3)
        assert b == pytest.approx(slope_y * y + offset_y, abs=0.3)
    assert slope_y < 0 < slope_x
    numbers = re.findall(r"[-\d.]+", _elements(picture, "path", "line")[0].get("d"))
    assert [(float(a), float(b)) for a, b in zip(numbers[::2], numbers[1::2], strict=True)] == places


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.31, 0.52, [0.35, 0.4, 0.45, 0.5]), (80.2, 91, [82, 84, 86, 88, 90])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_one_point_and_equal_points():
    """An empty range is no divisor."""
    for points in ([(5, 7.0)], [(5, 7.0), (5, 7.0)], [(0, 0.0), (1, 0.0)]):
        for log_x in (False, True)[: 1 + all(x > 0 for x, _ in points)]:
            ElementTree.fromstring(chart([Series("a", points, dots=True)], x="x", y="y", log_x=log_x))


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"^there are no points to draw$"):
        chart([Series("a", [])], x="x", y="y")


def test_standalone_is_a_file_of_its_own():
    text = standalone(chart([Series(NASTY, [(1, 2), (3, 4)], labels=[NASTY, "b"], dots=True)], x=NASTY, y="y"))
    root = ElementTree.fromstring(text.partition("?>")[2])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".chart" in root.find("{http://www.w3.org/2000/svg}style").text
    assert NASTY in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def _log(path, *events):
    """Write a run directory with a log of events."""
    path.mkdir()
    (path / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_run_that_was_resumed(tmp_path):
    """An epoch that was trained twice counts as it was trained last."""
    events = [
        {"event": "epoch", "epoch": n, "loss": loss, "validation_accuracy": 10.0 * n, "seconds": 1}
        for n, loss in ((1, 3.0), (2, 2.0), (2, 1.5), (3, 1.0))
    ]
    run = _log(tmp_path / "run", {"event": "start"}, *events[:2], {"event": "resume"}, *events[2:], {"event": "end"})
    epochs = read_run(run)
    assert [(e["epoch"], e["loss"], e["validation_accuracy"]) for e in epochs] == [
        (1, 3, 10),
        (2, 1.5, 20),
        (3, 1, 30),
    ]
    loss, accuracy = training_charts({"run": epochs, "other": epochs[:1]})
    assert len(re.findall(r"[ML]", _elements(loss, "path", "line")[0].get("d"))) == 3
    assert "run" in accuracy and "other" in accuracy


@pytest.mark.parametrize("left", ["", '{"event": "epo', '{"event": "epoch", "epoch": 3, "loss"'])
def test_run_that_was_killed(tmp_path, left):
    """The last line of the log is cut off, and a resumed run may have appended to it."""
    epoch = {"event": "epoch", "epoch": 1, "loss": 2.0, "validation_accuracy": 50.0}
    run = _log(tmp_path / "run", epoch)
    for more in ("", json.dumps(epoch | {"epoch": 2}) + "\n"):
        with open(run / "log.jsonl", "a") as log:
            log.write(more or left)
        assert [e["epoch"] for e in read_run(run)] == ([1, 2] if more else [1])


def test_run_without_held_out_images(tmp_path):
    epoch = {"event": "epoch", "epoch": 1, "loss": 2.0, "validation_accuracy": None}
    epochs = read_run(_log(tmp_path / "run", epoch))
    assert len(training_charts({"run": epochs})) == 1
    _, accuracy = training_charts({"run": epochs, "other": [{"epoch": 1, "loss": 2.0, "validation_accuracy": 10.0}]})
    assert "run" not in accuracy and "other" in accuracy


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([{"event": "start"}], r"log.jsonl has no finished epoch$"),
        ([{"event": "epoch", "epoch": 1}], r"log.jsonl, line 1: an epoch must have the fields epoch and loss; a r"),
        (
            [{"event": "epoch", "epoch": 1, "loss": "low"}],
            r"log.jsonl, line 1: loss must be a number or null, not 'l",
        ),
        ([{"event": "start"}, 3], r"log.jsonl, line 2 must be an object, not 3; a run directory has one$"),
    ],
)
def test_no_log(events, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_run(_log(tmp_path / "run", *events))
    with pytest.raises(UserError, match=r"^cannot read .*absent.log.jsonl: No such file or directory; a r"):
        read_run(tmp_path / "absent")


def test_a_log_whose_last_line_was_interrupted(tmp_path):
    run = _log(tmp_path / "run", {"event": "epoch", "epoch": 1, "loss": 2.0})
    with open(run / "log.jsonl", "a") as file:
        file.write('{"event": "epoch", "ep')
    assert [epoch["epoch"] for epoch in read_run(run)] == [1]
