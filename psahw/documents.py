"""Strict JSON: read within bounds, checked against a type, and refused in one line that names the field.

`read` returns the content of a file as an instance of a type, usually a `msgspec.Struct`. Whatever the file holds,
the result is either a valid instance or a UserError such as ``build/manifest.json: stages[3].name must be a string,
not 7``. A file is refused if it is too large, is not UTF-8, uses a key twice, holds a number that is not finite or an
integer of more than 64 bits, is nested too deeply, or has a string with a lone surrogate or a NUL character.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from .errors import UserError
from .quoting import printable, quote

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Sha256", "convert", "decode", "parse", "read", "read_bytes", "read_toml"]

MAX_BYTES = 4 << 20
"""The largest file that is read. Its content takes up to 40 times as much memory."""

MAX_TOML_BYTES = 64 << 10
"""The largest TOML file that is read."""

MAX_DEPTH = 64
"""The most lists and objects inside one another."""

Sha256 = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", extra={"must be": "64 hexadecimal digits in lower case"})
]
"""A SHA-256 hash."""

_DOTS = re.compile(rb"^(?:[^\n#=.]*\.){9}", re.MULTILINE)
"""Nine dots in front of an equals sign. The time that tomllib takes for a key grows with the square of its dots."""

_INTEGERS = range(-(1 << 63), 1 << 64)
_DIGITS = 20  # of the largest of them
_TYPES = {
    "int": "an integer", "float": "a number", "str": "a string", "bool": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip
_SIGNS = {">=": "{} or more", "<=": "{} or less", ">": "more than {}", "<": "less than {}"}

# msgspec's messages, which its tests keep as they are.
_MESSAGE = re.compile(r"(.*?)(?: - at (`key` in )?`\$(.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*)`(?:,? (?!got)(.*?))?(?:, got .*)?", re.DOTALL)

_T = TypeVar("_T")


class _Refused(Exception):
    """Text is not strict JSON. The message says why."""


def read_bytes(path: str | os.PathLike, limit: int = MAX_BYTES, hint: str = "") -> bytes:
    """Return the content of a file, which may be a pipe.

    Parameters
    ----------
    path
        The file.
    limit
        The most bytes that it may have; no more are read.
    hint
        Where such a file comes from, for the message if there is none.

    Raises
    ------
    UserError
        If the file cannot be read, or is larger.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise UserError(f"cannot read {path}: {reason}{hint and f'; {hint}'}") from error
    if len(content) > limit:
        raise UserError(f"{path}: more than {limit} bytes, which is too large")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _Refused(f"the key {quote(key)} appears twice")
        content[key] = value
    return content


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS or int(digits) not in _INTEGERS:
        raise _Refused(f"an integer of {len(digits.lstrip('-'))} digits is too large")
    return int(digits)


def _float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise _Refused(f"the number {printable(digits, 40)} is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON: numbers must be finite")


def _check(content: Any, escapes: bool) -> None:
    """Raise _Refused for lists and objects that are nested too deeply, and for strings that are not text.

    Only ``escapes`` can put a NUL character or half of a surrogate pair into a string.
    """
    level, depth = [content], 0
    while level:
        inner = [value for value in level if isinstance(value, dict | list)]
        if inner and depth == MAX_DEPTH:
            raise _Refused(f"lists and objects are nested more than {MAX_DEPTH} deep")
        if escapes:
            for value in level:
                if isinstance(value, str) and ("\0" in value or not _encodes(value)):
                    raise _Refused(f"{quote(value)} has a NUL character or half of a surrogate pair")
        level, depth = [], depth + 1
        for value in inner:
            level += value
            if isinstance(value, dict):
                level += value.values()


