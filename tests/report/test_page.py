"""The page is well-formed, stands alone, escapes every name, and says which results are missing."""

import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest

from psahw.network import samples
from psahw.network.frontier import candidates
from psahw.network.random import StageShape, random_network
from psahw.network.summary import summarise
from psahw.report.comparison import published_systems
from psahw.report.confusion import confusion_picture
from psahw.report.elements import plain
from psahw.report.functions import Functions, table_functions
from psahw.report.page import render
from tests.report import NASTY


class Parser(HTMLParser):
    """Checks that every tag is closed in its place, and collects attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text, self.tags = [], [], [], []

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes
        if name not in ("meta", "br", "img"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def parse(html):
    """Return a parser that has read a page to its end."""
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def page(network, **results):
    """Return the page of a network with the given results."""
    return render(summarise(network), table_functions(network), **results)


def test_stands_alone(network, results):
    html = page(network, **results)
    parser = parse(html)
    assert not {"script", "link", "iframe", "object", "image", "use"} & set(parser.tags)
    assert parser.tags.count("img") == 16
    for name, value in parser.attributes:
        if name == "src":  # the file itself
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", value)
            continue
        assert name not in ("href", "xlink:href", "action"), (name, value)
        assert "//" not in value
    assert not re.search(r"url\((?!#)|@import|https?:", html)


def test_escapes_everything(network, results):
    html = page(network, **results)
    assert "<script" not in html
    parser = parse(html)
    assert NASTY in "".join(parser.text)


def test_every_subset_of_results(network, results):
    """The page names the command for each absent result, and nothing else depends on it."""
    for count in range(16):
        given = {kind: result for i, (kind, result) in enumerate(results.items()) if count >> i & 1}
        text = "".join(parse(page(network, **given)).text)
        for kind, command in (("plan", "plan"), ("simulation", "simulate"), ("evaluation", "evaluate")):
            named = f"psahw {command} {shlex.quote(NASTY)}" in text
            assert named == (kind not in given or kind == "evaluation"), (given.keys(), kind)


def test_marks(network, results):
    text = "".join(parse(page(network, **results)).text)
    for mark in ("measured", "estimated", "target"):
        assert mark in text
    for row in published_systems():
        assert row.system in text


def test_costs_of_stages_are_marked(network, results):
    html = page(network, plan=results["plan"])
    for name in ("LUT", "FF", "DSP", "BRAM36"):
        assert f'{name} <span class="kind estimated">estimated</span></th>' in html
    costs = re.findall(r'class="cost">([^<]+)<', html)
    assert costs and all(cost.startswith("≈ ") for cost in costs)


def test_half_a_block_ram_is_not_rounded_away(network, results):
    """It is in the table of resources and in the comparison."""
    assert page(network, **results).count('>3.5 <span class="kind measured">') == 2


def test_all_functions_are_drawn(network):
    parser = parse(page(network))
    curves = [value for name, value in parser.attributes if (name, value) == ("class", "curve")]
    assert len(curves) == summarise(network)["tables"]


def test_no_tables():
    network = random_network(np.random.default_rng(0), tables=False)
    assert "This network has no tables." in page(network)


def test_functions_that_are_alike_are_drawn_once(network):
    tables = {"stages.0.blocks.0.channel_mixing.table_hidden": Functions(np.zeros((96, 256), np.int8))}
    html = render(summarise(network), tables)
    assert html.count('class="curve"') == 1
    assert "96 functions, all alike" in html


def test_training_curves_and_frontier(network, results):
    """They are sections with pictures if they are given, and nothing says that they are missing if not."""
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
    html = page(network, frontier=candidates([("b", other)]))
    assert ">Frontier<" in html and 'class="chart"' not in html


def test_hints_name_the_file(network):
    """Commands take a path, which may need quotes, and not the name of a network that does not ship."""
    tables = table_functions(network)
    text = "".join(parse(render(summarise(network), tables, source="my runs/w5.safetensors")).text)
    for command in ("plan", "simulate", "evaluate"):
        assert f"psahw {command} 'my runs/w5.safetensors' " in text
        assert f"psahw {command} {shlex.quote(NASTY)}" not in text


@pytest.mark.parametrize(
    ("metadata", "classes", "compared"),
    [({"dataset": "cifar10"}, samples.CLASSES, True), ({"dataset": "svhn"}, samples.CLASSES, False),
     ({"dataset": "cifar10"}, list("abcdefghij"), False), ({}, list("abcdefghij"), False),
     ({}, samples.CLASSES, True)],
)  # fmt: skip
def test_only_networks_for_the_same_images_are_compared(network, results, metadata, classes, compared):
    info = summarise(network) | {"metadata": metadata}
    info["classes"] = list(classes)
    evaluation = results["evaluation"] | {"confusion": None}
    html = render(info, {}, plan=results["plan"], evaluation=evaluation)
    assert ("FINN" in html, "evaluates the whole test set" in html) == (compared, compared)
    assert ("this network is for other images" in html) != compared


def test_one_of_everything():
    stages = (StageShape(1, 1, 1),)
    network = random_network(np.random.default_rng(0), image=(4, 4), stages=stages, classes=1, tables=False)
    text = "".join(parse(page(network)).text)
    assert "5 layers with weights on 1×1 token; 1 class." in text
    assert not re.search(r"\b1 [a-z]+s\b", text.replace("1 class", ""))


def test_many_classes():
    """The most frequent confusions are listed."""
    matrix = np.zeros((30, 30), int)
    matrix[3, 4], matrix[5, 6] = 2, 7
    text = plain(confusion_picture(matrix.tolist(), [f"c{i}" for i in range(30)]))
    assert text == "classanswerimagesc5c67c3c42"


def test_longest_paths(network, results):
    """The slowest stage comes first; a stage without a path is left out."""
    text = " ".join("".join(parse(page(network, **results)).text).split())
    assert "supports 220 MHz; at 143 MHz the longest path has a slack of +2.44 ns" in text
    assert text.index("net with 900 loads") < text.index("block RAM")
