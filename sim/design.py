"""Designs that can be simulated: directories with Verilog, memory files and a manifest."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from psahw import documents
from psahw.errors import UserError
from psahw.files import real_path

__all__ = ["Design", "counter_widths", "load_design"]

_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Identifier = Annotated[
    str, Meta(max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", extra={"must be": "an identifier of Verilog"})
]
_COUNTER = re.compile(rb"\s*(?:input|output)\s+(?:\[([0-9]{1,3}):0\]\s+)?counters__(addr|data|clear)\s*;")
_Length = Annotated[int, Meta(ge=1, le=1 << 16)]
_Cycles = Annotated[int, Meta(ge=1, le=1 << 40)]


class _Manifest(msgspec.Struct):
    """The entries of ``manifest.json`` that a simulation needs. `Design` explains them."""

    network: _Name
    digest: documents.Sha256
    top: _Identifier
    image: tuple[_Length, _Length]
    colours: _Length
    bus_bytes: _Length
    classes: _Length
    logit_bits: Annotated[int, Meta(ge=2, le=64)]
    frame_interval: _Cycles
    latency: _Cycles
    stages: tuple[_Name, ...] = ()
    clock_hz: Annotated[float, Meta(ge=1, le=1e12)] | None = None
    lone_latency: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    settling_frames: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0
    draining_frames: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0
    needed_beats: Annotated[int, Meta(ge=0, le=1 << 40)] = 0


@dataclass(frozen=True)
class Design:
    """An accelerator in Verilog, as its manifest describes it.

    Attributes
    ----------
    directory
        Directory with ``accelerator.v``, ``manifest.json`` and the memory files that the Verilog reads.
    network
        Name of the network.
    digest
        SHA-256 of the network, in hexadecimal.
    top
        Name of the accelerator's Verilog module.
    image
        Height and width of an image, in pixels.
    colours
        Colour channels of a pixel, one byte each.
    bus_bytes
        Image bytes per beat of the input stream.
    classes
        Number of classes.
    logit_bits
        Width of a logit.
    frame_interval
        Predicted cycles between the results of two frames.
    latency
        Predicted cycles from the first beat of a frame, entering an idle accelerator, to its result, if others follow
        without a gap.
    stages
        Names of the stages that have a counter of stalled cycles.
    clock_hz
        Planned clock frequency in Hz, or None if the manifest does not have it.
    lone_latency
        The same if no frame follows. Equal to ``latency`` if the manifest has no such entry, or 0.
    settling_frames, draining_frames
        Number of results before and after those that follow each other at the frame interval.
    needed_beats
        Number of a frame's first beats that hold all pixels on which the result depends. The result may be offered
        as soon as they have been taken. All beats if the manifest has no such entry, or 0.
    """

    directory: Path
    network: str
    digest: str
    top: str
    image: tuple[int, int]
    colours: int
    bus_bytes: int
    classes: int
    logit_bits: int
    frame_interval: int
    latency: int
    stages: tuple[str, ...] = ()
    clock_hz: float | None = None
    lone_latency: int = 0
    settling_frames: int = 0
    draining_frames: int = 0
    needed_beats: int = 0

    @property
    def verilog(self) -> Path:
        """The accelerator's Verilog file."""
        return self.directory / "accelerator.v"

    @property
    def frame_bytes(self) -> int:
        """Bytes per image."""
        return self.image[0] * self.image[1] * self.colours

    @property
    def beats(self) -> int:
        """Input beats per frame."""
        return self.frame_bytes // self.bus_bytes

    @property
    def result_bits(self) -> int:
        """Width of the output payload: all logits and the index of the largest one."""
        return self.classes * self.logit_bits + (self.classes - 1).bit_length()

    @property
    def memories(self) -> list[Path]:
        """The memory files that the Verilog reads."""
        return [*self.directory.glob("*.mem"), *self.directory.glob("*.hex")]


def load_design(directory: str | os.PathLike) -> Design:
    """Return the design in a directory.

    Parameters
    ----------
    directory
        Directory with ``accelerator.v``, ``manifest.json`` and memory files, as `psahw.generate.write` writes it.

    Raises
    ------
    UserError
        If a file is missing, or the manifest lacks an entry or has a wrong one.

    Examples
    --------
    >>> load_design("build/marble").beats  # 32 x 32 x 3 bytes, 4 bytes per beat  # doctest: +SKIP
    768
    """
    directory = Path(directory)
    manifest = directory / "manifest.json"
    entries = documents.read(manifest, _Manifest, hint="name a directory that psahw elaborate wrote")
    design = Design(directory=real_path(directory), **msgspec.structs.asdict(entries))
    if design.frame_bytes % design.bus_bytes:
        raise UserError(
            f"{manifest}: a frame of {design.frame_bytes} bytes must be whole beats of {design.bus_bytes} bytes"
        )
    if not design.lone_latency:
        design = replace(design, lone_latency=design.latency)
    if not design.needed_beats:
        design = replace(design, needed_beats=design.beats)
    if design.needed_beats > design.beats:
        raise UserError(
            f"{manifest}: needed_beats must be at most {design.beats}, a frame's, not {design.needed_beats}"
        )
    if not design.verilog.is_file():
        raise UserError(f"{design.verilog} does not exist")
    return design


def counter_widths(design: Design) -> dict[str, int]:
    """Return the widths of the counter port's signals "addr", "data" and "clear".

    The widths come from the Verilog. The result is empty if the accelerator has no counters.
    """
    widths = {}
    with open(design.verilog, "rb") as file:
        for line in file:
            if match := _COUNTER.match(line):
                widths[match[2].decode()] = int(match[1] or 0) + 1
                if len(widths) == 3:
                    break
    return widths
