"""The host talks to a device that was written from the specification, over links with all kinds of faults."""

import dataclasses
import os
import struct
import time

import numpy as np
import pytest

from psahw.errors import CheckFailed, UserError
from psahw.host import Accelerator
from psahw.network.file import digest
from psahw.network.random import random_network
from tests.host.device import CLASSES, SHAPE, Device, hello, logits
from tests.wire import message

IMAGE = 2
IMAGES = np.random.default_rng(2).integers(0, 256, (40, *SHAPE), np.uint8)
EXPECTED = np.array([logits(image.tobytes()) for image in IMAGES])


def connect(device, **options):
    """Open a device with a short timeout."""
    return Accelerator(device.port, **{"timeout": 0.15, **options})


def refused(**options):
    """Return the message of the error with which opening or using a device fails."""
    with Device(**options) as device, pytest.raises(UserError) as caught, connect(device) as accelerator:
        accelerator.run(IMAGES)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(device.port, "PORT")


def test_run():
    with Device() as device, connect(device) as accelerator:
        progress = []
        answers = accelerator.run(IMAGES, progress=progress.append)
        assert np.array_equal(answers.logits, EXPECTED)
        assert np.array_equal(answers.classes, EXPECTED.argmax(1))
        assert answers.logits.dtype == np.int32
        assert answers.cycles == 100 * (len(IMAGES) - 1), "the device's counter of cycles wraps meanwhile"
        assert sum(progress) == len(IMAGES)
        statistics = accelerator.statistics
        assert (statistics.resent, statistics.timeouts, statistics.broken, statistics.strays) == (0, 0, 0, 0)


def test_cycles_between_results_that_are_far_apart():
    """The device's clock of 32 bits wraps between the second result and the third."""
    with Device() as device, connect(device) as accelerator:
        results = accelerator._results

        def apart(requests, window):
            for n, (request, result, seconds) in enumerate(results(requests, window)):
                yield request, dataclasses.replace(result, stamp=n * 3_000_000_000 % (1 << 32)), seconds

        accelerator._results = apart
        assert accelerator.run(IMAGES[:3]).cycles == 6_000_000_000


def test_run_of_nothing():
    with Device() as device, connect(device) as accelerator:
        answers = accelerator.run(IMAGES[:0])
        assert answers.logits.shape == (0, CLASSES) and answers.cycles == 0


def test_hello_and_counters():
    with Device() as device, connect(device, board="bench") as accelerator:
        assert accelerator.hello.image_shape == SHAPE
        assert (accelerator.hello.network, accelerator.hello.build) == ("adder", "by hand")
        assert accelerator.hello.clock_hz == 100_000_000
        assert accelerator.counters() == {"frames": 7, "cycles": 1000, "stalls": [5, 6], "link_losses": 9}
        accelerator.clear_counters()
        accelerator.reset()
        assert device.requests[:3] == [5, 1, 6], "the version is asked in the form of all versions"
        assert device.requests[-2:] == [4, 6]


def test_measure_leaves_out_the_frames_that_settle():
    with Device() as device, connect(device) as accelerator:
        repeats, send = [], accelerator._image
        accelerator._image = lambda image, repeat: repeats.append(repeat) or send(image, repeat)
        timing = accelerator.measure(IMAGES[0], frames=10)
        assert repeats == [1, 4, 14], "alone, and behind three results before the interval is steady"
        accelerator.measure(IMAGES[0])
        assert repeats[-1] == 4 + 16
        assert (timing.latency, timing.frame_interval) == (120, 50.0)
        assert 0 < timing.round_trip < 5


@pytest.mark.parametrize(("settled", "longer"), [((1 << 32) - 15, 5), (7, 27), (0, 3_000_000_000)])
def test_intervals_while_the_clock_wraps(settled, longer):
    """The device counts modulo 2^32."""
    with Device() as device, connect(device) as accelerator:
        spans = iter((0, settled, longer))
        results = accelerator._results

        def measured(requests, window):
            for request, result, seconds in results(requests, window):
                yield request, dataclasses.replace(result, span=next(spans)), seconds

        accelerator._results = measured
        assert accelerator.measure(IMAGES[0], frames=10).frame_interval == (longer - settled) % (1 << 32) / 10


