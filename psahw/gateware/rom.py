"""Read-only memories in block RAM or in LUTs, as the plan decides and not the synthesiser."""

import numpy as np
from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib.memory import Memory

from ..architecture.device import LUT_ROM_WORDS

__all__ = ["STYLES", "pack_words", "read", "rom", "style_for"]

STYLES = ("block", "distributed")


def style_for(depth: int) -> str:
    """Return the style of a memory of ``depth`` words that the plan does not decide: LUTs if two per bit suffice."""
    return "distributed" if depth <= LUT_ROM_WORDS else "block"


def rom(*, shape: ShapeLike, words: list[int], style: str) -> Memory:
    """Return a memory that holds ``words`` in ``"block"`` RAM or ``"distributed"``, in LUTs.

    ``rom_style`` is Vivado's attribute (UG901). Yosys gives precedence to ``ram_style``, in which "distributed" means
    LUT RAM, which it cannot initialise; "registers" leads to LUTs. Raises ValueError if the style is unknown.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    attrs = {"rom_style": style} | ({"ram_style": "registers"} if style == "distributed" else {})
    return Memory(shape=shape, depth=len(words), init=words, attrs=attrs)


def read(m: Module, memory: Memory, address, *, style: str, name: str, en=1, keep: bool = False) -> Value:
    """Return the word of a ROM at ``address``, one clock cycle with ``en`` high later.

    A ROM in LUTs registers the address instead of the word, because it has fewer bits. The reader should register
    the word again. With ``keep``, it is not joined
    with those of other parts of a memory.
    """
    if style == "block":
        port = memory.read_port()
        m.d.comb += [port.addr.eq(address), port.en.eq(en)]
    else:
        port = memory.read_port(domain="comb")
        waiting = Signal(
            len(port.addr), name=f"{name}_address", reset_less=True, attrs={"keep": "TRUE"} if keep else {}
        )
        with m.If(en):
            m.d.sync += waiting.eq(address)
        m.d.comb += port.addr.eq(waiting)
    return port.data


def pack_words(values: np.ndarray, bits: int) -> list[int]:
    """Return each row of a 2-D array as one word: ``bits`` bits per element, two's complement, the first lowest."""
    spread = (values.astype(np.int64)[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
