"""cocotb tests of whole boards at their pins for `psahw.sim.cocotb_tests`.

The tests drive and record, and the caller compares.

Times are in picoseconds. Every request names pins by the ports of the top level: ``oscillator`` is ``[port,
complementary port or null, period]``, ``button`` is ``[port, level when pressed]`` or null, and ``leds`` is a list.
"""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer, ValueChange

from . import handover

CHARACTER_BITS = 10  # bits of a UART's character, 8N1
LOCKED = 10_000_000  # time after which every clock generator runs
PRESSED = 2_000_000  # time for which the button is pressed


def _after(time):
    """Return a trigger after a time."""
    return Timer(round(time), "ps")


async def _oscillate(pin, complement, period):
    """Drive the oscillator's pins."""
    half = period / 2
    level, edges = 0, 0
    while True:
        level ^= 1
        pin.value = level
        if complement is not None:
            complement.value = 1 - level
        edges += 1
        # Rounding the time of each edge, instead of the period, does not accumulate errors.
        await _after(round(edges * half) - round((edges - 1) * half))


async def _power_up(dut, request):
    """Start the oscillator, release the button, and wait until the clocks run."""
    port, complement, period = request["oscillator"]
    cocotb.start_soon(_oscillate(dut[port], complement and dut[complement], period))
    if request["button"] is not None:
        port, pressed = request["button"]
        dut[port].value = 1 - pressed
    await _after(LOCKED)


def _levels(dut, request):
    """Return the levels of the LEDs' pins."""
    return [int(dut[port].value) for port in request["leds"]]


class _Line:
    """The other end of a UART, with its own clock. ``starts`` has the times at which characters began."""

    def __init__(self, rx, tx, bit):
        self.rx, self.tx, self.bit = rx, tx, bit
        self.received, self.starts = bytearray(), []
        self._now = cocotb.simtime.get_sim_time

    async def send(self, data):
        """Send bytes to the board."""
        for byte in data:
            for level in (0, *(byte >> k & 1 for k in range(8)), 1):
                self.rx.value = level
                await _after(self.bit)

    async def listen(self):
        """Receive bytes in the background."""
        while True:
            await FallingEdge(self.tx)
            self.starts.append(self._now("ps"))
            await _after(self.bit / 2)
            samples = []
            for _ in range(CHARACTER_BITS):
                samples.append(int(self.tx.value))
                if len(samples) < CHARACTER_BITS:
                    await _after(self.bit)
            assert samples[0] == 0 and samples[-1] == 1, f"start and stop bit must be 0 and 1 in {samples}"
            self.received.append(sum(level << k for k, level in enumerate(samples[1:-1])))

    async def quiet(self):
        """Wait until no character has begun for 40 characters' time."""
        seen = -1
        while seen != len(self.starts):
            seen = len(self.starts)
            await _after(40 * CHARACTER_BITS * self.bit)


@cocotb.test()
async def uart(dut):
    """Send bytes to a board's UART, and report what it sends.

    The request also has ``rx``, ``tx``, ``baud`` and ``steps``. Each step is either bytes to send, in hexadecimal, or
    "press" for the button. The report has the bytes received after each step, the times at which characters began,
    and the LEDs' levels after each step.
    """
    request = handover.request()
    dut[request["rx"]].value = 1
    await _power_up(dut, request)
    line = _Line(dut[request["rx"]], dut[request["tx"]], 1e12 / request["baud"])
    cocotb.start_soon(line.listen())
    received, leds = [], []
    for step in request["steps"]:
        before = len(line.received)
        if step == "press":
            port, pressed = request["button"]
            dut[port].value = pressed
            await _after(PRESSED)
            dut[port].value = 1 - pressed
            await _after(LOCKED)
        else:
            await line.send(bytes.fromhex(step))
        await line.quiet()
        received.append(line.received[before:].hex())
        leds.append(_levels(dut, request))
    handover.report(received=received, starts=line.starts, leds=leds)


class _Phy:
    """A gigabit PHY at the RGMII pins.

    ``rx_lag`` is the delay of the received clock against its data, and ``tx_lag`` the delay between an edge of the
    transmit clock and the sampling of its data.
    """

    CYCLE = 7998  # 250 ppm faster than 125 MHz, more than the difference that IEEE 802.3 allows between two stations

    def __init__(self, pins, rx_lag, tx_lag):
        self.pins, self.rx_lag, self.tx_lag = pins, rx_lag, tx_lag
        self.sent = []  # byte, valid and error of every cycle that the board sends
        self.changes, self.edges = [], []  # times at which the board's data change, and its clock's edges
        self._now = cocotb.simtime.get_sim_time

    async def clock(self):
        """Start the received clock."""
        await _after(self.rx_lag)
        Clock(self.pins["rx_clk"], self.CYCLE, "ps").start()

    async def receive(self, cycles):
        """Send cycles to the board, in step with the clock.

        The first half of a cycle carries bits 0 to 3 and RX_DV, the second half bits 4 to 7 and RX_DV XOR RX_ER.
        """
        await _after(self.CYCLE - self._now("ps") % self.CYCLE)
        for byte, valid, error in cycles:
            for half, control in ((byte & 15, valid), (byte >> 4, valid ^ error)):
                self.pins["rx_data"].value = half
                self.pins["rx_ctl"].value = control
                await _after(self.CYCLE / 2)

    async def take(self):
        """Record the cycles that the board sends, in the background."""
        first = None
        while True:
            await ValueChange(self.pins["tx_clk"])
            self.edges.append(self._now("ps"))
            rising = int(self.pins["tx_clk"].value)
            if self.tx_lag:
                await _after(self.tx_lag)
            half = int(self.pins["tx_data"].value), int(self.pins["tx_ctl"].value)
            if rising:
                first = half
            elif first is not None:
                (low, valid), (high, second) = first, half
                self.sent.append((high << 4 | low, valid, valid ^ second))

    async def watch(self, pin):
        """Record the times at which a pin changes, in the background."""
        while True:
            await ValueChange(pin)
            self.changes.append(self._now("ps"))


@cocotb.test()
async def rgmii(dut):
    """Send cycles to a board's RGMII, and report what it sends.

    The request also has ``pins``, ``rx_lag``, ``tx_lag`` and ``cycles``, each cycle with byte, RX_DV and RX_ER. The
    report has the cycles sent, the times of the data's changes after the clock's last edge, and the level of the
    PHY's reset.
    """
    request = handover.request()
    pins = {name: dut[port] for name, port in request["pins"].items()}
    phy = _Phy(pins, request["rx_lag"], request["tx_lag"])
    pins["rx_data"].value = pins["rx_ctl"].value = 0
    cocotb.start_soon(phy.clock())
    await _power_up(dut, request)
    watchers = [phy.take(), *(phy.watch(pins[name]) for name in ("tx_data", "tx_ctl"))]
    for watcher in watchers:
        cocotb.start_soon(watcher)
    await phy.receive(request["cycles"])
    edges = iter(phy.edges)
    edge, following = next(edges), next(edges)
    after = set()
    for moment in sorted(phy.changes):
        while following is not None and following <= moment:
            edge, following = following, next(edges, None)
        after.add(moment - edge)
    handover.report(sent=phy.sent, after=sorted(after), reset=int(pins["rst"].value), leds=_levels(dut, request))
