"""The part of a board's design that does not depend on the board: accelerator, link and status LEDs.

The accelerator is a separate Verilog module, the same file that simulation runs, and the core instantiates it.
Boards (`psahw.boards.shell`) and the simulated board (`psahw.boards.simulated`) contain the same core.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from amaranth.hdl import Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .link.hello import describe_board
from .link.link import PORTS, WINDOW
from .ports import VerilogModule, interface

__all__ = ["AcceleratorInterface", "Core"]

LED_SECONDS = Fraction(1, 10)  # for which an event lights its LED


@dataclass(frozen=True)
class AcceleratorInterface:
    """Everything that a core must know about its accelerator.

    Attributes
    ----------
    module
        Name of the accelerator's Verilog module.
    signature
        Ports of the accelerator, see `psahw.boards.ports.interface`.
    frame_bytes
        Length of an image, in bytes.
    hello
        Description of the design that the link sends to the host, see `psahw.host.protocol.Hello.pack`.
    window
        Number of images that the link can buffer.
    """

    module: str
    signature: wiring.Signature
    frame_bytes: int
    hello: bytes
    window: int = WINDOW

    @classmethod
    def from_manifest(
        cls, manifest: dict, *, board: str, clock_hz: float, verilog: Path, window: int = WINDOW
    ) -> "AcceleratorInterface":
        """Return the interface of the accelerator that `psahw.generate.write` wrote into the file ``verilog``.

        The parameters are those of `psahw.boards.link.hello.describe_board`, which makes the hello message.
        """
        hello = describe_board(manifest, board=board, clock_hz=clock_hz, circuit=verilog.read_bytes(), window=window)
        return cls(manifest["top"], interface(manifest), hello.frame_bytes, hello.pack(), window)

    def payload(self, port: str) -> data.Layout:
        """Return the payload shape of the stream ``port``, "i" or "o"."""
        return self.signature.members[port].signature.members["payload"].shape

    def link(self) -> dict:
        """Return the parameters that every link component takes, see `psahw.boards.link.link.Link`."""
        return {
            "hello": self.hello,
            "bus_bytes": self.payload("i").length,
            "frame_bytes": self.frame_bytes,
            "result": self.payload("o"),
            "window": self.window,
        }


class Core(wiring.Component):
    """Accelerator, link and status LEDs in the accelerator's clock domain.

    Parameters
    ----------
    accelerator : AcceleratorInterface
        The accelerator to instantiate.
    link : wiring.Component
        The component between the accelerator and the pins, constructed for ``accelerator``. It has the ports
        `psahw.boards.link.link.PORTS`.
    clock_hz : float or Fraction
        Frequency of the sync domain, in Hz.
    ecp5_global : bool
        Pass the accelerator's reset through an ECP5's global network. nextpnr-ecp5 routes clocks alone on that
        network unless a design says otherwise, and a reset with thousands of loads takes 17 ns without it.

    Members
    -------
    *
        All other ports of the link, under the same names. They lead to the pins.
    led : Out(3)
        LED 0 blinks while the clock runs. LED 1 lights up with every result, LED 2 with every error, each for
        `LED_SECONDS`.
    """

    def __init__(
        self,
        accelerator: AcceleratorInterface,
        link: wiring.Component,
        *,
        clock_hz: float | Fraction,
        ecp5_global: bool = False,
    ):
        self.accelerator, self.clock_hz, self._link = accelerator, Fraction(clock_hz), link
        self.ecp5_global = ecp5_global
        self._pins = {name: member for name, member in link.signature.members.items() if name not in PORTS}
        super().__init__({**self._pins, "led": Out(3)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.module = module = VerilogModule(self.accelerator.module, self.accelerator.signature)
        accelerator = module.module
        # This net reaches every flip-flop of the accelerator, so it comes from a register. The additional cycle does
        # no harm, because no image has arrived yet when the link's own reset ends.
        reset = Signal(init=1, reset_less=True)
        m.d.sync += reset.eq(ResetSignal() | link.reset)
        wiring.connect(m, link.image, accelerator.i)
        wiring.connect(m, accelerator.o, link.result)
        m.d.comb += [
            accelerator.counters.addr.eq(link.counters.addr),
            accelerator.counters.clear.eq(link.counters.clear),
            link.counters.data.eq(accelerator.counters.data),
        ]
        if self.ecp5_global:
            # FPGA-TN-02200, section "Primary Clocks": CE stops the output.
            m.submodules.reset_buffer = Instance("DCCA", i_CLKI=reset, i_CE=Const(1), o_CLKO=module.reset)
        else:
            m.d.comb += module.reset.eq(reset)
        for name, member in self._pins.items():
            inner, outer = getattr(link, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        self._leds(m, link)
        return m

    def _leds(self, m, link):
        """Drive the status LEDs."""
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
