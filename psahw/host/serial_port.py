"""Bytes to and from a device, by pyserial: a serial port, a pty, or any URL that pyserial opens."""

import errno
import time

import serial

from ..errors import UserError

__all__ = ["SerialPort"]

CHARACTER_BITS = 10
WRITE_SECONDS = 10.0  # beyond the time that the bytes take on the line
_REASONS = {
    errno.ENOENT: "there is no such port; is the board plugged in?",
    errno.EACCES: "permission denied; membership of the port's group (often dialout) is needed",
    errno.EBUSY: "another program has it open",
    errno.EAGAIN: "another program has it open",
    errno.ENOTTY: "it is no serial port",
}


def _reason(error: Exception) -> str:
    """pyserial's messages name the errno, but not always in the exception's own field."""
    number = getattr(error, "errno", None)
    if number is None:
        words = str(error)
        number = next((code for code in _REASONS if f"[Errno {code}]" in words or f"({code}, " in words), None)
    return _REASONS.get(number) or " ".join(str(error).split())


class SerialPort:
    """An open port. All that goes wrong with it is a `UserError` that names it.

    ``settings`` and ``advice`` are what else to say when nothing answers.
    """

    advice = "is this its port and baud rate, and is the board programmed?"

    def __init__(self, port: str, baud: int):
        self.name, self.baud, self.settings = port, baud, f" at {baud} baud"
        try:
            options = {} if "://" in port else {"exclusive": True}
            self._port = serial.serial_for_url(port, baudrate=baud, timeout=0, write_timeout=WRITE_SECONDS, **options)
        except ValueError as error:
            raise UserError(f"{port} cannot be opened at {baud} baud: {error}") from None
        except (OSError, serial.SerialException) as error:
            raise UserError(f"cannot open {port}: {_reason(error)}") from None

    def seconds(self, count: int) -> float:
        """That so many bytes take on the line."""
        return count * CHARACTER_BITS / self.baud

    def read(self, seconds: float) -> bytes:
        """What has come in; waits up to ``seconds`` for something."""
        try:
            self._port.timeout = seconds
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (OSError, TypeError, serial.SerialException) as error:  # TypeError: closed under pyserial's feet
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        try:
            self._port.write_timeout = WRITE_SECONDS + self.seconds(len(data))
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise UserError(f"{self.name} takes no bytes any more") from None
        except (OSError, serial.SerialException) as error:
            raise self._lost(error) from None

    def drain(self, seconds: float) -> None:
        """Throw away what comes in, until nothing has for so long."""
        end = time.monotonic() + 10 * seconds
        while self.read(seconds) and time.monotonic() < end:
            pass

    def _lost(self, error: Exception) -> UserError:
        return UserError(f"lost {self.name} ({_reason(error)}): was the board unplugged?")

    def close(self) -> None:
        self._port.close()
