"""Records of what Vivado reports of a routed circuit."""

import json

from psahw.records import __main__ as records
from psahw.records import capture as capture_module
from psahw.records.schema import load

TIMING = {
    "tool": "Vivado 2024.2",
    "part": "xc7k160tffg676-2",
    "period_ns": 5.0,
    "modules": [
        {"module": "a", "path_ns": 3.5, "slack_ns": 1.25, "levels": 4, "from": "x/C"},
        {"module": "b", "path_ns": 4.1, "slack_ns": 0.75, "levels": 2, "from": "y/C"},
    ],
}


def test_a_record_of_routed_timing(tmp_path, monkeypatch, capsys):
    """A period of 5 ns with 0.75 ns of slack is a clock of 1000 / 4.25 MHz."""
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(capture_module, "_commit", lambda: "0123abc")
    (tmp_path / "results").mkdir()
    (tmp_path / "timing.json").write_text(json.dumps(TIMING))
    assert records.main(["timing", "small/marble", str(tmp_path / "timing.json")]) == 0
    record = load(tmp_path / "results" / "routing.json")["small/marble"]
    assert (record["clock"], record["longest path"], record["ends in"]) == (235.29, 4.1, "b")
    assert {value.how for value in record.values} == {"measured"}
    assert record.configuration == "accelerator alone, xc7k160tffg676-2, 200 MHz asked for"


def test_another_file(tmp_path, capsys):
    (tmp_path / "timing.json").write_text('{"tool": "Vivado"}')
    assert records.main(["timing", "small/marble", str(tmp_path / "timing.json")]) == 2
    assert "timing.json" in capsys.readouterr().err
