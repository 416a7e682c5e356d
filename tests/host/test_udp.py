"""The host talks over UDP to a device in Python, on a port of this computer."""

import errno
import os
import socket
import time

import numpy as np
import pytest

from psahw.errors import UserError
from psahw.host import Accelerator
from psahw.host.protocol import UDP_PAYLOAD
from psahw.host.udp_port import WRITE_SECONDS, UdpPort
from tests.host.device import SHAPE, UdpDevice, hello, logits

IMAGES = np.random.default_rng(4).integers(0, 256, (40, *SHAPE), np.uint8)
EXPECTED = np.array([logits(image.tobytes()) for image in IMAGES])
LARGE = (40, 40, 3)


def connect(device, **options):
    """Open a device with a short timeout."""
    return Accelerator(device.port, **{"timeout": 0.15, **options})


def test_run():
    with UdpDevice() as device, connect(device, board="bench") as accelerator:
        answers = accelerator.run(IMAGES)
        assert np.array_equal(answers.logits, EXPECTED)
        assert accelerator.baud is None
        assert accelerator.counters() == {"frames": 7, "cycles": 1000, "stalls": [5, 6], "link_losses": 9}
        statistics = accelerator.statistics
        assert (statistics.resent, statistics.timeouts, statistics.broken, statistics.strays) == (0, 0, 0, 0)
        assert max(device.lengths) <= UDP_PAYLOAD


@pytest.mark.parametrize("longest", [1, 7, 1024])
def test_large_images_and_answers_in_pieces(longest):
    """An image of 4,800 bytes takes four datagrams, none larger than an Ethernet frame allows."""
    images = np.random.default_rng(5).integers(0, 256, (6, *LARGE), np.uint8)
    with UdpDevice(greeting=hello(shape=LARGE), longest=longest) as device, connect(device) as accelerator:
        answers = accelerator.run(images)
        assert np.array_equal(answers.logits, [logits(image.tobytes()) for image in images])
        assert max(device.lengths) == UDP_PAYLOAD


@pytest.mark.parametrize("direction", ["in", "out", "both"])
@pytest.mark.parametrize("shape", [SHAPE, LARGE])
def test_lost_datagrams_cost_no_image(shape, direction):
    """Every seventh datagram is lost: a whole image or answer, or a part of one."""
    images = np.random.default_rng(6).integers(0, 256, (20, *shape), np.uint8)

    def lose(datagram, count):
        return direction in (datagram, "both") and count > 4 and count % 7 == 3

    with (
        UdpDevice(greeting=hello(shape=shape), lose=lose) as device,
        connect(device, attempts=20, timeout=0.05) as accelerator,
    ):
        answers = accelerator.run(images)
        assert np.array_equal(answers.logits, [logits(image.tobytes()) for image in images])
        assert accelerator.statistics.resent > 0


@pytest.mark.parametrize(
    "fault", ["garble", "busy", "checksum", "twice", b"\0noise\0", bytes(9), bytes(1) + b"\1" * 60_000]
)
def test_faults_cost_no_image(fault):
    """The last fault is longer than a datagram or a frame may be."""

    def spoil(kind, count):
        return fault if kind == 2 and count % 5 == 3 else None

    with UdpDevice(spoil=spoil, longest=1024) as device, connect(device, attempts=20) as accelerator:
        assert np.array_equal(accelerator.run(IMAGES).logits, EXPECTED)


def test_datagrams_from_other_addresses_are_not_read():
    with UdpDevice() as device, connect(device) as accelerator:
        address = accelerator._port._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"\0noise\0", address)
            assert np.array_equal(accelerator.run(IMAGES[:4]).logits, EXPECTED[:4])
        assert accelerator.statistics.broken == 0


@pytest.mark.parametrize(
    "port",
    [
        "udp://", "udp://board", "udp://192.168.1", "udp://192.168.1.500", "udp://192.168.1.50:0",
        "udp://192.168.1.50:65536", "udp://192.168.1.50:x", "udp://192.168.1.50/x", "udp://me@192.168.1.50",
        "udp://[::1]:5", "udp://[::1", "udp://192.168.1.50?x",
    ],
)  # fmt: skip
def test_wrong_address(port):
    with pytest.raises(UserError) as caught:
        Accelerator(port)
    message = "must be udp://ADDRESS or udp://ADDRESS:PORT, with an IPv4 address such as 192.168.1.50"
    assert str(caught.value) == f"{port} {message}"


def test_default_port():
    port = UdpPort("udp://127.0.0.1")
    assert port._socket.getpeername() == ("127.0.0.1", 50_000)
    port.close()


def test_silence():
    with UdpDevice(spoil=lambda kind, count: "drop") as device, pytest.raises(UserError) as caught:
        connect(device, timeout=0.02)
    advice = "is this its address, and is the board programmed for UDP and in the same network?"
    assert str(caught.value) == f"{device.port} does not answer; {advice}"


def test_nobody_listens():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = f"udp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=rf"^cannot reach {port}: nothing listens at that port there$"):
        Accelerator(port)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EHOSTUNREACH, "no host answers to that address; is the board connected, and in the same network?"),
        (errno.ENETUNREACH, "there is no network with that address; is this computer's interface up, and in it?"),
        (errno.ENETDOWN, os.strerror(errno.ENETDOWN)),
    ],
)
def test_unreachable(number, reason, monkeypatch):
    port = UdpPort("udp://127.0.0.1:9")

    class Broken:
        def send(self, data):
            raise OSError(number, "whatever")

        close = port._socket.close

    monkeypatch.setattr(port, "_socket", Broken())
    with pytest.raises(UserError) as caught:
        port.write(b"\0")
    port.close()
    assert str(caught.value) == f"cannot reach udp://127.0.0.1:9: {reason}"


def test_a_full_queue(monkeypatch):
    """The time may end between the attempt to send and the wait for room."""

    class Full(socket.socket):
        def send(self, data):
            raise BlockingIOError

    monkeypatch.setattr(socket, "socket", Full)
    port = UdpPort("udp://127.0.0.1:9")
    times = iter([0, WRITE_SECONDS - 1, WRITE_SECONDS + 1, WRITE_SECONDS + 2])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    with pytest.raises(UserError, match=r"^udp://127\.0\.0\.1:9 no longer accepts bytes$"):
        port.write(b"x")
    port.close()


def test_broadcast():
    with pytest.raises(UserError, match=r"^cannot reach udp://255\.255\.255\.255: "):
        UdpPort("udp://255.255.255.255")
