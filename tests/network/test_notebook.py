"""The table that a notebook shows for a network."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from psahw.network.random import StageShape, random_network
from psahw.network.summary import summarise


def test_table_of_layers():
    stages = (StageShape(8, 6, kernel=3), StageShape(12, 5))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, name="<a & b>")
    root = ElementTree.fromstring(network._repr_html_())
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    info = summarise(network)
    assert [row[0] for row in rows] == ["layer", *(layer["name"] for layer in info["layers"]), "total"]
    nonzero = np.count_nonzero(network.place("embed").layer.weight)
    assert rows[1] == ["embed", "48", "8", "16", "384", f"{nonzero}", "8", "6,144"]
    assert rows[-1][-1] == f"{info['macs']:,}"
    assert root.find("caption").text == (
        "<a & b>: images of 16 x 16 x 3, 5 classes (class 0, class 1, class 2, class 3, class 4), "
        f"{info['tables']} tables"
    )
