"""Every reader takes damaged input, within bounds of time and memory, and leaves nothing behind."""

import pytest

from .cases import fuzz
from .readers import READERS

CASES = 200


@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_reader(reader):
    """The cases are always the same; `make fuzz` tries others."""
    counts = fuzz(reader, CASES, derandomize=True)
    assert counts.refused > 0 and counts.accepted + counts.refused >= CASES
