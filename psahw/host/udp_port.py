"""Bytes to and from a device in UDP datagrams: the same interface as `psahw.host.serial_port.SerialPort`."""

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
BITS_PER_SECOND = 1e9
LONGEST = 2048  # bytes: more than a device sends in a datagram
WRITE_SECONDS = 10.0
_REASONS = {
    errno.ECONNREFUSED: "nothing listens at that port there",
    errno.EHOSTUNREACH: "no host answers to that address; is the board connected, and in the same network?",
    errno.ENETUNREACH: "there is no network with that address; is this computer's interface up, and in it?",
    errno.EACCES: "permission denied; is it a broadcast address?",
}


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno) or os.strerror(error.errno or errno.EIO)


def _parse(name: str) -> tuple[str, int]:
    """Address and port. UserError unless it is ``udp://ADDRESS`` or ``udp://ADDRESS:PORT``."""
    try:
        parts = urlsplit(name)
        address, port = str(ipaddress.IPv4Address(parts.hostname or "")), parts.port
        if port == 0 or parts.username is not None or parts.path or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{name} must be udp://ADDRESS or udp://ADDRESS:PORT, an IPv4 address such as 192.168.1.50"
        ) from None
    return address, UDP_PORT if port is None else port


class UdpPort:
    """A connected socket: what other addresses send does not arrive. Datagrams may get lost, which the exchange
    expects. All that goes wrong otherwise is a `UserError` that names the port."""

    baud = None
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
        """That so many bytes take on the line."""
        return count * 8 / BITS_PER_SECOND

    def read(self, seconds: float) -> bytes:
        """What has come in; waits up to ``seconds`` for something."""
        try:
            if not select.select([self._socket], [], [], max(seconds, 0))[0]:
                return b""
            return self._socket.recv(LONGEST)
        except BlockingIOError:  # the kernel threw it away: its checksum was wrong
            return b""
        except OSError as error:
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        """In as few datagrams as there can be."""
        for start in range(0, len(data), UDP_PAYLOAD):
            self._send(data[start : start + UDP_PAYLOAD])

    def _send(self, data: bytes) -> None:
        end = time.monotonic() + WRITE_SECONDS
        while time.monotonic() < end:
            try:
                self._socket.send(data)
                return
            except BlockingIOError:
                select.select([], [self._socket], [], end - time.monotonic())
            except OSError as error:
                raise self._lost(error) from None
        raise UserError(f"{self.name} takes no bytes any more")

    def drain(self, seconds: float) -> None:
        """Throw away what comes in, until nothing has for so long."""
        end = time.monotonic() + 10 * seconds
        while self.read(seconds) and time.monotonic() < end:
            pass

    def _lost(self, error: OSError) -> UserError:
        return UserError(f"cannot reach {self.name}: {_reason(error)}")

    def close(self) -> None:
        self._socket.close()
