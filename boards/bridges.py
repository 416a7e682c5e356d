"""The rates that the boards' USB bridges can make."""

from fractions import Fraction

from psahw.errors import UserError

__all__ = ["check"]

TOLERANCE = Fraction(1, 50)  # of the 3 % by which the other end may be off (`boards.uart`)

_FTDI_HZ = {"FT232R": 3_000_000, "FT231X": 3_000_000, "FT2232H": 12_000_000, "FT4232H": 12_000_000}
"""FTDI AN232B-05: this divided by 1, 1.5, or 2 to 16,384 in steps of an eighth."""
_FTDI_MOST = 16_384

_MOST = {"CP2103": 1_000_000}  # Silicon Labs AN205


def _divisors(ratio: Fraction) -> list[Fraction]:
    """Those beside ``ratio``."""
    if ratio < 2:
        return [Fraction(1), Fraction(3, 2), Fraction(2)]
    eighths = int(8 * ratio)
    return [min(Fraction(n, 8), Fraction(_FTDI_MOST)) for n in (eighths, eighths + 1)]


def check(bridge: str, baud: int) -> None:
    """Raises UserError for a rate that ``bridge`` cannot make to 2 %. Of other bridges than FTDI's and Silicon Labs'
    nothing is known."""
    if bridge in _MOST and baud > _MOST[bridge]:
        raise UserError(f"the board's {bridge} makes {_MOST[bridge]} baud at most, not {baud}")
    if bridge not in _FTDI_HZ:
        return
    rates = [_FTDI_HZ[bridge] / divisor for divisor in _divisors(Fraction(_FTDI_HZ[bridge], baud))]
    if all(abs(rate - baud) > TOLERANCE * baud for rate in rates):
        near = sorted(rates, key=lambda rate: abs(rate - baud))[:2]
        named = " and ".join(str(round(rate)) for rate in sorted(set(near)))
        raise UserError(f"the board's {bridge} cannot make {baud} baud; the nearest that it can are {named}")
