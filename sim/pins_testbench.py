"""cocotb tests of `psahw.sim.cocotb_tests` for whole boards, at their pins: they drive and record; the caller compares.

Times are in picoseconds. A request names the pins by their ports of the top level: ``oscillator`` as ``[port, its
complement or null, period]``, ``button`` as ``[port, level when pressed]`` or null, ``leds`` as a list.
"""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer, ValueChange

from . import handover

CHARACTER_BITS = 10  # of a UART, 8N1
LOCKED = 10_000_000  # after which every clock generator runs
PRESSED = 2_000_000


def _after(time):
    return Timer(round(time), "ps")


async def _oscillate(pin, complement, period):
    half = period / 2
    level, passed = 0, 0
    while True:
        level ^= 1
        pin.value = level
        if complement is not None:
            complement.value = 1 - level
        passed += 1
        # Rounded so that nothing adds up.
        await _after(round(passed * half) - round((passed - 1) * half))


async def _power_up(dut, request):
    """The oscillator runs, the button rests, the clocks have had their time."""
    port, complement, period = request["oscillator"]
    cocotb.start_soon(_oscillate(dut[port], complement and dut[complement], period))
    if request["button"] is not None:
        port, pressed = request["button"]
        dut[port].value = 1 - pressed
    await _after(LOCKED)


def _levels(dut, request):
    return [int(dut[port].value) for port in request["leds"]]


class _Line:
    """A UART's other end, in its own time. ``starts`` are the moments at which characters began."""

    def __init__(self, rx, tx, bit):
        self.rx, self.tx, self.bit = rx, tx, bit
        self.received, self.starts = bytearray(), []
        self._now = cocotb.simtime.get_sim_time

    async def send(self, data):
        for byte in data:
            for level in (0, *(byte >> k & 1 for k in range(8)), 1):
                self.rx.value = level
                await _after(self.bit)

    async def listen(self):
        while True:
            await FallingEdge(self.tx)
            self.starts.append(self._now("ps"))
            await _after(self.bit / 2)
            samples = []
            for _ in range(CHARACTER_BITS):
                samples.append(int(self.tx.value))
                if len(samples) < CHARACTER_BITS:
                    await _after(self.bit)
            assert samples[0] == 0 and samples[-1] == 1, f"no character: {samples}"
            self.received.append(sum(level << k for k, level in enumerate(samples[1:-1])))

    async def quiet(self):
        """Until nothing has come for so long that nothing will."""
        seen = -1
        while seen != len(self.starts):
            seen = len(self.starts)
            await _after(40 * CHARACTER_BITS * self.bit)


@cocotb.test()
async def uart(dut):
    """Request, beside the common: ``rx``, ``tx``, ``baud``, and ``steps``, each of them bytes to send, in
    hexadecimal, or "press". Reports what came after each step, when characters began, and the LEDs' levels after
    each."""
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
    """A gigabit PHY at RGMII's pins. ``rx_lag``: the clock comes so much later than the data that it belongs to;
    ``tx_lag``: the data are taken so much after the clock's edges."""

    CYCLE = 7998  # 250 ppm faster than 125 MHz: more than IEEE 802.3 lets two stations be apart

    def __init__(self, pins, rx_lag, tx_lag):
        self.pins, self.rx_lag, self.tx_lag = pins, rx_lag, tx_lag
        self.sent = []  # (byte, valid, error) of every cycle
        self.changes, self.edges = [], []  # of the data, and of the clock, that the board sends
        self._now = cocotb.simtime.get_sim_time

    async def clock(self):
        await _after(self.rx_lag)
        Clock(self.pins["rx_clk"], self.CYCLE, "ps").start()

    async def receive(self, cycles):
        """Half a cycle at a time, in step with the clock: bits 0 to 3 and RX_DV, the rest and RX_DV XOR RX_ER."""
        await _after(self.CYCLE - self._now("ps") % self.CYCLE)
        for byte, valid, error in cycles:
            for half, control in ((byte & 15, valid), (byte >> 4, valid ^ error)):
                self.pins["rx_data"].value = half
                self.pins["rx_ctl"].value = control
                await _after(self.CYCLE / 2)

    async def take(self):
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
        while True:
            await ValueChange(pin)
            self.changes.append(self._now("ps"))


@cocotb.test()
async def rgmii(dut):
    """Request, beside the common: ``pins``, ``rx_lag``, ``tx_lag``, and ``cycles`` to receive, each as byte, RX_DV
    and RX_ER. Reports the cycles sent, the moments of the data's changes since the clock's last edge, and the level
    of the PHY's reset."""
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
