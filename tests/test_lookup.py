"""Lookups by a key that comes from a user: a message with the known keys, and never a KeyError."""

import dataclasses

import pytest

from psahw import boards
from psahw.boards import clock, primitives
from psahw.boards.link.options import check_link
from psahw.boards.packages import target
from psahw.boards.tools import project, toolchains
from psahw.errors import UserError

MARBLE = boards.get("marble")
FOREIGN = dataclasses.replace(MARBLE, device=dataclasses.replace(MARBLE.device, name="up5k", family="ice40"))
"""A board whose device is none of those in `psahw.architecture.device`."""


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda: boards.get("kc706"), "unknown board 'kc706'; known boards: kc705, genesys2, "),
        (lambda: target("quartus"), "unknown target 'quartus' of --for; known targets: vivado, vitis, "),
        (lambda: check_link(MARBLE, "pcie"), "unknown link 'pcie'; known links: uart, udp"),
        (lambda: check_link(MARBLE, ["uart"]), "unknown link ['uart']; known links: uart, udp"),
        (lambda: clock.settings("xc7", "1L", 1e8, 1e8), "unknown speed grade '1L' of xc7; known speed grades: 1, 2"),
        (lambda: clock.settings("ice40", "1", 1e8, 1e8), "unknown family 'ice40'; known families: xc7, xcup, ecp5, "),
        (lambda: project.clock_for(FOREIGN), "unknown family 'ice40'; known families: xc7, xcup, ecp5, gw2a, gw1n"),
        (lambda: primitives.models("ice40"), "unknown family 'ice40'; known families: xc7, xcup, ecp5, gw2a, gw1n"),
        (lambda: toolchains.of_board(FOREIGN), "unknown family 'ice40' of up5k; known families: ecp5, gw2a, gw1n, "),
        (lambda: dataclasses.replace(MARBLE, platform_class="Arty").platform(),
         "board marble: psahw.boards.platforms has no class 'Arty'"),
    ],
)  # fmt: skip
def test_unknown_key(look_up, message):
    with pytest.raises(UserError) as caught:
        look_up()
    assert str(caught.value).startswith(message)


def test_a_long_key_is_cut():
    with pytest.raises(UserError) as caught:
        boards.get("x" * 100_000)
    assert len(str(caught.value)) < 250
