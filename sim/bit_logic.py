"""The logic of a module as single bits, each of which follows from at most three others.

Full adders are found in what Yosys makes of them, because most bits of adder graphs belong to one.
"""

from typing import NamedTuple

__all__ = ["ADDER", "ONE", "ZERO", "Bit", "Logic", "Word"]

ZERO, ONE = 0, 1
"""Numbers of the constant bits."""

Word = list[int]
"""Numbers of bits, least significant first."""

ADDER = ("parity", "majority")
"""The outputs of a full adder."""


class Bit(NamedTuple):
    """How a bit follows from others: its kind, and the numbers of its operands."""

    kind: str
    operands: tuple[int, ...]


class Logic:
    """All bits of a module. Equal bits have the same number."""

    def __init__(self) -> None:
        self.bits = [Bit("constant", ()), Bit("constant", ())]
        self._numbers: dict[Bit, int] = {}

    def new(self, kind: str) -> int:
        """Return a new bit that does not follow from others."""
        self.bits.append(Bit(kind, ()))
        return len(self.bits) - 1

    def find(self, kind: str, operands: tuple[int, ...]) -> int:
        """Return the number of a bit, or -1 if there is none."""
        return self._numbers.get(Bit(kind, operands), -1)

    def _get(self, kind: str, *operands: int) -> int:
        bit = Bit(kind, operands)
        if (number := self._numbers.get(bit)) is None:
            number = self._numbers[bit] = len(self.bits)
            self.bits.append(bit)
        return number

    def inverse(self, a: int) -> int:
        """Return ``~a``."""
        if a <= ONE:
            return ONE - a
        kind, operands = self.bits[a]
        return operands[0] if kind == "not" else self._get("not", a)

    def conjunction(self, a: int, b: int) -> int:
        """Return ``a & b``."""
        if a > b:
            a, b = b, a
        if a <= ONE:
            return b if a == ONE else ZERO
        if a == b:
            return a
        for x, y in ((a, b), (b, a)):
            kind, operands = self.bits[y]
            if kind == "not":
                return ZERO if operands[0] == x else self._get("and not", x, operands[0])
        return self._get("and", a, b)

    def disjunction(self, a: int, b: int) -> int:
        """Return ``a | b``; the carry of a full adder, ``(x & y) | (c & (x ^ y))``, as a majority."""
        if a > b:
            a, b = b, a
        if a <= ONE:
            return b if a == ZERO else ONE
        if a == b:
            return a
        for product, other in ((a, b), (b, a)):
            factors = sorted(self._factors(product))
            for carry, half_sum in (pair := self._factors(other), pair[::-1]) if self._factors(other) else ():
                kind, operands = self.bits[half_sum]
                if kind == "xor" and list(operands) == factors:
                    return self.majority(*factors, carry)
        return self._get("or", a, b)

    def _factors(self, a: int) -> tuple[int, ...]:
        """Return the two operands of a conjunction, and nothing for any other bit."""
        kind, operands = self.bits[a]
        if kind == "and not":
            return operands[0], self.inverse(operands[1])
        return operands if kind == "and" else ()

    def difference(self, a: int, b: int) -> int:
        """Return ``a ^ b``; the sum of a full adder, ``x ^ y ^ c``, as a parity."""
        if a > b:
            a, b = b, a
        if a <= ONE:
            return b if a == ZERO else self.inverse(b)
        if a == b:
            return ZERO
        for half_sum, carry in ((a, b), (b, a)):
            kind, operands = self.bits[half_sum]
            if kind == "xor":
                return self.parity(*operands, carry)
        return self._get("xor", a, b)

    def parity(self, a: int, b: int, c: int) -> int:
        """Return ``a ^ b ^ c``."""
        a, b, c = sorted((a, b, c))
        if a <= ONE:
            rest = ZERO if b == c else self._get("xor", b, c) if b > ONE else self.difference(b, c)
            return self.difference(a, rest)
        if a == b:
            return c
        return a if b == c else self._get("parity", a, b, c)

    def majority(self, a: int, b: int, c: int) -> int:
        """Return what at least two of three bits are."""
        a, b, c = sorted((a, b, c))
        if a == ZERO:
            return self.conjunction(b, c)
        if a == ONE:
            return self.disjunction(b, c)
        return b if b in (a, c) else self._get("majority", a, b, c)

    def choice(self, condition: int, a: int, b: int) -> int:
        """Return ``condition ? a : b``."""
        if a == b or condition == ONE:
            return a
        if condition == ZERO:
            return b
        if a <= ONE:
            return self.disjunction(condition, b) if a else self.conjunction(self.inverse(condition), b)
        if b <= ONE:
            return self.disjunction(self.inverse(condition), a) if b else self.conjunction(condition, a)
        return self._get("choice", condition, a, b)

    def total(self, a: Word, b: Word) -> Word:
        """Return ``a + b`` for words of equal width."""
        total, carry = [], ZERO
        for x, y in zip(a, b, strict=True):
            total.append(self.parity(x, y, carry))
            carry = self.majority(x, y, carry)
        return total

    def any(self, word: Word) -> int:
        """Return the OR of all bits."""
        bit = ZERO
        for other in word:
            bit = self.disjunction(bit, other)
        return bit

    def all(self, word: Word) -> int:
        """Return the AND of all bits."""
        return self.inverse(self.any([self.inverse(bit) for bit in word]))
