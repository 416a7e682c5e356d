"""Run the torture tests of the link at length, and print the counts as JSON.

    python -m tests.torture [FRAMES]

They are FRAMES damaged frames over a UART, and as many images classified by the host over a UART and over UDP; 10,000
unless given.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from psahw.boards.simulated import CYCLES_PER_BIT
from psahw.callbacks import counter
from psahw.cli.output import progress
from psahw.sim import board
from tests.torture import by_hand, by_host, udp_line, write_board, write_udp_board

SEED = 20_000
GLITCHES = 200_000  # clock cycles between two glitches of the UART's line
DAMAGE = 10  # one in this many Ethernet frames is damaged


def main(arguments: list[str]) -> int:
    """Run the tests, and return 0 if they pass, 1 if there was a wrong answer, and 2 for wrong use."""
    if len(arguments) > 1 or not all(argument.isdecimal() for argument in arguments):
        print("usage: python -m tests.torture [FRAMES]", file=sys.stderr)
        return 2
    frames = int(arguments[0]) if arguments else 10_000
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        baud = write_board(folder)
        start = time.monotonic()
        with (
            board.running(folder, board.Uart(CYCLES_PER_BIT)) as port,
            progress("damaged frames") as report,
        ):
            hand = by_hand(port, frames, seed=SEED, progress=counter(report, frames))
        hand["seconds"] = round(time.monotonic() - start, 1)
        with (
            board.running(folder, board.Uart(CYCLES_PER_BIT, glitches=GLITCHES)) as port,
            progress("images") as report,
        ):
            host = by_host(port, baud, frames, seed=SEED, share=0.2, timeout=0.1, progress=counter(report, frames))
    with tempfile.TemporaryDirectory() as folder:
        write_udp_board(Path(folder))
        with board.running(folder, udp_line(DAMAGE)) as port, progress("images over UDP") as report:
            udp = by_host(port, None, frames, seed=SEED, share=0.1, timeout=0.1, progress=counter(report, frames))
    result = {"by_hand": hand, "by_host": host, "by_udp": udp}
    print(json.dumps({**result, "seed": SEED, "glitches": GLITCHES, "damage": DAMAGE}, indent=2))
    return any(counts["wrong_answers"] or counts.get("mismatched_logits") for counts in result.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
