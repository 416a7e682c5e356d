"""The accelerator as a Verilog module: its ports, as its manifest describes them, and an instance of it."""

from amaranth.hdl import ClockSignal, Instance, Module, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.argmax import result_layout
from psahw.gateware.counters import READER

__all__ = ["VerilogModule", "interface"]


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


class VerilogModule(wiring.Component):
    """A module that exists as Verilog, by name, with the ports of ``signature`` as Amaranth names them.

    Its port ``clk`` is the sync domain's, ``rst`` is ``reset``, active high.
    """

    def __init__(self, name: str, signature: wiring.Signature):
        self.name, self.inner = name, signature
        super().__init__({"module": wiring.Out(signature), "reset": In(1)})

    def elaborate(self, platform):
        m = Module()
        ports = {}
        for path, member, value in self.inner.flatten(self.module):
            direction = "i" if member.flow is In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m.submodules[self.name] = Instance(self.name, i_clk=ClockSignal(), i_rst=self.reset, **ports)
        return m
