"""The UART as a link: what `psahw.boards.core` expects of every link, between two pins and the accelerator."""

from fractions import Fraction

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crossing import Crossing
from .link import PORTS, WINDOW, Link
from .uart import RECEIVED, Receiver, Transmitter

__all__ = ["UartLink"]


class UartLink(wiring.Component):
    """`Link` behind a UART.

    Towards the accelerator, all in the sync domain, it has the ports of `Link`: ``image``, ``result``, ``counters``,
    ``reset``, and ``activity`` and ``error`` for the LEDs. Another link has the same, and pins of its own.

    Parameters
    ----------
    hello, bus_bytes, frame_bytes, result, window : see `Link`
    clock_hz : of ``domain``
    baud : bits a second
    domain : the UART's own; between it and the sync domain, which may be another, bytes cross

    Members
    -------
    uart_rx, uart_tx : the pins
    """

    def __init__(
        self,
        *,
        hello: bytes,
        bus_bytes: int,
        frame_bytes: int,
        result: data.StructLayout,
        clock_hz: float | Fraction,
        baud: int,
        window: int = WINDOW,
        domain: str = "sync",
    ):
        self._receiver = Receiver(clock_hz=clock_hz, baud=baud)
        self._transmitter = Transmitter(clock_hz=clock_hz, baud=baud)
        self._link = Link(hello=hello, bus_bytes=bus_bytes, frame_bytes=frame_bytes, result=result, window=window)
        self.domain = domain
        inner = {name: self._link.signature.members[name] for name in PORTS}
        super().__init__({"uart_rx": In(1, init=1), "uart_tx": Out(1, init=1), **inner})

    def elaborate(self, platform):
        m = Module()
        rename = DomainRenamer(self.domain)
        m.submodules.receiver, m.submodules.transmitter = rename(self._receiver), rename(self._transmitter)
        m.submodules.inward = inward = Crossing(RECEIVED, i_domain=self.domain, o_domain="sync")
        m.submodules.outward = outward = Crossing(8, i_domain="sync", o_domain=self.domain)
        m.submodules.link = link = self._link
        wiring.connect(m, self._receiver.o, inward.i)
        wiring.connect(m, inward.o, link.rx)
        wiring.connect(m, link.tx, outward.i)
        wiring.connect(m, outward.o, self._transmitter.i)
        m.d.comb += [self._receiver.rx.eq(self.uart_rx), self.uart_tx.eq(self._transmitter.tx)]
        for name in ("image", "result", "counters"):
            wiring.connect(m, getattr(link, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [getattr(self, name).eq(getattr(link, name)) for name in ("reset", "activity", "error")]
        return m
