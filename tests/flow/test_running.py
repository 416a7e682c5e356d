"""Test arguments of `psahw.run` that are refused before a port is opened."""

import pytest

import psahw
from psahw.errors import UserError


@pytest.mark.parametrize("options", [dict(design="build"), dict(link="udp")])
def test_circuit_for_a_real_board(options, network):
    with pytest.raises(ValueError, match=r"^design and link must not be given for /dev/absent: a board has its "):
        psahw.run(network, "/dev/absent", **options)


def test_simulated_board_without_a_design(network):
    with pytest.raises(ValueError, match=r"^design must be given for a simulated board$"):
        psahw.run(network, "sim")


def test_unknown_board(network):
    with pytest.raises(UserError, match=r"^unknown board 'breadboard'; known boards: "):
        psahw.run(network, "/dev/absent", board="breadboard")
