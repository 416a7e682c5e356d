"""Registers behind AXI4-Lite, from a table."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .interfaces import OKAY, SLVERR, Axi4Lite
from .registers import Access, Register

__all__ = ["RegisterFile"]

_MEMBERS = {
    Access.READ: {"value": In(32), "read": Out(1)},
    Access.WRITE: {"value": Out(32)},
    Access.COMMAND: {"value": In(32), "read": Out(1), "orders": Out(32)},
}


class RegisterFile(wiring.Component):
    """Serves one access of each kind at a time; a write takes two cycles, a read one.

    Parameters
    ----------
    table : registers at distinct multiples of 4 below ``2**address_bits``
    address_bits : of the bus
    strict : an address without a register, and a write to one that cannot be written, is answered with SLVERR; else
        with OKAY, reads with zero

    Members
    -------
    bus : AXI4-Lite. Address and data of a write may come in any order; bytes without a strobe stay as they are
    registers : for each of the table by its name in lower case: ``value`` (of a `Access.WRITE` register driven
        here); ``read`` is high for a cycle in which it is read; ``orders`` has the ones that are written, for a cycle

    Raises ValueError for a register at an impossible offset.
    """

    def __init__(self, *, table: tuple[Register, ...], address_bits: int = 12, strict: bool = True):
        offsets = [register.offset for register in table]
        for register in table:
            if (
                register.offset % 4
                or not 0 <= register.offset < 1 << address_bits
                or offsets.count(register.offset) > 1
            ):
                raise ValueError(
                    f"table must have {register.name} at a multiple of 4 of its own below {1 << address_bits}, "
                    f"not {register.offset:#x}"
                )
        self.table, self.strict = tuple(table), strict
        registers = {register.name.lower(): Out(_signature(register)) for register in table}
        super().__init__({"bus": In(Axi4Lite(address_bits)), "registers": Out(wiring.Signature(registers))})

    def _port(self, register):
        return getattr(self.registers, register.name.lower())

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m):
        bus, wrong = self.bus, SLVERR if self.strict else OKAY
        have_address, have_data = Signal(), Signal()
        word, new, strobe = Signal(len(bus.awaddr) - 2), Signal(32), Signal(4)
        go = have_address & have_data & (~bus.bvalid | bus.bready)
        mask = Cat(bit.replicate(8) for bit in strobe)

        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), word.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), new.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(go):
            m.d.sync += [have_address.eq(0), have_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(wrong)]
            with m.Switch(word):
                for register in self.table:
                    port = self._port(register)
                    if register.access is Access.READ:
                        continue
                    with m.Case(register.offset >> 2):
                        m.d.sync += bus.bresp.eq(OKAY)
                        if register.access is Access.WRITE:
                            m.d.sync += port.value.eq((port.value & ~mask) | (new & mask))
                        else:
                            m.d.comb += port.orders.eq(new & mask)

    def _read(self, m):
        bus, wrong = self.bus, SLVERR if self.strict else OKAY
        m.d.comb += bus.arready.eq(~bus.rvalid | bus.rready)
        with m.If(bus.arready):
            m.d.sync += bus.rvalid.eq(bus.arvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rdata.eq(0), bus.rresp.eq(wrong)]
            with m.Switch(bus.araddr[2:]):
                for register in self.table:
                    port = self._port(register)
                    with m.Case(register.offset >> 2):
                        m.d.sync += [bus.rdata.eq(port.value), bus.rresp.eq(OKAY)]
                        if register.access is not Access.WRITE:
                            m.d.comb += port.read.eq(1)


def _signature(register):
    members = dict(_MEMBERS[register.access])
    if register.access is Access.WRITE:
        members["value"] = Out(32, init=register.at_reset)
    return wiring.Signature(members)
