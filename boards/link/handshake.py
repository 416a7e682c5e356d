"""What a board's link says of itself, from the files that the circuit is made of."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from psahw.errors import UserError
from psahw.host.protocol import MAX_STAGES, Hello

from ..core import AcceleratorInterface
from ..ports import interface
from .link import WINDOW

__all__ = ["describe", "inside"]


def describe(manifest: dict, *, board: str, clock_hz: float, circuit: bytes, window: int = WINDOW) -> Hello:
    """``manifest`` is what `psahw.generate.write` returned, ``circuit`` the accelerator's Verilog, by whose hash a
    build is told from another, ``window`` the images that the link holds.

    Raises UserError for more stages than the host protocol has counters for.
    """
    if (stages := len(manifest["stages"])) > MAX_STAGES:
        raise UserError(f"a board's link counts the stalls of {MAX_STAGES} stages at most, not of {stages}")
    height, width = manifest["image"]
    return Hello(
        window=window,
        height=height,
        width=width,
        colours=manifest["colours"],
        classes=manifest["classes"],
        logit_bits=manifest["logit_bits"],
        stages=stages,
        clock_hz=round(clock_hz),
        frame_interval=manifest["frame_interval"],
        latency=manifest["latency"],
        settling_frames=manifest["settling_frames"],
        digest=manifest["digest"],
        network=manifest["network"],
        board=board,
        build=f"psahw {version('psahw')}, circuit {hashlib.sha256(circuit).hexdigest()[:12]}",
    )


def inside(
    manifest: dict, *, board: str, clock_hz: float, verilog: Path, window: int = WINDOW
) -> AcceleratorInterface:
    """What a `Core` is made around: the accelerator in the file ``verilog``."""
    hello = describe(manifest, board=board, clock_hz=clock_hz, circuit=verilog.read_bytes(), window=window)
    return AcceleratorInterface(manifest["top"], interface(manifest), hello.frame_bytes, hello.pack(), window)
