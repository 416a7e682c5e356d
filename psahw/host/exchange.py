"""Requests and their answers, over a link that may lose, garble or invent bytes.

The device answers requests in the order in which it accepts them, and accepts none whose sequence number does not
follow that of the one before. An answer therefore proves that all requests that were sent before it, and not
answered, are lost. For the same reason, an error report that names no request refers to the oldest one under way. A
lost request is sent again with a new sequence number, and an answer whose sequence number is not under way is
discarded.

The host gives up at a time that only an answer to a request under way, or sending a request, moves. Each request is
answered once and sent a limited number of times, so nothing that a device sends can make an exchange endless.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import UserError
from .framing import FrameReader, frame
from .port import Port
from .protocol import ANSWER, SEQUENCES, SHORT_KINDS, Answer, Fault, Kind, body, parse

__all__ = ["Exchange", "NoAnswer", "Request", "Statistics"]

UNNAMED = (Fault.RECEIVE, Fault.FRAMING, Fault.CHECKSUM, Fault.LOST)  # reports of these name no request
OVERHEAD = 32  # bytes: more than header, checksum and delimiters of a request; stuffing adds 0.4 %


UNKNOWN_FAULT = "unknown fault"  # one name for all, so that a device cannot fill the memory with them


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
        Number of the device's error reports by the name of their `Fault`, or ``UNKNOWN_FAULT``.
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
        Sequence number of the latest attempt, modulo 2^32.
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
        First sequence number. One that differs between sessions keeps late answers of an earlier session from being
        taken for answers of this one.
    """

    def __init__(self, port: Port, *, timeout: float, attempts: int, longest: int, sequence: int):
        self.port, self.timeout, self.attempts, self.longest = port, timeout, attempts, longest
        self.statistics = Statistics()
        self._sequence = sequence % SEQUENCES
        self._under_way: deque[Request] = deque()
        self._again: deque[Request] = deque()  # lost requests, to be sent before new ones
        self._reader = FrameReader(longest)
        self._full = False  # the device had no room for the latest request
        self._reset_kind = Kind.RESET  # until `open`, because this kind is the same in all versions of the protocol

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
        deadline = 0.0
        while True:
            if self._full and not self._under_way:  # requests that are not ours occupy the device
                self.reset()
            if self._send_some(waiting, window):
                deadline = self._deadline()
            if not self._under_way:
                return
            left = deadline - time.monotonic()
            bodies = list(self._reader.feed(self.port.read(max(left, 0))))
            self.statistics.broken = self._reader.broken
            now = time.monotonic()
            answers = [answer for received in bodies for answer in self._take(received)]
            if answers:
                for request, payload in answers:
                    yield request, payload, now
                deadline = self._deadline()  # computed here, so that the time that the caller takes does not count
            elif left <= 0:
                self.statistics.timeouts += 1
                self._lose(len(self._under_way), "no answer")
                self.reset()

    def open(self) -> None:
        """Empty the device, and make it ignore all requests that were sent before.

        Raises
        ------
        NoAnswer
            If the device does not confirm it.
        """
        self._reset_kind = Kind.OPEN
        self.reset()

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
            sequence = self._write(self._reset_kind)
            end = time.monotonic() + self.timeout + self.port.seconds(2 * self.longest)  # an answer may be in front
            while (left := end - time.monotonic()) > 0:
                for received in list(self._reader.feed(self.port.read(left))):
                    answer = parse(received)
                    if answer is not None and _answers(answer, self._reset_kind, sequence):
                        return
        raise NoAnswer(f"{self.port.name} does not answer{self.port.settings}")

    def _write(self, kind: Kind, payload: bytes = b"") -> int:
        """Send a frame, count it, and return its sequence number."""
        sequence, self._sequence = self._sequence, (self._sequence + 1) % SEQUENCES
        self.statistics.frames += 1
        self.port.write(frame(body(kind, sequence, payload)))
        return sequence

    def _send_some(self, waiting: Iterator[Request], window: int) -> bool:
        """Send as many requests as the window allows, lost ones first, and return whether there were any."""
        sent = False
        while len(self._under_way) < window and not self._full:
            request = self._again.popleft() if self._again else next(waiting, None)
            if request is None:
                break
            self._send(request)
            sent = True
        return sent

    def _send(self, request: Request) -> None:
        """Send a request. Raises UserError if it was sent too often already."""
        request.attempts += 1
        if request.attempts > self.attempts:
            raise UserError(
                f"{self.port.name}: {request.kind.name.lower()} was sent {self.attempts} times: {request.fault}"
            )
        self.statistics.resent += request.attempts > 1
        request.sent = time.monotonic()
        request.sequence = self._write(request.kind, request.payload)
        self._under_way.append(request)

    def _deadline(self) -> float:
        """Return the time at which the requests under way are lost if none of them has been answered."""
        work = sum(request.patience for request in self._under_way)
        count = sum(len(request.payload) + OVERHEAD + self.longest for request in self._under_way)
        return time.monotonic() + self.timeout + work + self.port.seconds(count)

    def _take(self, received: bytes) -> Iterator[tuple[Request, bytes]]:
        """Yield the request that a frame's body answers, if it answers one, with the payload."""
        answer = parse(received)
        if answer is None:
            self.statistics.strays += 1
            return
        if answer.kind == Kind.ERROR | ANSWER:
            self._report(answer.sequence, answer.payload)
            return
        for place, request in enumerate(self._under_way):
            if _answers(answer, request.kind, request.sequence):
                self._full = False
                self._lose(place, "a later request was answered")
                self._under_way.popleft()
                self.statistics.answers += 1
                yield request, answer.payload
                return
        self.statistics.strays += 1

    def _report(self, sequence: int, payload: bytes) -> None:
        """Handle the device's report of a fault."""
        code = int.from_bytes(payload, "little")
        name = Fault(code).name if code in list(Fault) else UNKNOWN_FAULT
        self.statistics.reported[name] = self.statistics.reported.get(name, 0) + 1
        if code in UNNAMED:
            self._full = False
            self._lose(min(1, len(self._under_way)), f"the device reports {name}")
            return
        places = [place for place, request in enumerate(self._under_way) if request.sequence == sequence]
        if places:
            self._full = code == Fault.BUSY
            self._lose(places[0] + 1, f"the device reports {name}")

    def _lose(self, count: int, fault: str) -> None:
        """Put the ``count`` oldest requests under way back in front of those to be sent."""
        lost = [self._under_way.popleft() for _ in range(count)]
        for request in lost:
            request.fault = fault
        self._again.extendleft(reversed(lost))


def _answers(answer: Answer, kind: Kind, sequence: int) -> bool:
    """Return whether an answer is that to a request of this kind with this sequence number."""
    numbers = 1 << 8 if kind in SHORT_KINDS else SEQUENCES
    return answer.kind == kind | ANSWER and answer.sequence == sequence % numbers
