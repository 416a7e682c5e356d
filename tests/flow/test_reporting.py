"""Test the report: results as objects, dictionaries and files."""

import base64
import dataclasses
import json
import struct

import pytest

import psahw
from psahw.errors import UserError
from psahw.flow.reporting import read_result
from psahw.network import samples
from psahw.network.graph import Output

ERROR = {"index": 0, "right": "a", "answer": "b"}
STAGE = {"name": "a", "engine": "TableRom", "resources": {}}
RESIDUAL = {"name": "a", "right": [1.0], "predicted": [1.5]}


def _png(width, height):
    """Return the beginning of a PNG file in base64."""
    size = struct.pack(">II", width, height)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + bytes(9)).decode()


@pytest.fixture(scope="module")
def planned(network):
    return psahw.plan(network, "marble", fps=20_000, engines="mac")


def test_write_report(network, planned, tmp_path):
    """A plan, its dictionary and its file give the same page."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(planned.to_dict()))
    pages = set()
    for plan in (planned, planned.to_dict(), path):
        result = psahw.write_report(network, tmp_path / "page.html", plan=plan)
        pages.add(result.page.read_text())
        assert result.to_dict() == {
            "network": "tiny",
            "page": str(tmp_path / "page.html"),
            "bytes": result.page.stat().st_size,
        }
    assert len(pages) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "plan: the result: frame_interval is missing$"),
        ({"stages": {}}, "plan: the result: stages must be a list, not {}$"),
        ({"stages": [{"name": "a", "engine": 1}]}, r"plan: the result: stages\[0\].engine must be a string, not 1$"),
        ({"stages": [STAGE | {"channels": None}]}, r"stages\[0\].channels must be an integer, not null$"),
        ({"stages": [STAGE | {"kernel": 3}]}, r"stages\[0\].kernel must be a list, not 3$"),
        ({"resources": {"lut": "12"}}, r"plan: the result: resources\['lut'\] must be a number, not '12'$"),
        ({"frame_interval": 0}, "plan: the result: frame_interval must be an integer of 1 or more, not 0$"),
        ({"device": None}, "plan: the result: device must be a string, not null$"),
        ({"network": "other"}, "plan: the result is about network 'other', not 'tiny'"),
        ({"digest": "0"}, "plan: the result is about another network that is called 'tiny': the digests differ"),
    ],
)
def test_wrong_results(value, message, network, planned):
    with pytest.raises(UserError, match=message):
        read_result("plan", planned.to_dict() | value if value else value, network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"confusion": [[1], [2]]},
            "evaluation: .*r.json: confusion must be a square of numbers, with 2 in each row$",
        ),
        ({"confusion": [[1]]}, "evaluation: .*r.json: confusion must have 10 rows, one per class$"),
        ({"accuracy": 101}, "evaluation: .*r.json: accuracy must be a number of 100 or less, not 101$"),
        ({"accuracy": None}, "evaluation: .*r.json: accuracy is missing$"),
        ({"task": "values", "r2": 0.5, "values": []}, "r.json: task must be 'class', as that of the network, not 'v"),
        ({"classes": [{"name": "a"}]}, "evaluation: .*r.json: classes must have 10 entries, one per class$"),
        ({"worst": [ERROR] * 17}, "r.json: worst must be a list of length 16 or less"),
        (
            {"worst": [ERROR | {"image": "A" * 65_537}]},
            r"r.json: worst\[0\].image must be a string of length 65536 ",
        ),
        ({"worst": [ERROR | {"image": "no"}]}, r"r.json: worst\[0\]: image must be base64$"),
        ({"worst": [ERROR | {"image": "AAAA"}]}, r"r.json: worst\[0\]: image must be a PNG file$"),
        (
            {"worst": [ERROR | {"image": _png(1024, 1025)}]},
            r"r.json: worst\[0\]: image must have 1 to 1024 pixels across and down, not 1024 x 1025$",
        ),
        ({"worst": [ERROR | {"right": 3}]}, r"r.json: worst\[0\].right must be a string or an object, not 3$"),
        ({"worst": [ERROR | {"right": {"a": 1}}]}, r"r.json: worst\[0\]: right and answer must be of the same type$"),
        ({"worst": [ERROR | {"row": [-1]}]}, r"r.json: worst\[0\].row\[0\] must be an integer of 0 or more, not -1$"),
        ({"residuals": [RESIDUAL] * 7}, "r.json: residuals must be a list of length 6 or less"),
        (
            {"residuals": [RESIDUAL | {"right": [0.0] * 501}]},
            r"residuals\[0\].right must be a list of length 500 ",
        ),
        (
            {"residuals": [RESIDUAL | {"right": [1e31]}]},
            r"residuals\[0\].right\[0\] must be a number of 1e\+30 ",
        ),
        ({"residuals": [RESIDUAL | {"right": [1, 2]}]}, r"residuals\[0\]: predicted must have as many numbers as"),
        ({"dataset": "x" * 80_000 + "\0"}, "evaluation: .*r.json: 'x{77}…' has a NUL character"),
    ],
    ids=range(19),
)
def test_wrong_evaluations(change, message, network, tmp_path):
    result = {"images": 3, "correct": 1, "accuracy": 33.3, "dataset": "sample"} | change
    (tmp_path / "r.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match=message):
        read_result("evaluation", tmp_path / "r.json", network)


def test_frontier():
    """Networks are sorted by LUTs, and shown as a table."""
    result = psahw.frontier(["cifar10-psa", "cifar10-psa-small"])
    assert [candidate.network for candidate in result.networks] == ["cifar10-psa-small", "cifar10-psa"]
    assert result._repr_html_().count("<tr>") == 3


@pytest.mark.parametrize(
    ("output", "measured"),
    [
        (Output("class", samples.CLASSES), True),
        (Output("class", tuple("0123456789")), False),
        (Output("values", samples.CLASSES, (1.0,) * 10, (0.0,) * 10), False),
        (Output("labels", samples.CLASSES), False),
    ],
)
def test_shipped_images_are_for_their_classes_only(output, measured, network, tmp_path):
    """Another network of the same shape is not evaluated on them without being asked."""
    other = dataclasses.replace(network, output=output)
    page = psahw.write_report(other, tmp_path / "page.html").page.read_text()
    assert ("the shipped sample" in page, "No evaluation was given" in page) == (measured, not measured)
