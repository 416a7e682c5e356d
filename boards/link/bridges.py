"""Baud rates that the boards' USB bridges can generate."""

from fractions import Fraction

from psahw.errors import UserError

__all__ = ["check_rate"]

TOLERANCE = Fraction(1, 50)  # out of the 3 % by which the other end may deviate (`psahw.boards.link.uart.Receiver`)

_FTDI_HZ = {
    "FT232R": (3_000_000,),
    "FT231X": (3_000_000,),
    "FT2232H": (12_000_000, 3_000_000),
    "FT4232H": (12_000_000, 3_000_000),
}
"""Clocks of FTDI's bridges, which they divide by 1, 1.5, or 2 to 16,384 in steps of 1/8 (FTDI AN232B-05).

The H series has 12 MHz as well: its data sheets (DS_FT2232H, DS_FT4232H) state 183 baud to 12
Mbaud.
"""
_FTDI_MAX_DIVISOR = 16_384

_RATES = {
    "CP2103": (
        *(300, 600, 1200, 1800, 2400, 4000, 4800, 7200, 9600, 14_400, 16_000, 19_200, 28_800, 38_400, 51_200, 56_000),
        *(57_600, 64_000, 76_800, 115_200, 128_000, 153_600, 230_400, 250_000, 256_000, 460_800, 500_000, 576_000),
        *(921_600, 1_000_000),
    )
}
"""Rates of bridges that support a fixed set; the driver rounds any request to one of them.

Source: Silicon Labs AN205, table 1, and the CP2103's data sheet for 1 Mbaud.
"""


def _ftdi_divisors(ratio: Fraction) -> list[Fraction]:
    """Return the possible divisors next to ``ratio``."""
    if ratio < 2:
        return [Fraction(1), Fraction(3, 2), Fraction(2)]
    eighths = int(8 * ratio)
    return [min(Fraction(n, 8), Fraction(_FTDI_MAX_DIVISOR)) for n in (eighths, eighths + 1)]


def _rates(bridge: str, baud: int) -> list[Fraction]:
    """Return the rates of ``bridge``, or at least those next to ``baud``; an empty list for an unknown bridge."""
    if bridge in _FTDI_HZ:
        return [hz / divisor for hz in _FTDI_HZ[bridge] for divisor in _ftdi_divisors(Fraction(hz, baud))]
    return [Fraction(rate) for rate in _RATES.get(bridge, ())]


def check_rate(bridge: str, baud: int) -> None:
    """Raise UserError if ``bridge`` cannot generate a baud rate within 2 %.

    Only bridges of FTDI and Silicon Labs are known; any other bridge passes.
    """
    rates = _rates(bridge, baud)
    if rates and all(abs(rate - baud) > TOLERANCE * baud for rate in rates):
        nearest = sorted({round(rate) for rate in rates}, key=lambda rate: abs(rate - baud))[:2]
        listed = " and ".join(map(str, sorted(nearest)))
        raise UserError(f"the board's {bridge} cannot run at {baud} baud; the nearest rates it supports are {listed}")
