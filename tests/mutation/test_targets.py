"""The modules that are mutated, and their tests."""

import pytest

from tests.mutation.targets import TARGETS, Target
from tests.mutation.trees import ROOT


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_every_path_exists(target: Target):
    """A path that does not exist would end pytest with an error, as a mutant that the tests notice does."""
    for path in (target.module, *target.tests):
        file, _, test = path.partition("::")
        assert (ROOT / file).is_file(), path
        assert not test or f"def {test}(" in (ROOT / file).read_text(), path