def _encodes(text: str) -> bool:
    """Return whether a string is text that UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(text: str | bytes, name: object) -> Any:
    """Return the content of strict JSON text: None, bool, int, float, str, list or dict.

    Parameters
    ----------
    text
        The text.
    name
        Where it is from, for messages.

    Raises
    ------
    UserError
        If the text is not strict JSON, as the module describes it.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        content = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        _check(content, "\\u" in text)
    except _Refused as error:
        raise UserError(f"{name}: {error}") from None
    except RecursionError:
        raise UserError(f"{name}: lists and objects are nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} must be JSON: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{name} must be JSON: {error}") from None
    return content


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Return the content of a TOML file, within the bounds of JSON: tables, lists, strings, numbers and booleans.

    Raises
    ------
    UserError
        If the file cannot be read, is too large, or is not such TOML.
    """
    content = read_bytes(path, MAX_TOML_BYTES)
    if (dots := _DOTS.search(content)) is not None:
        raise UserError(f"{path}: byte {dots.start()}: a key must have at most 8 dots")
    try:
        table = tomllib.loads(content.decode())
        _check(table, b"\\u" in content or b"\0" in content)
        text = json.dumps(table, allow_nan=False)
    except _Refused as error:
        raise UserError(f"{path}: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: lists and objects are nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be TOML: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} must be TOML: {printable(str(error), 100)}") from None
    except (TypeError, ValueError) as error:  # a date, or a number that is not finite
        raise UserError(f"{path}: {printable(str(error), 100)}") from None
    value: dict[str, Any] = decode(text, path)
    return value


class _Entry(NamedTuple):
    """A step to a value of an object by its key; None if msgspec does not tell the key."""

    key: Any = None


_Step = str | int | _Entry  # a field of a Struct, an index, an entry of an object


class _Failure(NamedTuple):
    """A message of msgspec taken apart: the problem, whether that is about a key, and the steps to the place."""

    problem: str
    in_key: bool
    steps: list[_Step]

    @classmethod
    def from_error(cls, error: msgspec.ValidationError) -> "_Failure":
        """Return what an error says."""
        match = _MESSAGE.fullmatch(str(error))
        assert match is not None  # it matches every text
        places = _STEP.findall(match[3] or "")
        steps = [field or (_Entry() if index == "..." else int(index)) for field, index in places]
        return cls(match[1], bool(match[2]), steps)


def _at(value: Any, steps: Iterable[_Step]) -> Any:
    """Return the value at a place."""
    for step in steps:
        value = value[step.key if isinstance(step, _Entry) else step]
    return value


def _replaced(value: Any, steps: Sequence[_Step], new: Any) -> Any:
    """Return a copy of a value with another value at one place."""
    if not steps:
        return new
    key = steps[0].key if isinstance(steps[0], _Entry) else steps[0]
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[key] = _replaced(value[key], steps[1:], new)
    return copy


def _with_keys(failure: _Failure, value: Any, kind: Any) -> _Failure:
    """Return a failure with the keys that msgspec does not tell, which are found by trying halves of each object."""
    steps: list[_Step] = list(failure.steps)
    while _Entry() in steps:
        depth = steps.index(_Entry())
        entries = list(_at(value, steps[:depth]).items())
        while len(entries) > 1:
            half, rest = entries[: len(entries) // 2], entries[len(entries) // 2 :]
            try:
                msgspec.convert(_replaced(value, steps[:depth], dict(half)), kind)
                entries = rest
            except msgspec.ValidationError as error:
                there = [_Entry() if isinstance(step, _Entry) else step for step in steps[: depth + 1]]
                entries = half if _Failure.from_error(error).steps[: depth + 1] == there else rest
        value = _replaced(value, steps[:depth], dict(entries))
        steps[depth] = _Entry(entries[0][0])
    return failure._replace(steps=steps)


def _place(steps: Iterable[_Step]) -> str:
    """Return the steps to a place as text: ``stages[3].name``, or ``engines['head']`` for an entry of an object."""
    text = ""
    for step in steps:
        if isinstance(step, _Entry):
            text += f"[{quote(step.key)}]"
        else:
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _plain(described: Any) -> Any:
    """Return msgspec's description of a type without extra information about it."""
    return described.type if isinstance(described, inspect.Metadata) else described


def _extra(described: Any, name: str) -> str | None:
    """Return extra information about a type, or about one of those that a value may have."""
    for entry in (described, *getattr(_plain(described), "types", ())):
        extra = (entry.extra or {}) if isinstance(entry, inspect.Metadata) else {}
        if name in extra:
            return extra[name]
    return None


def _type_at(kind: Any, steps: Iterable[_Step]) -> Any:
    """Return msgspec's description of the type at a place, or None if there may be several."""
    described: Any = inspect.type_info(kind)
    for step in steps:
        described = _plain(described)
        if isinstance(described, inspect.UnionType):
            # Fields with the same name and the same type need not be told apart.
            fields = [field for struct in described.types for field in getattr(struct, "fields", ())]
            types = [field.type for field in fields if field.encode_name == step]
            if not types or any(other != types[0] for other in types):
                return None
            described = types[0]
        elif isinstance(described, inspect.StructType):
            described = next(field.type for field in described.fields if field.encode_name == step)
        elif isinstance(described, inspect.DictType):
            described = described.value_type
        elif isinstance(described, inspect.ListType | inspect.VarTupleType):
            described = described.item_type
        elif isinstance(described, inspect.TupleType) and isinstance(step, int):
            described = described.item_types[step]
        else:
            return None
    return described


