"""The clock of a plan, how it is known, and the plan at the highest clock."""

import dataclasses
import json

import pytest

import psahw
from psahw.boards import get
from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.flow import clocks, highest_clock
from psahw.flow.clocks import REQUESTED, Clock
from psahw.network import file as network_file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give each test an empty cache."""
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def planned(network):
    return psahw.plan(network, "marble", fps=20_000, engines="mac")


def again(network, **options):
    """Return the plan of the fixture, planned again."""
    return psahw.plan(network, "marble", **{"fps": 20_000, "engines": "mac"} | options)


def test_nothing_is_known_at_first(planned):
    assert planned.clock == REQUESTED
    assert "143 MHz (requested, not confirmed)" in planned.summary
    assert planned.to_dict()["clock"] == {"how": "requested", "highest_hz": None, "cause": None, "asked_hz": None}


def test_an_estimate_is_found_by_later_plans_of_the_same_circuit(planned, network):
    """The interval, and with it the circuit, is the same at twice the clock and twice the rate."""
    clocks.remember(planned.accelerator, "marble", Clock("estimated", 200e6, "block RAM"))
    assert again(network).clock == Clock("estimated", 200e6, "block RAM")
    assert "143 MHz (estimated: up to 200 MHz)" in again(network).summary
    faster = again(network, clock_hz=286e6, fps=40_000)
    assert faster.frame_interval == planned.frame_interval
    assert not faster.clock.supports(faster.clock_hz)
    assert "286 MHz (requested; estimated: 200 MHz)" in faster.summary
    assert again(network, fps=60_000).clock == REQUESTED  # another circuit
    assert clocks.known(planned.accelerator, "nereid") == REQUESTED  # another speed grade


def test_what_is_routed(planned):
    """A router stops at what it was asked for: a lower routed clock says nothing, unless it missed its constraint."""
    for clock, expected in (
        (Clock("routed", 61e6, asked_hz=40e6), 61e6),
        (Clock("estimated", 90e6), 90e6),
        (Clock("routed", 100e6, asked_hz=99e6), 100e6),
        (Clock("estimated", 120e6), 120e6),
        (Clock("routed", 110e6, asked_hz=115e6), 110e6),
        (Clock("routed", 105e6, asked_hz=115e6), 110e6),  # another seed
    ):
        clocks.remember(planned.accelerator, "marble", clock)
        assert clocks.known(planned.accelerator, "marble").highest_hz == expected


def test_a_cache_that_cannot_be_written(planned, tmp_path, caplog):
    """The result of an hour must not be lost because of it."""
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "clocks").write_text("a file")
    clocks.remember(planned.accelerator, "marble", Clock("routed", 61e6))
    assert "is not kept for later plans" in caplog.text


def test_a_damaged_entry_is_not_used(planned, tmp_path):
    clocks.remember(planned.accelerator, "marble", Clock("estimated", 200e6))
    (entry,) = (tmp_path / "cache" / "clocks").iterdir()
    entry.write_bytes(entry.read_bytes().replace(b"200", b"900"))
    assert clocks.known(planned.accelerator, "marble") == REQUESTED


def test_the_command_warns(network, tmp_path, capsys):
    network_file.save(network, tmp_path / "network.safetensors")
    command = [
        "plan",
        str(tmp_path / "network.safetensors"),
        "--board",
        "marble",
        "--engines",
        "mac",
        "--fps",
        "20000",
    ]
    assert main(command) == 0
    assert "psahw synth estimates which clock the circuit supports" in capsys.readouterr().err
    clocks.remember(again(network).accelerator, "marble", Clock("estimated", 100e6, "net with 900 loads"))
    assert main(command) == 0
    assert "does not support 143 MHz: estimated 100 MHz (net with 900 loads); plan with" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clock"]["highest_hz"] == 100e6


@pytest.fixture
def synthesis(monkeypatch):
    """Stand in for synthesis: circuits with more LUTs are slower. Return the clocks of the plans that it gets."""
    seen = []

    def synthesise(network, plan, **callbacks):
        seen.append(plan.clock_hz)
        highest = 300e6 - 20e3 * plan.resources.lut
        clocks.remember(plan.accelerator, plan.board.name, Clock("estimated", highest))
        return dataclasses.replace(plan)

    monkeypatch.setattr(highest_clock, "synthesise", synthesise)
    return seen


def test_the_highest_clock(network, synthesis):
    """Without a frame rate the circuit is the same at every clock, and is synthesised once."""
    plan = highest_clock.plan_at_highest_clock(network, "marble", engines="mac", budget={"lut": 3000})
    assert synthesis == [143e6]
    assert plan.clock.how == "estimated"
    assert plan.clock_hz == plan.clock.highest_hz // 1e6 * 1e6


def test_the_highest_clock_for_a_frame_rate(network, synthesis):
    """A faster clock makes another circuit do, whose own estimate counts."""
    plan = highest_clock.plan_at_highest_clock(network, "marble", engines="mac", fps=60_000)
    assert len(synthesis) > 1
    assert plan.fps >= 60_000 and plan.clock_hz == plan.clock.highest_hz // 1e6 * 1e6


def test_no_clock_is_found(network, monkeypatch):
    """A circuit whose estimate is always below the clock that the last estimate gave."""

    def synthesise(network, plan, **callbacks):
        clocks.remember(plan.accelerator, plan.board.name, Clock("estimated", plan.clock_hz - 5e6))

    monkeypatch.setattr(highest_clock, "synthesise", synthesise)
    monkeypatch.setattr(clocks, "_OF_THE_REQUEST", ())  # a new circuit for each clock
    with pytest.raises(CheckFailed, match=r"each of 4 plans for tiny supports another clock .* at 123 MHz or less"):
        highest_clock.plan_at_highest_clock(network, "marble", engines="mac", fps=20_000)


def test_there_must_be_a_flow(network):
    with pytest.raises(UserError, match="needs an estimate, and there is none for Sipeed Tang Nano 9K"):
        highest_clock.plan_at_highest_clock(network, "tangnano9k")


def test_grades():
    grades = {"marble": "2", "nereid": "1", "alveo-u250": "2", "ulx3s-85f": "6", "ecpix5-85f": "8"}
    assert {name: get(name).grade for name in grades} == grades
