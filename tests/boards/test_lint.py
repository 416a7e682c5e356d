"""Tests of the command line ``python -m psahw.boards.lint``."""

import json

import pytest

from psahw.boards.lint.__main__ import main


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "project.json: No such file or directory; DIR must be a directory that psahw elaborate has written"),
        ("{", "project.json must be JSON: "),
        ("[]", "project.json must be an object, not []; DIR must be a directory"),
        ('{"board": 7}', "project.json: board must be a string, not 7; DIR must be a directory"),
        (json.dumps({"board": "breadboard"}), "unknown board 'breadboard'"),
    ],
)
def test_wrong_directory(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "project.json").write_text(content)
    assert main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_usage(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err == "boards.lint: usage: python -m psahw.boards.lint DIR\n"
