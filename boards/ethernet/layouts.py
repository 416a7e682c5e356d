"""What passes between the components: bytes at the PHY, and bytes of frames."""

from amaranth.lib import data

__all__ = ["ADDRESSES", "ARRIVED", "GMII"]

GMII = data.StructLayout({"byte": 8, "valid": 1, "error": 1})
"""What a cycle of GMII carries (IEEE 802.3, 35.2.2): RXD, RX_DV and RX_ER, or TXD, TX_EN and TX_ER."""

ARRIVED = data.StructLayout({"byte": 8, "end": 1, "good": 1})
"""A received byte, or the end of what it belongs to, which has no byte: then ``good``, or all of it is void."""

ADDRESSES = data.StructLayout({"address": 32, "mac": 48})
"""A station's, as one number: with its most significant byte first it is what ARP sends."""
