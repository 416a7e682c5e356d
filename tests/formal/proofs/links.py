"""Proofs about parts of links to a host."""

from collections.abc import Iterator
from functools import partial

from psahw.boards.axi.bursts import Bursts
from psahw.boards.axi.frames import FrameFlags
from psahw.boards.axi.pack import Pack
from psahw.boards.axi.records import Records
from psahw.boards.axi.unpack import Gearbox, Unpack
from psahw.boards.ethernet.arbiter import FrameArbiter
from psahw.boards.ethernet.arp import ArpResponder
from psahw.boards.ethernet.echo import EchoResponder
from psahw.boards.ethernet.ipv4 import HEADER_BYTES, MAX_PACKET, Ipv4Sender
from psahw.boards.ethernet.packet_buffer import PacketBuffer
from psahw.boards.ethernet.udp import MAX_PAYLOAD, UdpSender
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
    RecordsBench,
    UnpackBench,
)
from ..contract import PROPERTIES
from ..dispatcher import DispatcherBench
from ..ethernet import FrameArbiterBench, PacketBufferBench
from ..frames import FrameReceiverBench, FrameSenderBench
from ..link import CobsBench, CobsRoundTrip, ImageBufferBench, ReplierBench
from ..memory import ReaderBench, ShortReader, ShortWriter, WriterBench
from ..responders import ArpResponderBench, EchoResponderBench
from ..senders import IDENTITY, Ipv4SenderBench, UdpSenderBench
from .proof import HANDSHAKE, ORDER, Proof, around, handshake, order

__all__ = ["proofs"]


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    yield from _host_link()
    yield from _axi()
    yield from _ethernet()


def _host_link():
    cobs = around(CobsBench, partial(CobsRoundTrip, longest=3))
    yield handshake("Cobs", "round trip, blocks of 3 bytes", cobs)
    yield order("Cobs", "round trip, blocks of 3 bytes", cobs, 18)
    sender = around(FrameSenderBench, FrameSender, longest=3)
    yield Proof("FrameSender", "blocks of 3 bytes", HANDSHAKE, "induction", sender, 6)
    yield Proof("FrameSender", "blocks of 3 bytes", ORDER, "induction", sender, 2)
    yield Proof("FrameReceiver", "", PROPERTIES, "induction", around(FrameReceiverBench, FrameReceiver), 2)
    for bus in (1, 2):
        parameters = f"2 slots of 2 bytes, {bus} per beat"
        buffer = around(ImageBufferBench, partial(ImageBuffer, slots=2, frame_bytes=2, bus_bytes=bus))
        yield Proof("ImageBuffer", parameters, HANDSHAKE[:3], "pdr", buffer)
        yield order("ImageBuffer", parameters, buffer)
    dispatcher = around(DispatcherBench, partial(Dispatcher, frame_bytes=2))
    yield Proof("Dispatcher", "2 bytes", ("counts",), "pdr", dispatcher)
    yield Proof("Dispatcher", "2 bytes", ("offers", "order"), "induction", dispatcher, 2, quick=True)
    replier = around(ReplierBench, partial(Replier, hello=b"psahw---", result=result_layout(2, 8)))
    yield handshake("Replier", "2 classes", replier)
    yield order("Replier", "2 classes", replier)


def _axi():
    for data_bytes, size in ((4, 2), (4, 4)):
        unpack = around(UnpackBench, partial(Unpack, data_bytes=data_bytes, size=size), longest=6)
        yield Proof("Unpack", f"{data_bytes} to {size} bytes", ("stable", "counts", "live"), "pdr", unpack)
        yield order("Unpack", f"{data_bytes} to {size} bytes", unpack)
    for size, bus in ((3, 2), (4, 4)):
        gearbox = around(GearboxBench, partial(Gearbox, size=size, bus_bytes=bus))
        yield handshake("Gearbox", f"{size} to {bus} bytes", gearbox)
        yield order("Gearbox", f"{size} to {bus} bytes", gearbox, 12)
    flags = around(FrameFlagsBench, partial(FrameFlags, bus_bytes=1, frame_bytes=2, frames=2))
    yield handshake("FrameFlags", "2 frames of 2 beats", flags)
    yield order("FrameFlags", "2 frames of 2 beats", flags)
    records = around(RecordsBench, partial(Records, result=result_layout(2, 3)))
    yield handshake("Records", "2 classes", records)
    yield order("Records", "2 classes", records)
    for data_bytes in (4, 8):
        pack = around(PackBench, partial(Pack, data_bytes=data_bytes))
        yield handshake("Pack", f"{data_bytes} bytes", pack)
        yield order("Pack", f"{data_bytes} bytes", pack)
    bursts = around(BurstsBench, partial(Bursts, data_bytes=4, beats=2), longest=20)
    yield handshake("Bursts", "4 bytes, 2 words", bursts, 14)
    yield order("Bursts", "4 bytes, 2 words", bursts, 14)
    parameters = "4 bytes, 2 words, 6-bit addresses"
    reader = around(ReaderBench, partial(ShortReader, bits=6, data_bytes=4, bus_bytes=2, beats=2, depth=4))
    yield handshake("Reader", parameters, reader, 14)
    yield order("Reader", parameters, reader, 14)
    writer = around(WriterBench, partial(ShortWriter, bits=6, data_bytes=4, beats=2))
    yield handshake("Writer", parameters, writer, 14)
    yield order("Writer", parameters, writer, 12)


def _ethernet():
    arbiter = around(FrameArbiterBench, partial(FrameArbiter, 2))
    yield Proof("FrameArbiter", "2 sources", ("stable", "counts", "order", "live"), "pdr", arbiter)
    buffer = around(PacketBufferBench, partial(PacketBuffer, depth=4))
    yield Proof("PacketBuffer", "4 bytes", HANDSHAKE[:3], "pdr", buffer)
    yield order("PacketBuffer", "4 bytes", buffer)
    ipv4 = around(Ipv4SenderBench, partial(Ipv4Sender, IDENTITY, protocol=1), longest=MAX_PACKET - HEADER_BYTES)
    yield Proof("Ipv4Sender", "", PROPERTIES, "induction", ipv4, 5)
    udp = around(UdpSenderBench, partial(UdpSender, IDENTITY), longest=MAX_PAYLOAD)
    yield Proof("UdpSender", "", PROPERTIES, "induction", udp, 4, quick=True)
    arp = around(ArpResponderBench, partial(ArpResponder, IDENTITY))
    yield Proof("ArpResponder", "", PROPERTIES[:4], "induction", arp, 2, quick=True)
    echo = around(EchoResponderBench, EchoResponder, longest=8)
    yield Proof("EchoResponder", "up to 8 bytes", PROPERTIES[:4], "pdr", echo)
