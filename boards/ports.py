"""The accelerator's ports, and an instance of its Verilog module."""

from amaranth.hdl import ClockSignal, Instance, Module, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.argmax import result_layout
from psahw.gateware.counters import READER

__all__ = ["VerilogModule", "interface"]


def interface(manifest: dict) -> wiring.Signature:
    """Return the accelerator's ports.

    Parameters
    ----------
    manifest
        Description of the accelerator, as `psahw.generate.write` returns it.
    """
    result = result_layout(manifest["classes"], manifest["logit_bits"])
    return wiring.Signature(
        {
            "i": In(stream.Signature(data.ArrayLayout(unsigned(8), manifest["bus_bytes"]))),
            "o": Out(stream.Signature(result)),
            "counters": In(READER),
        }
    )


class VerilogModule(wiring.Component):
    """An instance of a Verilog module that Amaranth has written.

    The module's port ``clk`` is connected to the sync domain, and its port ``rst`` to ``reset``.

    Parameters
    ----------
    name : str
        Name of the Verilog module.
    signature : wiring.Signature
        Its other ports.

    Members
    -------
    module : Out(signature)
        The module's ports.
    reset : In(1)
        Reset, active high.
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
