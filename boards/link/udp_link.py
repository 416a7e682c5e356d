"""A link over UDP and gigabit Ethernet."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import data, wiring
from amaranth.lib.cdc import PulseSynchronizer
from amaranth.lib.wiring import In, Out

from ..ethernet.endpoint import Endpoint
from ..ethernet.identity import Identity
from ..ethernet.layouts import GMII, PACKET_BYTE
from ..ethernet.mac_receiver import MacReceiver
from .crossing import Crossing
from .link import PORTS, Link

__all__ = ["UDP_WINDOW", "UdpLink"]

UDP_WINDOW = 8
"""Images that a link over UDP holds: at 30,000 images per second, an answer may arrive 260 us after its image."""


class UdpLink(wiring.Component):
    """`psahw.boards.link.link.Link` behind UDP and the GMII of an Ethernet PHY.

    ::

        gmii_rx -> MacReceiver -> Crossing -> Endpoint -> Crossing -> Link -- image, result, ...
                                  gmii_tx <- Endpoint <- Crossing <- Link

    The ports towards the accelerator are those of `Link` (`psahw.boards.link.link.PORTS`), in the
    sync domain; ``error`` also reports dropped datagrams. If the sync clock runs at 125 MHz or
    more, the link takes everything that the wire can carry. Boards are not built with a slower
    clock (`psahw.boards.link.options.UdpOptions.check_clock`).

    Parameters
    ----------
    hello, bus_bytes, frame_bytes, result, window
        Parameters of `psahw.boards.link.link.Link`.
    identity
        Addresses and port of the board.
    rx_domain
        Domain of the 125 MHz clock from the PHY.
    tx_domain
        Domain of the 125 MHz clock to the PHY.

    Raises
    ------
    TypeError, ValueError
        As `psahw.boards.link.link.Link`.

    Members
    -------
    gmii_rx : In(`psahw.boards.ethernet.layouts.GMII`)
        Data from the PHY, in the domain ``rx_domain``.
    gmii_tx : Out(`psahw.boards.ethernet.layouts.GMII`)
        Data to the PHY, in the domain ``tx_domain``.
    image, result, counters, reset, activity, error
        Ports of `psahw.boards.link.link.Link`.
    """

    def __init__(
        self,
        *,
        hello: bytes,
        bus_bytes: int,
        frame_bytes: int,
        result: data.StructLayout,
        identity: Identity,
        window: int = UDP_WINDOW,
        rx_domain: str = "ethernet_rx",
        tx_domain: str = "ethernet",
    ):
        self._link = Link(hello=hello, bus_bytes=bus_bytes, frame_bytes=frame_bytes, result=result, window=window)
        self.identity, self.rx_domain, self.tx_domain = identity, rx_domain, tx_domain
        inner = {name: self._link.signature.members[name] for name in PORTS}
        super().__init__({"gmii_rx": In(GMII), "gmii_tx": Out(GMII), **inner})

    def elaborate(self, platform):
        m = Module()
        receiver, endpoint, link = MacReceiver(), Endpoint(self.identity), self._link
        m.submodules.receiver = DomainRenamer(self.rx_domain)(receiver)
        m.submodules.endpoint = DomainRenamer(self.tx_domain)(endpoint)
        m.submodules.frames = frames = Crossing(PACKET_BYTE, i_domain=self.rx_domain, o_domain=self.tx_domain)
        m.submodules.inward = inward = Crossing(8, i_domain=self.tx_domain, o_domain="sync")
        m.submodules.outward = outward = Crossing(8, i_domain="sync", o_domain=self.tx_domain)
        m.submodules.dropped = dropped = PulseSynchronizer(self.tx_domain, "sync")
        m.submodules.link = link
        wiring.connect(m, receiver.o, frames.i)
        wiring.connect(m, frames.o, endpoint.frames)
        wiring.connect(m, endpoint.o, inward.i)
        wiring.connect(m, link.tx, outward.i)
        wiring.connect(m, outward.o, endpoint.i)
        m.d.comb += [
            receiver.gmii.eq(self.gmii_rx),
            self.gmii_tx.eq(endpoint.gmii),
            link.rx.valid.eq(inward.o.valid),
            link.rx.payload.byte.eq(inward.o.payload),
            inward.o.ready.eq(link.rx.ready),
            dropped.i.eq(endpoint.dropped),
            link.lost.eq(dropped.o),
        ]
        for name in ("image", "result", "counters"):
            wiring.connect(m, getattr(link, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [
            self.reset.eq(link.reset),
            self.activity.eq(link.activity),
            self.error.eq(link.error | dropped.o),
        ]
        return m
