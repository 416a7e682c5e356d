"""What surrounds the accelerator on a board: clock, reset, UART link and status LEDs.

The accelerator is a Verilog module of its own, the very file that simulation runs; the shell instantiates it.
"""

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)  # fmt: skip
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In

from . import Board
from .clock import ClockGenerator, ClockSettings
from .uart_link import UartLink

__all__ = ["Shell", "VerilogModule"]

LED_SECONDS = 0.1


class VerilogModule(wiring.Component):
    """A module that exists as Verilog, by name, with the ports of ``signature`` as Amaranth names them.

    Its ports ``clk`` and ``rst`` are the sync domain's; ``reset`` resets it as well.
    """

    def __init__(self, name: str, signature: wiring.Signature):
        self.name, self.inner = name, signature
        super().__init__({"module": wiring.Out(signature), "reset": In(1)})

    def elaborate(self, platform):
        m = Module()
        ports = {}
        for path, member, value in self.inner.flatten(self.module):
            direction = "i" if member.flow is In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m.submodules[self.name] = Instance(self.name, i_clk=ClockSignal(), i_rst=ResetSignal() | self.reset, **ports)
        return m


def _payload(signature, port):
    return signature.members[port].signature.members["payload"].shape


class Shell(Elaboratable):
    """The design of a board.

    Parameters
    ----------
    board, clock : where, and how the accelerator's clock is made
    signature : of the accelerator
    frame_bytes : bytes of an image
    module : the accelerator's name in Verilog

    The LEDs, as far as the board has them: 0 blinks while the clock runs, 1 lights up with every result,
    2 with every error.
    """

    def __init__(
        self,
        board: Board,
        clock: ClockSettings,
        signature: wiring.Signature,
        *,
        frame_bytes: int,
        module: str,
    ):
        self.board, self.clock, self.signature = board, clock, signature
        self.frame_bytes, self.module = frame_bytes, module

    def elaborate(self, platform):
        m = Module()
        self._clock_and_reset(m, platform)
        link = self._link(m, platform)

        m.submodules.module = module = VerilogModule(self.module, self.signature)
        accelerator = module.module
        wiring.connect(m, link.image, accelerator.i)
        wiring.connect(m, accelerator.o, link.result)
        m.d.comb += [
            accelerator.counters.addr.eq(link.counters.addr),
            accelerator.counters.clear.eq(link.counters.clear),
            link.counters.data.eq(accelerator.counters.data),
            module.reset.eq(link.reset),
        ]

        self._leds(m, platform, link)
        return m

    def _clock_and_reset(self, m, platform):
        m.submodules.clk_buffer = clk = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.submodules.clock = clock = ClockGenerator(self.clock)
        m.domains.sync = ClockDomain()
        m.d.comb += [clock.clk_in.eq(clk.i), ClockSignal().eq(clock.clk)]
        if platform.default_rst is not None:
            m.submodules.rst_buffer = rst = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            m.d.comb += clock.reset.eq(rst.i)
        m.submodules.reset = ResetSynchronizer(~clock.locked)

    def _link(self, m, platform):
        pins = platform.request("uart", dir="-")
        m.submodules.rx_buffer = rx = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", pins.tx)
        m.submodules.link = link = UartLink(
            bus_bytes=_payload(self.signature, "i").length,
            frame_bytes=self.frame_bytes,
            result=_payload(self.signature, "o"),
            clock_hz=self.clock.hz,
            baud=self.board.baud,
        )
        m.d.comb += [link.uart_rx.eq(rx.i), tx.o.eq(link.uart_tx)]
        return link

    def _leds(self, m, platform, link):
        cycles = int(LED_SECONDS * self.clock.hz)
        beat = Signal(range(8 * cycles))
        m.d.sync += beat.eq(beat + 1)
        lights = [beat[-1]]
        for name, event in (("activity", link.activity), ("error", link.error)):
            left = Signal(range(cycles + 1), name=f"{name}_left")
            with m.If(event):
                m.d.sync += left.eq(cycles)
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            lights.append(left != 0)
        for index, light in enumerate(lights):
            if ("led", index) in platform.resources:
                pin = io.Buffer("o", platform.request("led", index, dir="-"))
                m.submodules[f"led_{index}"] = pin
                m.d.comb += pin.o.eq(light)
