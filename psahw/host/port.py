"""The interface of a connection to a device."""

from typing import Protocol

__all__ = ["Port"]


class Port(Protocol):
    """An open connection that carries bytes in both directions, and may lose or garble them.

    All methods raise `psahw.errors.UserError`, with the name of the port, when the connection is lost.

    Attributes
    ----------
    name
        How the user called the port.
    baud
        Bits per second of a serial port, else None.
    settings
        Appended to the name in the message that the device does not answer, such as " at 9600 baud".
    advice
        A question for the user whose device does not answer.
    """

    name: str
    baud: int | None
    settings: str
    advice: str

    def seconds(self, count: int) -> float:
        """Return the time in seconds that ``count`` bytes take on the line."""
        ...

    def read(self, seconds: float) -> bytes:
        """Return the bytes that have arrived; if there are none, wait for some for up to ``seconds``."""
        ...

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        ...

    def drain(self, seconds: float) -> None:
        """Discard what arrives, until nothing has arrived for ``seconds``, for at most ten times as long."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
