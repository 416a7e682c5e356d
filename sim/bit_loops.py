"""Write modules that handle single bits as loops, which Verilator builds and simulates much faster.

A digit-serial adder graph gathers the bits of its operands from hundreds of registers. Verilator writes a shift, a
mask and an OR for every bit: 100 MB of C++ for a network with ten such graphs. `rewrite` replaces such a module by
one with the same ports and the same behaviour in every clock cycle. It has all bits in an array, one element for each
bit, and calls C++ functions that are short lists of loops over it::

    gather(v, v + 16791, t + 2048, 400);                                          // one operand of 400 full adders
    each(v + 12300, 400, Parity(), Run{v + 16791}, Run{v + 17400}, Run{v + 850});    // their sums
    each(v + 12700, 400, Majority(), Run{v + 16791}, Run{v + 17400}, Run{v + 850});  // their carries

First come the bits that follow from registers and inputs only, then those that follow from these, and so on. Then all
registers take their new values, and the outputs follow from them. Bits are placed so that most loops run through
neighbours, for which the compiler uses vector instructions. A module stays as it is if it has anything but the logic
and the registers that Yosys writes for adder graphs, or an output that depends on an input without a register between
them. A warning is logged then, because the simulation takes longer.
"""

import logging
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from psahw.quoting import QUOTE_LIMIT, printable

from .bit_logic import ADDER, ONE, ZERO, Logic
from .bit_reader import NAME, Reader, Unsupported, Words

__all__ = ["rewrite"]

_logger = logging.getLogger(__name__)

HEADER = Path(__file__).with_name("bit_loops.h")

_MODULE = re.compile(rf"^module ({NAME}) ?\(([^)]*)\);\n(.*?)^endmodule\n", re.MULTILINE | re.DOTALL)

_FUNCTIONS = {
    "not": "Not",
    "and": "And",
    "and not": "AndNot",
    "or": "Or",
    "xor": "Xor",
    "choice": "Choice",
    "parity": "Parity",
    "majority": "Majority",
}
"""The names of functions in sim/bit_loops.h."""

_RUN = 16  # rows that are worth a loop of their own
_ROUNDS = 2  # of sorting


class _Row(NamedTuple):
    """A bit, or the two outputs of a full adder, and what they follow from."""

    targets: tuple[int, ...]
    operands: tuple[int, ...]
    inverted: int  # 1 if operand b of a full adder is inverted


class _Loop(NamedTuple):
    """Bits of one kind, or of the two kinds of full adders."""

    kinds: tuple[str, ...]
    rows: list[_Row]


def _row(logic: Logic, targets: tuple[int, ...], successors: dict[int, int]) -> _Row:
    """Return a row. A full adder inverts operand b itself, and its carry is operand c if it can be told."""
    bits = logic.bits
    operands = bits[targets[0]].operands
    if bits[targets[0]].kind not in ADDER:
        return _Row(targets, operands, 0)

    def is_carry(bit: int) -> bool:
        new = successors.get(bit, bit)
        return bits[new].kind == "majority" or any(bits[other].kind == "majority" for other in bits[new].operands)

    a, b, c = sorted(operands, key=lambda bit: (is_carry(bit), bits[bit].kind == "not"))
    if bits[c].kind == "not":
        b, c = c, b
    elif bits[a].kind == "not":
        a, b = b, a
    if bits[b].kind == "not":
        return _Row(targets, (a, bits[b].operands[0], c), 1)
    return _Row(targets, (a, b, c), 0)


def _loops(logic: Logic, wanted: Sequence[int], successors: dict[int, int]) -> list[_Loop]:
    """Return loops that compute bits, and all that these depend on, in order.

    ``successors`` has what registers take.
    """
    bits = logic.bits
    rows: dict[int, _Row] = {}
    levels: dict[int, int] = {}
    groups: dict[tuple[int, tuple[str, ...]], list[_Row]] = defaultdict(list)
    stack = [(number, False) for number in reversed(wanted)]
    while stack:
        number, complete = stack.pop()
        if number in levels:
            continue
        kind, operands = bits[number]
        if operands and number not in rows:
            rows[number] = _row(logic, (number,), successors)
        needed = rows[number].operands if operands else ()
        if complete or not needed:
            levels[number] = 1 + max((levels[other] for other in needed), default=-1)
        else:
            stack.append((number, True))
            stack += [(other, False) for other in reversed(needed) if other not in levels]
    for number, level in levels.items():
        kind, operands = bits[number]
        if not operands:
            continue
        kinds: tuple[str, ...] = (kind,)
        if kind in ADDER:
            both = [logic.find(other, operands) for other in ADDER]
            targets = tuple(other for other in both if other in levels)
            if targets[0] != number:
                continue
            kinds = tuple(bits[other].kind for other in targets)
            rows[number] = rows[number]._replace(targets=targets)
        groups[level, kinds].append(rows[number])
    return [_Loop(kinds, group) for (_, kinds), group in sorted(groups.items())]


