"""Parts of the pictures that can be calculated by hand, and the escaping of markup."""

import re

import numpy as np
import pytest

from psahw.network.random import random_network
from psahw.report.functions import _curve
from psahw.report.markup import Markup, tag
from psahw.report.pipeline import _shape
from psahw.report.plot import FORMATS, network_places, plot_places


def test_markup():
    assert tag("p", "a<b", Markup("<i>c</i>"), None, class_='x"y', data_z=None) == (
        '<p class="x&quot;y">a&lt;b<i>c</i></p>'
    )


def test_curve_goes_through_the_table():
    """The corners of the path, added up, lie on the function."""
    values = np.clip(np.abs(np.arange(-128, 128)) - 50, -128, 127).astype(np.int8)
    numbers = [int(n) for n in re.findall(r"-?\d+", _curve(values))]
    x, y = numbers[:2]
    for dx, dy in zip(numbers[2::2], numbers[3::2], strict=True):
        x, y = x + dx, y + dy
        assert y == 64 - round((int(values[min(4 * x, 255)]) + 128) / 4)
    assert x == 64


def test_stages_side_by_side():
    stage = {"engine": "MacArray", "inputs": 4, "outputs": 4, "rows": 4, "columns": 2}
    assert _shape(stage) == _shape(stage | {"slices": 1}) == "4×4 on 4×2"
    assert _shape(stage | {"slices": 3}) == "3 × 4×4 on 4×2"


@pytest.mark.parametrize("kind", FORMATS)
def test_plot(network, kind):
    picture = plot_places(network_places(network), "functions", kind)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert picture.startswith(start[kind])


def test_plot_without_tables():
    network = random_network(np.random.default_rng(0), tables=False)
    with pytest.raises(ValueError, match=r"^there are no functions to draw$"):
        plot_places(network_places(network), "functions", "png")


def test_plot_of_another_kind(network):
    with pytest.raises(ValueError, match=r"^kind must be one of png, svg, pdf, not 'gif'$"):
        plot_places(network_places(network), "functions", "gif")
