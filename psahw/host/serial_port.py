"""A serial port, a pseudo-terminal, or anything else that pyserial opens by its URL."""

import contextlib
import errno
import time
from typing import Any

import serial

from ..errors import UserError

__all__ = ["SerialPort"]

CHARACTER_BITS = 10  # a start bit, eight data bits, a stop bit
WRITE_SECONDS = 10.0  # limit for a write, in addition to the time that its bytes take on the line
_REASONS = {
    errno.ENOENT: "there is no such port; is the board plugged in?",
    errno.EACCES: "permission denied; membership of the port's group (often dialout) is needed",
    errno.EBUSY: "another program has it open",
    errno.EAGAIN: "another program has it open",
    errno.ENOTTY: "it is not a serial port",
}


def _reason(error: Exception) -> str:
    """Return the reason of an error in plain words.

    pyserial sets the exception's ``errno`` not always, but then names the number in its message.
    """
    message = " ".join(str(error).split())
    number = getattr(error, "errno", None)
    if number is None:
        number = next((code for code in _REASONS if f"[Errno {code}]" in message or f"({code}, " in message), None)
    return message if number is None else _REASONS.get(number, message)


class SerialPort:
    """An open serial port; see `psahw.host.port.Port`.

    Parameters
    ----------
    port
        Name of the port, such as ``/dev/ttyUSB1`` or ``COM3``, or a URL for pyserial.
    baud
        Bits per second.

    Raises
    ------
    UserError
        If the port cannot be opened.
    """

    advice = "is this its port and baud rate, and is the board programmed?"

    def __init__(self, port: str, baud: int):
        self.name, self.settings = port, f" at {baud} baud"
        self.baud: int | None = baud
        self._character_seconds = CHARACTER_BITS / baud
        try:
            options: dict[str, Any] = {} if "://" in port else {"exclusive": True}
            self._port = serial.serial_for_url(port, baudrate=baud, timeout=0, write_timeout=WRITE_SECONDS, **options)
        except ValueError as error:
            raise UserError(f"{port} cannot be opened at {baud} baud: {error}") from None
        except (OSError, serial.SerialException) as error:
            raise UserError(f"cannot open {port}: {_reason(error)}") from None

    def seconds(self, count: int) -> float:
        """Return the time in seconds that ``count`` bytes take on the line."""
        return count * self._character_seconds

    def read(self, seconds: float) -> bytes:
        """Return the bytes that have arrived; if there are none, wait for some for up to ``seconds``."""
        try:
            self._port.timeout = seconds
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (OSError, TypeError, serial.SerialException) as error:  # TypeError: it was closed meanwhile
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        try:
            self._port.write_timeout = WRITE_SECONDS + self.seconds(len(data))
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise UserError(f"{self.name} no longer accepts bytes") from None
        except (OSError, serial.SerialException) as error:
            raise self._lost(error) from None

    def drain(self, seconds: float) -> None:
        """Discard what arrives, until nothing has arrived for ``seconds``, for at most ten times as long."""
        end = time.monotonic() + 10 * seconds
        while self.read(seconds) and time.monotonic() < end:
            pass

    def _lost(self, error: Exception) -> UserError:
        """Return an error that says why the port is lost."""
        return UserError(f"lost {self.name} ({_reason(error)}): was the board unplugged?")

    def close(self) -> None:
        """Close the port, without waiting for bytes that have not left this computer."""
        with contextlib.suppress(Exception):  # the port may be lost or closed already; termios.error is no OSError
            self._port.reset_output_buffer()
        self._port.close()