class _Writer:
    """Writes the Verilog of a module that has been read."""

    def __init__(self, name: str, ports: str, reader: Reader) -> None:
        self._name, self._ports, self._reader = name, ports, reader
        logic, words = reader.logic, reader.word
        if not reader.registers:
            raise Unsupported("no registers")
        self._inputs, self._outputs = (
            [name for name, direction in reader.directions.items() if direction == wanted and name != "clk"]
            for wanted in ("input", "output")
        )
        self._successors: dict[int, int] = {}
        for register, text in reader.registers.items():
            word = words(register)
            self._successors |= zip(word, Words(reader, text).only(len(word)), strict=True)
        self._cycle = _loops(logic, list(self._successors.values()), self._successors)
        self._after = _loops(logic, [bit for name in self._outputs for bit in words(name)], self._successors)
        results = [bit for name in self._outputs for bit in words(name)]
        if any(logic.bits[bit].kind == "input" for bit in (*results, *self._operands(self._after))):
            raise Unsupported("an output depends on an input")
        self._place()
        for _ in range(_ROUNDS):
            self._sort()
            self._place()

    @staticmethod
    def _operands(loops: list[_Loop]) -> Iterator[int]:
        """Yield the operands of all rows of loops."""
        return (bit for loop in loops for row in loop.rows for bit in row.operands)

    def _place(self) -> None:
        """Give every bit a place in the array: constants, registers, inputs, and what follows from these.

        Registers are in the order of what they take, so that most loops run through the array.
        """
        places = {ZERO: 0, ONE: 1}
        bits = [bit for name in self._inputs for bit in self._reader.word(name)]
        for loop in (*self._cycle, *self._after):
            for targets in zip(*(row.targets for row in loop.rows), strict=True):
                bits += targets
        for place, bit in enumerate(dict.fromkeys(bits), 2 + len(self._successors)):
            places[bit] = place
        self._size = 2 + len(self._successors) + len(dict.fromkeys(bits))
        pairs: list[tuple[int, int]] = []
        rest = list(self._successors.items())
        while rest:
            # What follows from others first, then registers that take the values of these, and so on; in the end
            # registers that take each other's values.
            ready = sorted((places[new], register, new) for register, new in rest if new in places)
            ready = ready or [(0, register, new) for register, new in rest]
            if not pairs:
                self._direct = len(ready)
            for place, (_, register, _) in enumerate(ready, 2 + len(pairs)):
                places[register] = place
            pairs += [(register, new) for _, register, new in ready]
            rest = [(register, new) for register, new in rest if register not in places]
        self._places, self._pairs = places, pairs

    def _sort(self) -> None:
        """Sort the rows of every loop by the places of their operands, so that neighbours have neighbours."""
        places, bits = self._places, self._reader.logic.bits
        users = {other: row for loop in self._cycle for row in loop.rows for other in row.operands}
        for loop in self._cycle:
            if loop.kinds[0] in ADDER:

                def by_carry(row: _Row) -> tuple[str, int, int]:
                    user = users.get(row.targets[-1])
                    if user is None:
                        return "", 0, places[row.operands[2]]
                    others = [places[bit] for bit in user.operands if bits[bit].kind not in ADDER]
                    return bits[user.targets[0]].kind, min(others, default=0), places[row.operands[2]]

                loop.rows.sort(key=by_carry)
            else:
                columns = list(zip(*(row.operands for row in loop.rows), strict=True))
                order = sorted(range(len(columns)), key=lambda n: len(set(columns[n])))
                loop.rows.sort(key=lambda row: [places[row.operands[n]] for n in order])

    def _table(self, values: Sequence[int]) -> str:
        """Add numbers to the table, and return where they are."""
        start = len(self._numbers)
        self._numbers += values
        return f"t + {start}"

    def _gathered(self, places: Sequence[int], scratch: int) -> Iterator[str]:
        """Yield the C++ statement that copies bits side by side to a scratch place."""
        yield f"gather(v, v + {scratch}, {self._table(places)}, {len(places)});"

    def _copies(self, targets: Sequence[int], sources: Sequence[int]) -> Iterator[str]:
        """Yield C++ statements that copy bits from places to others that are side by side."""
        at = 0
        for part in _parts([sources]):
            run, target = sources[part], targets[at]
            if len(run) > 1 and _rising_run(run):
                yield f"copy(v + {target}, v + {run[0]}, {len(run)});"
            else:
                yield from self._gathered(run, target)
            at = part.stop

    def _columns(self, rows: Iterable[tuple[int, ...]]) -> list[list[int]]:
        """Return the places of bits in rows, column by column."""
        return [[self._places[bit] for bit in column] for column in zip(*rows, strict=True)]

    def _statements(self, loops: list[_Loop]) -> Iterator[str]:
        """Yield the C++ statements for loops."""
        for loop in loops:
            adder = loop.kinds[0] in ADDER
            columns = self._columns(row.operands for row in loop.rows)
            targets = self._columns(row.targets for row in loop.rows)
            for part in _parts([*targets, *(columns[-1:] if adder else columns)]):
                yield from self._part(
                    loop, [column[part] for column in targets], [column[part] for column in columns], loop.rows[part]
                )

    def _part(
        self, loop: _Loop, targets: list[list[int]], columns: list[list[int]], rows: list[_Row]
    ) -> Iterator[str]:
        """Yield the C++ statements for some rows of a loop."""
        operands = []
        for n, places in enumerate(columns):
            scratch = self._scratch + n * self._longest
            if _constant_run(places):
                operands.append(f"Same{{v[{places[0]}]}}")
            elif _rising_run(places):
                operands.append(f"Run{{v + {places[0]}}}")
            else:
                yield from self._gathered(places, scratch)
                operands.append(f"Run{{v + {scratch}}}")
        if any(row.inverted for row in rows):
            inverted = self._table([row.inverted for row in rows])
            scratch = self._scratch + len(columns) * self._longest
            yield f"each(v + {scratch}, {len(rows)}, Xor(), {operands[1]}, Table{{{inverted}}});"
            operands[1] = f"Run{{v + {scratch}}}"
        for kind, places in zip(loop.kinds, targets, strict=True):
            if not _rising_run(places):
                raise Unsupported("targets that are not side by side")
            yield f"each(v + {places[0]}, {len(rows)}, {_FUNCTIONS[kind]}(), {', '.join(operands)});"

    def write(self, function: str) -> tuple[str, str]:
        """Return the module in Verilog, and in C++ the functions that it calls, whose names begin as given."""
        reader, places = self._reader, self._places
        self._numbers: list[int] = []
        self._longest = max((len(loop.rows) for loop in (*self._cycle, *self._after)), default=1)
        moved = len(self._pairs) - self._direct
        self._scratch = self._size + moved
        end = self._scratch + 4 * self._longest
        registers, following = ([places[bit] for bit in column] for column in zip(*self._pairs, strict=True))
        cycle = list(self._statements(self._cycle))
        if moved:
            cycle += self._gathered(following[self._direct :], self._size)
        cycle += self._copies(registers[: self._direct], following[: self._direct])
        if moved:
            cycle.append(f"copy(v + {registers[self._direct]}, v + {self._size}, {moved});")
        after = list(self._statements(self._after))
        ports: dict[str, int] = {}
        for name in self._outputs:
            ports[name] = end
            after += self._gathered([places[bit] for bit in reader.word(name)], end)
            end += reader.widths[name]
        known = [bit for bit in self._successors if bit in reader.initial]
        first = self._table([places[bit] for bit in known])
        values = self._table([reader.initial[bit] for bit in known])
        start = ["v[0] = 0;", "v[1] = 1;", f"for (int i = 0; i < {len(known)}; ++i) v[({first})[i]] = ({values})[i];"]
        kind = "uint16_t" if end < 1 << 16 else "uint32_t"
        lines = (", ".join(map(str, self._numbers[at : at + 24])) for at in range(0, len(self._numbers), 24))
        rows = ",\n".join(lines)
        code = f"static const {kind} {function}_t[] = {{\n{rows}}};\n" + "".join(
            f"void {function}_{name}(Bit* v) {{\n  const auto* t = {function}_t;\n  "
            + "\n  ".join(statements)
            + "\n}\n"
            for name, statements in (("start", start + after), ("cycle", cycle + after))
        )
        return self._verilog(function, ports, end), code

    def _verilog(self, function: str, ports: dict[str, int], size: int) -> str:
        """Return the module, with an array of ``size`` bits in which the outputs are at ``ports``."""
        widths, width = self._reader.widths, (size - 1).bit_length()
        lines = [f"module {self._name} ({self._ports});"]
        for name, direction in self._reader.directions.items():
            lines.append(f"  {direction} {_range(widths[name])}{name} ;")
        for n, name in enumerate(ports):
            lines += [f"  reg {_range(widths[name])}{name} ;", f"  reg [{widths[name] - 1}:0] next_{n};"]
        lines.append(f"  reg v [0:{(1 << width) - 1}];")

        def loop(name: str, text: str) -> str:
            return f"    for (int i = 0; i < {widths[name]}; i = i + 1) {text};"

        def call(kind: str, assignment: str) -> Iterator[str]:
            declaration = f"extern void {function}_{kind}(unsigned char*);"
            yield f'    $c("{{ {declaration} {function}_{kind}(&", v[0], "); }}");'
            for n, (name, first) in enumerate(ports.items()):
                yield loop(name, f"next_{n}[i] = v[{width}'({first} + i)]")
                yield f"    {name}  {assignment} next_{n};"

        lines += ["  initial begin", *call("start", "="), "  end", "  always @(posedge clk) begin"]
        for name in self._inputs:
            first = self._places[self._reader.word(name)[0]]
            lines.append(loop(name, f"v[{width}'({first} + i)] = {name} {'[i]' if widths[name] > 1 else ''}"))
        return "\n".join([*lines, *call("cycle", "<="), "  end", "endmodule", ""])


