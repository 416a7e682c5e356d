"""UDP over gigabit Ethernet as a link: what `psahw.boards.core` expects, between a PHY and the accelerator."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import data, wiring
from amaranth.lib.cdc import PulseSynchronizer
from amaranth.lib.wiring import In, Out

from ..ethernet.endpoint import Endpoint
from ..ethernet.identity import Identity
from ..ethernet.layouts import ARRIVED, GMII
from ..ethernet.mac_receiver import MacReceiver
from .crossing import Crossing
from .link import PORTS, Link

__all__ = ["UDP_WINDOW", "UdpLink"]

UDP_WINDOW = 8  # images: at 30,000 FPS an answer may come 260 us after its image


class UdpLink(wiring.Component):
    """`Link` behind UDP.

    ::

        gmii_rx -> MacReceiver -> Crossing -> Endpoint -> Crossing -> Link -- image, result, ...
                                  gmii_tx <- Endpoint <- Crossing <- Link

    Towards the accelerator, all in the sync domain, it has the ports of `Link`; ``error`` is a dropped datagram, too.
    A sync clock of 125 MHz or more takes all that the wire can bring; boards are not built with a slower one.

    Parameters
    ----------
    hello, bus_bytes, frame_bytes, result, window : see `Link`
    identity : addresses and port
    rx_domain, tx_domain : of the clock that comes from the PHY, and of the one that goes there; both of 125 MHz

    Members
    -------
    gmii_rx, gmii_tx : the PHY, each in its domain
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
        m.submodules.frames = frames = Crossing(ARRIVED, i_domain=self.rx_domain, o_domain=self.tx_domain)
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
