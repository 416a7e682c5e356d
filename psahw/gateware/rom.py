"""Read-only memories in block RAM or in LUTs, as the plan says and not as a synthesiser guesses."""

import numpy as np
from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib.memory import Memory

from ..architecture.device import LUT_ROM_WORDS

__all__ = ["STYLES", "pack_words", "read", "rom", "style_for"]

STYLES = ("block", "distributed")


def style_for(depth: int) -> str:
    """The style of a memory of ``depth`` words whose place nobody chose: LUTs while two a bit are enough."""
    return "distributed" if depth <= LUT_ROM_WORDS else "block"


def rom(*, shape: ShapeLike, words: list[int], style: str) -> Memory:
    """A memory that holds ``words`` in ``style``: ``"block"`` RAM or ``"distributed"``, in LUTs.

    ``rom_style`` is Vivado's attribute (UG901). Yosys reads ``ram_style`` before it, and "distributed" there
    means LUT RAM, which it cannot initialise; "registers" gives the LUTs. Raises ValueError for another style.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    attrs = {"rom_style": style} | ({"ram_style": "registers"} if style == "distributed" else {})
    return Memory(shape=shape, depth=len(words), init=words, attrs=attrs)


def read(m: Module, memory: Memory, address, en, *, style: str, name: str) -> Value:
    """The word at ``address`` a cycle later, ``en`` enabling, for what registers it again: of a ROM in LUTs it is the
    address that waits, of which there are fewer bits."""
    if style == "block":
        port = memory.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(en)]
    else:
        port = memory.read_port(domain="comb")
        waiting = Signal(len(port.addr), name=f"{name}_address", reset_less=True)
        with m.If(en):
            m.d.sync += waiting.eq(address)
        m.d.comb += port.addr.eq(waiting)
    return port.data


def pack_words(values: np.ndarray, bits: int) -> list[int]:
    """Each row of a 2-D array as one word: ``bits`` bits an element, two's complement, the first lowest."""
    spread = (values.astype(np.int64)[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
