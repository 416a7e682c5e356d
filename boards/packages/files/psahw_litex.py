"""The accelerator in a LiteX SoC.

    from psahw_litex import add_psahw
    add_psahw(soc)                       # or soc.psahw = Psahw(soc.platform), and connect sink and source yourself

Registers (docs/integration.md of psahw) stand at ``soc.mem_regions["psahw"]``, CSRs of the two DMAs under
``psahw_reader`` and ``psahw_writer``: an image is classified by giving the reader its base and length, the writer a
base and the length of a record, and enabling both. Files are found beside this module; a simulation on an accelerator
for Xilinx' devices needs ``dsp48.v``, too, and Yosys ``-nodsp``, which leaves instances of DSP slices as they are.
"""

import json
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi, stream, wishbone
from migen import ClockSignal, Instance, ResetSignal

HERE = Path(__file__).resolve().parent
ADDRESS_BITS = 12


class Psahw(LiteXModule):
    """Streams in and out, registers beside.

    ``sink``: image bytes, ``last`` on a frame's last beat. ``source``: words of 32 bits, ``last`` on a result's last.
    ``bus``: AXI4-Lite.
    """

    def __init__(self, platform):
        self.about = about = json.loads((HERE / "manifest.json").read_text())
        self.bus_bits = 8 * about["bus_bytes"]
        self.sink = sink = stream.Endpoint([("data", self.bus_bits)])
        self.source = source = stream.Endpoint([("data", 32)])
        self.bus = bus = axi.AXILiteInterface(data_width=32, address_width=32)  # of the SoC's bus
        ports = {"i_aclk": ClockSignal(), "i_aresetn": ~ResetSignal(), "i_s_axi_awprot": 0, "i_s_axi_arprot": 0}
        for channel, fields, outward in (
            ("aw", ("addr",), False),
            ("w", ("data", "strb"), False),
            ("b", ("resp",), True),
            ("ar", ("addr",), False),
            ("r", ("data", "resp"), True),
        ):
            endpoint = getattr(bus, channel)
            forth, back = ("o", "i") if outward else ("i", "o")
            ports[f"{forth}_s_axi_{channel}valid"] = endpoint.valid
            ports[f"{back}_s_axi_{channel}ready"] = endpoint.ready
            for field in fields:
                value = getattr(endpoint, field)
                ports[f"{forth}_s_axi_{channel}{field}"] = value[:ADDRESS_BITS] if field == "addr" else value
        ports |= {
            "i_s_axis_tvalid": sink.valid,
            "o_s_axis_tready": sink.ready,
            "i_s_axis_tdata": sink.data,
            "i_s_axis_tkeep": (1 << about["bus_bytes"]) - 1,
            "i_s_axis_tlast": sink.last,
            "o_m_axis_tvalid": source.valid,
            "i_m_axis_tready": source.ready,
            "o_m_axis_tdata": source.data,
            "o_m_axis_tlast": source.last,
        }
        self.specials += Instance("psahw_axi", **ports)
        for name in ("axi.v", "accelerator.v"):
            platform.add_source(str(HERE / name))
        for memory in sorted(HERE.glob("*.mem")):  # $readmemb has relative paths
            platform.add_source(str(memory), copy=True)


def add_psahw(soc, name="psahw", origin=None):
    """Adds the accelerator, its registers at ``origin`` (else where LiteX finds room), and DMAs with CSRs that read
    images and write results."""
    core = Psahw(soc.platform)
    soc.add_module(name=name, module=core)
    soc.bus.add_slave(name=name, slave=core.bus, region=SoCRegion(origin, 1 << ADDRESS_BITS, cached=False))

    # LiteX' DMAs turn words of the order that they are told about around; the first byte belongs into the low bits.
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


def _master(soc, name):
    bus = wishbone.Interface(data_width=soc.bus.data_width, address_width=soc.bus.address_width)
    soc.bus.add_master(name=name, master=bus)
    return bus