def _range(width: int) -> str:
    """Return the range of a declaration."""
    return f"[{width - 1}:0] " if width > 1 else ""


def _constant_run(places: Sequence[int]) -> bool:
    """Say whether all places are the same."""
    return places.count(places[0]) == len(places)


def _rising_run(places: Sequence[int]) -> bool:
    """Say whether each place follows the one before."""
    return places[-1] - places[0] == len(places) - 1 and list(places) == list(range(places[0], places[-1] + 1))


def _parts(columns: Sequence[Sequence[int]]) -> Iterator[slice]:
    """Yield the parts of a loop over columns of places: long runs without tables, and what is between them."""
    count = len(columns[0])
    begin = at = 0
    while at < count:
        end = at + 1
        steps = [column[end] - column[at] for column in columns] if end < count else []
        if steps and all(step in (0, 1) for step in steps):
            while end < count and all(
                column[end] - column[end - 1] == step for column, step in zip(columns, steps, strict=True)
            ):
                end += 1
        if end - at >= _RUN:
            if begin < at:
                yield slice(begin, at)
            yield slice(at, end)
            begin = at = end
        else:
            at = end if end == at + 1 else end - 1
    if begin < count:
        yield slice(begin, count)


def rewrite(verilog: str, wanted: Callable[[str], bool], prefix: str) -> tuple[str, str]:
    """Return Verilog of Yosys in which modules are written as loops, and the loops in C++.

    Parameters
    ----------
    verilog
        Modules as Yosys writes them.
    wanted
        Says whether a module is to be rewritten, by its name.
    prefix
        Of the names of C++ functions.

    Returns
    -------
    verilog : str
        What Verilator gets.
    code : str
        A C++ file for it; empty if no module was rewritten.
    """
    functions: list[str] = []
    reasons: dict[str, str] = {}

    def rewritten(match: re.Match[str]) -> str:
        name, ports, body = match.groups()
        if not wanted(name):
            return match[0]
        try:
            module, code = _Writer(name, ports, Reader(body)).write(f"{prefix}_{len(functions)}")
        except (Unsupported, ValueError, IndexError, KeyError, RecursionError) as error:
            # Text that no reader foresees must not stop a simulation, which can do without loops.
            reasons[name] = str(error)
            return match[0]
        functions.append(code)
        return module

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        text = _MODULE.sub(rewritten, verilog)
    finally:
        sys.setrecursionlimit(limit)
    if reasons:
        name, reason = next(iter(reasons.items()))
        _logger.warning(
            "%d of %d digit-serial adder graphs cannot be simulated as loops, which takes longer: module %s (%s)",
            len(reasons), len(reasons) + len(functions), printable(name, QUOTE_LIMIT), printable(reason, QUOTE_LIMIT),
        )  # fmt: skip
    return text, "".join([HEADER.read_text(), *functions]) if functions else ""
