"""Memory layouts of the buffers that bring elements into another order: banks, sliding windows, transposition.

The gateware builds its memories to these numbers, and the planner counts their resources.
"""

from dataclasses import dataclass
from math import gcd

from .geometry import SlidingWindow

__all__ = ["BankLayout", "TransposeBuffer", "WindowBuffer", "bank_count"]


def bank_count(i_lanes: int, o_lanes: int) -> int:
    """Return the least power of two that is at least as large as both numbers of lanes."""
    return 1 << (max(i_lanes, o_lanes) - 1).bit_length()


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class BankLayout:
    """A memory of elements, of which several successive ones are written and several are read per clock cycle.

    Element ``n`` lies in bank ``n mod banks``, at word ``n // banks``. Successive elements, and elements ``step``
    apart where ``step mod banks = 1``, therefore lie in different banks.

    Parameters
    ----------
    depth
        Elements, a multiple of ``banks``.
    i_lanes, o_lanes
        Elements written and read per clock cycle.
    i_align, o_align
        Every address written or read is a multiple of this.
    step
        Distance between the elements that are read together, 1 modulo ``banks`` if ``o_lanes`` exceeds 1.
    """

    depth: int
    i_lanes: int
    o_lanes: int
    i_align: int = 1
    o_align: int = 1
    step: int = 1

    @property
    def banks(self) -> int:
        """Number of banks, a power of two."""
        return bank_count(self.i_lanes, self.o_lanes)

    @property
    def words(self) -> int:
        """Elements in each bank."""
        return self.depth // self.banks

    @property
    def i_starts(self) -> range:
        """Banks in which the first element of a write can lie."""
        return range(0, self.banks, gcd(self.i_align, self.banks))

    @property
    def o_starts(self) -> range:
        """Banks in which the first element of a read can lie."""
        return range(0, self.banks, gcd(self.o_align, self.banks))

    @property
    def is_one_memory(self) -> bool:
        """True if all banks always use the same word, so that one memory with wide words can hold them."""
        one_word_written = self.i_lanes <= self.i_starts.step
        one_word_read = self.o_lanes == 1 or (self.step == 1 and self.o_lanes <= self.o_starts.step)
        return one_word_written and one_word_read


@dataclass(frozen=True)
class WindowBuffer:
    """The ring of rows from which windows are read.

    A beat wider than a row of a window reads several rows at once, each from a copy of the ring.

    Parameters
    ----------
    window
        The window, and the grid that it slides over.
    channels
        Elements at each position of the grid.
    i_lanes
        Elements of an input beat, a divisor of ``width·channels``.
    o_lanes
        Elements of an output beat: a divisor of a window's row, or a row times a divisor of their number.
    """

    window: SlidingWindow
    channels: int
    i_lanes: int
    o_lanes: int

    @property
    def copies(self) -> int:
        """Copies of the ring: rows of a window that are read at once."""
        return -(-self.o_lanes // (self.window.size[1] * self.channels))

    @property
    def row_lanes(self) -> int:
        """Elements of an output beat that come from one row."""
        return self.o_lanes // self.copies

    @property
    def pitch(self) -> int:
        """Elements of memory for a row: those of the row, rounded up to whole words of all banks."""
        return _rounded_up(self.window.width * self.channels, bank_count(self.i_lanes, self.row_lanes))

    @property
    def layout(self) -> BankLayout:
        """The memory of each copy.

        An address is that of a row, plus a multiple of each distance that occurs within a row.
        """
        window, row = self.window, self.window.size[1] * self.channels
        written = [self.i_lanes] if self.i_lanes < window.width * self.channels else []
        read = [window.padding[2] * self.channels]
        read += [window.stride[1] * self.channels] if window.grid[1] > 1 else []
        read += [self.row_lanes] if self.row_lanes < row else []
        return BankLayout(
            depth=window.buffered_rows * self.pitch,
            i_lanes=self.i_lanes,
            o_lanes=self.row_lanes,
            i_align=gcd(self.pitch, *written),
            o_align=gcd(self.pitch, *read),
        )


@dataclass(frozen=True)
class TransposeBuffer:
    """A memory for two frames that are written row by row and read column by column.

    With more than one lane on both sides, rows lie ``row_pitch = 1 (mod banks)`` elements apart, so that element
    (row, column) is in bank ``(row + column) mod banks``: neither the elements of a row nor those of a column meet in
    a bank. With one lane on a side, elements that move together are neighbours in one wide memory.

    Parameters
    ----------
    rows, columns
        Shape of a frame as it is written.
    i_lanes
        Elements of a row written at once, a divisor of ``columns``.
    o_lanes
        Elements of a column read at once, a divisor of ``rows``.
    """

    rows: int
    columns: int
    i_lanes: int
    o_lanes: int

    @property
    def pitches(self) -> tuple[int, int]:
        """Distance in memory from a row to the next, and from a column to the next."""
        banks = bank_count(self.i_lanes, self.o_lanes)
        if self.i_lanes == 1:
            return 1, _rounded_up(self.rows, banks)
        if self.o_lanes == 1:
            return _rounded_up(self.columns, banks), 1
        return self.columns + (1 - self.columns) % banks, 1

    @property
    def half(self) -> int:
        """Elements of memory for one frame."""
        row_pitch, column_pitch = self.pitches
        used = (self.rows - 1) * row_pitch + (self.columns - 1) * column_pitch + 1
        return _rounded_up(used, bank_count(self.i_lanes, self.o_lanes))

    @property
    def layout(self) -> BankLayout:
        """The memory of both frames."""
        row_pitch, column_pitch = self.pitches
        return BankLayout(
            depth=2 * self.half,
            i_lanes=self.i_lanes,
            o_lanes=self.o_lanes,
            i_align=gcd(self.i_lanes * column_pitch, row_pitch),
            o_align=gcd(self.o_lanes * row_pitch, column_pitch),
            step=row_pitch if self.i_lanes > 1 and self.o_lanes > 1 else 1,
        )
