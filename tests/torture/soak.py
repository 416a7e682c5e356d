"""Soak test of the link: a network on a simulated board, behind a network that loses, repeats and delays packets.

    python -m tests.torture.soak [--images N] [--record]

A `Relay` stands between host and board, and disturbs one UDP packet in a hundred, in both directions. The host must
give the integer model's answer to every image, without using more memory the longer it runs.
"""

import argparse
import contextlib
import json
import os
import random
import select
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from psahw import generate
from psahw.architecture.device import DEVICES
from psahw.boards import simulated
from psahw.boards.core import AcceleratorInterface
from psahw.boards.link.udp_link import UDP_WINDOW
from psahw.callbacks import counter
from psahw.cli.output import progress
from psahw.errors import UserError
from psahw.host import Accelerator
from psahw.network import reference
from psahw.network.graph import Network
from psahw.network.random import StageShape, random_images, random_network
from psahw.planner import search
from psahw.planner.rules import Rules
from psahw.records import Value
from psahw.records.capture import add_record
from psahw.sim import board

__all__ = ["FAULTS", "Relay", "soak"]

ROOT = Path(__file__).resolve().parents[2]
CLOCK_HZ = 125e6  # the slowest that the link allows
FAULTS = ("lost", "repeated", "late")
SHARE = 0.01  # of the packets in either direction
NEAR, FAR = 8, 300  # packets by which a late or repeated one comes behind; one in ten is far behind
HELD_SECONDS = 0.2  # after which it comes in any case
SAMPLES = 20  # of the memory during a run
MEMORY_KIB = 2048  # by which the host may grow after the first sample


class Relay:
    """A UDP relay that loses, repeats and delays packets on their way, in a thread of its own.

    Parameters
    ----------
    port
        ``udp://ADDRESS:PORT`` of the board.
    share
        Share of the packets in either direction that are disturbed, 0 to 1.
    seed
        Seed of the disturbances.

    Attributes
    ----------
    port
        ``udp://ADDRESS:PORT`` of the relay, for the host.
    counts
        Number of packets that went in, and of those that were disturbed in each way.
    """

    def __init__(self, port: str, *, share: float = SHARE, seed: int = 1):
        address = urlsplit(port)
        self._host, self._board = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._host.bind(("127.0.0.1", 0))
        self._board.connect((address.hostname, address.port))
        self.port = "udp://{}:{}".format(*self._host.getsockname())
        self.counts = Counter()
        self._share, self._draw = share, random.Random(seed)
        self._peer = None  # the host's address
        self._held = {self._host: [], self._board: []}  # packets left to wait for, latest time, and data
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        self._thread.join()
        self._host.close()
        self._board.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._host, self._board], [], [], 0.05)
            for source in ready:
                with contextlib.suppress(ConnectionError):  # the board has ended
                    data, peer = source.recvfrom(2048)
                    if source is self._host:
                        self._peer = peer
                    self._pass(self._board if source is self._host else self._host, data)
            for way in self._held:
                self._release(way, 0)

    def _pass(self, way: socket.socket, data: bytes) -> None:
        """Take a packet that goes to ``way``, and send on what is due."""
        self.counts["packets"] += 1
        fault = self._draw.choice(FAULTS) if self._draw.random() < self._share else None
        if fault is not None:
            self.counts[fault] += 1
        if fault in ("repeated", "late"):
            behind = self._draw.randint(1, FAR if self._draw.random() < 0.1 else NEAR)
            self._held[way].append([behind + 1, time.monotonic() + HELD_SECONDS, data])
        if fault in (None, "repeated"):
            self._send(way, data)
        self._release(way, 1)

    def _release(self, way: socket.socket, passed: int) -> None:
        """Count packets that have overtaken the held ones, and send those that have waited long enough."""
        now, kept = time.monotonic(), []
        for packets, latest, data in self._held[way]:
            if packets <= passed or now >= latest:
                self._send(way, data)
            else:
                kept.append([packets - passed, latest, data])
        self._held[way] = kept

    def _send(self, way: socket.socket, data: bytes) -> None:
        if way is self._board:
            way.send(data)
        elif self._peer is not None:
            way.sendto(data, self._peer)


def _network() -> Network:
    """Return a network whose simulation is quick."""
    rng = np.random.default_rng(20)
    return random_network(rng, stages=(StageShape(channels=4, hidden=4),), classes=4, logit_bits=10, name="soak")