def test_an_image_is_sent_once():
    with Device() as device, connect(device) as accelerator:
        assert accelerator._image(IMAGES[0]).payload == struct.pack("<H", 1) + IMAGES[0].tobytes()


@pytest.mark.parametrize(
    "fault", ["drop", "garble", "busy", "checksum", "twice", b"\0\x03ab", b"\0noise\0", bytes(9)]
)
def test_faults_cost_no_image(fault):
    """The fault hits every fifth answer."""

    def spoil(kind, count):
        return fault if kind == IMAGE and count % 5 == 3 else None

    with Device(spoil=spoil) as device, connect(device, attempts=20) as accelerator:
        answers = accelerator.run(IMAGES)
        assert np.array_equal(answers.logits, EXPECTED)
        assert np.array_equal(answers.classes, EXPECTED.argmax(1))
        statistics = accelerator.statistics
        assert bool(statistics.resent) == (fault != "twice")
        assert bool(statistics.strays) == (fault == "twice")
        assert bool(statistics.broken) == (fault in ("garble", b"\0\x03ab", b"\0noise\0"))


def test_a_slow_circuit_is_waited_for():
    """The latency of 300 clock cycles at 1 kHz is longer than the timeout."""

    def slow(kind, count):
        if kind == IMAGE:
            time.sleep(0.3)

    with (
        Device(greeting=hello(clock=1_000, latency=300), spoil=slow) as device,
        connect(device, timeout=0.1) as accelerator,
    ):
        assert np.array_equal(accelerator.run(IMAGES[:3]).logits, EXPECTED[:3])
        assert accelerator.statistics.timeouts == 0


def test_answer_to_another_image_is_discarded():
    """Its sequence number is not under way, although the frame is good, and although its low bytes are."""
    wrong = struct.pack("<4I3i", 0, 120, 0, 1, 1, 0, 0)

    def spoil(kind, count):
        if count != 3:
            return None
        numbers = [(accelerator._exchange._sequence + ahead) % (1 << 32) for ahead in (1 << 8, 1 << 16, 1 << 31)]
        return b"".join(message(IMAGE | 0x80, number, wrong) for number in numbers)

    with Device(spoil=spoil) as device, connect(device, attempts=9) as accelerator:
        assert np.array_equal(accelerator.run(IMAGES).logits, EXPECTED)
        assert accelerator.statistics.strays == 3


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (dict(greeting=hello(version=1)), "PORT: it must speak version 2 of the host protocol, not 1; build its"),
        (dict(greeting=hello(version=3)), "PORT: it must speak version 2 of the host protocol, not 3; build its"),
        (dict(greeting=hello()[:40]), "PORT: its hello must have at least 57 bytes, not 40"),
        (dict(greeting=hello()[:60]), "PORT: its hello is incomplete"),
        (dict(spoil=lambda kind, count: "drop"), "PORT does not answer at 3000000 baud; is this its port"),
        (dict(spoil=lambda kind, count: "busy" if kind == IMAGE else None),
         "PORT: image was sent 5 times: the device reports BUSY"),
        (dict(spoil=lambda kind, count: "drop" if count > 6 else None), "PORT does not answer at 3000000 baud"),
        (dict(unplug=7), "lost PORT"),
        (dict(greeting=hello(classes=4)), "PORT: a result must have 32 bytes, not 28"),
    ],
)  # fmt: skip
def test_error_is_one_line(options, line):
    assert refused(**options).startswith(line)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (dict(window=0), "window 0, which must be in [1, 255]"),
        (dict(shape=(0, 3, 3)), "height 0, which must be in [1, 65535]"),
        (dict(shape=(2, 0, 3)), "width 0, which must be in [1, 65535]"),
        (dict(shape=(2, 3, 0)), "colours 0, which must be in [1, 255]"),
        (dict(shape=(65535, 65535, 255)), "images of 65535 x 65535 x 255 bytes, more than 16777216"),
        (dict(classes=0), "classes 0, which must be in [1, 256]"),
        (dict(classes=257), "classes 257, which must be in [1, 256]"),
        (dict(bits=0), "logit_bits 0, which must be in [2, 32]"),
        (dict(bits=33), "logit_bits 33, which must be in [2, 32]"),
        (dict(stages=0), "stages 0, which must be in [1, 253]"),
        (dict(stages=254), "stages 254, which must be in [1, 253]"),
        (dict(clock=0), "clock_hz 0, which must be in [1000, 4294967295]"),
        (dict(clock=1, latency=2**32 - 1), "clock_hz 1, which must be in [1000, 4294967295]"),
        (dict(latency=0), "latency 0, which must be in [1, 4294967295]"),
        (dict(interval=0), "frame_interval 0, which must be in [1, 4294967295]"),
        (dict(clock=1000, latency=2**32 - 1),
         "frame_interval 50 and latency 4294967295 at 1000 Hz, which is 4294967 s per image, more than 60 s"),
        (dict(settling=65535), "settling_frames 65535, which must be in [0, 4096]"),
    ],
)  # fmt: skip
def test_impossible_hello(numbers, reason):
    assert refused(greeting=hello(**numbers)) == f"PORT: its hello says {reason}"


