"""Names of engines, and rules for which of them a layer may have."""

import re

import pytest

from psahw.adder_graph.parallel import DEPTHS
from psahw.adder_graph.serial import DIGITS
from psahw.errors import UserError
from psahw.planner.rules import Rules, engine_name, graph_name


def test_the_last_rule_counts():
    rules = Rules.parse("mac,parallel", ("stages.*=serial", "stages.1.*=serial:2,mac:4x2"))
    assert rules.allowed("embed", "mac:1x1") and rules.allowed("embed", "parallel")
    assert not rules.allowed("embed", "serial:1")
    assert rules.allowed("stages.0.merge", "serial:8") and not rules.allowed("stages.0.merge", "mac:1x1")
    assert rules.allowed("stages.1.merge", "serial:2") and not rules.allowed("stages.1.merge", "serial:1")
    assert rules.allowed("stages.1.merge", "mac:4x2") and not rules.allowed("stages.1.merge", "mac:4x1")


def test_kinds():
    """The kinds of the default and of all rules, without sizes and digits."""
    assert Rules.parse("mac:4x2", ("embed=serial:2", "head=serial,mac")).kinds() == {"mac", "serial"}
    assert Rules.parse("parallel").kinds() == {"parallel"}


def test_rules_that_fit_no_layer():
    assert Rules.parse("mac", ("embed=mac", "stages.9.*=mac")).unused(["embed", "head"]) == ["stages.9.*"]


@pytest.mark.parametrize(("digit", "additions"), [*((None, n) for n in DEPTHS), *((digit, 1) for digit in DIGITS)])
def test_names_are_those_of_the_plan(digit, additions):
    name = graph_name(digit, additions)
    assert engine_name({"engine": "GraphEngine", "digit": digit, "additions": additions}) == name
    assert Rules.parse(name).allowed("embed", name) and Rules.parse(name).named("embed", name)
    assert Rules.parse(name.partition(":")[0]).allowed("embed", name)


def test_names_of_other_stages():
    assert engine_name({"engine": "MacArray", "rows": 4, "columns": 2}) == "mac:4x2"
    assert engine_name({"engine": "Windows"}) is None


@pytest.mark.parametrize("name", ["dsp", "", "mac:0x1", "mac:4", "serial:9", "parallel:4", "mac, serial"])
def test_wrong_engine(name):
    message = "engine must be mac[:ROWSxCOLUMNS], serial[:1 to 8] or parallel[:1 to 3], not "
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        Rules.parse(name)


@pytest.mark.parametrize("rule", ["embed", "=mac"])
def test_wrong_rule(rule):
    with pytest.raises(UserError, match=f"^a rule for engines must be LAYER=ENGINE, not '{rule}'$"):
        Rules.parse("mac", (rule,))


@pytest.mark.parametrize("name", ["x" * 5000, "mac:" + "9" * 5000 + "x1", "mac:4x٤"], ids=range(3))
def test_long_and_foreign_names_are_refused_in_a_short_line(name):
    for arguments in ((name,), ("mac", (f"embed={name}",)), ("mac", (name.replace("mac", "embed"),))):
        with pytest.raises(UserError) as error:
            Rules.parse(*arguments)
        assert len(str(error.value)) < 170
