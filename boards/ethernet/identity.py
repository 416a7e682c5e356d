"""The identity of a board on the network."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from psahw.errors import UserError
from psahw.host.protocol import UDP_PORT
from psahw.quoting import printable, quote

__all__ = ["Identity"]

_LOCAL_UNICAST = 0x0200  # locally administered address of a single station (IEEE 802, 8.2.2)


@dataclass(frozen=True)
class Identity:
    """The IPv4 address and UDP port of a board, and the MAC address that follows from them.

    Parameters
    ----------
    address
        IPv4 address of the board.
    port
        UDP port in [1, 65535].

    Raises
    ------
    ValueError
        If ``address`` cannot belong to a single station, or if ``port`` is out of range.
    """

    address: IPv4Address
    port: int = UDP_PORT

    def __post_init__(self):
        address = self.address
        if address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback:
            raise ValueError(f"address must belong to a single station, not {address}")
        if not 1 <= self.port <= 0xFFFF:
            raise ValueError(f"port must be in [1, 65535], not {self.port}")

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """Return the identity that ``text`` describes: ``192.168.1.50`` or ``192.168.1.50:50000``.

        Raises
        ------
        UserError
            If ``text`` is anything else.
        """
        address, separator, port = text.partition(":")
        try:
            if separator and not (port.isascii() and port.isdecimal() and len(port) <= 5):
                raise ValueError(f"port must be in [1, 65535], not {quote(port)}")
            return cls(IPv4Address(address), int(port) if separator else UDP_PORT)
        except AddressValueError:
            raise UserError(f"--address must be an IPv4 address such as 192.168.1.50, not {quote(text)}") from None
        except ValueError as error:
            raise UserError(f"--address {printable(text, 80)}: {error}") from None

    @property
    def mac(self) -> int:
        """MAC address as a number: the bytes 02:00, followed by the four bytes of the IPv4 address."""
        return _LOCAL_UNICAST << 32 | int(self.address)

    @property
    def mac_text(self) -> str:
        """MAC address as text, for example ``02:00:c0:a8:01:32``."""
        return self.mac.to_bytes(6, "big").hex(":")
