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
        ({}, "plan: the result must be a plan result, with frame_interval, "),
        ({"network": "other"}, "plan: the result is about network 'other', not 'tiny'"),
        ({"digest": "0"}, "plan: the result is about another network that is called 'tiny': the digests differ"),
    ],
)
def test_wrong_results(value, message, network, planned):
    with pytest.raises(UserError, match=message):
        read_result("plan", planned.to_dict() | value if value else value, network)


def test_frontier():
    """Networks are sorted by LUTs, and shown as a table."""
    result = psahw.frontier(["cifar10-psa", "cifar10-psa-small"])
    assert [candidate.network for candidate in result.networks] == ["cifar10-psa-small", "cifar10-psa"]
    assert result._repr_html_().count("<tr>") == 3
