"""Records are read strictly, and written as they are read."""

import re

import msgspec
import pytest

from psahw.records import Record, RecordError, Value, load, load_all, save

MEASURED = Value("accuracy", 92.66, "%", "measured")


def record(**changes):
    fields = {
        "name": "cifar10-psa/test",
        "subject": "cifar10-psa",
        "values": (MEASURED,),
        "date": "2026-11-29",
        "command": "psahw evaluate cifar10-psa",
        "commit": "0123abc",
        "machine": "two cores",
    }
    return Record(**fields | changes)


def test_a_file_reads_as_it_was_written(tmp_path):
    records = {"b": record(name="b"), "a": record(name="a", note="a note")}
    save(tmp_path / "accuracy.json", records)
    assert load(tmp_path / "accuracy.json") == records
    assert list(load(tmp_path / "accuracy.json")) == ["a", "b"]
    assert load_all(tmp_path)["accuracy"] == records
    assert load_all(tmp_path)["plan"] == {}


def test_figures_by_name():
    assert record()["accuracy"] == 92.66
    assert record().get("latency") is None
    with pytest.raises(KeyError, match="latency"):
        record()["latency"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Two words"}, "name must match [a-z0-9][a-z0-9./_-]*, not 'Two words'"),
        ({"commit": "HEAD"}, "commit must match [0-9a-f]{7,40}, not 'HEAD'"),
        ({"digest": "12"}, "digest must match [0-9a-f]{64}, not '12'"),
        ({"date": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
        ({"values": ()}, "values must not be empty"),
        ({"values": (MEASURED, MEASURED)}, "values must not name the same figure twice"),
        (
            {"commit": ""},
            "a record needs command, commit and machine, or a source if its values are published",
        ),
        (
            {"values": (Value("accuracy", 80.1, "%", "published"),)},
            "a record needs command, commit and machine, or a source if its values are published",
        ),
    ],
)
def test_wrong_fields(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        record(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Input data was truncated"),
        ("{}", "Expected `array`, got `object`"),
        ('[{"name": "a"}]', "Object missing required field `subject` - at `$[0]`"),
        ('[{"name": 3}]', "Expected `str`, got `int` - at `$[0].name`"),
        ('[{"nonsense": 1}]', "Object contains unknown field `nonsense` - at `$[0]`"),
        ('["\ud800"]', None),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(RecordError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    if message:
        assert str(error.value) == f"{path}: {message}"


def test_unknown_kind_of_figure(tmp_path):
    text = msgspec.json.encode([record()]).replace(b'"measured"', b'"guessed"')
    (tmp_path / "plan.json").write_bytes(text)
    with pytest.raises(RecordError, match="Invalid enum value 'guessed'"):
        load(tmp_path / "plan.json")


def test_a_name_used_twice(tmp_path):
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode([record(), record()]))
    with pytest.raises(RecordError, match="the name 'cifar10-psa/test' is used twice"):
        load(tmp_path / "plan.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecordError, match=f"^{re.escape(f'cannot read {tmp_path}/x: No such file or directory')}$"):
        load(tmp_path / "x")
