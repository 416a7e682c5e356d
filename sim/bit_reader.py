"""Read the bits of a module from Verilog as Yosys writes it: logic, and registers of one clock."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from .bit_logic import ZERO, Logic, Word

__all__ = ["NAME", "Reader", "Unsupported", "Words"]

NAME = r"\\\S+(?=\s)|[A-Za-z_][\w$]*"
_TOKEN = re.compile(rf"\s+|(\d+'[hbd][0-9a-f?]+|{NAME}|\d+|<=|!=|==|\S)")
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


class Unsupported(Exception):
    """A module has something that is not read."""


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
        self.registers = dict(_REGISTER.findall(body))
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
            raise Unsupported(name)
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

    def _range(self) -> tuple[int, int] | None:
        """Read the selection of bits that may follow a name: the highest and the lowest."""
        if self._tokens[self._at] != "[":
            return None
        self._at += 1
        high = low = int(self._take())
        if self._tokens[self._at] == ":":
            self._at += 1
            low = int(self._take())
        self._expect("]")
        return high, low

    def targets(self) -> Iterator[tuple[str, int, int]]:
        """Yield the targets of an assignment, most significant first: names, highest and lowest bits."""
        if nested := self._tokens[self._at] == "{":
            self._at += 1
        while True:
            name = self._take()
            if name not in self._reader.widths:
                raise Unsupported(name)
            yield name, *(self._range() or (self._reader.widths[name] - 1, 0))
            if not nested or self._take() == "}":
                break
        self._expect("")

    def only(self, width: int) -> Word:
        """Return an expression that is the whole text, as wide as its target."""
        word = self._expression(width)
        self._expect("")
        return word

    def _expression(self, width: int = 0) -> Word:
        """Read an expression, for a target of some width. The word has this width if it is not 0."""
        word = self._operand(width)
        operator = self._tokens[self._at]
        while (token := self._tokens[self._at]) in ("&", "|", "^", "+", "!=", "=="):
            self._at += 1
            if token != operator:
                raise Unsupported(f"{operator} and {token}")
            word = self._binary(token, word, self._operand(width), width)
        if token == "?":
            self._at += 1
            condition = self._logic.any(word)
            a = self._expression(width)
            self._expect(":")
            b = self._expression(width)
            longest = max(len(a), len(b))
            pairs = zip(_extended(a, longest), _extended(b, longest), strict=True)
            word = [self._logic.choice(condition, x, y) for x, y in pairs]
        return _extended(word, width)[:width] if width else word

    def _binary(self, token: str, a: Word, b: Word, width: int) -> Word:
        longest = max(len(a), len(b), width if token == "+" else 0)
        a, b = _extended(a, longest), _extended(b, longest)
        if token == "+":
            return self._logic.total(a, b)
        logic = self._logic
        operation = {"&": logic.conjunction, "|": logic.disjunction}.get(token, logic.difference)
        word = [operation(x, y) for x, y in zip(a, b, strict=True)]
        if token in ("!=", "=="):
            differs = logic.any(word)
            return [differs if token == "!=" else logic.inverse(differs)]
        return word

    def _operand(self, width: int) -> Word:
        token = self._take()
        if token == "~":
            word = self._operand(width)
            if width and len(word) != width:
                raise Unsupported("~ of another width")
            return [self._logic.inverse(bit) for bit in word]
        if token == "!":
            return [self._logic.inverse(self._logic.any(self._operand(0)))]
        if token in ("&", "|"):
            return [(self._logic.all if token == "&" else self._logic.any)(self._operand(0))]
        if token == "(":
            word = self._expression()
            self._expect(")")
            return word
        if token == "{":
            parts = [self._expression()]
            while self._tokens[self._at] == ",":
                self._at += 1
                parts.append(self._expression())
            self._expect("}")
            return [bit for part in reversed(parts) for bit in part]
        if "'" in token and token[0].isdigit():
            return _constant(token)
        selection = self._range()
        if token in self._values:
            word = self._values[token]
            return word if selection is None else word[selection[1] : selection[0] + 1]
        return self._reader.word(token) if selection is None else self._reader.word(token, *selection)

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
            self._values[token] = self._expression(self._reader.widths[token])
            self._expect(";")

    def _if(self) -> None:
        self._expect("(")
        condition = self._logic.any(self._expression())
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
        selector = self._expression()
        self._expect(")")
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
                for n in _matches(pattern):
                    branches[n] = branches[n] or branch
        level = [default if branch is None else branch for branch in branches]
        for bit in selector:
            level = [b if a is b else self._chosen(bit, a, b) for a, b in zip(level[1::2], level[::2], strict=True)]
        self._values.update(level[0])


def _extended(word: Word, width: int) -> Word:
    """Return a word with zeros above it, if it is not as wide as ``width``."""
    return word if len(word) >= width else word + [ZERO] * (width - len(word))


def _constant(token: str) -> Word:
    """Return the bits of a constant."""
    width, value = int(token.partition("'")[0]), _value(token)
    return [value >> place & 1 for place in range(width)]


def _value(token: str) -> int:
    """Return the value of a constant."""
    digits = token.partition("'")[2]
    return int(digits[1:], {"h": 16, "b": 2, "d": 10}[digits[0]])


def _matches(pattern: str) -> list[int]:
    """Return the values that match a pattern of ``casez``."""
    width, _, digits = pattern.partition("'")
    if "?" not in digits:
        return [_value(pattern)]
    if digits[0] != "b" or len(digits) - 1 != int(width):
        raise Unsupported(pattern)
    values = [0]
    for digit in digits[1:]:
        values = [2 * value + bit for value in values for bit in ((0, 1) if digit == "?" else (int(digit),))]
    return values
