"""The modules that are mutated, and their tests."""

import json

import pytest

from tests.mutation.targets import TARGETS, Target
from tests.mutation.trees import ROOT

EQUIVALENT = json.loads((ROOT / "tests/mutation/equivalent.json").read_text())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_every_path_exists(target: Target):
    """A path that does not exist would end pytest with an error, as a mutant that the tests notice does."""
    for path in (target.module, *target.tests):
        file, _, test = path.partition("::")
        assert (ROOT / file).is_file(), path
        assert not test or f"def {test}(" in (ROOT / file).read_text(), path


@pytest.mark.parametrize("module", sorted({entry["module"] for entry in EQUIVALENT}))
def test_reasons_are_for_lines_that_exist(module):
    lines = {line.strip() for line in (ROOT / module).read_text().splitlines()}
    assert [
        entry["before"] for entry in EQUIVALENT if entry["module"] == module and entry["before"] not in lines
    ] == []
