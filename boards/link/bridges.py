"""The rates that the boards' USB bridges can make."""

from fractions import Fraction

from psahw.errors import UserError

__all__ = ["check"]

TOLERANCE = Fraction(1, 50)  # of the 3 % by which the other end may be off (`psahw.boards.link.uart`)

_FTDI_HZ = {
    "FT232R": (3_000_000,),
    "FT231X": (3_000_000,),
    "FT2232H": (12_000_000, 3_000_000),
    "FT4232H": (12_000_000, 3_000_000),
}
"""FTDI AN232B-05: 3 MHz divided by 1, 1.5, or 2 to 16,384 in steps of an eighth. The H series has 12 MHz as well:
its data sheets (DS_FT2232H, DS_FT4232H) say 183 baud to 12 Mbaud."""
_FTDI_MOST = 16_384

_RATES = {
    "CP2103": (
        *(300, 600, 1200, 1800, 2400, 4000, 4800, 7200, 9600, 14_400, 16_000, 19_200, 28_800, 38_400, 51_200, 56_000),
        *(57_600, 64_000, 76_800, 115_200, 128_000, 153_600, 230_400, 250_000, 256_000, 460_800, 500_000, 576_000),
        *(921_600, 1_000_000),
    )
}
"""Silicon Labs AN205, table 1; 1 Mbaud by the CP2103's data sheet. The driver takes one of them for what is asked."""


def _divisors(ratio: Fraction) -> list[Fraction]:
    """Those beside ``ratio``."""
    if ratio < 2:
        return [Fraction(1), Fraction(3, 2), Fraction(2)]
    eighths = int(8 * ratio)
    return [min(Fraction(n, 8), Fraction(_FTDI_MOST)) for n in (eighths, eighths + 1)]


def _rates(bridge: str, baud: int) -> list[Fraction]:
    """Those that ``bridge`` can make, beside ``baud`` at least; none if nothing is known of it."""
    if bridge in _FTDI_HZ:
        return [hz / divisor for hz in _FTDI_HZ[bridge] for divisor in _divisors(Fraction(hz, baud))]
    return [Fraction(rate) for rate in _RATES.get(bridge, ())]


def check(bridge: str, baud: int) -> None:
    """Raises UserError for a rate that ``bridge`` cannot make to 2 %. Of other bridges than FTDI's and Silicon Labs'
    nothing is known."""
    rates = _rates(bridge, baud)
    if rates and all(abs(rate - baud) > TOLERANCE * baud for rate in rates):
        near = sorted({round(rate) for rate in rates}, key=lambda rate: abs(rate - baud))[:2]
        named = " and ".join(map(str, sorted(near)))
        raise UserError(f"the board's {bridge} cannot make {baud} baud; the nearest that it can are {named}")
