"""Proofs about parts of links to a host."""

from collections.abc import Iterator

from psahw.boards.axi.bursts import Bursts
from psahw.boards.axi.frames import FrameFlags
from psahw.boards.axi.pack import Pack
from psahw.boards.axi.reader import Reader
from psahw.boards.axi.records import Records
from psahw.boards.axi.unpack import Gearbox, Unpack
from psahw.boards.axi.writer import Writer
from psahw.boards.ethernet.arbiter import FrameArbiter
from psahw.boards.ethernet.arp import ArpResponder
from psahw.boards.ethernet.echo import EchoResponder
from psahw.boards.ethernet.identity import Identity
from psahw.boards.ethernet.ipv4 import Ipv4Sender
from psahw.boards.ethernet.packet_buffer import PacketBuffer
from psahw.boards.ethernet.udp import UdpSender
from psahw.boards.link.dispatcher import Dispatcher
from psahw.boards.link.frames import FrameReceiver, FrameSender
from psahw.boards.link.image_buffer import ImageBuffer
from psahw.boards.link.replier import Replier
from psahw.gateware.argmax import result_layout

from ..axi import (
    BurstsBench,
    FrameFlagsBench,
    GearboxBench,
    PackBench,
    ReaderBench,
    RecordsBench,
    UnpackBench,
    WriterBench,
)
from ..contract import StableBench
from ..ethernet import EchoResponderBench, FrameArbiterBench, PacketBufferBench
from ..link import CobsBench, CobsRoundTrip, DispatcherBench, FrameReceiverBench, ImageBufferBench, ReplierBench
from .proof import HANDSHAKE, ORDER, Proof, handshake, order

__all__ = ["proofs"]

IDENTITY = Identity.parse("192.168.1.50")


def _image_buffer(bus_bytes):
    return lambda p: ImageBufferBench(ImageBuffer(slots=2, frame_bytes=2, bus_bytes=bus_bytes), p)


def _replier(p):
    return ReplierBench(Replier(hello=b"psahw---", result=result_layout(2, 8)), p)


def _unpack(data_bytes, size):
    return lambda p: UnpackBench(Unpack(data_bytes=data_bytes, size=size), p, longest=6)


def _pack(data_bytes):
    return lambda p: PackBench(Pack(data_bytes=data_bytes), p)


def _records(p):
    return RecordsBench(Records(result=result_layout(2, 3)), p)


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    cobs = "round trip, blocks of 3 bytes"
    cobs_bench = lambda p: CobsBench(CobsRoundTrip(longest=3), p)  # noqa: E731
    yield Proof("Cobs", cobs, HANDSHAKE, "pdr", cobs_bench)
    yield Proof("Cobs", cobs, ORDER, "bmc", cobs_bench, 18)
    for bus in (1, 2):
        make = _image_buffer(bus)
        yield Proof("ImageBuffer", f"2 slots of 2 bytes, {bus} per beat", HANDSHAKE[:3], "pdr", make)
        yield Proof("ImageBuffer", f"2 slots of 2 bytes, {bus} per beat", ORDER, "pdr", make)
    yield Proof("Dispatcher", "2 bytes", ("counts",), "pdr", lambda p: DispatcherBench(Dispatcher(frame_bytes=2), p))
    yield Proof("Replier", "2 classes", HANDSHAKE, "pdr", _replier)
    yield Proof("Replier", "2 classes", ORDER, "pdr", _replier)
    for data_bytes, size in ((4, 2), (4, 4)):
        make = _unpack(data_bytes, size)
        yield Proof("Unpack", f"{data_bytes} to {size} bytes", ("stable", "counts", "live"), "pdr", make)
        yield Proof("Unpack", f"{data_bytes} to {size} bytes", ORDER, "pdr", make)
    for data_bytes in (4, 8):
        make = _pack(data_bytes)
        yield Proof("Pack", f"{data_bytes} bytes", HANDSHAKE, "pdr", make)
        yield Proof("Pack", f"{data_bytes} bytes", ORDER, "pdr", make)
    for parameters, arguments in {
        "3 to 2 bytes": dict(size=3, bus_bytes=2),
        "4 to 4 bytes": dict(size=4, bus_bytes=4),
    }.items():
        make = lambda p, arguments=arguments: GearboxBench(Gearbox(**arguments), p)  # noqa: E731
        yield handshake("Gearbox", parameters, make)
        yield order("Gearbox", parameters, make, 12)
    flags = lambda p: FrameFlagsBench(FrameFlags(bus_bytes=1, frame_bytes=2, frames=2), p)  # noqa: E731
    yield handshake("FrameFlags", "2 frames of 2 beats", flags)
    yield order("FrameFlags", "2 frames of 2 beats", flags)
    yield handshake("Records", "2 classes", _records)
    yield order("Records", "2 classes", _records)
    bursts = lambda p: BurstsBench(Bursts(data_bytes=4, beats=2), p, longest=20)  # noqa: E731
    yield handshake("Bursts", "4 bytes, 2 words", bursts, 14)
    yield order("Bursts", "4 bytes, 2 words", bursts, 14)
    arbiter = lambda p: FrameArbiterBench(FrameArbiter(2), p)  # noqa: E731
    yield Proof("FrameArbiter", "2 sources", ("stable", "counts", "order", "live"), "pdr", arbiter)
    buffer = lambda p: PacketBufferBench(PacketBuffer(depth=4), p)  # noqa: E731
    yield Proof("PacketBuffer", "4 bytes", HANDSHAKE[:3], "pdr", buffer)
    yield order("PacketBuffer", "4 bytes", buffer)
    # Memories of a few hundred bytes are too large for ABC, and few invariants are needed.
    sender = lambda p: StableBench(FrameSender(), p)  # noqa: E731
    yield Proof("FrameSender", "", ("stable",), "induction", sender, 2)
    echo = lambda p: EchoResponderBench(EchoResponder(), p)  # noqa: E731
    yield Proof("EchoResponder", "", ("stable",), "induction", echo, 2)
    for component, make in {
        "ArpResponder": lambda: ArpResponder(IDENTITY),
        "Ipv4Sender": lambda: Ipv4Sender(IDENTITY, protocol=1),
        "UdpSender": lambda: UdpSender(IDENTITY),
    }.items():
        yield Proof(component, "", ("stable",), "pdr", lambda p, make=make: StableBench(make(), p))
    receiver = lambda p: FrameReceiverBench(FrameReceiver(), p)  # noqa: E731
    yield Proof("FrameReceiver", "", ("stable", "counts"), "pdr", receiver)
    reader = lambda p: ReaderBench(Reader(data_bytes=4, bus_bytes=2, beats=2, depth=4), p)  # noqa: E731
    yield Proof("Reader", "4 bytes, 2 words", ("stable",), "pdr", reader)
    writer = lambda p: WriterBench(Writer(data_bytes=4, beats=2), p)  # noqa: E731
    yield Proof("Writer", "4 bytes, 2 words", ("stable",), "bmc", writer, 16)
