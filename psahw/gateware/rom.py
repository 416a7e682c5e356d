"""Read-only memories in block RAM or in LUTs, as the plan says and not as a synthesiser guesses."""

import numpy as np
from amaranth.hdl import ShapeLike
from amaranth.lib.memory import Memory

__all__ = ["STYLES", "pack_words", "rom", "style_for"]

STYLES = ("block", "distributed")

DISTRIBUTED_DEPTH = 128  # two LUT6 for each bit of a word


def style_for(depth: int) -> str:
    """The style of a memory of ``depth`` words whose place nobody chose: LUTs while two a bit are enough."""
    return "distributed" if depth <= DISTRIBUTED_DEPTH else "block"


def rom(*, shape: ShapeLike, words: list[int], style: str) -> Memory:
    """A memory that holds ``words`` in ``style``: ``"block"`` RAM or ``"distributed"``, in LUTs.

    ``rom_style`` is Vivado's attribute (UG901). Yosys reads ``ram_style`` before it, and "distributed" there
    means LUT RAM, which it cannot initialise; "registers" gives the LUTs. Raises ValueError for another style.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    attrs = {"rom_style": style} | ({"ram_style": "registers"} if style == "distributed" else {})
    return Memory(shape=shape, depth=len(words), init=words, attrs=attrs)


def pack_words(values: np.ndarray, bits: int) -> list[int]:
    """Each row of a 2-D array as one word: ``bits`` bits an element, two's complement, the first lowest."""
    spread = (values.astype(np.int64)[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
