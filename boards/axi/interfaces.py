"""AXI interfaces as signatures, with the signal names of the specifications.

Sources: Arm IHI 0022E for AXI4 and AXI4-Lite, Arm IHI 0051A for AXI4-Stream. All signatures are
seen from the side that initiates transfers (manager or transmitter). Within the designs, channels
are streams; `send` and `receive` connect them to these interfaces.
"""

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

__all__ = [
    "BURST", "OKAY", "SLVERR", "Axi4", "Axi4Lite", "Axi4Stream", "clock_and_reset", "drive_constants", "receive",
    "send", "verilog_ports",
]  # fmt: skip

OKAY, SLVERR = 0b00, 0b10
INCR = 0b01
BUFFERABLE = 0b0011  # AxCACHE of normal memory, whose accesses may be merged and split; UG1399's masters use it
ADDRESS_BITS = 64

BURST = data.StructLayout({"addr": ADDRESS_BITS, "len": 8})
"""Payload of an address channel: ``addr``, byte address of the first beat, and ``len``, number of beats minus 1."""


def _check_bytes(data_bytes: int, low: int, high: int) -> None:
    """Raise an error unless ``data_bytes`` is a power of two in [low, high]."""
    check_int("data_bytes", data_bytes, low, high)
    if data_bytes & (data_bytes - 1):
        raise ValueError(f"data_bytes must be a power of two, not {data_bytes}")


class Axi4Stream(wiring.Signature):
    """AXI4-Stream with TKEEP and TLAST.

    Parameters
    ----------
    data_bytes
        Bytes per beat; the first byte is in the low bits of TDATA.

    Raises
    ------
    TypeError
        If ``data_bytes`` is not an integer.
    ValueError
        If ``data_bytes`` is less than 1.
    """

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
    """AXI4-Lite with 32 bits of data.

    Parameters
    ----------
    address_bits
        Bits of a byte address, in [3, 64].

    Raises
    ------
    TypeError
        If ``address_bits`` is not an integer.
    ValueError
        If ``address_bits`` is out of range.
    """

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
    """AXI4 with 64 bits of address and one bit of ID.

    Parameters
    ----------
    data_bytes
        Bytes per beat, a power of two in [4, 128].

    Raises
    ------
    TypeError
        If ``data_bytes`` is not an integer.
    ValueError
        If ``data_bytes`` is out of range or not a power of two.
    """

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


def drive_constants(m: Module, bus: wiring.PureInterface, data_bytes: int) -> None:
    """Drive the signals of an `Axi4` that are constant: all bursts have whole words and rising addresses."""
    for channel in ("aw", "ar"):
        m.d.comb += [
            getattr(bus, f"{channel}size").eq((data_bytes - 1).bit_length()),
            getattr(bus, f"{channel}burst").eq(INCR),
            getattr(bus, f"{channel}cache").eq(BUFFERABLE),
        ]


def _fields(interface, channel, payload):
    """Return pairs of a port of ``channel`` and the field of ``payload`` that belongs to it."""
    return [(getattr(interface, f"{channel}{name}"), payload[name]) for name in payload.shape().members]


def send(m: Module, source: stream.Interface, interface: wiring.PureInterface, channel: str) -> None:
    """Connect a stream to an outgoing channel of an interface.

    The field ``addr`` of the payload becomes ``awaddr`` if ``channel`` is ``"aw"``.
    """
    m.d.comb += [
        getattr(interface, f"{channel}valid").eq(source.valid),
        source.ready.eq(getattr(interface, f"{channel}ready")),
    ]
    m.d.comb += [port.eq(field) for port, field in _fields(interface, channel, source.payload)]


def receive(m: Module, interface: wiring.PureInterface, channel: str, sink: stream.Interface) -> None:
    """Connect an incoming channel of an interface to a stream.

    The names of fields and signals correspond as in `send`.
    """
    m.d.comb += [
        sink.valid.eq(getattr(interface, f"{channel}valid")),
        getattr(interface, f"{channel}ready").eq(sink.ready),
    ]
    m.d.comb += [field.eq(port) for port, field in _fields(interface, channel, sink.payload)]


def clock_and_reset(m: Module, clk: Value, resetn: Value) -> None:
    """Create the sync domain of a top level from AXI's clock and active-low reset, with a synchronised release."""
    m.domains.sync = ClockDomain()
    m.d.comb += ClockSignal().eq(clk)
    m.submodules.reset = ResetSynchronizer(~resetn)


def verilog_ports(component: wiring.Component) -> dict[str, Signal]:
    """Return a component's ports by the names that AXI tools expect: ``s_axis.tdata`` becomes ``s_axis_tdata``.

    The result is an argument of `psahw.verilog.emit`.
    """
    return {"_".join(map(str, path)): value for path, _, value in component.signature.flatten(component)}
