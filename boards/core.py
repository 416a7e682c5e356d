"""The design of a board behind its clock and its pins: accelerator, link and status LEDs.

The accelerator is a Verilog module of its own, the very file that simulation runs; the core instantiates it. Boards
(`psahw.boards.shell`) and the simulated board contain the same core.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from amaranth.hdl import Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .link.hello import describe_board
from .link.link import PORTS, WINDOW
from .ports import VerilogModule, interface

__all__ = ["AcceleratorInterface", "Core"]

LED_SECONDS = Fraction(1, 10)


@dataclass(frozen=True)
class AcceleratorInterface:
    """What a core is made around.

    ``module`` is the accelerator's name in Verilog, ``signature`` its ports, ``frame_bytes`` the length of an image,
    ``hello`` what the link says of it all (`psahw.host.protocol.Hello.pack`), ``window`` the images that it holds.
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

    def payload(self, port: str):
        return self.signature.members[port].signature.members["payload"].shape

    def link(self) -> dict:
        """What every link is made with: see `psahw.boards.link.link.Link`."""
        return {
            "hello": self.hello,
            "bus_bytes": self.payload("i").length,
            "frame_bytes": self.frame_bytes,
            "result": self.payload("o"),
            "window": self.window,
        }


class Core(wiring.Component):
    """Everything on a board that runs on the accelerator's clock.

    Parameters
    ----------
    inside : the accelerator
    link : between it and pins: a component with the ports `psahw.boards.link.link.PORTS`, made for ``inside``
    clock_hz : of the sync domain

    Members
    -------
    the link's others : its pins, by its names
    led : 0 blinks while the clock runs, 1 lights up with every result, 2 with every error
    """

    def __init__(self, inside: AcceleratorInterface, link: wiring.Component, *, clock_hz: float | Fraction):
        self.inside, self.clock_hz, self._link = inside, Fraction(clock_hz), link
        self._pins = {name: member for name, member in link.signature.members.items() if name not in PORTS}
        super().__init__({**self._pins, "led": Out(3)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.module = module = VerilogModule(self.inside.module, self.inside.signature)
        accelerator = module.module
        # It reaches every flip-flop of the accelerator, and comes from one. The cycle that this costs is hidden: no
        # image has come in when the link's own reset ends.
        reset = Signal(init=1, reset_less=True)
        m.d.sync += reset.eq(ResetSignal() | link.reset)
        wiring.connect(m, link.image, accelerator.i)
        wiring.connect(m, accelerator.o, link.result)
        m.d.comb += [
            accelerator.counters.addr.eq(link.counters.addr),
            accelerator.counters.clear.eq(link.counters.clear),
            link.counters.data.eq(accelerator.counters.data),
            module.reset.eq(reset),
        ]
        for name, member in self._pins.items():
            inner, outer = getattr(link, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
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
