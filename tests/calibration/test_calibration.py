"""The table in docs/explanation/engines.md against calibration/engines.json."""

from pathlib import Path

from calibration import engines


def test_the_page_shows_the_measurements():
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "engines.md").read_text()
    assert engines.table() in page


def test_an_adder_graph_is_smaller_than_constant_multipliers():
    rows = {(row["layer"], row["bits"], row["engine"]): row for row in engines.measurements()}
    compared = [key for key in rows if key[2] == "multipliers" and (*key[:2], "parallel") in rows]
    assert len(compared) >= 3
    for key in compared:
        assert rows[*key[:2], "parallel"]["lut"] < 0.65 * rows[key]["lut"]
