"""Requests and their answers, over a link that may lose, garble or invent bytes.

The device answers requests in the order in which it accepts them. An answer therefore proves that all requests that
were sent before it, and not answered, are lost. For the same reason, an error report that names no request refers to
the oldest one under way. A lost request is sent again with a new sequence number, and an answer whose sequence number
is not under way is discarded.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import UserError
from .framing import FrameReader, frame
from .port import Port
from .protocol import ANSWER, HEADER, Fault, Kind

__all__ = ["Exchange", "NoAnswer", "Request", "Statistics"]

UNNAMED = (Fault.RECEIVE, Fault.FRAMING, Fault.CHECKSUM, Fault.LOST)  # reports of these name no request
ANSWER_BYTES = 100  # allowance for an answer, in the time that the exchange takes on the line


class NoAnswer(UserError):
    """The device answered none of several requests."""


@dataclass
class Statistics:
    """Counts of events on the link since it was opened.

    Attributes
    ----------
    frames
        Frames that the host sent.
    answers
        Answers to requests that were under way.
    resent
        Requests that were sent again.
    timeouts
        Times that no answer came for too long.
    resets
        Times that the host emptied the device; the first is when it opens the link.
    broken
        Frames that arrived garbled.
    strays
        Answers to no request that was under way.
    reported
        Number of the device's error reports by the name of their `Fault`.
    """

    frames: int = 0
    answers: int = 0
    resent: int = 0
    timeouts: int = 0
    resets: int = 0
    broken: int = 0
    strays: int = 0
    reported: dict[str, int] = field(default_factory=dict)


@dataclass
class Request:
    """A request, and what became of it so far.

    Attributes
    ----------
    kind, payload
        What is sent.
    index
        Free for the caller's use.
    patience
        Seconds that the device may take to answer it.
    attempts
        Number of times that it was sent.
    sequence
        Sequence number of the latest attempt.
    sent
        When the latest attempt was sent, by `time.monotonic`.
    fault
        Why the latest attempt was lost.
    """

    kind: Kind
    payload: bytes = b""
    index: int = 0
    patience: float = 0.0
    attempts: int = 0
    sequence: int = 0
    sent: float = 0.0
    fault: str = "no answer"


class Exchange:
    """The host's side of the request and answer protocol.

    Parameters
    ----------
    port
        Connection to the device.
    timeout
        Seconds without an answer after which all requests under way are lost, in addition to the time that bytes take
        on the line and to the patience of the requests.
    attempts
        Number of times that a request is sent before it is given up.
    longest
        Bytes of the longest answer's body.
    sequence
        First sequence number.
    """

    def __init__(self, port: Port, *, timeout: float, attempts: int, longest: int, sequence: int = 0):
        self.port, self.timeout, self.attempts = port, timeout, attempts
        self.statistics = Statistics()
        self._sequence = sequence & 0xFF
        self._under_way: deque[Request] = deque()
        self._again: deque[Request] = deque()  # lost requests, to be sent before new ones
        self._reader = FrameReader(longest)
        self._full = False  # the device had no room for the latest request

    def run(self, requests: Iterable[Request], window: int = 1) -> Iterator[tuple[Request, bytes, float]]:
        """Send requests and yield their answers.

        Parameters
        ----------
        requests
            They are taken one by one, as the window allows.
        window
            Largest number of requests under way at once.

        Yields
        ------
        tuple
            A request, the payload of its answer, and the time of the answer by `time.monotonic`, in the order of the
            answers.

        Raises
        ------
        UserError
            If a request was lost too often, or the port is lost.
        """
        waiting = iter(requests)
        self._under_way.clear()
        self._again.clear()
        self._full = False
        more = True
        while True:
            if self._full and not self._under_way:  # requests that are not ours occupy the device
                self.reset()
            while more and len(self._under_way) < window and not self._full:
                request = self._again.popleft() if self._again else next(waiting, None)
                if request is None:
                    more = False
                else:
                    self._send(request)
            if not self._under_way:
                return
            yield from self._receive()
            more = more or bool(self._again)

    def reset(self) -> None:
        """Empty the device, whatever it is doing, and wait until it has confirmed this.

        Raises
        ------
        NoAnswer
            If the device does not confirm it.
        """
        self.statistics.resets += 1
        self._full = False
        for _ in range(self.attempts):
            answer = bytes([Kind.RESET | ANSWER, self._sequence])
            self._write(Kind.RESET, self._sequence)
            end = time.monotonic() + self.timeout
            while (left := end - time.monotonic()) > 0:
                if answer in list(self._reader.feed(self.port.read(left))):
                    return
        raise NoAnswer(f"{self.port.name} does not answer{self.port.settings}")

    def _write(self, kind: Kind, sequence: int, payload: bytes = b"") -> None:
        """Send a frame, and count it."""
        self._sequence = (self._sequence + 1) & 0xFF
        self.statistics.frames += 1
        self.port.write(frame(bytes([kind, sequence]) + payload))

    def _send(self, request: Request) -> None:
        """Send a request. Raises UserError if it was sent too often already."""
        request.attempts += 1
        if request.attempts > self.attempts:
            raise UserError(
                f"{self.port.name}: {request.kind.name.lower()} was sent {self.attempts} times: {request.fault}"
            )
        self.statistics.resent += request.attempts > 1
        request.sequence, request.sent = self._sequence, time.monotonic()
        self._under_way.append(request)
        self._write(request.kind, request.sequence, request.payload)

    def _receive(self) -> Iterator[tuple[Request, bytes, float]]:
        """Yield the answers in what arrives next; if nothing arrives in time, all requests under way are lost."""
        payloads = sum(len(request.payload) for request in self._under_way)
        work = sum(request.patience for request in self._under_way)
        line = self.port.seconds(payloads + ANSWER_BYTES * len(self._under_way))
        end = time.monotonic() + self.timeout + work + line
        while (left := end - time.monotonic()) > 0:
            bodies = list(self._reader.feed(self.port.read(left)))
            self.statistics.broken = self._reader.broken
            if bodies:
                now = time.monotonic()
                for body in bodies:
                    yield from ((*answer, now) for answer in self._take(body))
                return
        self.statistics.timeouts += 1
        self._lose(len(self._under_way), "no answer")
        self.reset()

    def _take(self, body: bytes) -> Iterator[tuple[Request, bytes]]:
        """Yield the request that a frame's body answers, if it answers one, with the payload."""
        if len(body) < HEADER:
            self.statistics.strays += 1
            return
        self._full = False
        kind, sequence, payload = body[0], body[1], body[HEADER:]
        if kind == Kind.ERROR | ANSWER:
            self._report(sequence, payload)
            return
        for place, request in enumerate(self._under_way):
            if request.sequence == sequence and request.kind | ANSWER == kind:
                self._lose(place, "a later request was answered")
                self._under_way.popleft()
                self.statistics.answers += 1
                yield request, payload
                return
        self.statistics.strays += 1

    def _report(self, sequence: int, payload: bytes) -> None:
        """Handle the device's report of a fault."""
        code = int.from_bytes(payload[:4], "little")
        name = Fault(code).name if code in list(Fault) else f"fault {code}"
        self.statistics.reported[name] = self.statistics.reported.get(name, 0) + 1
        if code in UNNAMED:
            self._lose(min(1, len(self._under_way)), f"the device reports {name}")
        else:
            self._full = code == Fault.BUSY
            places = [place for place, request in enumerate(self._under_way) if request.sequence == sequence]
            self._lose(places[0] + 1 if places else 0, f"the device reports {name}")

    def _lose(self, count: int, fault: str) -> None:
        """Put the ``count`` oldest requests under way back in front of those to be sent."""
        lost = [self._under_way.popleft() for _ in range(count)]
        for request in lost:
            request.fault = fault
        self._again.extendleft(reversed(lost))
