"""The exchange of requests and answers with devices that send what nobody asked for, mostly in simulated time."""

import contextlib
import itertools
import random
import struct
import termios
import threading
import time

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.host import Accelerator, accelerator, exchange
from psahw.host.protocol import SEQUENCES
from tests.host.device import SHAPE, Device, UdpDevice, hello, logits
from tests.wire import frame, message, split, unstuff

HELLO, IMAGE, COUNTER, CLEAR, RESET, OPEN, ERROR = 1, 2, 3, 4, 5, 6, 0x7F
ANSWER = 0x80
TIMEOUT, ATTEMPTS = 1.0, 3
FIRST = 0x1234_5678  # sequence number of a session, which is random outside of tests
IMAGES = np.random.default_rng(6).integers(0, 256, (300, *SHAPE), np.uint8)
EXPECTED = np.array([logits(image.tobytes()) for image in IMAGES])
RESULT = struct.pack("<4I3i", 0, 120, 0, 1, 3, 2, 1)


class Bench(Device):
    """A device and the port to it in one object, with a clock that only waiting moves.

    Parameters
    ----------
    flood
        Returns bytes that the device sends whenever the host reads and nothing else is there, or None for silence.
    """

    name, baud, settings, advice = "bench", None, "", "is it there?"

    def __init__(self, flood=None, **options):
        self.now, self.flood, self.queue = 0.0, flood, []
        super().__init__(**options)

    def _open(self):
        return self.name

    def _send(self, data):
        self.queue.append(data)

    def monotonic(self):
        """Return the time, as `time.monotonic` does."""
        return self.now

    def seconds(self, count):
        """Return the time that bytes take on the line."""
        return 0.0

    def write(self, data):
        """Take a request from the host."""
        self._take(*split(unstuff(data.strip(b"\0"))[:-4]))

    def read(self, seconds):
        """Return what the device has sent; otherwise let time pass."""
        assert self.now < 10_000, "the exchange does not end"
        assert seconds >= 0, "a port cannot wait for less than no time"
        if self.queue:
            self.now += 1e-4
            return self.queue.pop(0)
        if self.flood is not None:
            self.now += 0.01
            return self.flood()
        self.now += seconds
        return b""

    def drain(self, seconds):
        """Discard what has been sent, for a limited time."""
        self.queue.clear()
        self.now += seconds

    def close(self):
        """Do nothing."""


@pytest.fixture
def connect(monkeypatch):
    """Return a function that opens a bench."""

    def opened(bench, first=FIRST, **options):
        monkeypatch.setattr(accelerator.random, "randrange", lambda numbers: first % numbers)
        monkeypatch.setattr(accelerator, "SerialPort", lambda port, baud: bench)
        for module in (accelerator, exchange):
            monkeypatch.setattr(module, "time", bench)
        chosen = {"timeout": TIMEOUT, "attempts": ATTEMPTS, **options}
        return Accelerator("bench", **{name: value for name, value in chosen.items() if value is not None})

    return opened


