"""Test plans for boards: options, room for the link, tables."""

import dataclasses
import json
from importlib import util

import numpy as np
import pytest

import psahw
from psahw import boards
from psahw.boards.link.options import choose_link
from psahw.errors import CheckFailed, UserError
from psahw.flow import planning
from psahw.network.random import StageShape, random_network
from psahw.planner.plan import Plan
from psahw.planner.rules import Rules


@pytest.fixture(scope="module")
def planned(network):
    return psahw.plan(network, "marble", fps=20_000, engines="mac")


def test_plan(planned, network):
    """The frame rate is reached, at the board's clock."""
    assert isinstance(planned, Plan)
    assert planned.fps >= 20_000
    assert (planned.board, planned.clock_hz) == (boards.get("marble"), 143e6)
    clock = {"how": "requested", "highest_hz": None, "cause": None, "asked_hz": None}
    assert planned.to_dict() == {"network": "tiny", "board": "marble"} | planned.accelerator.to_dict() | {
        "clock": clock
    }
    assert "board" not in planned.accelerator.to_dict()


def test_stages(planned):
    """The stages are those of the dictionary, and their costs sum up to no more than the whole."""
    assert [stage.to_dict() for stage in planned.stages] == planned.to_dict()["stages"]
    assert planned.stages[0].name == "input"
    assert sum(stage.resources.dsp for stage in planned.stages) == planned.resources.dsp
    assert max(stage.interval for stage in planned.stages) <= planned.frame_interval
    array = next(stage for stage in planned.stages if stage.engine == "MacArray")
    assert array.size.startswith(f"{array.parameters['outputs']}x{array.parameters['inputs']} on ")


def test_table_in_a_notebook(planned):
    html = planned._repr_html_()
    assert html.count("<tr>") == len(planned.stages) + 2  # with headings and totals
    assert "tiny on marble (xc7k160t) at 143 MHz (requested, not confirmed)" in html


def test_layer_engines(network):
    """A mapping and a sequence say the same, and the last entry that matches counts."""
    pytest.importorskip("da4ml", reason="the extra `graph` is not installed")
    layers = {"*.linear1": "mac", "*.channel_mixing.linear1": "serial:2"}
    first = psahw.plan(network, "marble", fps=20_000, engines="mac", layer_engines=layers)
    text = [f"{layer}={engines}" for layer, engines in layers.items()]
    second = psahw.plan(network, "marble", fps=20_000, engines="mac", layer_engines=text)
    assert first == second
    engines = first.to_dict()["engines"]
    assert [name for name, engine in engines.items() if engine == "serial:2"] == [
        "stages.0.blocks.0.channel_mixing.linear1"
    ]


def test_without_da4ml(network, monkeypatch):
    """MAC arrays are the default without da4ml, and a note says so."""
    monkeypatch.setattr(planning, "find_spec", lambda name: None if name == "da4ml" else util.find_spec(name))
    notes = []
    result = psahw.plan(network, "marble", fps=20_000, log=notes.append)
    assert {engine.partition(":")[0] for engine in result.to_dict()["engines"].values()} == {"mac"}
    assert notes == [
        "MAC arrays only: adder graphs need da4ml: install psahw with its extra graph (docs/how-to/install.md)"
    ]


