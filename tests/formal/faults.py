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

from calibration.constant_multipliers import ConstantMultipliers
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
from psahw.boards.ethernet.ipv4 import Ipv4Sender
from psahw.boards.ethernet.packet_buffer import PacketBuffer
from psahw.boards.ethernet.udp import UdpSender
from psahw.boards.link import cobs
from psahw.boards.link.dispatcher import Dispatcher
from psahw.boards.link.frames import FrameReceiver, FrameSender
from psahw.boards.link.image_buffer import ImageBuffer
from psahw.boards.link.replier import Replier
from psahw.gateware import digit_serial, graph_engine, ring, stream, transpose, windows
from psahw.gateware.adder_graph import AdderGraph
from psahw.gateware.argmax import Argmax
from psahw.gateware.banks import Banks
from psahw.gateware.counters import Counters
from psahw.gateware.input_table import InputTable
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from psahw.gateware.max_pool import MaxPool
from psahw.gateware.pool import MeanPool
from psahw.gateware.residual import Add, Residual
from psahw.gateware.slices import Slices
from psahw.gateware.table import TableRom
from psahw.gateware.taps import DelayTaps
from psahw.gateware.thresholds import Thresholds

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True)
class Fault:
    """A change of ``old`` to ``new`` in the source of ``owner.function``, and the proof that must notice it.

    ``what`` says what goes wrong, ``proof`` is the beginning of a proof's name and ``property`` the property that the
    fault violates. ``quick`` faults are part of the test suite. The model checker skips the first ``skip`` clock
    cycles, in which nothing can go wrong. Invariants are asserted as well if ``helped``: without them, it takes too
    long to find a fault of a component with long pipelines.
    """

    what: str
    owner: object
    function: str
    old: str
    new: str
    proof: str
    property: str
    quick: bool = False
    skip: int = 0
    helped: bool = False

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
        scope = {}
        exec(compile(source.replace(self.old, self.new), "<fault>", "exec"), original.__globals__, scope)
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
        Argmax, "elaborate", "greatest > best", "greatest >= best", "argmax", "order"),
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
        windows.Windows, "elaborate", "Mux(zero, self._code, value)", "value", "windows/2x2", "order"),
    Fault(
        "A row is overwritten while windows need it",
        windows.Windows, "_hold_rows", "self.i.ready.eq(level != rows)", "self.i.ready.eq(level != rows + 1)",
        "windows/3x2-size-2-stride-1", "order",
    ),
    Fault(
        "A pass does not wait for room",
        MacArray, "elaborate", "(~ring.first | held.room)", "1",
        "macarray/2x2", "counts", helped=True,
    ),
    Fault(
        "A result is not counted until it is in the queue",
        graph_engine.GraphEngine, "elaborate", "self.i.ready.eq(idle & held.room)", "self.i.ready.eq(idle)",
        "graphengine/2x2-parallel-1", "counts", helped=True,
    ),
    Fault(
        "A vector is loaded while the one before it is read",
        graph_engine.GraphEngine, "elaborate", "core.load.eq(load)", "core.load.eq(1)",
        "graphengine/2x2-digit-8-1-lanes-elements", "order",
    ),
    Fault(
        "The carry of a word goes on into the next word",
        digit_serial, "_add", "Mux(first[begin], negative[begin:end], out[begin:end])", "out[begin:end]",
        "digitserial/4x4-4-bits-digit-1/", "order",
    ),
    Fault(
        "A window stays open",
        digit_serial._Pulses, "register_window", "opens | (register & ~closes)", "opens | register",
        "digitserial/4x4-4-bits-digit-1/", "counts",
    ),
    Fault(
        "Every part of a group goes to its first place",
        stream.Gather, "elaborate", "parts[part].eq", "parts[0].eq",
        "gather/2-lanes-ratio-3", "order",
    ),
    Fault(
        "One input waits for the other, but not the other way round",
        Add, "elaborate", "a.ready.eq(en & b.valid)", "a.ready.eq(en)",
        "add", "counts",
    ),
    Fault(
        "A sum of 128 is not saturated",
        Add, "elaborate", "Mux(total > high, high,", "Mux(total > high + 1, high,",
        "add", "order",
    ),
    Fault(
        "The bypass holds a single beat",
        Residual, "elaborate", "m.submodules.queue = self.queue",
        "m.submodules.queue = self.queue = Queue(shape=self.queue.shape, depth=1)",
        "residual/two-transpositions", "live",
    ),
    Fault(
        "All channels use the function of the first",
        TableRom, "_word", "Cat(self.i.payload[lane], beat)", "Cat(self.i.payload[lane])",
        "tablerom/2-channels-block", "order",
    ),
    Fault(
        "All colours use the table of the first",
        InputTable, "elaborate", "Cat(i.payload[lane], phase)", "i.payload[lane]",
        "inputtable", "order",
    ),
    Fault(
        "All slices see the lanes of the first",
        Slices, "elaborate", "self.i.payload[n * i_lanes + k]", "self.i.payload[k]",
        "slices", "order",
    ),
    Fault(
        "A class is offered for every logit",
        Argmax, "elaborate", "o.valid.eq(beat.wrap)", "o.valid.eq(put)",
        "argmax", "counts",
    ),
    Fault(
        "A mean is offered for every token",
        MeanPool, "elaborate", "put & token.last", "put",
        "meanpool", "counts",
    ),
    Fault(
        "The sum of the frame before is not cleared",
        MeanPool, "elaborate", "Mux(token.value == 0, 0, before)", "before",
        "meanpool", "order",
    ),
    Fault(
        "A frame is read before it is complete",
        transpose.Transpose, "elaborate", "cadence.go.eq(frames.some)", "cadence.go.eq(1)",
        "transpose/2x2-1-to-1-lane", "counts",
    ),
    Fault(
        "The lanes of the address before are chosen",
        Banks, "elaborate", "delay(m, r_start, 1,", "delay(m, r_start, 2,",
        "banks/8-elements-2-to-2-lanes-at-any-address", "order",
    ),
    Fault(
        "A tap moves without a push",
        DelayTaps, "elaborate", "read.en.eq(self.push)", "read.en.eq(1)",
        "delaytaps/distance-3", "order",
    ),
    Fault(
        "A clock cycle with a frame is not cleared",
        Counters, "elaborate", "with m.If(self.clear):", "with m.If(self.clear & ~self.frame):",
        "counters/2", "counts",
    ),
    Fault(
        "A group is emitted too often",
        MacArray, "elaborate", "emit & (group != self._groups - 1)", "emit",
        "macarray/4x3", "counts", helped=True,
    ),
    Fault(
        "The sum of the pass before is not cleared",
        MacArray, "elaborate", "first = delay(m, ring.first,", "first = delay(m, ring.last,",
        "macarray/4x2", "order", helped=True,
    ),
    Fault(
        "The last outputs of a frame wait for the next frame",
        LocalMixing, "_push", "| (between & owes)", "",
        "localmixing/2x1-tokens-3x1", "offers", helped=True,
    ),
    Fault(
        "A push does not wait for room",
        LocalMixing, "_push", "push.eq(room & (", "push.eq((",
        "localmixing/2x1-tokens-3x1", "counts", helped=True,
    ),
    Fault(
        "Only the corners of a kernel see that they are outside",
        LocalMixing, "_outside", "row | column for", "row & column for",
        "localmixing/2x1-tokens-3x3", "order",
    ),
    Fault(
        "The first element of a vector leaves twice",
        graph_engine.GraphEngine, "elaborate", "register.eq(place + 1)", "place.eq(place)",
        "graphengine/2x2-parallel-1", "order", helped=True,
    ),
    Fault(
        "The pipeline does not stall with its output",
        AdderGraph, "elaborate", "en = ~self.o.valid | self.o.ready", "en = ~self.o.valid | 1",
        "addergraph", "stable", helped=True,
    ),
    Fault(
        "A zero follows every block, also a full one",
        cobs.CobsDecoder, "elaborate", "zero.eq(i.payload.byte != LONGEST + 1)", "zero.eq(1)",
        "cobs", "counts",
    ),
    Fault(
        "A new image begins where the last attempt ended",
        ImageBuffer, "_write", "[lane.eq(0), port.addr.eq(base)]", "[lane.eq(0)]",
        "imagebuffer/2-slots-of-2-bytes-1", "order",
    ),
    Fault(
        "An image is sent once too often",
        ImageBuffer, "_read", "repetitions.eq(repeats[slot] - 1)", "repetitions.eq(repeats[slot])",
        "imagebuffer/2-slots-of-2-bytes-1", "counts",
    ),
    Fault(
        "The frame does not end without words",
        Replier, "elaborate", "o.payload.last.eq(sequence_end & (words == 0))", "o.payload.last.eq(0)",
        "replier", "counts",
    ),
    Fault(
        "An image with one byte too many is kept",
        Dispatcher, "_fault", "wrong = 0, count != length", "wrong = 0, count < length",
        "dispatcher", "counts",
    ),
    Fault(
        "The first word of a stretch leaves from its first byte",
        Unpack, "elaborate", "skip.eq(first)", "skip.eq(0)",
        "unpack/4-to-2", "counts",
    ),
    Fault(
        "Bytes that belong to the next word are lost",
        Pack, "elaborate", "carry.eq(both[32:])", "carry.eq(0)",
        "pack/4-bytes", "order",
    ),
    Fault(
        "A window begins with the greatest elements of the one before",
        MaxPool, "elaborate", "(token.value == 0) | (x > before)", "x > before",
        "maxpool", "order",
    ),
    Fault(
        "An element that equals a threshold does not reach it",
        Thresholds, "_lane", "x >= threshold", "x > threshold",
        "thresholds/3", "order",
    ),
    Fault(
        "A burst goes on into the next page",
        Bursts, "elaborate", "room.eq(self.beats - (word & mask))", "room.eq(self.beats)",
        "bursts", "counts",
    ),
    Fault(
        "Bytes that are skipped leave a gap",
        Gearbox, "elaborate", "size + rest - i.payload.skip", "size + rest",
        "gearbox/3", "order",
    ),
    Fault(
        "Flags go on into the next frame",
        FrameFlags, "elaborate", "Mux(beat.last, 0, now.as_value())", "now.as_value()",
        "frameflags", "order",
    ),
    Fault(
        "A record ends before its last word",
        Records, "elaborate", "left.eq(self.classes)", "left.eq(self.classes - 1)",
        "records", "counts",
    ),
    Fault(
        "Words count as requested before their address is taken",
        Reader, "elaborate", "self.ar.valid & self.ar.ready, words", "self.ar.valid, words",
        "reader", "stable",
    ),
    Fault(
        "A burst begins before its address is taken",
        Writer, "_send", "sent.eq(aw.valid & aw.ready)", "sent.eq(aw.valid)",
        "writer", "stable",
    ),
    Fault(
        "A burst is requested without room for its words",
        Reader, "elaborate", "fits.eq(room >= length)", "fits.eq(1)",
        "reader", "counts",
    ),
    Fault(
        "A burst that needs half of the room waits for ever",
        Reader, "elaborate", "fits.eq(room >= length)", "fits.eq(room > 2 * length)",
        "reader", "offers",
    ),
    Fault(
        "Stretches begin at a whole word",
        Reader, "elaborate", "connect(m, jobs.o, unpack.job)",
        "connect(m, jobs.o, unpack.job); m.d.comb += unpack.job.payload.addr[:2].eq(0)",
        "reader", "order",
    ),
    Fault(
        "A job is done when its last word is sent",
        Writer, "_jobs", "m.If(pending == 0)", "m.If(1)",
        "writer", "counts",
    ),
    Fault(
        "A job without records waits for a word",
        Writer, "_jobs", "m.If(empty)", "m.If(0)",
        "writer", "offers",
    ),
    Fault(
        "The failure of a write is forgotten",
        Writer, "_jobs", "self.done.payload.eq(failed)", "self.done.payload.eq(0)",
        "writer", "order",
    ),
    Fault(
        "The source changes within a frame",
        FrameArbiter, "elaborate", "self.o.valid & self.o.ready & self.o.payload.last", "self.o.valid & self.o.ready",
        "framearbiter", "order",
    ),
    Fault(
        "Bytes of a packet that was discarded stay",
        PacketBuffer, "elaborate", "m.d.sync += written.eq(kept)", "pass",
        "packetbuffer", "order",
    ),
    Fault(
        "A byte of a block is skipped while it waits",
        cobs.CobsEncoder, "elaborate", "m.Elif(o.ready)", "m.Else()",
        "framesender", "stable",
    ),
    Fault(
        "A byte that is offered is pushed on by the next one",
        FrameReceiver, "elaborate", "i.ready.eq(o.ready | ~o.valid)", "i.ready.eq(1)",
        "framereceiver", "stable",
    ),
    Fault(
        "A byte of a reply is skipped while it waits",
        ArpResponder, "_reply", "m.If(o.valid & o.ready)", "m.If(o.valid)",
        "arpresponder", "stable",
    ),
    Fault(
        "A byte of an echo is skipped while it waits",
        EchoResponder, "_reply", "m.If(o.valid & o.ready)", "m.If(o.valid)",
        "echoresponder", "stable",
    ),
    Fault(
        "Bytes of a payload are taken before they can leave",
        Ipv4Sender, "elaborate", "i.ready.eq(o.ready)", "i.ready.eq(1)",
        "ipv4sender", "stable",
    ),
    Fault(
        "Bytes of a payload are taken before they can leave",
        UdpSender, "elaborate", "i.ready.eq(o.ready)", "i.ready.eq(1)",
        "udpsender", "stable",
    ),
    Fault(
        "A request whose number is far ahead is served",
        Dispatcher, "_compare", "far.eq(far | (upper & difference.any()))", "far.eq(far)",
        "dispatcher", "offers",
    ),
    Fault(
        "The bytes of the repetition count are swapped",
        Dispatcher, "elaborate", "Cat(argument[:8], i.byte)", "Cat(i.byte, argument[:8])",
        "dispatcher", "order",
    ),
    Fault(
        "The checksum is passed on as a part of the body",
        FrameReceiver, "elaborate", "full = count == CHECKSUM", "full = count == CHECKSUM - 1",
        "framereceiver", "counts",
    ),
    Fault(
        "A frame is good whatever its checksum",
        FrameReceiver, "elaborate", "Mux(checksum.match_detected, 0, Fault.CHECKSUM)", "0",
        "framereceiver", "order",
    ),
    Fault(
        "A byte that is not passed on is not taken",
        FrameReceiver, "elaborate", "i.ready.eq(o.ready | ~o.valid)", "i.ready.eq(o.ready & o.valid)",
        "framereceiver", "live",
    ),
    Fault(
        "The checksum of a body has three bytes",
        FrameSender, "elaborate", "part == CHECKSUM - 1", "part == CHECKSUM - 2",
        "framesender", "counts",
    ),
    Fault(
        "The highest byte of the checksum leaves first",
        FrameSender, "elaborate", "word_select(part, 8)", "word_select(~part, 8)",
        "framesender", "order",
    ),
    Fault(
        "A block never ends",
        cobs.CobsEncoder, "elaborate", "m.If(sent == length)", "m.If(sent > length)",
        "framesender", "live",
    ),
    Fault(
        "A request for another board is answered",
        ArpResponder, "elaborate", "elsewhere | wrong", "elsewhere",
        "arpresponder", "counts",
    ),
    Fault(
        "The reply goes to the board itself",
        ArpResponder, "_reply", "reply = [*field_bytes(asked.mac),", "reply = [*mac,",
        "arpresponder", "order",
    ),
    Fault(
        "A request with a wrong checksum is answered",
        EchoResponder, "elaborate", "(checksum.sum == 0xFFFF)", "1",
        "echoresponder", "counts",
    ),
    Fault(
        "The checksum of a packet that comes while the reply waits is taken for the request's",
        EchoResponder, "elaborate", "m.If(byte & ~waiting)", "m.If(byte)",
        "echoresponder", "order",
    ),
    Fault(
        "A frame ends before its last byte",
        Ipv4Sender, "elaborate", "index == total - 1", "index == total - 2",
        "ipv4sender", "counts",
    ),
    Fault(
        "The checksum of a header leaves out the carries",
        Ipv4Sender, "elaborate", "~fold(added)", "~added",
        "ipv4sender", "order", skip=29,
    ),
    Fault(
        "The length of a packet leaves out the header of the datagram",
        UdpSender, "elaborate", "self.packet.payload.length.eq(length)",
        "self.packet.payload.length.eq(length - HEADER_BYTES)", "udpsender", "order",
    ),
    Fault(
        "The header is sent before the packet is announced",
        UdpSender, "elaborate", "m.If(self.packet.ready)", "m.If(1)",
        "udpsender", "stable",
    ),
    Fault(
        "The pipeline does not stall with its output",
        ConstantMultipliers, "elaborate", "en = ~self.o.valid | self.o.ready", "en = ~self.o.valid | 1",
        "constantmultipliers", "stable", helped=True,
    ),
)  # fmt: skip