def _expected(types: str, bound: str) -> str:
    """Return in words what msgspec expects: types such as ``int | null``, and a bound such as ``>= 1``."""
    words = " or ".join(_TYPES.get(name, name) for name in types.split(" | "))
    if match := re.fullmatch(r"(of length )?(>=|<=|>|<)? ?(\S+)", bound):
        length, sign, number = match.groups()
        return f"{words} {length or 'of '}{_SIGNS.get(sign, '{}').format(number.removesuffix('.0'))}"
    return f"{words} {bound}".rstrip()


def _complaint(failure: _Failure, value: Any, kind: Any) -> str:
    """Return what follows the name of a document in a message: the place, and what is wrong there."""
    place, problem = _place(failure.steps), failure.problem
    if match := _MISSING.fullmatch(problem):
        return f": {place}{place and '.'}{match[1]} is missing"
    if match := _UNKNOWN.fullmatch(problem):
        fields = getattr(_plain(_type_at(kind, failure.steps)), "fields", ())
        known = ", ".join(field.encode_name for field in fields)
        return f": {place}{place and ': '}unknown field {quote(match[1])}; known fields: {known}"
    where = f": {place}" if place else ""
    wrong = _at(value, failure.steps)
    quoted = json.dumps(wrong) if wrong is None or isinstance(wrong, bool) else quote(wrong)
    if problem.startswith("Invalid enum value"):
        choices = getattr(_plain(_type_at(kind, failure.steps)), "values", ())
        return f"{where} must be one of {', '.join(map(str, choices))}, not {quoted}"
    if problem.startswith("Invalid value"):  # of the field that tells the types of a union apart
        union = _plain(_type_at(kind, failure.steps[:-1]))
        choices = sorted(str(struct.tag) for struct in getattr(union, "types", ()) if hasattr(struct, "tag"))
        return f"{where} must be one of {', '.join(choices)}, not {quoted}"
    if match := _EXPECTED.fullmatch(problem):
        expected = _extra(_type_at(kind, failure.steps), "must be") or _expected(match[1], match[2] or "")
        return (
            f"{where}: each key must be {expected}" if failure.in_key else f"{where} must be {expected}, not {quoted}"
        )
    return f"{where}: {problem}"


def convert(value: Any, kind: type[_T], name: object) -> _T:
    """Return a value as an instance of a type.

    Parameters
    ----------
    value
        What `decode` returns, or the like.
    kind
        The type, such as a `msgspec.Struct` or ``dict[str, int]``. Integers are not read as strings or the like, but
        an integer may stand for a float. ``Meta(pattern=..., extra={"must be": "64 digits"})`` in it says in words
        what a value must be.
    name
        Where the value is from, for messages.

    Raises
    ------
    UserError
        If the value is of another type. The message has the path of the first field that is wrong.

    Examples
    --------
    >>> convert({"widths": [8, "8"]}, dict[str, list[int]], "sizes.json")
    Traceback (most recent call last):
        ...
    psahw.errors.UserError: sizes.json: ['widths'][1] must be an integer, not '8'
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        failure = _with_keys(_Failure.from_error(error), value, kind)
    raise UserError(f"{name}{_complaint(failure, value, kind)}")


def parse(text: str | bytes, kind: type[_T], name: object) -> _T:
    """Return the content of strict JSON text as an instance of a type.

    Raises UserError as `decode` and `convert` do.
    """
    return convert(decode(text, name), kind, name)


def read(path: str | os.PathLike, kind: type[_T], *, hint: str = "", limit: int = MAX_BYTES) -> _T:
    """Return the content of a JSON file as an instance of a type.

    Parameters
    ----------
    path
        The file.
    kind
        The type; see `convert`.
    hint
        What to do about a file that cannot be read or is not valid, such as "psahw elaborate writes it".
    limit
        The most bytes that the file may have.

    Raises
    ------
    UserError
        If the file cannot be read, is too large, is not strict JSON, or its content is of another type.
    """
    content = read_bytes(path, limit, hint)
    try:
        return parse(content, kind, path)
    except UserError as error:
        if hint:
            raise UserError(f"{error}; {hint}") from None
        raise