def test_template(planned, network, tmp_path):
    """A plan is made again from its file, and from its dictionary."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(planned.to_dict()))
    for template in (path, planned.to_dict()):
        again = psahw.plan(network, "marble", engines="mac", template=template)
        assert again.to_dict()["engines"] == planned.to_dict()["engines"]
        assert again.frame_interval == planned.frame_interval
    with pytest.raises(UserError, match=r"^the plan: bus_bytes is missing$"):
        psahw.plan(network, "marble", template={"digest": planned.digest})
    for change, message in (
        ({"token_period": "8"}, "token_period must be an integer, not '8'"),
        ({"token_period": 0}, "token_period must be an integer of 1 or more, not 0"),
        ({"token_period": 1 << 31}, "token_period must be an integer of 2147483647 or less, not 2147483648"),
        ({"engines": {"embed": 1}}, r"engines\['embed'\] must be a string, not 1"),
    ):
        path.write_text(json.dumps(planned.to_dict() | change))
        with pytest.raises(UserError, match=rf"plan\.json: {message}; psahw plan -o writes plans$"):
            psahw.plan(network, "marble", template=path)
    with pytest.raises(UserError, match="give neither a frame rate nor a bus with it"):
        psahw.plan(network, "marble", fps=5, template=path)


def test_shares():
    """One for all resources, or one for each that is named."""
    assert planning._shares(None) == {}
    assert planning._shares(1) == {"lut": 1, "ff": 1, "dsp": 1, "bram36": 1}
    assert planning._shares({"lut": 0.01}) == {"lut": 0.01}
    for wrong in (0, -0.5, 1.01, {"lut": 0.5, "dsp": 0}):
        with pytest.raises(ValueError, match=r"^utilisation must be in \(0, 1\] for lut, ff, dsp, bram36, not "):
            planning._shares(wrong)


def test_link(network):
    """The plan keeps the link, with block RAM left for its buffers."""
    marble = boards.get("marble")
    link = choose_link(marble, "udp", "10.0.0.9")
    result = psahw.plan(network, marble, fps=20_000, engines="mac", link=link)
    buffers = link.bram36(frame_bytes=result.image_bytes, bus_bytes=result.bus_bytes)
    assert result.link == link
    assert buffers > 0 and result.resources.bram36 + buffers <= marble.device.bram36


@pytest.mark.parametrize(
    ("left", "budgets"),
    [
        (5.5, [{}]),  # of the device beside the buffers: enough for the first plan
        (0.5, [{}, {"bram36": 0.5}]),
        (4.5, [{}, {"bram36": 4.5}]),
        (0, [{}]),  # nothing: the first plan stays, and writing the project says that the link does not fit
    ],
)
def test_room_for_the_link(left, budgets, planned):
    """A second plan leaves block RAM for the buffers of the link if the first one does not."""
    assert planned.resources.bram36 == 5.5
    marble = boards.get("marble")
    link = choose_link(marble, "udp", "10.0.0.9")
    buffers = link.bram36(frame_bytes=planned.image_bytes, bus_bytes=planned.bus_bytes)
    tight = dataclasses.replace(marble, device=dataclasses.replace(marble.device, bram36=buffers + left))
    asked = []

    def make(*, budget):
        asked.append(budget)
        return planned

    assert planning._with_room_for(link, tight, make, {}) is planned
    assert asked == budgets


@pytest.fixture
def asked(planned, monkeypatch):
    """Return the arguments with which the planner is asked, in place of planning."""
    arguments = {}

    def make(*_, **options):
        arguments.clear()
        arguments.update(options)
        return planned

    monkeypatch.setattr(planning.search, "make", make)
    return arguments


def test_defaults(network, asked):
    """The board gives clock, bus and engines, and the planner the rest."""
    marble = boards.get("marble")
    psahw.plan(network, dataclasses.replace(marble, engines="mac,parallel"))
    assert asked["rules"] == Rules.parse("mac,parallel")
    assert (asked["clock_hz"], asked["bus_bytes"]) == (marble.clock_hz, marble.bus_bytes)
    assert asked["fps"] is asked["period"] is None
    assert asked["budget"] == asked["utilisation"] == {}
    psahw.plan(
        network, dataclasses.replace(marble, engines="mac"), engines=["mac", "serial"], bus_bytes=1, clock_hz=1e8
    )
    assert asked["rules"] == Rules.parse("mac,serial")
    assert (asked["clock_hz"], asked["bus_bytes"]) == (1e8, 1)


def test_a_plan_of_an_older_release(network, planned, asked):
    """Its parallel graphs had a register behind every addition, and have it again."""
    template = planned.to_dict() | {"engines": {"embed": "mac:1x1", "head": "parallel"}}
    psahw.plan(network, "marble", clock_hz=100e6, template=template)
    assert asked["additions"] == 3
    assert asked["rules"].named("head", "parallel:1") and asked["rules"].named("embed", "mac:1x1")


@pytest.mark.parametrize(
    ("board", "clock", "additions", "expected"),
    [
        ("marble", 250e6, None, 1),
        ("marble", 100e6, None, 3),
        ("marble", 25e6, None, 3),
        ("marble", 100e6, 2, 2),
        ("ulx3s-85f", 80e6, None, 2),
        ("tangnano9k", 27e6, None, 1),  # the delays of its device are not known
    ],
)
def test_additions_between_registers(network, asked, board, clock, additions, expected):
    psahw.plan(network, board, clock_hz=clock, additions=additions)
    assert asked["additions"] == expected


@pytest.mark.parametrize(
    ("installed", "engines", "layers", "expected", "notes"),
    [
        (True, None, (), "mac,serial,parallel", 0),
        (False, None, (), "mac", 1),
        (False, "serial", (), "serial", 0),
        (False, None, ("head=serial",), "mac,serial,parallel", 0),
        (False, None, ("head=mac:1x1",), "mac", 1),
    ],
)
def test_engines_with_and_without_da4ml(installed, engines, layers, expected, notes, monkeypatch):
    """Whoever names an adder graph means it, and learns from the solver that da4ml is missing."""
    monkeypatch.setattr(planning, "find_spec", lambda name: util.find_spec("json") if installed else None)
    log = []
    assert planning._rules(engines, layers, log.append) == Rules.parse(expected, layers)
    assert len(log) == notes


def test_graphs_are_announced_once():
    calls, notes = [], []
    report = planning._announced(lambda *call: calls.append(call), notes.append)
    for call in ((4, 4), (1, 4), (2, 4), (4, 4)):
        report(*call)
    assert calls == [(4, 4), (1, 4), (2, 4), (4, 4)]
    assert notes == ["solving 3 adder graphs, large ones for minutes; they stay in the cache"]


def test_a_link_is_checked_before_anything_is_solved(network, asked):
    marble = boards.get("marble")
    with pytest.raises(UserError, match="it must be at least 24 MHz"):
        psahw.plan(network, marble, clock_hz=20e6, link=choose_link(marble, "uart"))
    assert asked == {}


@pytest.mark.parametrize("from_template", [False, True])
def test_a_template_leaves_no_room_for_the_link(from_template, network, planned, asked, monkeypatch):
    marble = boards.get("marble")
    room = []
    monkeypatch.setattr(planning, "_with_room_for", lambda link, board, make, limits: room.append(limits) or planned)
    template = planned.to_dict() | {"bus_bytes": 1, "token_period": 1} if from_template else None
    psahw.plan(network, marble, engines="mac", link=choose_link(marble, "uart"), template=template, budget={"dsp": 9})
    assert room == ([] if from_template else [{"dsp": 9}])
    if from_template:
        assert (asked["bus_bytes"], asked["period"], asked["budget"]) == (1, 1, {"dsp": 9})


def test_a_row_of_an_image_that_is_not_square(asked):
    """It has 12 x 3 bytes; a column would have 8 x 3."""
    network = random_network(np.random.default_rng(3), image=(8, 12), stages=(StageShape(channels=8, hidden=4),))
    psahw.plan(network, "marble", engines="mac", bus_bytes=9)
    assert asked["bus_bytes"] == 9
    with pytest.raises(UserError, match="the bus must divide the 36 bytes of an image's row, not be 8 bytes wide"):
        psahw.plan(network, "marble", engines="mac", bus_bytes=8)


@pytest.mark.parametrize("name", ["clock_hz", "fps", "bus_bytes"])
def test_numbers_that_are_none(name, network):
    with pytest.raises(TypeError, match=f"^{name} must be a number, not '4'$"):
        psahw.plan(network, "marble", engines="mac", **{name: "4"})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(fps=0), ValueError, "fps must be positive, not 0"),
        (dict(bus_bytes=7), UserError, "the bus must divide the 96 bytes of an image's row, not be 7 bytes wide"),
        (dict(bus_bytes=0), UserError, "the bus must divide the 96 bytes of an image's row, not be 0 bytes wide"),
        (dict(clock_hz=2e9), UserError, "a clock of 2000 MHz cannot be made from 125 MHz"),
        (dict(utilisation=1.5), ValueError, r"utilisation must be in \(0, 1\] for lut, .*, not 1.5 for 'lut'"),
        (dict(utilisation={"uram": 1}), ValueError, "not 1 for 'uram'"),
        (dict(budget={"uram": 1}), ValueError, "budget must name one of lut, ff, dsp, bram36, not 'uram'"),
        (dict(additions=0), ValueError, "additions must be one of 1, 2, 3, not 0"),
        (dict(additions=4), ValueError, "additions must be one of 1, 2, 3, not 4"),
        (dict(engines="dsp"), UserError, "engine must be mac.*, not 'dsp'"),
        (dict(layer_engines={"merge": "mac"}), UserError, "no layer .*'merge'"),
        (dict(budget={"lut": 10}), CheckFailed, "lut"),
    ],
)
def test_wrong_options(options, error, message, network):
    with pytest.raises(error, match=message):
        psahw.plan(network, "marble", **({"engines": "mac"} | options))