FLOODS = {
    "results": lambda draw: message(IMAGE | ANSWER, draw.randrange(SEQUENCES), RESULT),
    "counters": lambda draw: message(COUNTER | ANSWER, draw.randrange(SEQUENCES), bytes(4)),
    "requests": lambda draw: message(IMAGE, draw.randrange(SEQUENCES), RESULT),
    "greetings": lambda draw: message(HELLO | ANSWER, 0, hello()),
    "busy": lambda draw: message(ERROR | ANSWER, draw.randrange(SEQUENCES), struct.pack("<I", 6)),
    "checksum": lambda draw: message(ERROR | ANSWER, 0, struct.pack("<I", 3)),
    "unknown faults": lambda draw: message(ERROR | ANSWER, 0, draw.randbytes(4)),
    "short frames": lambda draw: message(HELLO, draw.randrange(256)),
    "noise": lambda draw: draw.randbytes(50) + b"\0",
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("confirms", [False, True])
@pytest.mark.parametrize("place", [RESET, HELLO, OPEN, IMAGE, COUNTER, CLEAR])
def test_a_device_that_never_stops_sending(place, confirms, flood, connect):
    """From the first request of a kind on, it answers no request of that kind, and confirms resets or does not."""
    draw, failed = random.Random(1), []

    def spoil(kind, count):
        if kind == place:
            failed.append(kind)
        return "drop" if failed and not (confirms and kind in (RESET, OPEN) and kind != place) else None

    bench = Bench(lambda: FLOODS[flood](draw) if failed else b"", spoil=spoil)
    begun = 0.0
    with pytest.raises(UserError) as caught:
        device = connect(bench)
        begun = bench.now
        {IMAGE: lambda: device.run(IMAGES), COUNTER: device.counters, CLEAR: device.clear_counters}[place]()
    assert "\n" not in str(caught.value)
    assert bench.now - begun < 2 * ATTEMPTS * TIMEOUT


def test_a_reset_that_is_not_confirmed(connect):
    draw = random.Random(2)
    bench = Bench()
    device = connect(bench)
    bench.spoil, bench.flood = lambda kind, count: "drop", lambda: FLOODS["results"](draw)
    begun = bench.now
    with pytest.raises(UserError, match=r"^bench does not answer$"):
        device.reset()
    assert bench.now - begun < ATTEMPTS * TIMEOUT + 0.1


def test_an_answer_of_another_kind(connect):
    """It has the number of a request under way and the length of its answer, but is not the answer."""
    wrong = []

    def spoil(kind, count):
        if kind != IMAGE or wrong:
            return None
        wrong.append(message(COUNTER | ANSWER, bench._latest, RESULT))
        return wrong[0]

    bench = Bench(spoil=spoil)
    device = connect(bench)
    assert np.array_equal(device.run(IMAGES[:9]).logits, EXPECTED[:9])
    assert (device.statistics.strays, device.statistics.resent) == (1, 1)


def test_an_answer_of_another_kind_confirms_no_reset(connect):
    with pytest.raises(UserError, match=r"^bench does not answer; is it there\?$"):
        connect(Bench(spoil=lambda kind, count: message(HELLO | ANSWER, FIRST + count, hello())))


def test_stale_answers_do_not_prolong_the_wait(connect):
    """The device repeats its answer to the first image forever."""
    results = []

    def spoil(kind, count):
        if kind == IMAGE:
            results.append(count)
        return "drop" if len(results) > 1 else None

    bench = Bench(spoil=spoil)
    device = connect(bench)
    first = message(IMAGE | ANSWER, device._exchange._sequence, RESULT)
    bench.flood = lambda: first if results else b""
    begun = bench.now
    with pytest.raises(UserError, match=r"^bench(: image was sent 3 times| does not answer)"):
        device.run(IMAGES)
    assert bench.now - begun < 2 * ATTEMPTS * TIMEOUT


def test_an_unknown_fault_fills_no_memory(connect):
    codes = itertools.count(1000)
    bench = Bench(spoil=lambda kind, count: "drop" if kind == IMAGE else None)
    device = connect(bench)
    bench.flood = lambda: message(ERROR | ANSWER, 0, struct.pack("<I", next(codes)))
    with pytest.raises(UserError):
        device.run(IMAGES)
    assert list(device.statistics.reported) == ["unknown fault"]


class Slow(Bench):
    """A device on a line that takes a millisecond per byte."""

    def seconds(self, count):
        """Return the time that bytes take on the line."""
        return count / 1000


LONGEST = 5 + 16 + 4 * 256  # bytes of the longest answer: header, times, and the logits of 256 classes


def test_how_long_the_host_waits_for_results(connect):
    """It waits for the timeout, and for the work and the bytes of all images under way.

    Each of the four images takes 120 + 50 clock cycles at 1 kHz, and 2 + 18 bytes; 32 are allowed for the rest of a
    frame.
    """
    bench = Slow(spoil=lambda kind, count: "drop" if kind == IMAGE else None, greeting=hello(clock=1000))
    device = connect(bench, attempts=1)
    begun = bench.now
    with pytest.raises(UserError, match=r"^bench: image was sent 1 times: no answer$"):
        device.run(IMAGES[:9])
    assert bench.requests == [RESET, HELLO, OPEN, *[IMAGE] * 4, OPEN]
    waits = TIMEOUT + 4 * 0.17 + 4 * (20 + 32 + LONGEST) / 1000
    assert bench.now - begun == pytest.approx(waits, abs=1e-3)
    assert device.statistics.timeouts == 1


def test_how_long_the_host_waits_for_a_request_without_work(connect):
    bench = Slow(spoil=lambda kind, count: "drop" if kind == CLEAR else None)
    device = connect(bench, attempts=1)
    begun = bench.now
    with pytest.raises(UserError, match=r"^bench: clear was sent 1 times: no answer$"):
        device.clear_counters()
    assert bench.now - begun == pytest.approx(TIMEOUT + (32 + LONGEST) / 1000, abs=1e-3)


def test_how_long_the_host_waits_for_a_reset(connect):
    """Another answer may be in front of that to the reset, which is sent five times by default."""
    bench = Slow(spoil=lambda kind, count: "drop")
    with pytest.raises(UserError, match=r"^bench does not answer; is it there\?$"):
        connect(bench, timeout=TIMEOUT, attempts=5)
    assert bench.requests == [RESET] * 5
    assert bench.now == pytest.approx(0.02 + 5 * (TIMEOUT + 2 * LONGEST / 1000))
    again = Slow(spoil=lambda kind, count: "drop")
    with pytest.raises(UserError):
        connect(again, timeout=None, attempts=None)
    assert (again.requests, again.now) == (bench.requests, bench.now), "these are the defaults"


def test_the_slowest_line(connect):
    assert np.array_equal(connect(Bench(), baud=1).run(IMAGES[:2]).logits, EXPECTED[:2])


def test_statistics_of_a_session_without_faults(connect):
    device = connect(Bench())
    device.run(IMAGES[:9])
    device.clear_counters()
    device.reset()
    opening, images = ["reset", "hello", "open"], 9
    expected = exchange.Statistics(frames=len(opening) + images + 2, answers=1 + images + 1, resets=3)
    assert device.statistics == expected


def test_statistics_of_faults(connect):
    """The answer to the fourth image is lost, that to the fifth is garbled, and the sixth is reported as damaged."""
    faults = {3: "drop", 4: "garble", 5: "checksum"}
    seen = itertools.count()
    bench = Bench(spoil=lambda kind, count: faults.get(next(seen)) if kind == IMAGE else None)
    device = connect(bench)
    assert np.array_equal(device.run(IMAGES[:9]).logits, EXPECTED[:9])
    statistics = device.statistics
    assert (statistics.resent, statistics.broken, statistics.timeouts) == (3, 1, 0)
    assert statistics.reported == {"CHECKSUM": 1}


@pytest.mark.parametrize("place", [0, 3, 8])
def test_statistics_of_a_busy_device(place, connect):
    """Only the image that it has no room for is sent again."""
    seen = itertools.count()
    bench = Bench(spoil=lambda kind, count: "busy" if kind == IMAGE and next(seen) == place else None)
    device = connect(bench)
    assert np.array_equal(device.run(IMAGES[:9]).logits, EXPECTED[:9])
    statistics = device.statistics
    assert (statistics.resent, statistics.strays, statistics.timeouts, statistics.reported) == (1, 0, 0, {"BUSY": 1})


def test_statistics_of_answers_that_nobody_waits_for(connect):
    """A frame that is shorter than a header, and answers with an unknown kind or a number that is not under way."""
    strays = frame(b"\x82ab"), message(0x99, FIRST + 3), message(IMAGE | ANSWER, FIRST - 1, RESULT)
    bench = Bench(spoil=lambda kind, count: b"".join(strays) if kind == IMAGE else None)
    device = connect(bench, attempts=1)
    with pytest.raises(UserError, match=r"^bench: image was sent 1 times: no answer$"):
        device.run(IMAGES[:1])
    assert (device.statistics.strays, device.statistics.broken, device.statistics.timeouts) == (3, 0, 1)


def test_the_caller_may_take_time(connect):
    """Only the device is waited for. Answers that arrived while the caller was busy are not lost."""
    bench = Bench()
    device = connect(bench)

    def busy(_):
        bench.now += 10 * TIMEOUT

    assert np.array_equal(device.run(IMAGES[:9], progress=busy).logits, EXPECTED[:9])
    assert (device.statistics.timeouts, device.statistics.resent) == (0, 0)


@pytest.mark.parametrize("distance", [1, 2, 5, 255, 256, 257])
def test_answers_that_arrive_late(distance, connect):
    """Each answer arrives once more after ``distance`` others, just before the answer that is due.

    A sequence number of one byte recurs after 256 requests, so that the answer would be taken for another image's.
    """
    answers = []

    class Late(Bench):
        def _send(self, data):
            answers.append(data)
            if len(answers) > distance:
                super()._send(answers[-1 - distance])
            super()._send(data)

    device = connect(Late())
    assert np.array_equal(device.run(IMAGES).logits, EXPECTED)
    assert device.statistics.strays >= len(IMAGES) - distance


@pytest.mark.parametrize("window", [1, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_loss_duplication_and_reordering(seed, window, connect):
    """Requests and answers are lost, come twice, and come late, a fifth of each."""
    draw = random.Random(seed)

    class Network:
        def __init__(self, deliver):
            self.deliver, self.late = deliver, []

        def __call__(self, item):
            chance = draw.random()
            if chance < 0.2:
                return
            if chance < 0.4:
                self.late.append(item)
            if chance < 0.6 and chance >= 0.4:
                self.late.append(item)
                self.deliver(item)
            elif chance >= 0.6:
                self.deliver(item)
            while self.late and draw.random() < 0.4:
                self.deliver(self.late.pop(draw.randrange(len(self.late))))

    class Lossy(Bench):
        def __init__(self, **options):
            super().__init__(**options)
            self.inward, self.outward = Network(super().write), Network(self.queue.append)

        def write(self, data):
            self.inward(data)

        def _send(self, data):
            self.outward(data)

    bench = Lossy(greeting=hello(window=window))
    device = connect(bench, attempts=100)
    answers = device.run(IMAGES)
    assert np.array_equal(answers.logits, EXPECTED)
    assert bench.ignored > 10 and device.statistics.strays > 10 and device.statistics.resent > 10


def test_sequence_numbers_wrap(connect):
    bench = Bench()
    device = connect(bench, first=SEQUENCES - 20)
    assert np.array_equal(device.run(IMAGES[:40]).logits, EXPECTED[:40])
    assert (device.statistics.resent, bench.ignored, bench._latest) == (0, 0, 22)


@pytest.mark.parametrize("kind", [Device, UdpDevice])
def test_a_flood_in_real_time(kind):
    """Reading and closing a real port end in time, too, while a device sends as fast as it can."""
    flooding = threading.Event()

    def spoil(request, count):
        if request != IMAGE:
            return None
        flooding.set()
        return "drop"

    def flood(device):
        flooding.wait()
        stray = message(IMAGE | ANSWER, 1, RESULT)
        while flooding.is_set():
            with contextlib.suppress(OSError):  # the other end is being closed
                device._send(stray)

    with kind(spoil=spoil) as device:
        opened = Accelerator(device.port, timeout=0.1, attempts=2)
        thread = threading.Thread(target=flood, args=[device], daemon=True)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(UserError):
            opened.run(IMAGES[:3])
        opened.close()
        assert time.monotonic() - begun < 5
        flooding.clear()
        if kind is Device:  # its thread may wait for room in the terminal
            termios.tcflush(device._slave, termios.TCIFLUSH)
        thread.join(10)
