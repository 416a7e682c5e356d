"""Damaged input: strategies that change valid examples."""

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["mutated_bytes", "mutated_json", "mutated_text", "with_edits"]

TOKENS = [
    b"", b"\0", b"\n", b"\r", b"\x1b[31m", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xed\xa0\x80", b'"', b"\\",
    b"{", b"[" * 70, b"]", b":", b",", b"=", b"*", b"-", b"9" * 30, b"NaN", b"1e999", b"../", b"%s", b"'", b"x" * 300,
]  # fmt: skip
"""Bytes that readers stumble over."""


class Raw(str):
    """Text that stands in JSON as it is."""


class Pairs(list):
    """The keys and values of an object, which may have a key twice."""


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 255, 256, 65_536, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, -(1 << 63), 0.5, -0.0,
    1e-308, 1e308, 3.0, Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("9" * 5000), Raw("-" + "1" * 25), "", "a",
    "\0", "\x1b[31mred", "\ud800", "\u202e", "line\nbreak", "é" * 50, "x" * 5000, "../../x", "/", "NaN", "7", [],
    [[]], [None], [1, 2, 3], ["a"], Pairs(), Pairs([["a", 1]]), Raw("[" * 65 + "]" * 65), Raw("[" * 100_000),
    Raw("[1"), Raw('{"a":1,"a":2}'), Raw('"\\ud800"'), Raw("[" + "0," * 10_000 + "0]"),
]  # fmt: skip
"""Values that readers stumble over, the simplest first."""


def _tree(value: Any) -> Any:
    """Return JSON with its objects as lists of pairs."""
    if isinstance(value, dict):
        return Pairs([[key, _tree(entry)] for key, entry in value.items()])
    return [_tree(entry) for entry in value] if isinstance(value, list) else value


def _text(tree: Any) -> str:
    """Return a tree as JSON text."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{_text(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(_text, tree)) + "]"
    return json.dumps(tree)


def _slots(tree: Any) -> list[tuple[list, int]]:
    """Return every place of a tree that can be changed: a list and an index, or a pair and 1."""
    slots = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for index, entry in enumerate(node if isinstance(node, list) else ()):
            place = (entry, 1) if isinstance(node, Pairs) else (node, index)
            slots.append(place)
            waiting.append(place[0][place[1]])
    return slots


@st.composite
def mutated_json(draw: st.DrawFn, examples: Sequence[Any]) -> str:
    """Draw the text of one of some JSON values with one to three edits of its structure."""
    tree = [_tree(examples[draw(st.integers(0, len(examples) - 1))])]  # in a list, so that all of it can be replaced
    for _ in range(draw(st.integers(1, 3))):
        slots = _slots(tree)
        holder, index = slots[draw(st.integers(0, len(slots) - 1))]
        value = holder[index]
        match draw(st.integers(0, 5)):
            case 0 | 1:
                holder[index] = copy.deepcopy(VALUES[draw(st.integers(0, len(VALUES) - 1))])
            case 2 if isinstance(value, list) and value:  # an entry less
                del value[draw(st.integers(0, len(value) - 1))]
            case 3 if isinstance(value, list) and value:  # an entry, perhaps with its key, twice
                value.append(copy.deepcopy(value[draw(st.integers(0, len(value) - 1))]))
            case 4 if isinstance(value, Pairs) and value:  # another key
                pair = value[draw(st.integers(0, len(value) - 1))]
                pair[0] = draw(st.sampled_from(["", "a", "\0", "\x1b[31m", "__class__", "x" * 300, pair[0] * 2]))
            case 5:
                other, place = slots[draw(st.integers(0, len(slots) - 1))]
                holder[index] = copy.deepcopy(other[place])
            case _:
                holder[index] = [value]
    return _text(tree[0])


@st.composite
def with_edits(draw: st.DrawFn, data: bytes, most: int = 4) -> bytes:
    """Draw bytes that differ from ``data`` by one edit or a few."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([1, 2, 4, 16, 256]))
        match draw(st.integers(0, 6)):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
            case 1 if at < len(data):
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + length :]
            case 3:
                data = data[: at + length] + data[at:]
            case 4:
                data = data[:at]
            case 5:
                data = data[:at] + TOKENS[draw(st.integers(0, len(TOKENS) - 1))] + data[at:]
            case _:
                token = TOKENS[draw(st.integers(0, len(TOKENS) - 1))]
                data = data[:at] + token + data[at + len(token) :]
    return data


@st.composite
def mutated_bytes(draw: st.DrawFn, examples: Sequence[bytes]) -> bytes:
    """Draw one of some byte strings with a few edits."""
    return draw(with_edits(examples[draw(st.integers(0, len(examples) - 1))]))


@st.composite
def mutated_text(draw: st.DrawFn, examples: Sequence[str]) -> str:
    """Draw one of some texts with a few edits, as the operating system hands over an argument."""
    data = draw(mutated_bytes([example.encode() for example in examples]))
    return data.replace(b"\0", b"").decode(errors="surrogateescape")
