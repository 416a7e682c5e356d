"""Read the bits of a module from Verilog as Yosys writes it: logic, and registers of one clock."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .bit_logic import ZERO, Logic, Word

__all__ = ["NAME", "Reader", "Unsupported", "Words"]

NAME = r"\\\S+(?=\s)|[A-Za-z_][\w$]*"
_TOKEN = re.compile(rf"\s+|(\d+'[hbd][0-9a-f?]+|{NAME}|\d+|<=|>>|!=|==|&&|\|\||~[&|^]|\S)")
_DECLARATION = re.compile(
    rf"^  (input|output|wire|reg) (?:\[(\d+):0\] )?({NAME}) *(?:= (\d+'[hbd][0-9a-f]+))?;\n", re.MULTILINE
)
_ASSIGN = re.compile(r"^  assign (.*?) ?= (.*);\n", re.MULTILINE)
_BLOCK = re.compile(r"^  always @\* begin\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_REGISTER = re.compile(rf"^  always @\(posedge clk\)\n    ({NAME}) +<= (.*);\n", re.MULTILINE)
_IGNORED = re.compile(
    r"\(\*.*?\*\)|^ *if \(\\\$auto\$verilog_backend\S+ \) begin end\n|^  reg \\\$auto\$verilog_backend\S+  = 0;\n",
    re.MULTILINE,
)
_TARGET = re.compile(rf"^ *({NAME})\s*= ", re.MULTILINE)


_SELECTOR_BITS = 16
"""The widest selector of a ``casez`` that is read. There is a branch for each of its values."""


class Unsupported(Exception):
    """A module has something that is not read."""


class _Expression(NamedTuple):
    """An expression: its width on its own, and a function that returns its bits in a context of some width.

    The context of an operand is as wide as the widest operand, or the target. It is never narrower than the operand.
    A carry, or the inverse of a bit above the operand, therefore depends on the context.
    """

    width: int
    bits: Callable[[int], Word]

    @property
    def alone(self) -> Word:
        """The bits of an expression whose width nothing else determines."""
        return self.bits(self.width)


class Reader:
    """The bits of a module's signals, read from its Verilog as needed."""

    def __init__(self, body: str) -> None:
        self.logic = Logic()
        self.widths: dict[str, int] = {}
        self.directions: dict[str, str] = {}
        self.registers: dict[str, str] = {}  # what they take at each edge
        self.initial: dict[int, int] = {}  # the value of a register's bit at the start
        self._words: dict[str, list[int | None]] = {}
        self._sources: dict[str, list[tuple[int, int, Callable[[], None]]]] = defaultdict(list)
        body = _IGNORED.sub("", body)
        initial = {}
        for direction, high, name, value in _DECLARATION.findall(body):
            self.widths[name] = int(high or 0) + 1
            if direction in ("input", "output"):
                self.directions[name] = direction
            if value:
                initial[name] = _value(value)
        registers = _REGISTER.findall(body)
        self.registers = dict(registers)
        if len(self.registers) < len(registers) or self.directions.get("clk") != "input":
            raise Unsupported("the registers")
        for name, width in self.widths.items():
            kind = "register" if name in self.registers else "input"
            if kind == "register" or self.directions.get(name) == "input":
                word = self._words[name] = [self.logic.new(kind) for _ in range(width)]
                if name in initial and kind == "register":
                    self.initial |= {bit: initial[name] >> place & 1 for place, bit in enumerate(word)}
            else:
                self._words[name] = [None] * width
        for left, right in _ASSIGN.findall(body):
            self._assign(left, right)
        for (block,) in ((match[1],) for match in _BLOCK.finditer(body)):
            self._block(block)
        rest = body
        for pattern in (_DECLARATION, _ASSIGN, _BLOCK, _REGISTER):
            rest = pattern.sub("", rest)
        if rest.strip():
            raise Unsupported(rest.strip()[:80])

    def _assign(self, left: str, right: str) -> None:
        """Note how to read the targets of an assignment."""
        targets = list(Words(self, left).targets())
        width = sum(high - low + 1 for _, high, low in targets)

        def read() -> None:
            word = Words(self, right).only(width)
            for name, high, low in reversed(targets):
                self._words[name][low : high + 1] = word[: high - low + 1]
                word = word[high - low + 1 :]

        self._note(targets, read)

    def _note(self, targets: list[tuple[str, int, int]], read: Callable[[], None]) -> None:
        """Note that ``read`` reads the targets: names, and their highest and lowest bits."""
        active = False

        def once() -> None:
            nonlocal active
            if active:
                raise Unsupported("a loop")
            active = True
            read()
            active = False

        for name, high, low in targets:
            self._sources[name].append((low, high, once))

    def _block(self, text: str) -> None:
        """Note how to read the targets of an ``always @*`` block."""
        names = sorted(set(_TARGET.findall(text)))

        def read() -> None:
            values: dict[str, Word] = {}
            Words(self, text, values).statements(end="")
            for name in names:
                self._words[name][:] = values[name]

        self._note([(name, self.widths[name] - 1, 0) for name in names], read)

    def word(self, name: str, high: int | None = None, low: int = 0) -> Word:
        """Return the bits of a signal from the highest to the lowest."""
        if name not in self._words:
            raise Unsupported(f"{name} is not declared")
        if high is None:
            high = self.widths[name] - 1
        word = self._words[name][low : high + 1]
        if None in word:
            for first, last, read in self._sources[name]:
                if first <= high and last >= low and self._words[name][first] is None:
                    read()
            word = self._words[name][low : high + 1]
        if None in word or len(word) != high - low + 1:
            raise Unsupported(f"{name} has no value")
        return word  # type: ignore[return-value]


