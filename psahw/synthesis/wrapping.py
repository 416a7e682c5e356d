"""Modules of a circuit between registers, so that a router can tell how fast each is by itself.

A wrapper has three pins, whatever the module's ports: ``i`` shifts into a chain of registers of which each drives one
input, and all outputs are taken into registers and folded into ``o``, four bits per clock cycle.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .verilog_modules import Module

__all__ = ["TOP", "Port", "export", "ports_of", "within", "wrapper"]

TOP = "psahw_wrapped"
"""Name of the module that `wrapper` writes."""

_PORT = re.compile(r"(?m)^  (input|output) (?:\[(\d+):0\] )?(\\\S+ |\w+);$")
_FOLD = 4


class Port(NamedTuple):
    """A port of a module: its name in Verilog, whether it is an input, and its width in bits."""

    name: str
    is_input: bool
    width: int


def ports_of(module: Module) -> list[Port]:
    """Return the ports of a module, without its clock."""
    found = _PORT.findall(module.stub)
    ports = [Port(name, direction == "input", int(high or 0) + 1) for direction, high, name in found]
    return [port for port in ports if port.name != "clk"]


def wrapper(module: Module) -> str:
    """Return a Verilog text with the module `TOP`, in which a module stands between registers."""
    ports = ports_of(module)
    connections = ["    .clk(clk)"]
    used = {True: 0, False: 0}
    for port in ports:
        low = used[port.is_input]
        used[port.is_input] += port.width
        wires = "source" if port.is_input else "result"
        connections.append(f"    .{port.name}({wires}[{used[port.is_input] - 1}:{low}])")
    sources, width = max(used[True], 1), max(used[False], 1)
    lines = [
        f"module {TOP}(input clk, input i, output o);",
        f"  (* keep *) reg [{sources - 1}:0] source;",
        f"  wire [{width - 1}:0] result;",
        f"  (* keep *) reg [{width - 1}:0] folded_0;",
        "  always @(posedge clk) source <= {source, i};",
        "  always @(posedge clk) folded_0 <= result;",
        f"  \\{module.name} part (\n" + ",\n".join(connections) + "\n  );",
    ]
    n = 0
    while width > 1:
        groups = range(0, width, _FOLD)
        terms = [f"^folded_{n}[{min(low + _FOLD, width) - 1}:{low}]" for low in groups]
        n, width = n + 1, len(terms)
        lines.append(f"  reg [{width - 1}:0] folded_{n};")
        lines.append(f"  always @(posedge clk) folded_{n} <= {{{', '.join(reversed(terms))}}};")
    return "\n".join([*lines, f"  assign o = folded_{n}[0];", "endmodule", ""])


def within(name: str, modules: Mapping[str, Module]) -> list[Module]:
    """Return a module and all modules inside of it."""
    found = [modules[name]]
    for module in found:
        found += [modules[child] for child in module.children]
    return found


def export(directory: Path, name: str, modules: Mapping[str, Module], path: Path) -> None:
    """Write a module between registers into a Verilog file, with its memory files beside it.

    Parameters
    ----------
    directory
        Directory with the memory files of the circuit.
    name
        Name of the module.
    modules
        All modules of the circuit by name.
    path
        The file. The module at the top is `TOP`, with the ports ``clk``, ``i`` and ``o``.
    """
    parts = within(name, modules)
    for memory in {memory for part in parts for memory in part.memories}:
        shutil.copyfile(directory / memory, path.parent / memory)
    path.write_text("\n\n".join([*(part.text for part in parts), wrapper(modules[name])]))
