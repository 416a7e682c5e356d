"""Deliberate faults, one of which at least every property must refute.

A fault is a change in the source of a function: a method of a component, or a function that builds a part of a
circuit.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from psahw.gateware import digit_serial, graph_engine, ring, stream, transpose, windows
from psahw.gateware.argmax import Argmax
from psahw.gateware.mac_array import MacArray

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True)
class Fault:
    """A change of ``old`` to ``new`` in the source of ``owner.function``, and the proof that must notice it.

    ``what`` says what goes wrong, ``proof`` is the beginning of a proof's name and ``property`` the property that the
    fault violates. ``quick`` faults are part of the test suite.
    """

    what: str
    owner: object
    function: str
    old: str
    new: str
    proof: str
    property: str
    quick: bool = False

    @property
    def name(self) -> str:
        """The component, and what goes wrong."""
        place = self.owner.__name__.rpartition(".")[2].strip("_").lower()
        return f"faults/{place}/{self.property}/{re.sub(r'[^a-z0-9]+', '-', self.what.lower())}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the function by the faulty one for the time of a ``with`` statement.

        Raises ValueError if the source does not contain ``old`` exactly once.
        """
        original = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(original))
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} must occur once, not {source.count(self.old)} times")
        scope = dict(original.__globals__)
        exec(compile(source.replace(self.old, self.new), "<fault>", "exec"), scope)
        with patch.object(self.owner, self.function, scope[self.function]):
            yield


FAULTS = (
    Fault(
        "A beat that is offered is overwritten by the next one",
        stream.Queue, "elaborate", "load.eq(stored.some & (~self.o.valid | self.o.ready))", "load.eq(stored.some)",
        "queue/depth-3", "stable", quick=True,
    ),
    Fault(
        "A taken beat is offered again",
        stream.Queue, "elaborate", "load | (self.o.valid & ~get)", "load | self.o.valid",
        "queue/depth-3", "counts", quick=True,
    ),
    Fault(
        "Room is not noticed any more after the queue was full",
        stream, "level", "following(room, value != depth - 1, 1)", "following(room, value != depth - 1, 0)",
        "queue/depth-3", "live", quick=True,
    ),
    Fault(
        "The memory's last word is left out when an address wraps",
        stream.Queue, "elaborate", "with m.If(step):", "with m.If(step & (port.addr != rows - 1) | (port is write)):",
        "queue/depth-3", "order", quick=True,
    ),
    Fault(
        "Valid waits for ready",
        stream.Skid, "elaborate", "self.o.valid.eq(self.i.valid | ~ready)",
        "self.o.valid.eq((self.i.valid | ~ready) & self.o.ready)", "skid", "offers", quick=True,
    ),
    Fault(
        "A beat is lost if only one side takes it",
        stream.Fork, "elaborate", "(taken[0] | self.o_a.ready) & (taken[1] | self.o_b.ready)",
        "taken[0] | self.o_a.ready", "fork", "stable",
    ),
    Fault(
        "A late beat is taken for the first of the next group",
        stream.Gather, "elaborate", "part.eq(Mux(last, 0, part + 1))", "part.eq(part + 1)",
        "gather/2-lanes-ratio-3", "counts",
    ),
    Fault(
        "The second of two equal logits wins",
        Argmax, "elaborate", "logit > best", "logit >= best", "argmax", "order"),
    Fault(
        "Passes after the first begin where the last one ended",
        ring.VectorRing, "elaborate", "Mux(o_beat.last & ~o_pass.last, start, after)", "after", "vectorring", "order"
    ),
    Fault(
        "A frame is written over one that is still being read",
        transpose.Transpose, "elaborate", "level(m, row_in, column_out, 2, name=\"frames\")",
        "level(m, row_in, column_out, 3, name=\"frames\")", "transpose/2x2-1-to-1-lane", "order",
    ),
    Fault(
        "Padding shows what lies in the memory",
        windows.Windows, "elaborate", "Mux(zero, 0, value)", "value", "windows/2x2", "order"),
    Fault(
        "A row is overwritten while windows need it",
        windows.Windows, "_hold_rows", "self.i.ready.eq(level != rows)", "self.i.ready.eq(level != rows + 1)",
        "windows/3x2-size-2-stride-1", "order",
    ),
    Fault(
        "The pipeline does not stall with its output",
        MacArray, "elaborate", "en = ~self.o.valid | self.o.ready", "en = Const(1)", "macarray/2x2", "stable"),
    Fault(
        "A result is not counted until it is in the queue",
        graph_engine.GraphEngine, "elaborate", "self.i.ready.eq(idle & held.room)", "self.i.ready.eq(idle)",
        "graphengine/2x2-parallel-1", "counts",
    ),
    Fault(
        "The carry of a word goes on into the next word",
        digit_serial, "_add", "Mux(first[begin], negative[begin:end], out[begin:end])", "out[begin:end]",
        "digitserial/4x4-4-bits-digit-1/", "order", quick=True,
    ),
    Fault(
        "A window stays open",
        digit_serial._Pulses, "register_window", "opens | (register & ~closes)", "opens | register",
        "digitserial/4x4-4-bits-digit-1/", "counts",
    ),
)  # fmt: skip
