"""Fields of headers: bytes at known places, most significant first."""

from amaranth.hdl import Cat, Module, Signal, Value

__all__ = ["differs", "keep", "split"]


def differs(m: Module, position: Value, byte: Value, fields: dict[int, bytes]) -> Signal:
    """Whether the byte at ``position`` is another than ``fields`` want there; they begin at their keys."""
    found = Signal()
    with m.Switch(position):
        for start, wanted in fields.items():
            for offset, each in enumerate(wanted):
                with m.Case(start + offset):
                    m.d.comb += found.eq(byte != each)
    return found


def keep(m: Module, position: Value, byte: Value, fields: dict[int, Value]) -> None:
    """Gathers the fields that begin at the keys, from the byte at ``position`` in each cycle."""
    with m.Switch(position):
        for start, field in fields.items():
            with m.Case(*range(start, start + len(Value.cast(field)) // 8)):
                m.d.sync += Value.cast(field).eq(Cat(byte, Value.cast(field)[:-8]))


def split(field: Value) -> list[Value]:
    """Its bytes in the order in which they are sent."""
    value = Value.cast(field)
    return [value[k : k + 8] for k in reversed(range(0, len(value), 8))]
