"""A link over a UART."""

from fractions import Fraction

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .crossing import Crossing
from .link import PORTS, WINDOW, Link
from .uart import CHARACTER, Receiver, Transmitter

__all__ = ["UartLink"]


class UartLink(wiring.Component):
    """`psahw.boards.link.link.Link` behind a UART.

    The ports towards the accelerator are those of `Link` (`psahw.boards.link.link.PORTS`), in the
    sync domain.

    Parameters
    ----------
    hello, bus_bytes, frame_bytes, result, window
        Parameters of `psahw.boards.link.link.Link`.
    clock_hz
        Frequency of the clock of ``domain`` in Hz.
    baud
        Bits per second; at most a quarter of ``clock_hz``.
    domain
        Clock domain of the UART. Bytes cross between it and the sync domain, if they are different.

    Raises
    ------
    TypeError, ValueError
        As `psahw.boards.link.link.Link`; ValueError also if ``baud`` is too high.

    Members
    -------
    uart_rx : In(1)
        Serial line from the host, high when idle.
    uart_tx : Out(1)
        Serial line to the host, high when idle.
    image, result, counters, reset, activity, error
        Ports of `psahw.boards.link.link.Link`.
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
        m.submodules.inward = inward = Crossing(CHARACTER, i_domain=self.domain, o_domain="sync")
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
