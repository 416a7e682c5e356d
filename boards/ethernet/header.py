"""Fields of packet headers: bytes at fixed positions, most significant byte first."""

from amaranth.hdl import Cat, Module, Signal, Value

__all__ = ["field_bytes", "gather", "mismatch"]


def mismatch(m: Module, position: Value, byte: Value, fields: dict[int, bytes]) -> Signal:
    """Return a signal that is high if the byte at ``position`` is not the expected one.

    Parameters
    ----------
    m
        Module to which the comparison is added.
    position
        Position of ``byte`` in the packet.
    byte
        Current byte of the packet.
    fields
        Expected bytes, by the position of the first. Bytes at other positions never mismatch.
    """
    differs = Signal()
    with m.Switch(position):
        for start, content in fields.items():
            for offset, expected in enumerate(content):
                with m.Case(start + offset):
                    m.d.comb += differs.eq(byte != expected)
    return differs


def gather(m: Module, position: Value, byte: Value, fields: dict[int, Value]) -> None:
    """Add registers that gather the fields of a packet from its bytes.

    Parameters
    ----------
    m
        Module to which the registers are added. A byte is taken in every clock cycle, unless the
        call is within a condition.
    position
        Position of ``byte`` in the packet.
    byte
        Current byte of the packet.
    fields
        Registers of whole bytes, by the position of the first byte.
    """
    with m.Switch(position):
        for start, field in fields.items():
            with m.Case(*range(start, start + len(Value.cast(field)) // 8)):
                m.d.sync += Value.cast(field).eq(Cat(byte, Value.cast(field)[:-8]))


def field_bytes(field: Value) -> list[Value]:
    """Return the bytes of a field in the order in which they are sent."""
    value = Value.cast(field)
    return [value[k : k + 8] for k in reversed(range(0, len(value), 8))]
