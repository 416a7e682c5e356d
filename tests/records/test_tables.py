"""The tables of README and documentation follow from the records, and the records from today's networks."""

from pathlib import Path

import pytest

from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.records import Record, Value, load_all
from psahw.records.__main__ import outdated
from psahw.records.tables import TABLES, markdown, render_page

ROOT = Path(__file__).parents[2]
RECORDS = load_all(ROOT / "results")


def test_every_page_shows_its_records():
    """`make results` was run after the last change of records or tables."""
    assert [str(page.relative_to(ROOT)) for page in outdated(ROOT)] == []


def test_a_changed_record_is_noticed():
    page = (ROOT / "README.md").read_text()
    assert render_page(page, RECORDS) == page
    accuracy = RECORDS["accuracy"]["cifar10-psa"]
    values = tuple(Value(v.what, 1.5 if v.what == "accuracy" else v.value, v.unit, v.how) for v in accuracy.values)
    fields = {name: getattr(accuracy, name) for name in accuracy.__struct_fields__}
    changed = RECORDS | {"accuracy": RECORDS["accuracy"] | {"cifar10-psa": Record(**fields | {"values": values})}}
    assert render_page(page, changed) != page


def test_records_are_of_the_shipped_networks():
    """A record that names a shipped network carries that network's digest."""
    digests = {name: network_file.digest(network_file.load(name)) for name in network_file.shipped()}
    stale = [
        f"{kind}/{record.name}"
        for kind, records in RECORDS.items()
        for record in records.values()
        if record.subject in digests and record.digest != digests[record.subject]
    ]
    assert stale == []


def test_every_shipped_network_has_its_accuracy():
    assert set(network_file.shipped()) <= set(RECORDS["accuracy"])


def test_no_simulation_has_wrong_logits_and_all_cadences_are_as_planned():
    for record in RECORDS["simulation"].values():
        assert record["wrong logits"] == 0, record.name
        for what in ("frame interval", "latency"):
            assert record.get(what) == record.get(f"planned {what}"), record.name


def test_simulated_cadence_is_that_of_the_plan_with_the_same_name():
    shared = set(RECORDS["simulation"]) & set(RECORDS["plan"])
    assert shared
    for name in shared:
        simulation, plan = RECORDS["simulation"][name], RECORDS["plan"][name]
        for what in ("frame interval", "latency"):
            assert simulation[what] == plan[what], name


@pytest.mark.parametrize("name", TABLES)
def test_every_table_renders(name):
    lines = TABLES[name](RECORDS).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) > 2


def test_markdown():
    assert markdown(("a", "b"), [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"


def test_places_in_pages():
    page = "before\n<!-- table: sources -->\nold\n<!-- end of table -->\nafter"
    rendered = render_page(page, RECORDS)
    assert rendered.startswith("before\n<!-- table: sources -->\n| system |")
    assert rendered.endswith("\n<!-- end of table -->\nafter")
    assert "old" not in rendered


def test_no_checkout(tmp_path):
    with pytest.raises(UserError, match=r"must be a checkout of psahw, with results/$"):
        outdated(tmp_path)


def test_unknown_table():
    with pytest.raises(UserError, match="there is no table 'nonsense'; there are readme, comparison"):
        render_page("<!-- table: nonsense -->\n<!-- end of table -->", RECORDS)
