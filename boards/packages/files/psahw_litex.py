"""Add the accelerator to a LiteX SoC.

    from psahw_litex import add_psahw
    add_psahw(soc)

Alternatively, create ``soc.psahw = Psahw(soc.platform)`` and connect its sink and source yourself.

The registers (see psahw's documentation) are at ``soc.mem_regions["psahw"]``, and the CSRs of the two DMAs are named
``psahw_reader`` and ``psahw_writer``. To classify an image, give the reader the image's base and length, give the
writer a base and the length of a record, then enable both.

The Verilog and the memory files are in the directory of this module. If the accelerator was planned for a Xilinx
or an ECP5 device, a simulation also needs ``multipliers.v``. For Xilinx devices, Yosys needs ``-nodsp``, which keeps
instances of DSP slices.
"""

import json
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi, stream, wishbone
from migen import ClockSignal, Instance, ResetSignal

FOLDER = Path(__file__).resolve().parent
ADDRESS_BITS = 12
PLANNED_BYTES = 1 << 16  # assumed for a region that the SoC's map names, but that has not been added


class Psahw(LiteXModule):
    """The accelerator with streams for images and results, and with registers.

    Attributes
    ----------
    sink : stream.Endpoint
        Image bytes. ``last`` is set in the last beat of a frame.
    source : stream.Endpoint
        Results in words of 32 bits. ``last`` is set in the last word of a result.
    bus : axi.AXILiteInterface
        Access to the registers.
    manifest : dict
        Description of the accelerator.
    """

    def __init__(self, platform):
        self.manifest = manifest = json.loads((FOLDER / "manifest.json").read_text())
        self.bus_bits = 8 * manifest["bus_bytes"]
        self.sink = sink = stream.Endpoint([("data", self.bus_bits)])
        self.source = source = stream.Endpoint([("data", 32)])
        self.bus = bus = axi.AXILiteInterface(data_width=32, address_width=32)  # as the SoC's bus
        ports = {"i_aclk": ClockSignal(), "i_aresetn": ~ResetSignal(), "i_s_axi_awprot": 0, "i_s_axi_arprot": 0}
        for channel, fields, is_output in (
            ("aw", ("addr",), False),
            ("w", ("data", "strb"), False),
            ("b", ("resp",), True),
            ("ar", ("addr",), False),
            ("r", ("data", "resp"), True),
        ):
            endpoint = getattr(bus, channel)
            forward, backward = ("o", "i") if is_output else ("i", "o")
            ports[f"{forward}_s_axi_{channel}valid"] = endpoint.valid
            ports[f"{backward}_s_axi_{channel}ready"] = endpoint.ready
            for field in fields:
                value = getattr(endpoint, field)
                ports[f"{forward}_s_axi_{channel}{field}"] = value[:ADDRESS_BITS] if field == "addr" else value
        ports |= {
            "i_s_axis_tvalid": sink.valid,
            "o_s_axis_tready": sink.ready,
            "i_s_axis_tdata": sink.data,
            "i_s_axis_tkeep": (1 << manifest["bus_bytes"]) - 1,
            "i_s_axis_tlast": sink.last,
            "o_m_axis_tvalid": source.valid,
            "i_m_axis_tready": source.ready,
            "o_m_axis_tdata": source.data,
            "o_m_axis_tlast": source.last,
        }
        self.specials += Instance("psahw_axi", **ports)
        for name in ("axi.v", "accelerator.v"):
            platform.add_source(str(FOLDER / name))
        for memory in sorted(FOLDER.glob("*.mem")):  # $readmemb has relative paths
            platform.add_source(str(memory), copy=True)


def add_psahw(soc, name="psahw", origin=None):
    """Add the accelerator to a SoC, with a DMA that reads images and a DMA that writes results.

    Parameters
    ----------
    soc : SoC
        The SoC, whose bus gets the accelerator's registers and the two DMAs.
    name : str
        Name of the accelerator in the SoC, and prefix of the DMAs' names.
    origin : int
        Address of the registers. By default that of ``name`` in ``soc.mem_map``, or else a free address among those
        for input and output.
    """
    core = Psahw(soc.platform)
    soc.add_module(name=name, module=core)
    if origin is None:
        origin = soc.mem_map.get(name)
    if origin is None:
        origin = _free_origin(soc, name)
    soc.bus.add_slave(name=name, slave=core.bus, region=SoCRegion(origin, 1 << ADDRESS_BITS, cached=False))

    # LiteX' DMAs reverse the bytes of words with the given endianness. Here the first byte belongs into the low bits.
    order = "big" if soc.cpu.endianness == "little" else "little"
    reader = WishboneDMAReader(_master(soc, f"{name}_reader"), endianness=order, with_csr=True)
    writer = WishboneDMAWriter(_master(soc, f"{name}_writer"), endianness=order, with_csr=True)
    soc.add_module(name=f"{name}_reader", module=reader)
    soc.add_module(name=f"{name}_writer", module=writer)
    inward = stream.Converter(reader.source.data.nbits, core.bus_bits)
    outward = stream.Converter(32, writer.sink.data.nbits)
    soc.add_module(name=f"{name}_inward", module=inward)
    soc.add_module(name=f"{name}_outward", module=outward)
    soc.comb += [
        reader.source.connect(inward.sink),
        inward.source.connect(core.sink),
        core.source.connect(outward.sink),
        outward.source.connect(writer.sink),
    ]
    return core


def _free_origin(soc, name):
    """Return an address for the registers at which nothing is, and nothing will be that the SoC's map contains.

    LiteX adds the region of its CSRs only at the end, so that its own search would overlook it. In a SoC without a
    CPU it is at address 0, the first that LiteX tries.
    """
    sizes = {"csr": 4 << soc.csr.address_width}
    planned = {
        f"planned_{other}": SoCRegion(address, sizes.get(other, PLANNED_BYTES), cached=False)
        for other, address in soc.mem_map.items()
        if other not in soc.bus.regions
    }
    soc.bus.regions.update(planned)
    try:
        return soc.bus.alloc_region(name, 1 << ADDRESS_BITS, cached=False).origin
    finally:
        for other in planned:
            del soc.bus.regions[other]


def _master(soc, name):
    """Return a new Wishbone master on the SoC's bus."""
    bus = wishbone.Interface(data_width=soc.bus.data_width, address_width=soc.bus.address_width)
    soc.bus.add_master(name=name, master=bus)
    return bus
