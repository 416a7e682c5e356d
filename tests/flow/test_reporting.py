"""Test the report: results as objects, dictionaries and files."""

import json

import pytest

import psahw
from psahw.errors import UserError
from psahw.flow.reporting import read_result


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
        ({"dataset": "x" * 80_000 + "\0"}, "evaluation: .*r.json: 'x{77}…' has a NUL character"),
    ],
    ids=range(4),
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