class Words:
    """Reads Verilog into the bits of its words. ``values`` has those of the targets of a block so far."""

    def __init__(self, reader: Reader, text: str, values: dict[str, Word] | None = None) -> None:
        self._reader, self._logic = reader, reader.logic
        self._tokens = [token for token in _TOKEN.findall(text) if token]
        self._tokens.append("")
        self._at = 0
        self._values: dict[str, Word] = {} if values is None else values

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            if self._take() != token:
                raise Unsupported(f"no {token}")

    def _range(self, name: str) -> tuple[int, int]:
        """Read the selection of bits that may follow a name: the highest and the lowest, by default all."""
        if name not in self._reader.widths:
            raise Unsupported(f"{name} is not declared")
        width = self._reader.widths[name]
        if self._tokens[self._at] != "[":
            return width - 1, 0
        self._at += 1
        high = low = self._place()
        if self._tokens[self._at] == ":":
            self._at += 1
            low = self._place()
        self._expect("]")
        if not low <= high < width:
            raise Unsupported(f"{name} has no bits {high} to {low}")
        return high, low

    def _place(self) -> int:
        """Read the number of a bit."""
        if not (token := self._take()).isdecimal():
            raise Unsupported(f"a bit selected by {token}")
        return int(token)

    def targets(self) -> Iterator[tuple[str, int, int]]:
        """Yield the targets of an assignment, most significant first: names, highest and lowest bits."""
        if nested := self._tokens[self._at] == "{":
            self._at += 1
        while True:
            name = self._take()
            yield name, *self._range(name)
            if not nested or self._take() == "}":
                break
        self._expect("")

    def only(self, width: int) -> Word:
        """Return an expression that is the whole text, as wide as its target."""
        expression = self._expression()
        self._expect("")
        return _assigned(expression, width)

    def _expression(self) -> _Expression:
        """Read an expression up to a token that does not belong to it."""
        value = self._operand()
        operator = self._tokens[self._at]
        while (token := self._tokens[self._at]) in ("&", "|", "^", "+", "!=", "==", ">>"):
            self._at += 1
            if token != operator:
                raise Unsupported(f"{operator} and {token}")
            value = self._binary(token, value, self._operand())
        if token != "?":
            return value
        self._at += 1
        a = self._expression()
        self._expect(":")
        return self._choice(value, a, self._expression())

    def _choice(self, condition: _Expression, a: _Expression, b: _Expression) -> _Expression:
        def bits(width: int) -> Word:
            bit = self._logic.any(condition.alone)
            return [self._logic.choice(bit, x, y) for x, y in zip(a.bits(width), b.bits(width), strict=True)]

        return _Expression(max(a.width, b.width), bits)

    def _binary(self, token: str, a: _Expression, b: _Expression) -> _Expression:
        logic, longest = self._logic, max(a.width, b.width)
        if token == "+":
            return _Expression(longest, lambda width: logic.total(a.bits(width), b.bits(width)))
        if token == ">>":
            return _Expression(a.width, lambda width: self._shifted(a.bits(width), b.alone))
        operation = {"&": logic.conjunction, "|": logic.disjunction}.get(token, logic.difference)

        def bits(width: int) -> Word:
            return [operation(x, y) for x, y in zip(a.bits(width), b.bits(width), strict=True)]

        if token not in ("!=", "=="):
            return _Expression(longest, bits)

        def comparison() -> Word:
            differs = logic.any(bits(longest))
            return [differs if token == "!=" else logic.inverse(differs)]

        return _fixed(1, comparison)

    def _shifted(self, word: Word, places: Word) -> Word:
        """Return a word shifted to the right by a number of places, each bit of which is a choice."""
        for n, bit in enumerate(places):
            moved = (word[1 << n :] if 1 << n < len(word) else []) + [ZERO] * min(1 << n, len(word))
            word = [self._logic.choice(bit, x, y) for x, y in zip(moved, word, strict=True)]
        return word

    def _operand(self) -> _Expression:
        token, logic = self._take(), self._logic
        if token == "~":
            inner = self._operand()
            return inner._replace(bits=lambda width: [logic.inverse(bit) for bit in inner.bits(width)])
        if token in ("!", "&", "|"):
            inner = self._operand()
            if token == "!":
                return _fixed(1, lambda: [logic.inverse(logic.any(inner.alone))])
            return _fixed(1, lambda: [(logic.all if token == "&" else logic.any)(inner.alone)])
        if token == "(":
            inner = self._expression()
            self._expect(")")
            return inner
        if token == "{":
            parts = [self._expression()]
            while self._tokens[self._at] == ",":
                self._at += 1
                parts.append(self._expression())
            self._expect("}")

            def joined() -> Word:
                words = [part.alone for part in parts]
                return [bit for word in reversed(words) for bit in word]

            return _fixed(sum(part.width for part in parts), joined)
        if "'" in token and token[0].isdigit():
            word = _constant(token)
            return _fixed(len(word), lambda: word)
        high, low = self._range(token)
        if token in self._values:
            word = self._values[token][low : high + 1]
            return _fixed(len(word), lambda: word)
        return _fixed(high + 1 - low, lambda: self._reader.word(token, high, low))

    def statements(self, end: str) -> None:
        """Read statements of a block up to a token."""
        while self._tokens[self._at] != end:
            if self._tokens[self._at] == "begin":
                self._at += 1
                self.statements("end")
            else:
                self._statement()
        self._at += 1

    def _branch(self, read: Callable[[], None]) -> dict[str, Word]:
        """Return the values after a branch, and forget it."""
        before, self._values = self._values, dict(self._values)
        read()
        after, self._values = self._values, before
        return after

    def _statement(self) -> None:
        token = self._take()
        if token == "if":
            self._if()
        elif token == "casez":
            self._case()
        elif token == "begin":
            self.statements("end")
        else:
            if self._take() != "=" or token not in self._reader.widths:
                raise Unsupported(f"{token} in a block")
            self._values[token] = _assigned(self._expression(), self._reader.widths[token])
            self._expect(";")

    def _if(self) -> None:
        self._expect("(")
        condition = self._logic.any(self._expression().alone)
        self._expect(")")
        taken, other = self._branch(self._statement), self._values
        if self._tokens[self._at] == "else":
            self._at += 1
            other = self._branch(self._statement)
        self._merge(condition, taken, other)

    def _merge(self, condition: int, taken: dict[str, Word], other: dict[str, Word]) -> None:
        """Set the values after two branches. Both must give values to the same signals."""
        self._values.update(self._chosen(condition, taken, other))

    def _chosen(self, condition: int, a: dict[str, Word], b: dict[str, Word]) -> dict[str, Word]:
        if a.keys() != b.keys():
            raise Unsupported("a latch")
        choice = self._logic.choice
        return {name: [choice(condition, x, y) for x, y in zip(a[name], b[name], strict=True)] for name in a}

    def _case(self) -> None:
        self._expect("(")
        expression = self._expression()
        self._expect(")")
        if expression.width > _SELECTOR_BITS:
            raise Unsupported(f"a selector of {expression.width} bits")
        selector = expression.alone
        branches: list[dict[str, Word] | None] = [None] * (1 << len(selector))
        default = self._values
        while (token := self._take()) != "endcase":
            if token == "default":
                self._expect(":")
                default = self._branch(self._statement)
                continue
            patterns = [token]
            while self._tokens[self._at] == ",":
                self._at += 1
                patterns.append(self._take())
            self._expect(":")
            branch = self._branch(self._statement)
            for pattern in patterns:
                for n in _matches(pattern, len(selector)):
                    if branches[n] is None:
                        branches[n] = branch
        level = [default if branch is None else branch for branch in branches]
        for bit in selector:
            level = [b if a is b else self._chosen(bit, a, b) for a, b in zip(level[1::2], level[::2], strict=True)]
        self._values.update(level[0])


