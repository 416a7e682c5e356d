"""The host talks to a device that was written from the specification, over links with all kinds of faults."""

import os
import struct
import time

import numpy as np
import pytest

from psahw.errors import UserError
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
        assert device.requests[-2:] == [4, 5]


def test_measure_leaves_out_the_frames_that_settle():
    with Device() as device, connect(device) as accelerator:
        timing = accelerator.measure(IMAGES[0], frames=10)
        assert (timing.latency, timing.frame_interval) == (120, 50.0)
        assert 0 < timing.round_trip < 5


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
    """The latency of 120 clock cycles at 100 Hz is longer than the timeout."""

    def slow(kind, count):
        if kind == IMAGE:
            time.sleep(0.3)

    with Device(greeting=hello(clock=100), spoil=slow) as device, connect(device, timeout=0.1) as accelerator:
        assert np.array_equal(accelerator.run(IMAGES[:3]).logits, EXPECTED[:3])
        assert accelerator.statistics.timeouts == 0


def test_answer_to_another_image_is_discarded():
    """Its sequence number is not under way, although the frame is good."""
    wrong = struct.pack("<4I3i", 0, 120, 0, 1, 1, 0, 0)

    def spoil(kind, count):
        return message(IMAGE | 0x80, 0, wrong) + message(IMAGE | 0x80, 128, wrong) if count == 2 else None

    with Device(spoil=spoil) as device, connect(device, attempts=9) as accelerator:
        accelerator._exchange._sequence = 40
        assert np.array_equal(accelerator.run(IMAGES).logits, EXPECTED)
        assert accelerator.statistics.strays == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (dict(greeting=hello(version=2)), "PORT: it must speak version 1 of the host protocol, not 2"),
        (dict(greeting=hello()[:40]), "PORT: its hello must have at least 57 bytes, not 40"),
        (dict(greeting=hello()[:60]), "PORT: its hello is incomplete"),
        (dict(greeting=hello(classes=257)), "PORT: its hello has impossible values"),
        (dict(greeting=hello(window=0)), "PORT: its hello has impossible values"),
        (dict(spoil=lambda kind, count: "drop"), "PORT does not answer at 3000000 baud; is this its port"),
        (dict(spoil=lambda kind, count: "busy" if kind == IMAGE else None),
         "PORT: image was sent 5 times: the device reports BUSY"),
        (dict(spoil=lambda kind, count: "drop" if count > 6 else None), "PORT does not answer at 3000000 baud"),
        (dict(unplug=6), "lost PORT"),
        (dict(greeting=hello(classes=4)), "PORT: a result must have 32 bytes, not 28"),
    ],
)  # fmt: skip
def test_error_is_one_line(options, line):
    assert refused(**options).startswith(line)


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
        (dict(timeout=0), "timeout must be positive, not 0"),
        (dict(attempts=0), "attempts must be at least 1, not 0"),
    ],
)
def test_init_wrong(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Accelerator("/dev/null", **options)


def test_wrong_images():
    with Device() as device, connect(device) as accelerator:
        with pytest.raises(TypeError, match=r"^images must be an array of uint8, not float64$"):
            accelerator.run(IMAGES.astype(float))
        with pytest.raises(ValueError, match=r"^images must have shape \(any, 2, 3, 3\), not \(40, 2, 9\)$"):
            accelerator.run(IMAGES.reshape(40, 2, 9))