@pytest.mark.parametrize(
    "numbers",
    [
        dict(window=255, bits=32, stages=253, settling=4096),
        dict(clock=2**32 - 1, latency=2**32 - 1, interval=2**32 - 1),
        dict(clock=1000, latency=59_000, interval=1_000),
    ],
)
def test_extreme_hello(numbers):
    with Device(greeting=hello(**numbers)) as device, connect(device) as accelerator:
        assert np.array_equal(accelerator.run(IMAGES[:9]).logits, EXPECTED[:9])
        for frames in (1, 0xFFFF - accelerator.hello.settling_frames - 1):
            assert accelerator.measure(IMAGES[0], frames=frames).latency == 120


def test_names_without_control_characters():
    """A terminal must not obey them."""
    with Device(greeting=hello(name="a\x1b[2Jb", board="\n")) as device, connect(device) as accelerator:
        assert (accelerator.hello.network, accelerator.hello.board) == ("a\\x1b[2Jb", "\\n")


def answering(times, *values, class_index):
    """Return a device whose answers to images say the same every time: times and logits."""

    def spoil(kind, count):
        if kind != IMAGE:
            return None
        number = (accelerator_of[0]._exchange._sequence - 1) % (1 << 32)
        return message(IMAGE | 0x80, number, struct.pack(f"<4I{len(values)}i", class_index, *times, *values))

    accelerator_of = []
    return Device(spoil=spoil, greeting=hello(window=1, bits=12)), accelerator_of


@pytest.mark.parametrize(
    ("values", "class_index", "reason"),
    [
        ((2048, 0, 0), 0, "logit 0 is 2048, which does not fit the 12 bits of the device's logits"),
        ((0, 0, -2049), 0, "logit 2 is -2049, which does not fit the 12 bits of the device's logits"),
        ((5, 7, 6), 2, "the class is 2, but the first of the greatest logits is that of class 1"),
        ((5, 7, 7), 2, "the class is 2, but the first of the greatest logits is that of class 1"),
        ((2047, -2048, 2047), 0, None),
    ],
)
def test_a_result_that_contradicts_itself(values, class_index, reason):
    device, accelerator_of = answering((120, 0, 7), *values, class_index=class_index)
    with device, connect(device) as accelerator:
        accelerator_of.append(accelerator)
        if reason is None:
            assert accelerator.run(IMAGES[:2]).logits.tolist() == [list(values)] * 2
            return
        with pytest.raises(CheckFailed) as caught:
            accelerator.run(IMAGES[:2])
        assert str(caught.value) == f"{device.port}: a result contradicts itself: {reason}"


