"""Baud rates of USB bridges.

FTDI's rates are 3 or 12 MHz divided by 1, 1.5, or eighths from 2 on (AN232B-05 and data sheets).
Silicon Labs' are listed in AN205.
"""

import pytest

from psahw.boards import BOARDS
from psahw.boards.link import bridges
from psahw.errors import UserError


def test_every_board_supports_its_default_rate():
    for board in BOARDS.values():
        bridges.check_rate(board.bridge, board.baud)


@pytest.mark.parametrize("baud", [12_000_000, 8_000_000, 6_000_000, 3_000_000, 921_600, 115_200, 9600, 800, 300])
def test_rates_of_ftdi(baud):
    bridges.check_rate("FT2232H", baud)


@pytest.mark.parametrize("baud", [300, 9600, 117_000, 460_800, 930_000, 1_000_000])
def test_rates_of_silicon_labs(baud):
    bridges.check_rate("CP2103", baud)


@pytest.mark.parametrize(
    ("bridge", "baud", "message"),
    [
        (
            "FT2232H",
            24_000_000,
            "cannot run at 24000000 baud; the nearest rates it supports are 8000000 and 12000000",
        ),
        (
            "FT2232H",
            10_000_000,
            "cannot run at 10000000 baud; the nearest rates it supports are 8000000 and 12000000",
        ),
        ("FT2232H", 7_000_000, "cannot run at 7000000 baud; the nearest rates it supports are 6000000 and 8000000"),
        ("FT232R", 2_500_000, "cannot run at 2500000 baud; the nearest rates it supports are 2000000 and 3000000"),
        ("FT231X", 12_000_000, "cannot run at 12000000 baud; the nearest rates it supports are 2000000 and 3000000"),
        ("FT2232H", 170, "cannot run at 170 baud; the nearest rates it supports are 183 and 732"),
        ("CP2103", 1_100_000, "cannot run at 1100000 baud; the nearest rates it supports are 921600 and 1000000"),
        ("CP2103", 750_000, "cannot run at 750000 baud; the nearest rates it supports are 576000 and 921600"),
        ("CP2103", 400_000, "cannot run at 400000 baud; the nearest rates it supports are 460800 and 500000"),
    ],
)
def test_unsupported_rates(bridge, baud, message):
    with pytest.raises(UserError, match=f"^the board's {bridge} {message}$"):
        bridges.check_rate(bridge, baud)
