import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from psahw.network.evaluation import evaluate
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.summary import summarise
from psahw.report.comparison import PUBLISHED, Figure, our_system
from psahw.report.drawing import _curve, _shape
from psahw.report.markup import Markup, tag
from psahw.report.page import render
from psahw.report.plot import FORMATS, plot_functions

NASTY = "<script>alert('&')</script>\"x"


class Parser(HTMLParser):
    """Every tag is closed in its place; collects attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text, self.tags = [], [], [], []

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def parse(html):
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def network():
    stages = (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, name=NASTY)
    network.metadata["accuracy"] = {"cifar10 test INT8": 82.5, NASTY: 1.0}
    return network


@pytest.fixture(scope="module")
def results(network):
    """All results, as the commands print them."""
    from psahw.architecture.device import DEVICES
    from psahw.planner import search

    rng = np.random.default_rng(1)
    made = search.make(network, DEVICES["xc7k160t"], clock_hz=100e6, bus_bytes=4).to_dict()
    images, labels = random_images(rng, network, 30), rng.integers(0, 5, 30)
    return {
        "plan": made | {"board": NASTY},
        "simulation": {
            "images": 20,
            "mismatched_logits": 0,
            "mismatched_classes": 0,
            "frame_interval": made["frame_interval"],
            "frame_interval_predicted": made["frame_interval"],
            "latency": [1, 2],
            "latency_predicted": made["latency"],
            "sim_cycles_per_second": 12345,
        },
        "evaluation": evaluate(network, images, labels, NASTY),
        "synth": {"resources": {"lut": 1234.0, "ff": 1, "dsp": 2, "bram36": 3.5}},
    }


def page(network, **results):
    tables = {name: table.values for name, table, _ in network.tables()}
    return render(summarise(network), tables, **results)


def test_stands_alone(network, results):
    html = page(network, **results)
    parser = parse(html)
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(parser.tags)
    for name, value in parser.attributes:
        assert name not in ("src", "href", "xlink:href", "action"), (name, value)
        assert "//" not in value
    assert not re.search(r"url\((?!#)|@import|https?:", html)


def test_escapes_everything(network, results):
    html = page(network, **results)
    assert "<script" not in html
    parser = parse(html)
    assert NASTY in "".join(parser.text)


def test_every_subset_of_results(network, results):
    """What is absent is named with the command that makes it; nothing else depends on it."""
    for count in range(16):
        given = {k: v for i, (k, v) in enumerate(results.items()) if count >> i & 1}
        text = "".join(parse(page(network, **given)).text)
        for kind, command in (("plan", "plan"), ("simulation", "simulate"), ("evaluation", "evaluate")):
            asked = f"psahw {command} {NASTY}" in text
            assert asked == (kind not in given or kind == "evaluation"), (given.keys(), kind)


def test_marks(network, results):
    text = "".join(parse(page(network, **results)).text)
    for mark in ("measured", "estimated", "target"):
        assert mark in text
    for row in PUBLISHED:
        assert row.system in text


def test_costs_of_stages_are_marked(network, results):
    html = page(network, plan=results["plan"])
    for name in ("LUT", "FF", "DSP", "BRAM36"):
        assert f'{name} <span class="kind estimated">estimated</span></th>' in html
    costs = re.findall(r'class="cost">([^<]+)<', html)
    assert costs and all(cost.startswith("≈ ") for cost in costs)


def test_half_a_block_ram_is_not_rounded_away(network, results):
    """In the table of resources as in the comparison."""
    assert page(network, **results).count('<td class="number">3.5<span class="kind measured">') == 2


def test_all_functions_are_drawn(network):
    parser = parse(page(network))
    curves = [value for name, value in parser.attributes if (name, value) == ("class", "curve")]
    assert len(curves) == summarise(network)["tables"]


def test_no_tables():
    network = random_network(np.random.default_rng(0), tables=False)
    assert "This network has no tables." in page(network)


def test_alike_functions_are_drawn_once(network):
    tables = {"stages.0.blocks.0.channel_mixing.table_hidden": np.zeros((96, 256), np.int8)}
    html = render(summarise(network), tables)
    assert html.count('class="curve"') == 1
    assert "all 96 functions alike" in html


def test_curve_goes_through_the_table():
    """The path's corners, added up, lie on the function."""
    values = np.clip(np.abs(np.arange(-128, 128)) - 50, -128, 127).astype(np.int8)
    numbers = [int(n) for n in re.findall(r"-?\d+", _curve(values))]
    x, y = numbers[:2]
    for dx, dy in zip(numbers[2::2], numbers[3::2], strict=True):
        x, y = x + dx, y + dy
        assert y == 64 - round((int(values[min(4 * x, 255)]) + 128) / 4)
    assert x == 64


