"""Every component has proofs, or a reason why it has none."""

import importlib
import pkgutil

from amaranth.lib import wiring

import psahw.boards
import psahw.gateware

from .faults import FAULTS
from .proofs import PROOFS

PINS = "drives pins, at times that the other end demands"
WHOLE = "joins components that have proofs or reasons of their own"
PACKETS = "takes bytes whenever they come, and offers none of its own"

REASONS = {
    # psahw.gateware
    "Accelerator": WHOLE,
    "Cadence": "a part of Transpose and Windows, proven with them",
    "Requantise": "a part of MacArray and LocalMixing, proven with them",
    "WindowReader": "a part of Windows, proven with it",
    # psahw.boards
    "ClockGenerator": PINS,
    "Core": WHOLE,
    "VerilogModule": "a module in Verilog",
    # psahw.boards.axi
    "Control": "registers and orders of the AXI kernel, which are no stream",
    "Framing": "takes AXI4-Stream packets, and a restart revokes what it offers",
    "Kernel": WHOLE,
    "RegisterFile": "registers on AXI4-Lite, which is no stream",
    # psahw.boards.ethernet
    "Checksum": "has no stream",
    "Datagrams": "its outputs are those of queues",
    "Endpoint": WHOLE,
    "Ipv4Receiver": PACKETS,
    "MacReceiver": PACKETS,
    "MacTransmitter": PINS,
    "Rgmii": PINS,
    "RgmiiClock": PINS,
    "UdpReceiver": PACKETS,
    # psahw.boards.link
    "CobsDecoder": "proven behind the encoder, as Cobs",
    "CobsEncoder": "proven in front of the decoder, as Cobs",
    "Crossing": "two clock domains: a queue of Amaranth's",
    "Link": WHOLE,
    "Receiver": PINS,
    "Stopwatch": "has no stream",
    "Transmitter": PINS,
    "UartLink": WHOLE,
    "UdpLink": WHOLE,
}
"""Why components have no proof."""


def components() -> set[str]:
    """Return the names of all components of `psahw.gateware` and `psahw.boards`."""
    names = set()
    for package in (psahw.gateware, psahw.boards):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                members = vars(importlib.import_module(module.name)).values()
                names |= {
                    member.__name__
                    for member in members
                    if isinstance(member, type)
                    and issubclass(member, wiring.Component)
                    and member.__module__.startswith(package.__name__)
                }
    return names


def test_every_component_has_a_proof_or_a_reason():
    proven = {proof.component for proof in PROOFS.values()}
    assert components() - proven == REASONS.keys()


def test_every_proven_component_has_a_fault():
    faulty = {fault.proof.partition("/")[0] for fault in FAULTS}
    assert {proof.component.lower() for proof in PROOFS.values()} - faulty == {"chain"}  # it only connects