def _write_board(network: Network, directory: Path) -> board.Udp:
    """Write the Verilog of a board with Ethernet and the network's accelerator, and return its line."""
    plan = search.make(network, DEVICES["xc7k160t"], clock_hz=CLOCK_HZ, bus_bytes=4, rules=Rules.parse("mac"))
    manifest = generate.write(network, plan, directory)
    interface = AcceleratorInterface.from_manifest(
        manifest, board="soak", clock_hz=CLOCK_HZ, verilog=directory / "accelerator.v", window=UDP_WINDOW
    )
    simulated.write_udp(interface, directory, clock_hz=CLOCK_HZ)
    return board.Udp(CLOCK_HZ, simulated.IDENTITY.address, simulated.IDENTITY.port)


def _resident_kib() -> int:
    """Return the memory that this process occupies, in KiB (Linux, proc(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def soak(images: int, *, seed: int = 1, report: Callable[[int], None] | None = None) -> dict:
    """Classify images on a simulated board through a `Relay`, and return the counts.

    Parameters
    ----------
    images
        Number of images.
    seed
        Seed of the images and the disturbances.
    report
        Called with the number of new answers.
    """
    network = _network()
    pixels = random_images(np.random.default_rng(seed), network, images)
    expected = reference.run(network, pixels)
    answered, memory = np.zeros(1, np.int64), []

    def advance(count: int) -> None:
        answered[0] += count
        if answered[0] % max(images // SAMPLES, 1) == 0:
            memory.append(_resident_kib())
        if report is not None:
            report(count)

    with tempfile.TemporaryDirectory() as name:
        line = _write_board(network, Path(name))
        with board.running(name, line) as port, Relay(port, seed=seed) as relay:
            with Accelerator(relay.port, network=network) as device:
                start, cpu = time.monotonic(), time.process_time()
                answers = device.run(pixels, progress=advance)
                seconds, cpu = time.monotonic() - start, time.process_time() - cpu
                statistics = device.statistics
            counts = dict(relay.counts)
    return {
        "images": images,
        "lost_images": images - int(answered[0]),
        "wrong_answers": int(((answers.logits != expected).any(1) | (answers.classes != expected.argmax(1))).sum()),
        **{name: counts.get(name, 0) for name in ("packets", *FAULTS)},
        "resent": statistics.resent,
        "strays": statistics.strays,
        "timeouts": statistics.timeouts,
        "memory_kib": memory[0],
        "memory_growth_kib": max(memory) - memory[0],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "seed": seed,
    }


def _passed(result: dict) -> bool:
    """Return whether no image was lost or wrong, and the host's memory stayed as it was."""
    return not (result["lost_images"] or result["wrong_answers"]) and result["memory_growth_kib"] <= MEMORY_KIB


def _record(result: dict, command: str) -> None:
    """Record the figures."""
    share = 100 * sum(result[name] for name in FAULTS) / result["packets"]
    figures = (
        ("images", "images", ""),
        ("lost images", "lost_images", ""),
        ("wrong answers", "wrong_answers", ""),
        ("packets", "packets", ""),
        *((f"packets {name}", name, "") for name in FAULTS),
        ("sent again", "resent", ""),
        ("time-outs", "timeouts", ""),
        ("memory of the host", "memory_kib", "KiB"),
        ("growth of that memory", "memory_growth_kib", "KiB"),
        ("time", "seconds", "s"),
    )
    add_record(
        ROOT / "results",
        "verification",
        "soak/udp",
        [Value(what, result[key], unit, "measured") for what, key, unit in figures],
        command=command,
        subject="host over a simulated UDP board",
        configuration=f"{share:.2f} % of the packets in both directions lost, repeated or late",
    )


def main(arguments: list[str]) -> int:
    """Run the soak test, print its counts as JSON, and return 0 if it passes, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the figures to results/")
    options = parser.parse_args(arguments)
    if options.images < SAMPLES:
        parser.error(f"--images must be at least {SAMPLES}")
    with progress("images") as shown:
        result = soak(options.images, seed=options.seed, report=counter(shown, options.images))
    print(json.dumps(result, indent=2))
    passed = _passed(result)
    if passed and options.record:
        default = options.images == parser.get_default("images") and options.seed == parser.get_default("seed")
        extra = "" if default else f" ARGS='--images {options.images} --seed {options.seed}'"
        try:
            _record(result, f"make soak{extra}")
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
