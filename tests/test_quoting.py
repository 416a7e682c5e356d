"""Text from outside in messages: short, on one line, without control characters."""

import pytest

from psahw.quoting import QUOTE_LIMIT, printable, quote


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("net", "'net'"),
        ("it's", '"it\'s"'),
        (7, "7"),
        (None, "None"),
        ([1, "a"], "[1, 'a']"),
        ("\x1b[31mred", "'\\x1b[31mred'"),
        ("\ud800", "'\\ud800'"),
        ("\u202eabc", "'\\u202eabc'"),
        (10**5000, "an integer of 16610 bits"),
        ({"a": [[[[1]]]]}, "{'a': [[[...]]]}"),
    ],
    ids=range(10),
)
def test_values_are_quoted_as_python_writes_them(value, text):
    assert quote(value) == text


LONG = [
    "a" * 10**6,
    "\0" * 10**6,
    "\U0001f600" * 10**6,
    [10**5000] * 10**5,
    {"k" * 10**5: "v" * 10**5},
    b"\xff" * 10**5,
]


@pytest.mark.parametrize("value", LONG, ids=range(len(LONG)))
def test_quotes_are_short_and_printable(value):
    assert quote(value).isprintable() and len(quote(value)) <= QUOTE_LIMIT == 80


def test_lists_that_contain_themselves_are_quoted():
    endless: list = []
    endless.append(endless)
    assert quote(endless) == "[[[[...]]]]"


def test_printable_text_has_one_line_and_keeps_what_can_be_read():
    assert printable("a\nb\tc\x7f ü\\ 'd'") == r"a\nb\tc\x7f ü\ 'd'"
    assert printable("abcdef", 4) == "abc…" and printable("abcd", 4) == "abcd"
    assert len(printable("\0" * 100, 10)) == 10
