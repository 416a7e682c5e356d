"""A device in the network, to which bytes go in UDP datagrams."""

import errno
import ipaddress
import os
import select
import socket
import time
from urllib.parse import urlsplit

from ..errors import UserError
from .protocol import UDP_PAYLOAD, UDP_PORT

__all__ = ["SCHEME", "UdpPort"]

SCHEME = "udp://"
BITS_PER_SECOND = 1e9  # of the line
LONGEST = 2048  # bytes: more than a device sends in one datagram
WRITE_SECONDS = 10.0  # limit for sending one datagram
_REASONS = {
    errno.ECONNREFUSED: "nothing listens at that port there",
    errno.EHOSTUNREACH: "no host answers to that address; is the board connected, and in the same network?",
    errno.ENETUNREACH: "there is no network with that address; is this computer's interface up, and in it?",
    errno.EACCES: "permission denied; is it a broadcast address?",
}


def _reason(error: OSError) -> str:
    """Return the reason of an error in plain words."""
    number = error.errno or errno.EIO
    return _REASONS.get(number) or os.strerror(number)


def _parse(name: str) -> tuple[str, int]:
    """Return the address and the port number in ``udp://ADDRESS`` or ``udp://ADDRESS:PORT``."""
    try:
        parts = urlsplit(name)
        address, port = str(ipaddress.IPv4Address(parts.hostname or "")), parts.port
        if port == 0 or parts.username is not None or parts.path or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{name} must be udp://ADDRESS or udp://ADDRESS:PORT, with an IPv4 address such as 192.168.1.50"
        ) from None
    return address, UDP_PORT if port is None else port


class UdpPort:
    """An open UDP socket; see `psahw.host.port.Port`.

    The socket is connected, so datagrams from other addresses do not arrive.

    Parameters
    ----------
    name
        ``udp://ADDRESS`` or ``udp://ADDRESS:PORT``; without a port it is 50000.

    Raises
    ------
    UserError
        If the name is wrong, or the address cannot be reached.
    """

    baud: int | None = None
    settings = ""
    advice = "is this its address, and is the board programmed for UDP and in the same network?"

    def __init__(self, name: str):
        self.name = name
        address = _parse(name)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise self._lost(error) from None

    def seconds(self, count: int) -> float:
        """Return the time in seconds that ``count`` bytes take on the line."""
        return count * 8 / BITS_PER_SECOND

    def read(self, seconds: float) -> bytes:
        """Return the bytes that have arrived; if there are none, wait for some for up to ``seconds``."""
        try:
            if not select.select([self._socket], [], [], max(seconds, 0))[0]:
                return b""
            return self._socket.recv(LONGEST)
        except BlockingIOError:  # the kernel discarded the datagram, because its checksum is wrong
            return b""
        except OSError as error:
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        """Send ``data`` in as few datagrams as possible."""
        for start in range(0, len(data), UDP_PAYLOAD):
            self._send(data[start : start + UDP_PAYLOAD])

    def _send(self, data: bytes) -> None:
        """Send one datagram, as soon as there is room for it."""
        end = time.monotonic() + WRITE_SECONDS
        while time.monotonic() < end:
            try:
                self._socket.send(data)
                return
            except BlockingIOError:
                select.select([], [self._socket], [], max(end - time.monotonic(), 0))
            except OSError as error:
                raise self._lost(error) from None
        raise UserError(f"{self.name} no longer accepts bytes")

    def drain(self, seconds: float) -> None:
        """Discard what arrives, until nothing has arrived for ``seconds``, for at most ten times as long."""
        end = time.monotonic() + 10 * seconds
        while self.read(seconds) and time.monotonic() < end:
            pass

    def _lost(self, error: OSError) -> UserError:
        """Return an error that says why the port is lost."""
        return UserError(f"cannot reach {self.name}: {_reason(error)}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