def _fixed(width: int, read: Callable[[], Word]) -> _Expression:
    """Return an expression whose bits do not depend on the context, which only adds zeros above them."""
    return _Expression(width, lambda context: (word := read()) + [ZERO] * (context - len(word)))


def _assigned(expression: _Expression, width: int) -> Word:
    """Return the bits that a target of some width takes."""
    return expression.bits(max(expression.width, width))[:width]


def _constant(token: str) -> Word:
    """Return the bits of a constant."""
    width, value = int(token.partition("'")[0]), _value(token)
    return [value >> place & 1 for place in range(width)]


def _value(token: str) -> int:
    """Return the value of a constant."""
    digits = token.partition("'")[2]
    try:
        return int(digits[1:], {"h": 16, "b": 2, "d": 10}[digits[:1]])
    except (KeyError, ValueError):
        raise Unsupported(f"{token} is not a number") from None


def _matches(pattern: str, width: int) -> list[int]:
    """Return the values that match a pattern of ``casez``, which must be as wide as the selector."""
    digits = pattern.partition("'")[2]
    if pattern.partition("'")[0] != str(width):
        raise Unsupported(f"the pattern {pattern} for a selector of {width} bits")
    if "?" not in digits:
        value = _value(pattern)
        if value >> width:
            raise Unsupported(f"the pattern {pattern}")
        return [value]
    if len(digits) - 1 != width or not set(digits[1:]) <= set("01?") or digits[0] != "b":
        raise Unsupported(f"the pattern {pattern}")
    values = [0]
    for digit in digits[1:]:
        values = [2 * value + bit for value in values for bit in ((0, 1) if digit == "?" else (int(digit),))]
    return values