@pytest.mark.parametrize("class_index", [3, 0xFFFF_FFFF])
def test_a_class_that_does_not_exist(class_index):
    device, accelerator_of = answering((120, 0, 7), 1, 2, 3, class_index=class_index)
    with device, connect(device) as accelerator:
        accelerator_of.append(accelerator)
        with pytest.raises(UserError, match=f": the class of a result must be below 3, not {class_index}$"):
            accelerator.run(IMAGES[:2])


def test_equal_time_stamps():
    """The device's clock stands still, so that no rate can be computed."""
    device, accelerator_of = answering((120, 9, 7), 1, 2, 3, class_index=2)
    with device, connect(device) as accelerator:
        accelerator_of.append(accelerator)
        assert accelerator.run(IMAGES[:4]).cycles == 0
        assert accelerator.measure(IMAGES[0]).frame_interval is None


def test_wrong_network_and_board():
    network = random_network(np.random.default_rng(1), name="mine")
    with Device() as device, pytest.raises(UserError) as caught:
        connect(device, network=network)
    message = f"holds another network, adder with digest 5a5a5a5a5a5a, not mine with digest {digest(network)[:12]}; "
    assert message in str(caught.value)
    with Device() as device, pytest.raises(UserError, match=r"is board bench, not marble$"):
        connect(device, board="marble")


def test_same_digest_with_another_shape():
    """The device says that it holds the network, but its images have another size."""
    network = random_network(np.random.default_rng(1), name="mine")
    with (
        Device(greeting=hello(digest=digest(network))) as device,
        pytest.raises(UserError, match=r"must take images of shape .* classes, as network mine, not"),
    ):
        connect(device, network=network)


def test_wrong_ports(tmp_path):
    (tmp_path / "file").write_text("")
    for port, line in [
        (tmp_path / "ttyUSB9", r"^cannot open .*ttyUSB9: there is no such port; is the board plugged in\?$"),
        (tmp_path / "file", r"^cannot open .*file: "),
        ("nowhere://x", r"^nowhere://x cannot be opened at 3000000 baud: invalid URL"),
    ]:
        with pytest.raises(UserError, match=line):
            Accelerator(str(port))


def test_port_in_use():
    with Device() as device, connect(device), pytest.raises(UserError, match="another program has it open"):
        connect(device)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can open everything")
def test_port_without_permission(tmp_path):
    port = tmp_path / "tty"
    port.write_text("")
    port.chmod(0)
    with pytest.raises(UserError, match="membership of the port's group"):
        Accelerator(str(port))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(baud=0), "baud must be positive, not 0"),
        (dict(timeout=0), "timeout must be above 0 and at most 3600, not 0"),
        (dict(timeout=float("inf")), "timeout must be above 0 and at most 3600, not inf"),
        (dict(attempts=0), "attempts must be at least 1, not 0"),
    ],
)
def test_init_wrong(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Accelerator("/dev/null", **options)


def test_extreme_options():
    with Device() as device, connect(device, timeout=3600, attempts=1) as accelerator:
        assert np.array_equal(accelerator.run(IMAGES[:1]).logits, EXPECTED[:1])


def test_wrong_images():
    with Device() as device, connect(device) as accelerator:
        with pytest.raises(TypeError, match=r"^images must be an array of uint8, not float64$"):
            accelerator.run(IMAGES.astype(float))
        with pytest.raises(ValueError, match=r"^images must have shape \(any, 2, 3, 3\), not \(40, 2, 9\)$"):
            accelerator.run(IMAGES.reshape(40, 2, 9))
        with pytest.raises(ValueError, match=r"^images must have shape \(any, 2, 3, 3\), not \(40, 3, 2, 3\)$"):
            accelerator.run(IMAGES.reshape(40, 3, 2, 3))


@pytest.mark.parametrize("frames", [0, -1, 0xFFFF - 3])
def test_wrong_number_of_frames(frames):
    """A request repeats an image at most 65,535 times, and the plan needs three results to settle."""
    with (
        Device() as device,
        connect(device) as accelerator,
        pytest.raises(ValueError, match=rf"^frames must be in \[1, 65531\], not {frames}$"),
    ):
        accelerator.measure(IMAGES[0], frames=frames)
