"""Registers behind AXI4-Lite, generated from a table."""

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
    """Registers behind an AXI4-Lite bus.

    One read and one write can be in progress at a time. A write takes four cycles, and a read takes
    one. Two of the four are for `psahw.gateware.counters.Counters`: a read after the response of a
    write sees the counter that the write has selected or cleared.

    Parameters
    ----------
    table
        Registers, at distinct multiples of 4 below ``2**address_bits``.
    address_bits
        Bits of a byte address on the bus.
    strict
        If true, an access to an address without a register, or a write to a register that cannot be
        written, is answered with SLVERR. If false, it is answered with OKAY, and reads return zero.

    Raises
    ------
    ValueError
        If a register has an invalid offset.

    Members
    -------
    bus : In(`psahw.boards.axi.interfaces.Axi4Lite`)
        Bus. Address and data of a write may arrive in any order. Bytes without a strobe keep their
        values.
    registers : Out(signature)
        A member for each register, with its name in lower case. ``value`` is the register's value,
        which this component drives for `psahw.boards.axi.registers.Access.WRITE`. ``read`` is high
        for one cycle when the register is read. ``orders`` contains the bits that are written as 1,
        for one cycle.
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
                    f"table must have {register.name} at a distinct multiple of 4 below {1 << address_bits}, "
                    f"not {register.offset:#x}"
                )
        self.table, self.strict = tuple(table), strict
        registers = {register.name.lower(): Out(_signature(register)) for register in table}
        super().__init__({"bus": In(Axi4Lite(address_bits)), "registers": Out(wiring.Signature(registers))})

    def _port(self, register):
        """Return the member of ``registers`` that belongs to a register."""
        return getattr(self.registers, register.name.lower())

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m):
        """Serve the write channels."""
        bus, wrong = self.bus, SLVERR if self.strict else OKAY
        have_address, have_data = Signal(), Signal()
        word, new, strobe = Signal(len(bus.awaddr) - 2), Signal(32), Signal(4)
        settling = Signal(2)  # the write was carried out one cycle ago, or two
        go = have_address & have_data & (settling == 0) & (~bus.bvalid | bus.bready)
        mask = Cat(bit.replicate(8) for bit in strobe)

        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        m.d.sync += settling.eq(Cat(go, settling))
        with m.If(settling[1]):
            m.d.sync += bus.bvalid.eq(1)
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), word.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), new.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(go):
            m.d.sync += [have_address.eq(0), have_data.eq(0), bus.bresp.eq(wrong)]
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
        """Serve the read channels."""
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
    """Return the signature of a register's ports."""
    members = dict(_MEMBERS[register.access])
    if register.access is Access.WRITE:
        members["value"] = Out(32, init=register.at_reset)
    return wiring.Signature(members)
