"""Payloads between the components: bytes at the PHY, and bytes of packets."""

from amaranth.lib import data

__all__ = ["ADDRESSES", "GMII", "PACKET_BYTE"]

GMII = data.StructLayout({"byte": 8, "valid": 1, "error": 1})
"""The signals of one clock cycle of GMII (IEEE 802.3, 35.2.2).

``byte``, ``valid`` and ``error`` are RXD, RX_DV and RX_ER, or TXD, TX_EN and TX_ER.
"""

PACKET_BYTE = data.StructLayout({"byte": 8, "end": 1, "good": 1})
"""A byte of a received frame, packet or message, or its end.

If ``end`` is 0, ``byte`` is the next byte. If ``end`` is 1, ``byte`` has no meaning, and all bytes
since the last end are to be discarded unless ``good`` is 1.
"""

ADDRESSES = data.StructLayout({"address": 32, "mac": 48})
"""The addresses of a station: IPv4 ``address`` and ``mac``.

Sent as one number, most significant byte first, they are in the order that ARP uses.
"""
