"""docs/explanation/engines.md shows what calibration/engines.json has."""

from pathlib import Path

from calibration import engines


def test_the_page_shows_what_was_measured():
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "engines.md").read_text()
    assert engines.table() in page


def test_an_adder_graph_is_smaller_than_constant_multipliers():
    found = {(row["layer"], row["bits"], row["engine"]): row for row in engines.rows()}
    compared = [key for key in found if key[2] == "multipliers" and (*key[:2], "parallel") in found]
    assert len(compared) >= 3
    for key in compared:
        assert found[*key[:2], "parallel"]["lut"] < 0.65 * found[key]["lut"]
