"""Write the register maps into ``docs/reference/register-map.md``: ``python -m psahw.boards.axi``."""

import sys
from pathlib import Path

from psahw.files import write_whole

from .registers import CORE, KERNEL, markdown

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "register-map.md"
TABLES = {"core": CORE, "kernel": KERNEL}


def fill_tables(page: str) -> str:
    """Return ``page`` with the current tables between their marks.

    Raises
    ------
    ValueError
        If a mark does not occur exactly once.
    """
    for name, table in TABLES.items():
        begin, end = f"<!-- registers: {name} -->\n", f"<!-- end: {name} -->\n"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{PAGE} must contain {begin.strip()!r} and {end.strip()!r} exactly once")
        before, _, rest = page.partition(begin)
        after = rest.partition(end)[2]
        page = f"{before}{begin}\n{markdown(table)}\n\n{end}{after}"
    return page


def main() -> int:
    """Update the page and return the exit status."""
    write_whole(PAGE, fill_tables(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
