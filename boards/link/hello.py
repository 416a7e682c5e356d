"""The hello message, in which a board says what it contains."""

import hashlib
from importlib.metadata import version

from psahw.errors import UserError
from psahw.host.protocol import MAX_STAGES, Hello
from psahw.quoting import printable

from .link import WINDOW

__all__ = ["describe_board"]


def describe_board(manifest: dict, *, board: str, clock_hz: float, circuit: bytes, window: int = WINDOW) -> Hello:
    """Return the hello message of a board with the accelerator that ``manifest`` describes.

    Parameters
    ----------
    manifest
        Description of the accelerator, as returned by `psahw.generate.write`.
    board
        Name of the board.
    clock_hz
        Frequency of the accelerator's clock in Hz; the message contains whole hertz.
    circuit
        Verilog of the accelerator. The message contains the first 12 hexadecimal digits of its
        SHA-256, which tell one build from another.
    window
        Number of images that the link can hold at once.

    Raises
    ------
    UserError
        If the accelerator has more stages than `psahw.host.protocol.MAX_STAGES`, since each needs a
        counter, or if another number does not fit the message.
    """
    if (stages := len(manifest["stages"])) > MAX_STAGES:
        raise UserError(f"a board's link counts the stalls of at most {MAX_STAGES} stages, not {stages}")
    height, width = manifest["image"]
    hello = Hello(
        window=window,
        height=height,
        width=width,
        colours=manifest["colours"],
        classes=manifest["classes"],
        logit_bits=manifest["logit_bits"],
        stages=stages,
        clock_hz=round(clock_hz),
        frame_interval=manifest["frame_interval"],
        latency=manifest["lone_latency"],
        settling_frames=manifest["settling_frames"] + manifest["draining_frames"],
        digest=manifest["digest"],
        network=manifest["network"],
        board=board,
        build=f"psahw {version('psahw')}, circuit {hashlib.sha256(circuit).hexdigest()[:12]}",
    )
    if (problem := hello.problem()) is not None:
        raise UserError(f"a board's link cannot serve {printable(hello.network, 80)}: it has {problem}")
    return hello
