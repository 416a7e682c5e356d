"""Tests of how a simulated board starts and ends, with shell scripts in place of simulators."""

import pytest

from psahw.errors import CheckFailed, UserError
from psahw.sim import board

UART = board.Uart(8)
PORT = "echo /dev/pts/99; cat > /dev/null; "


@pytest.fixture
def simulator(tmp_path, monkeypatch):
    """Return a function that replaces the simulator by a shell script."""

    def install(script):
        program = tmp_path / "simulator"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(board, "build", lambda directory, link: program)
        return tmp_path

    return install


def test_ends_with_the_block(simulator):
    with board.running(simulator(PORT), UART) as port:
        assert port == "/dev/pts/99"


@pytest.mark.parametrize("status", [0, 2])
def test_does_not_start(status, simulator):
    directory = simulator(f"echo no pseudo-terminal >&2; exit {status}")
    with (
        pytest.raises(UserError, match=r"^the simulated board does not start: no pseudo-terminal$"),
        board.running(directory, UART),
    ):
        pass


def test_device_error_replaces_the_error_that_followed(simulator):
    directory = simulator(PORT + "echo a broken frame >&2; exit 3")
    with pytest.raises(CheckFailed, match="status 3: a broken frame") as raised, board.running(directory, UART):
        raise UserError("no answer")
    assert str(raised.value.__cause__) == "no answer"


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_error_in_the_block_is_passed_on(error, simulator):
    status = 2 if error is KeyboardInterrupt else 0
    with pytest.raises(error, match=r"^mine$"), board.running(simulator(f"{PORT} exit {status}"), UART):
        raise error("mine")
