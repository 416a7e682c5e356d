"""Arguments of a wrong type are named before any work begins."""

import re

import pytest

import psahw
from psahw.boards import BOARDS
from psahw.errors import UserError
from psahw.flow import arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"network": "cifar10-psa-small"},
            "network must be a Network, as psahw.load returns it, not 'cifar10-psa-small'",
        ),
        ({"board": 3}, "board must be a Board or the name of one, not 3"),
        ({"fps": "fast"}, "fps must be a number, not 'fast'"),
        ({"clock_hz": True}, "clock_hz must be a number, not True"),
        ({"bus_bytes": "4"}, "bus_bytes must be a number, not '4'"),
        ({"engines": 1}, "engines must be names separated by commas, such as 'mac,serial', not 1"),
    ],
)
def test_plan_wrong_types(network, arguments, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        psahw.plan(**{"network": network, "board": "marble", **arguments})


@pytest.mark.parametrize(
    "function", ["build", "demo", "elaborate", "export", "package", "run", "simulate", "synthesise", "write_report"]
)
def test_every_step_names_a_network_that_is_none(function):
    positional = {"export": ()}
    positional |= {"package": (None, "vivado", "build/x"), "elaborate": (None, "build/x"), "build": (None, "build/x")}
    with pytest.raises(TypeError, match=r"^network must be a Network, as psahw.load returns it, not 5$"):
        getattr(psahw, function)(5, *positional.get(function, ("build/x",)))


def test_simulate_wrong_design(network):
    with pytest.raises(
        TypeError, match=r"^design must be a plan, as psahw.plan returns it, or a directory, not None$"
    ):
        psahw.simulate(network, None)


def test_networks_and_plans_print_as_one_line(network):
    planned = psahw.plan(network, "marble", engines=["mac"], fps=2000)
    assert repr(network).startswith(f"<Network {network.name!r}: images of ")
    assert repr(planned).startswith(f"<BoardPlan of {network.name!r} on xc7k160t at 143 MHz: ")
    assert "\n" not in repr(network) + repr(planned)


def test_names_of_boards_may_have_capital_letters():
    assert arguments.board_of("Marble") is arguments.board_of("MARBLE") is BOARDS["marble"]
    with pytest.raises(UserError, match=r"^unknown board 'x{77}…'; known boards: kc705, "):
        arguments.board_of("x" * 5000)
