"""The accelerator's ports, as its manifest describes them."""

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.argmax import result_layout
from psahw.gateware.counters import READER

__all__ = ["interface"]


def interface(manifest: dict) -> wiring.Signature:
    """The accelerator's ports, from what `psahw.generate.write` says of it."""
    result = result_layout(manifest["classes"], manifest["logit_bits"])
    return wiring.Signature(
        {
            "i": In(stream.Signature(data.ArrayLayout(unsigned(8), manifest["bus_bytes"]))),
            "o": Out(stream.Signature(result)),
            "counters": In(READER),
        }
    )
