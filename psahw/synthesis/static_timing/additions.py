"""How many additions fit between two registers at a clock, before there is a netlist."""

from math import ceil

from .delays import Delays

__all__ = ["addition_ps", "most_additions"]

_BITS = 24  # of the widest sums in the networks that ship
_FAN_OUT = 16  # loads of a value that more additions use than most
_AREA = 5000  # LUTs of a graph for 16 x 16 weights of 8 bits take 3,700, and those for 16 x 48 take 10,600
_ROOM = 0.85  # of the period; the rest is left to the router, because nothing has been routed with more than one


def addition_ps(delays: Delays, bits: int = _BITS) -> int:
    """Return how long an addition takes, in ps, with the net in front of it.

    The carry starts at the lowest bit and ends at the highest one of ``bits``. The net is that of an operand which
    many additions use, so that most additions of a graph take less.

    Parameters
    ----------
    delays
        Delays of the family and the speed grade.
    bits
        Bits of the sum, at least 1.

    Raises
    ------
    ValueError
        If there is no bit.
    """
    if bits < 1:
        raise ValueError(f"bits must be at least 1, not {bits}")
    adder, carries = delays.adder, delays.cascades.values()
    enter = across = leave = alone = 0  # operand to carry, carry to carry, carry to sum, operand to sum
    for port, _, to, bit, ps in delays.arcs({"type": adder.cell}).through:
        if port in adder.unused or (to in carries and bit not in (None, adder.bits - 1)):
            continue
        if port in delays.cascades:
            across, leave = (max(across, ps), leave) if to in carries else (across, max(leave, ps))
        else:
            enter, alone = (max(enter, ps), alone) if to in carries else (enter, max(alone, ps))
    lut = max((ps for *_, ps in delays.arcs({"type": adder.lut}).through), default=0) if adder.lut else 0
    cells = ceil(bits / adder.bits)
    chain = enter + across * (cells - 2) + leave if cells > 1 else alone
    return delays.nets.ps(_FAN_OUT, _AREA) + lut + chain


def most_additions(delays: Delays, clock_hz: float, bits: int = _BITS) -> int:
    """Return how many additions fit one behind the other between two registers, at least 1.

    Parameters
    ----------
    delays
        Delays of the family and the speed grade.
    clock_hz
        Clock frequency in Hz.
    bits
        Bits of the sums.

    Raises
    ------
    ValueError
        If the clock is not positive, or there is no bit.
    """
    if not clock_hz > 0:
        raise ValueError(f"clock_hz must be positive, not {clock_hz}")
    register = delays.arcs({"type": min(delays.flip_flops)})
    data = max(ps for port, ps in register.setup.items() if port in ("D", "DI"))
    room = _ROOM * 1e12 / clock_hz - delays.allowance_ps - max(register.arrival.values()) - data
    return max(1, int(room // addition_ps(delays, bits)))
