"""Requests and their answers over a link that may lose, garble or invent bytes.

The device answers in the order in which it accepts requests. So an answer proves that requests sent before it, and
not answered, are lost, and an error report that names no request means the oldest that is under way. What is lost
is sent again under a new sequence number; an answer to a number that is not under way is nobody's.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import UserError
from .framing import FrameReader, frame
from .protocol import ANSWER, HEADER, Fault, Kind

__all__ = ["Exchange", "NoAnswer", "Request", "Statistics"]

SPURIOUS = (Fault.RECEIVE, Fault.FRAMING, Fault.CHECKSUM, Fault.LOST)  # they name no request


class NoAnswer(UserError):
    """Nothing that was sent was answered."""


@dataclass
class Statistics:
    """What happened on the link since it was opened. ``reported`` are the device's error reports by `Fault`,
    ``resets`` the times that the device was emptied because it was out of step, ``broken`` the frames that came in
    garbled, ``strays`` answers that nobody waited for."""

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
    """``index`` is the caller's, ``patience`` the seconds that the device may take for it, ``sent`` when the latest
    attempt went out, by `time.monotonic`."""

    kind: Kind
    payload: bytes = b""
    index: int = 0
    patience: float = 0.0
    attempts: int = 0
    sequence: int = 0
    sent: float = 0.0
    fault: str = "no answer"


class Exchange:
    """Parameters
    ----------
    port : with ``name``, ``settings``, ``read``, ``write`` and ``seconds``, as `psahw.host.serial_port.SerialPort`
    timeout : seconds without an answer, beyond the time on the line and the requests' patience, after which what is
        under way is lost
    attempts : times that a request is sent before it is given up
    longest : bytes of the longest answer's body
    """

    def __init__(self, port, *, timeout: float, attempts: int, longest: int, sequence: int = 0):
        self.port, self.timeout, self.attempts = port, timeout, attempts
        self.statistics = Statistics()
        self._sequence = sequence & 0xFF
        self._under_way: deque[Request] = deque()
        self._again: deque[Request] = deque()
        self._reader = FrameReader(longest)
        self._full = False  # the device had no room

    def run(self, requests: Iterable[Request], window: int = 1) -> Iterator[tuple[Request, bytes, float]]:
        """Each request with its answer's payload and when that came, in the order of the answers.

        At most ``window`` requests are under way at once. Raises UserError when one has been lost too often.
        """
        waiting = iter(requests)
        self._under_way.clear()
        self._again.clear()
        self._full = False
        more = True
        while True:
            if self._full and not self._under_way:  # it holds what is not ours
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
        """Empty the device, whatever it was doing, and wait until it has. Raises `NoAnswer` if it does not."""
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
        self._sequence = (self._sequence + 1) & 0xFF
        self.statistics.frames += 1
        self.port.write(frame(bytes([kind, sequence]) + payload))

    def _send(self, request: Request) -> None:
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
        """Answers of what comes in next; without any in time, all that is under way is lost."""
        on_the_line = sum(len(request.payload) for request in self._under_way)
        work = sum(request.patience for request in self._under_way)
        end = time.monotonic() + self.timeout + work + self.port.seconds(on_the_line + 100 * len(self._under_way))
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
        code = int.from_bytes(payload[:4], "little")
        name = Fault(code).name if code in list(Fault) else f"fault {code}"
        self.statistics.reported[name] = self.statistics.reported.get(name, 0) + 1
        if code in SPURIOUS:
            self._lose(min(1, len(self._under_way)), f"the device reports {name}")
        else:
            self._full = code == Fault.BUSY
            places = [place for place, request in enumerate(self._under_way) if request.sequence == sequence]
            self._lose(places[0] + 1 if places else 0, f"the device reports {name}")

    def _lose(self, count: int, fault: str) -> None:
        """The oldest so many."""
        lost = [self._under_way.popleft() for _ in range(count)]
        for request in lost:
            request.fault = fault
        self._again.extendleft(reversed(lost))