def test_markup():
    assert tag("p", "a<b", Markup("<i>c</i>"), None, class_='x"y', data_z=None) == (
        '<p class="x&quot;y">a&lt;b<i>c</i></p>'
    )


def test_frames_for_each_unit():
    by_name = {row.system: row for row in PUBLISHED}
    finn, fracbnn = by_name["FINN"], by_name["FracBNN"]
    assert finn.fps_per(finn.lut) == Figure(21_900 / 46_253) and finn.fps_per(finn.dsp) == Figure(None)
    assert fracbnn.fps_per(fracbnn.dsp) == Figure(2_806.9 / 126)
    ours = dataclasses.replace(finn, fps=Figure(50_000, "target"), lut=Figure(20_000, "measured"), dsp=Figure(0))
    assert ours.fps_per(ours.lut) == Figure(2.5, "target") and ours.fps_per(ours.dsp) == Figure(None)


def test_our_system_prefers_measurements(network, results):
    info = summarise(network)
    plan = results["plan"]
    row = our_system(info, plan, None, None, None)
    assert (row.accuracy.value, row.accuracy.kind) == (82.5, "measured")
    assert (row.lut.value, row.lut.kind) == (plan["resources"]["lut"], "estimated")
    assert row.fps.kind == row.mhz.kind == "target"
    whole = {"dataset": "cifar10", "images": 10_000, "accuracy": 91.0}
    row = our_system(info, plan, {"frame_interval": 1000}, whole, results["synth"])
    assert (row.accuracy.value, row.fps.value) == (91.0, plan["clock_hz"] / 1000)
    assert (row.lut.value, row.lut.kind) == (1234.0, "measured")
    stalled = {"frame_interval": 1000, "stalls": True}
    for other in ({"dataset": "cifar10", "images": 100}, {"dataset": "svhn", "images": 26_032}):
        row = our_system(info | {"accuracy": {"svhn test INT8": 1.0}}, plan, stalled, whole | other, None)
        assert row.accuracy.value is None
        assert row.fps.value == plan["fps"]


@pytest.mark.parametrize("kind", FORMATS)
def test_plot(network, kind):
    picture = plot_functions(network, kind)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert picture.startswith(start[kind])


def test_plot_without_tables():
    network = random_network(np.random.default_rng(0), tables=False)
    with pytest.raises(ValueError, match=r"^network 'random' has no tables to draw$"):
        plot_functions(network, "png")


def test_evaluate(network):
    rng = np.random.default_rng(1)
    images, labels = random_images(rng, network, 40), rng.integers(0, 5, 40)
    result = evaluate(network, images, labels, "some")
    assert sum(map(sum, result["confusion"])) == 40
    assert sum(result["confusion"][i][i] for i in range(5)) == result["correct"]
    assert result["accuracy"] == 100 * result["correct"] / 40
    assert [sum(row) for row in result["confusion"]] == np.bincount(labels, minlength=5).tolist()


def test_training_curves_and_frontier(network, results):
    """Given, they are sections with pictures; else nothing says that they are missing."""
    from psahw.network.frontier import candidates

    plain = page(network)
    assert ">Training<" not in plain and ">Frontier<" not in plain
    network.metadata["accuracy"]["validation INT8"] = 80.0
    other = random_network(np.random.default_rng(3), image=(16, 16), name="other")
    runs = {NASTY: [{"epoch": n, "loss": 3.0 / n, "validation_accuracy": 20.0 * n} for n in (1, 2, 3)]}
    html = page(network, **results, runs=runs, frontier=candidates([("a", network), ("b", other)]))
    parser = parse(html)
    assert parser.attributes.count(("class", "chart")) == 3
    text = "".join(parser.text)
    assert text.count(NASTY) > 3 and "other" in text and "<script" not in html
    luts = summarise(other)["adder_luts"]
    assert f"{luts:,}" in text
    del network.metadata["accuracy"]["validation INT8"]
    nothing = page(network, frontier=candidates([("b", other)]))
    assert ">Frontier<" in nothing and 'class="chart"' not in nothing


def test_stages_side_by_side():
    stage = {"engine": "MacArray", "inputs": 4, "outputs": 4, "rows": 4, "columns": 2}
    assert _shape(stage) == _shape(stage | {"slices": 1}) == "4×4 on 4×2"
    assert _shape(stage | {"slices": 3}) == "3 × 4×4 on 4×2"
