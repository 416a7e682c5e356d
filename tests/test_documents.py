"""Strict JSON: what is refused, in which words, and that reading is bounded."""

import json
import os
import subprocess
import sys
import threading
import time
from typing import Annotated, Literal

import msgspec
import pytest

from psahw import documents
from psahw.errors import UserError


class Stage(msgspec.Struct):
    """A part of a document."""

    name: str
    width: Annotated[int, msgspec.Meta(ge=1, le=8)] = 8
    kind: Literal["mac", "serial"] = "mac"
    size: tuple[int, int] = (1, 1)
    rate: float | None = None
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}\Z", extra={"must be": "4 digits"})] | None = None


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A document."""

    stages: list[Stage]
    engines: dict[str, Stage] = {}

    def __post_init__(self) -> None:
        if len(self.stages) > 3:
            raise ValueError("there must be at most 3 stages")


GOOD = {"name": "input"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "d.json must be an object, not []"),
        (None, "d.json must be an object, not null"),
        ({}, "d.json: stages is missing"),
        ({"stages": {}}, "d.json: stages must be a list, not {}"),
        ({"stages": [GOOD] * 3 + [{"name": 7}]}, "d.json: stages[3].name must be a string, not 7"),
        ({"stages": [{}]}, "d.json: stages[0].name is missing"),
        ({"stages": [], "stage": 1}, "d.json: unknown field 'stage'; known fields: stages, engines"),
        ({"stages": [GOOD | {"width": 0}]}, "d.json: stages[0].width must be an integer of 1 or more, not 0"),
        ({"stages": [GOOD | {"width": 9}]}, "d.json: stages[0].width must be an integer of 8 or less, not 9"),
        ({"stages": [GOOD | {"width": True}]}, "d.json: stages[0].width must be an integer, not true"),
        ({"stages": [GOOD | {"width": 1.0}]}, "d.json: stages[0].width must be an integer, not 1.0"),
        ({"stages": [GOOD | {"kind": "dsp"}]}, "d.json: stages[0].kind must be one of mac, serial, not 'dsp'"),
        ({"stages": [GOOD | {"size": [1]}]}, "d.json: stages[0].size must be a list of length 2, not [1]"),
        ({"stages": [GOOD | {"size": [1, "2"]}]}, "d.json: stages[0].size[1] must be an integer, not '2'"),
        ({"stages": [GOOD | {"rate": "1"}]}, "d.json: stages[0].rate must be a number or null, not '1'"),
        ({"stages": [GOOD | {"digest": "1234\n"}]}, "d.json: stages[0].digest must be 4 digits, not '1234\\n'"),
        ({"stages": [GOOD] * 4}, "d.json: there must be at most 3 stages"),
        (
            {"stages": [], "engines": {f"e{n}": {"name": "x" if n != 23 else None} for n in range(50)}},
            "d.json: engines['e23'].name must be a string, not null",
        ),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_place(content, complaint):
    with pytest.raises(UserError) as error:
        documents.parse(json.dumps(content), Document, "d.json")
    assert str(error.value) == complaint


def test_a_valid_document_is_returned():
    document = documents.parse('{"stages": [{"name": "a", "rate": 2, "size": [3, 4]}]}', Document, "d.json")
    assert document == Document([Stage("a", size=(3, 4), rate=2.0)])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "d must be JSON: Expecting value"),
        ("{'a': 1}", "d must be JSON: Expecting property name"),
        ("[1] [2]", "d must be JSON: Extra data"),
        (b'"\xff"', "d must be JSON: byte 1 is not UTF-8"),
        ("NaN", "d: NaN is not JSON: numbers must be finite"),
        ("[-Infinity]", "d: -Infinity is not JSON: numbers must be finite"),
        ("1e999", "d: the number 1e999 is too large"),
        ("1" * 5000, "d: an integer of 5000 digits is too large"),
        (str(1 << 64), "d: an integer of 20 digits is too large"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "d: the key 'b' appears twice"),
        ('["\\u0000"]', "d: '\\x00' has a NUL character or half of a surrogate pair"),
        ('{"\\ud800": 1}', "d: '\\ud800' has a NUL character or half of a surrogate pair"),
        ("[" * 100_000, "d: lists and objects are nested more than 64 deep"),
        ('{"a":' * 100_000, "d: lists and objects are nested more than 64 deep"),
        ("[" * 65 + "]" * 65, "d: lists and objects are nested more than 64 deep"),
    ],
    ids=range(15),
)
def test_text_that_is_not_strict_json_is_refused(text, complaint):
    with pytest.raises(UserError) as error:
        documents.decode(text, "d")
    assert str(error.value).startswith(complaint) and len(str(error.value)) < 120


def test_strict_json_is_json():
    text = '{"a": [1, -2.5e3, true, null, "\\ud83d\\ude00 ü\\n"], "b": 18446744073709551615}'
    assert documents.decode(text, "d") == json.loads(text)
    assert documents.decode("[" * 64 + "]" * 64, "d")


def test_messages_quote_little_of_long_values(tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"stages": ["x" * 80_000]}))
    with pytest.raises(UserError) as error:
        documents.read(path, Document, hint="psahw elaborate writes it")
    message = str(error.value)
    assert message.endswith("x…'; psahw elaborate writes it") and len(message) < len(str(path)) + 160


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "cannot read {}: No such file or directory; make it"),
        (lambda path: path.mkdir(), "cannot read {}: Is a directory; make it"),
        (lambda path: path.symlink_to("/dev/zero"), "{}: more than 1000 bytes, which is too large"),
        (lambda path: path.write_text("[" + "1," * 500 + "1]"), "{}: more than 1000 bytes, which is too large"),
    ],
)
def test_files_are_read_within_a_bound(tmp_path, make, complaint):
    make(path := tmp_path / "d.json")
    with pytest.raises(UserError) as error:
        documents.read(path, list, hint="make it", limit=1000)
    assert str(error.value) == complaint.format(path)


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(path := tmp_path / "pipe")
    threading.Thread(target=lambda: path.write_text("[1, 2]")).start()
    assert documents.read(path, list[int]) == [1, 2]


def test_the_largest_files_take_little_memory_and_time():
    """Small objects take the most memory for their length: below 250 MB with Python itself."""
    code = """if True:
        import resource, time
        from psahw import documents, errors
        resource.setrlimit(resource.RLIMIT_AS, (250_000_000,) * 2)
        unit = '{"":{}},'
        text = "[" + unit * (documents.MAX_BYTES // len(unit) - 1) + "0]"
        started = time.process_time()
        try:
            documents.parse(text, dict, "d")
        except errors.UserError as error:
            print(error)
        assert time.process_time() - started < 5
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == (
        "d must be an object, not [{'': {}}, {'': {}}, {'': {}}, {'': {}}, {'': {}}, {'': {}}, ...]\n",
        "",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = ", "must be TOML"),
        (b"a = nan", "Out of range float values are not JSON compliant|nan"),
        (b"a = 1979-05-27", "not JSON serializable"),
        (b"\xff = 1", "byte 0 is not UTF-8"),
        (b".".join([b"a"] * 20_000) + b" = 1", "a key must have at most 8 dots"),
        (b"[" + b".".join([b"a"] * 20_000) + b"]", "a key must have at most 8 dots"),
        (b"a = 1\n" + b"#" * 70_000, "too large"),
        (b"a = " + b"[" * 100 + b"]" * 100, "nested more than 64 deep"),
    ],
)
def test_toml_that_is_refused(tmp_path, content, message):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(UserError, match=message):
        documents.read_toml(path)
    assert time.monotonic() - start < 2


def test_toml(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('a = [1, 2.5]  # two\n[b]\nc = "x"\n"d.e" = true\n')
    assert documents.read_toml(path) == {"a": [1, 2.5], "b": {"c": "x", "d.e": True}}
