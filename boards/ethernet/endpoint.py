"""The board's end of a stream of bytes in UDP datagrams."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import echo, udp
from .arbiter import FrameArbiter
from .arp import ArpResponder
from .datagrams import Datagrams
from .echo import EchoResponder
from .identity import Identity
from .ipv4 import Ipv4Receiver, Ipv4Sender
from .layouts import GMII, PACKET_BYTE
from .mac_transmitter import MacTransmitter
from .packet_buffer import PacketBuffer
from .udp import UdpReceiver, UdpSender

__all__ = ["BUFFER_BYTES", "LONGEST", "Endpoint"]

BUFFER_BYTES = 4096
"""Capacity of the receive buffer, one block RAM of 36 Kb: a whole frame and the unread rest of the one before fit."""
LONGEST = 1024
"""Maximum payload of a datagram to send, in bytes."""


class Endpoint(wiring.Component):
    """Receive and send the bytes of UDP datagrams, and answer ARP and echo requests.

    ::

        frames -> Ipv4Receiver -> UdpReceiver -> PacketBuffer -> o
             |              +---> EchoResponder -> Ipv4Sender --+
             +-> ArpResponder ------------------------------+   |
        gmii <- MacTransmitter <- FrameArbiter <------------+---+
                                        +--- Ipv4Sender <- UdpSender <- Datagrams <- i

    Received frames never have to wait. The buffer cannot overflow while one byte per clock cycle is
    taken from ``o``.

    Parameters
    ----------
    identity
        Addresses and port of the board.

    Members
    -------
    frames : stream of `psahw.boards.ethernet.layouts.PACKET_BYTE`
        Received frames from `psahw.boards.ethernet.mac_receiver.MacReceiver`; always ready.
    o : stream of bytes
        Payloads of the datagrams for the board.
    i : stream of bytes
        Bytes for the station that sent the last datagram.
    gmii : Out(`psahw.boards.ethernet.layouts.GMII`)
        Data to the PHY.
    dropped : Out(1)
        High for one cycle when a datagram is dropped because the buffer is full.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {
                "frames": In(stream.Signature(PACKET_BYTE, always_ready=True)),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "gmii": Out(GMII),
                "dropped": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ipv4 = ipv4 = Ipv4Receiver(self.identity)
        m.submodules.arp = arp = ArpResponder(self.identity)
        m.submodules.udp_receiver = receiver = UdpReceiver(self.identity)
        m.submodules.echo = echoes = EchoResponder()
        m.submodules.buffer = buffer = PacketBuffer(depth=BUFFER_BYTES)
        m.submodules.datagrams = datagrams = Datagrams(longest=LONGEST)
        m.submodules.udp_sender = sender = UdpSender(self.identity)
        m.submodules.udp_packets = udp_packets = Ipv4Sender(self.identity, protocol=udp.PROTOCOL)
        m.submodules.echo_packets = echo_packets = Ipv4Sender(self.identity, protocol=echo.PROTOCOL)
        m.submodules.arbiter = arbiter = FrameArbiter(3)
        m.submodules.mac = mac = MacTransmitter()

        frames = self.frames
        m.d.comb += [
            getattr(sink.i, name).eq(getattr(frames, name)) for sink in (ipv4, arp) for name in ("valid", "payload")
        ]
        for sink in (receiver, echoes):
            m.d.comb += [sink.i.valid.eq(ipv4.o.valid), sink.i.payload.eq(ipv4.o.payload)]
            m.d.comb += [getattr(sink, name).eq(getattr(ipv4, name)) for name in ("sender", "protocol", "length")]
        m.d.comb += [getattr(buffer, name).eq(getattr(receiver, name)) for name in ("byte", "put", "keep", "forget")]
        m.d.comb += [sender.peer.eq(receiver.peer), sender.known.eq(receiver.known), self.dropped.eq(buffer.dropped)]
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), datagrams.i)
        wiring.connect(m, datagrams.o, sender.i)
        m.d.comb += [
            sender.lengths.valid.eq(datagrams.lengths.valid),
            sender.lengths.payload.eq(datagrams.lengths.payload),
            datagrams.lengths.ready.eq(sender.lengths.ready),
        ]
        for source, packets in ((sender, udp_packets), (echoes, echo_packets)):
            wiring.connect(m, source.packet, packets.packet)
            wiring.connect(m, source.o, packets.i)
        for source, sink in zip((arp, echo_packets, udp_packets), arbiter.i, strict=True):
            wiring.connect(m, source.o, sink)
        wiring.connect(m, arbiter.o, mac.i)
        m.d.comb += self.gmii.eq(mac.gmii)
        return m
