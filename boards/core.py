"""The design of a board behind its clock and its pins: accelerator, link and status LEDs.

The accelerator is a Verilog module of its own, the very file that simulation runs; the core instantiates it. Boards
(`boards.shell`) and the simulated board contain the same core.
"""

from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .ports import VerilogModule
from .uart_link import UartLink

__all__ = ["Core", "Inside"]

LED_SECONDS = Fraction(1, 10)


@dataclass(frozen=True)
class Inside:
    """What a core is made around.

    ``module`` is the accelerator's name in Verilog, ``signature`` its ports, ``frame_bytes`` the length of an image,
    ``hello`` what the link says of it all (`psahw.host.protocol.Hello.pack`).
    """

    module: str
    signature: wiring.Signature
    frame_bytes: int
    hello: bytes

    def payload(self, port: str):
        return self.signature.members[port].signature.members["payload"].shape


class Core(wiring.Component):
    """Everything on a board that runs on the accelerator's clock.

    Parameters
    ----------
    inside : the accelerator
    clock_hz : of the sync domain
    baud : of the UART

    Members
    -------
    uart_rx, uart_tx : the pins
    led : 0 blinks while the clock runs, 1 lights up with every result, 2 with every error
    """

    def __init__(self, inside: Inside, *, clock_hz: float | Fraction, baud: int):
        self.inside, self.clock_hz = inside, Fraction(clock_hz)
        self._link = UartLink(
            hello=inside.hello,
            bus_bytes=inside.payload("i").length,
            frame_bytes=inside.frame_bytes,
            result=inside.payload("o"),
            clock_hz=clock_hz,
            baud=baud,
        )
        super().__init__({"uart_rx": In(1, init=1), "uart_tx": Out(1, init=1), "led": Out(3)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.module = module = VerilogModule(self.inside.module, self.inside.signature)
        accelerator = module.module
        wiring.connect(m, link.image, accelerator.i)
        wiring.connect(m, accelerator.o, link.result)
        m.d.comb += [
            accelerator.counters.addr.eq(link.counters.addr),
            accelerator.counters.clear.eq(link.counters.clear),
            link.counters.data.eq(accelerator.counters.data),
            module.reset.eq(link.reset),
            link.uart_rx.eq(self.uart_rx),
            self.uart_tx.eq(link.uart_tx),
        ]
        self._leds(m, link)
        return m

    def _leds(self, m, link):
        cycles = max(int(LED_SECONDS * self.clock_hz), 1)
        beat = Signal(range(8 * cycles))
        m.d.sync += beat.eq(beat + 1)
        m.d.comb += self.led[0].eq(beat[-1])
        for index, event in ((1, link.activity), (2, link.error)):
            left = Signal(range(cycles + 1), name=f"led_{index}_left")
            with m.If(event):
                m.d.sync += left.eq(cycles)
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            m.d.comb += self.led[index].eq(left != 0)
