"""Where faults are put."""

import pytest

from tests.mutation.mutants import mutant, places


def mutants(source):
    """Return the changed lines of all mutants of a line."""
    return [mutant(source, *place).after for place in places(source)]


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("y = x + 7", ["y = x - 7", "y = x + 8", "y = x + 6"]),
        ("y = x.reshape(-1, n)", ["y = x.reshape(+1, n)"]),
        ("y = x.reshape(2, n)", ["y = x.reshape( 3, n)", "y = x.reshape( 1, n)"]),
        ("y = x[-1]", ["y = x[+1]", "y = x[- 2]", "y = x[- 0]"]),
        ("y = zip(a, b, strict=True)", []),
        ("y = f(a, b, kept=True)", ["y = f(a, b, kept=False)"]),
        ("y = f(*x)", []),
        ("y: Literal[3]", []),
    ],
)
def test_places(source, after):
    """Neither annotations are changed nor what changes nothing."""
    assert [line.replace(" ", "") for line in mutants(source)] == [line.replace(" ", "") for line in after]
