"""AXI's interfaces as signatures, with the names that the specifications give to their signals.

AXI4 and AXI4-Lite: Arm IHI 0022E. AXI4-Stream: Arm IHI 0051A. All are seen from the side that starts transfers
(manager, transmitter). Inside, channels are streams: `send` and `receive` join the two.
"""

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import data, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

__all__ = [
    "BURST", "OKAY", "SLVERR", "Axi4", "Axi4Lite", "Axi4Stream", "bursts_of_words", "clock_and_reset", "receive",
    "send", "verilog_ports",
]  # fmt: skip

OKAY, SLVERR = 0b00, 0b10
INCR = 0b01
BUFFERABLE = 0b0011  # normal memory that an interconnect may gather and split: UG1399 has its masters use it, too
ADDRESS_BITS = 64

BURST = data.StructLayout({"addr": ADDRESS_BITS, "len": 8})
"""Payload of an address channel: byte address of the first beat, and the number of beats less one."""


def _check_bytes(data_bytes: int, low: int, high: int):
    check_int("data_bytes", data_bytes, low, high)
    if data_bytes & (data_bytes - 1):
        raise ValueError(f"data_bytes must be a power of two, not {data_bytes}")


class Axi4Stream(wiring.Signature):
    """``data_bytes`` bytes a beat, the first in the low bits, with TKEEP and TLAST. Raises ValueError for none."""

    def __init__(self, data_bytes: int):
        check_int("data_bytes", data_bytes)
        super().__init__(
            {
                "tvalid": Out(1),
                "tready": In(1),
                "tdata": Out(8 * data_bytes),
                "tkeep": Out(data_bytes),
                "tlast": Out(1),
            }
        )


class Axi4Lite(wiring.Signature):
    """32 bits wide, ``address_bits`` of byte address. Raises ValueError unless there are 3 to 64 of them."""

    def __init__(self, address_bits: int):
        check_int("address_bits", address_bits, 3, 64)
        super().__init__(
            {
                "awvalid": Out(1), "awready": In(1), "awaddr": Out(address_bits), "awprot": Out(3),
                "wvalid": Out(1), "wready": In(1), "wdata": Out(32), "wstrb": Out(4),
                "bvalid": In(1), "bready": Out(1), "bresp": In(2),
                "arvalid": Out(1), "arready": In(1), "araddr": Out(address_bits), "arprot": Out(3),
                "rvalid": In(1), "rready": Out(1), "rdata": In(32), "rresp": In(2),
            }
        )  # fmt: skip


class Axi4(wiring.Signature):
    """``data_bytes`` bytes wide, 64 bits of address. Raises ValueError unless it is a power of two from 4 to 128."""

    def __init__(self, data_bytes: int):
        _check_bytes(data_bytes, 4, 128)
        address = {"addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2, "id": 1, "cache": 4, "prot": 3}
        members = {f"{channel}{name}": Out(bits) for channel in ("aw", "ar") for name, bits in address.items()}
        for channel in ("aw", "w", "ar"):
            members |= {f"{channel}valid": Out(1), f"{channel}ready": In(1)}
        for channel in ("b", "r"):
            members |= {f"{channel}valid": In(1), f"{channel}ready": Out(1)}
        members |= {"wdata": Out(8 * data_bytes), "wstrb": Out(data_bytes), "wlast": Out(1)}
        members |= {"bid": In(1), "bresp": In(2)}
        members |= {"rid": In(1), "rdata": In(8 * data_bytes), "rresp": In(2), "rlast": In(1)}
        super().__init__(members)


def bursts_of_words(m: Module, bus, data_bytes: int):
    """Drives what is the same in every burst of an `Axi4`: whole words at rising addresses, all of one ID."""
    for channel in ("aw", "ar"):
        m.d.comb += [
            getattr(bus, f"{channel}size").eq((data_bytes - 1).bit_length()),
            getattr(bus, f"{channel}burst").eq(INCR),
            getattr(bus, f"{channel}cache").eq(BUFFERABLE),
        ]


def _fields(interface, channel, stream):
    return [(getattr(interface, f"{channel}{name}"), stream.payload[name]) for name in stream.payload.shape().members]


def send(m: Module, stream, interface, channel: str):
    """What ``stream`` offers goes out on a channel: field ``addr`` as ``awaddr`` where ``channel`` is "aw"."""
    m.d.comb += [
        getattr(interface, f"{channel}valid").eq(stream.valid),
        stream.ready.eq(getattr(interface, f"{channel}ready")),
    ]
    m.d.comb += [port.eq(field) for port, field in _fields(interface, channel, stream)]


def receive(m: Module, interface, channel: str, stream):
    """What comes in on a channel is offered to ``stream``."""
    m.d.comb += [
        stream.valid.eq(getattr(interface, f"{channel}valid")),
        getattr(interface, f"{channel}ready").eq(stream.ready),
    ]
    m.d.comb += [field.eq(port) for port, field in _fields(interface, channel, stream)]


def clock_and_reset(m: Module, clk, resetn):
    """The sync domain of a top level from AXI's clock and active-low reset, released in step with the clock."""
    m.domains.sync = ClockDomain()
    m.d.comb += ClockSignal().eq(clk)
    m.submodules.reset = ResetSynchronizer(~resetn)


def verilog_ports(component: wiring.Component) -> dict:
    """Ports as AXI's tools look for them, for `psahw.verilog.emit`: ``s_axis.tdata`` is called ``s_axis_tdata``."""
    return {"_".join(map(str, path)): value for path, _, value in component.signature.flatten(component)}
