"""An accelerator at the other end of a link."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..network.file import digest
from ..network.layers import Network
from .exchange import Exchange, NoAnswer, Request, Statistics
from .protocol import LINK_LOSSES, MAX_CLASSES, Hello, Kind, ProtocolError, Result, image_payload, longest_answer
from .serial_port import SerialPort
from .udp_port import SCHEME, UdpPort

__all__ = ["Accelerator", "Answers", "Timing"]

QUIET_SECONDS = 0.02
FIRST_COUNTERS = ("frames", "cycles")


@dataclass(frozen=True, eq=False)
class Answers:
    """To images: ``logits`` int32 (n, classes) and ``classes`` int32 (n,), as the device computed them; ``cycles`` of
    the device's clock between the first result and the last, right as long as successive ones are less than 2^32
    apart; ``seconds`` that all of it took here."""

    logits: np.ndarray
    classes: np.ndarray
    cycles: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Measured by the device in cycles of its own clock: ``latency`` of an image in the empty accelerator and
    ``frame_interval`` between results of images that follow each other without a gap; ``round_trip`` is the host's,
    in seconds, from sending an image to its answer."""

    latency: int
    frame_interval: float
    round_trip: float


class Accelerator:
    """A device on a serial port or in the network, from hello to close; a context manager.

    Parameters
    ----------
    port : ``/dev/ttyUSB1``, ``COM3``, a pty, ``udp://ADDRESS``, or a URL for pyserial, such as ``socket://host:port``
    baud : bits a second; not for UDP
    network : what the device must hold, or None for anything
    board : the board's name that the device must give, or None for any
    timeout : seconds to wait for an answer beyond the time that bytes take on the line and images in the circuit
    attempts : times that a request is sent before it is given up

    Raises UserError, one clear line, for a port that cannot be opened, no answer, another version of the protocol,
    another network or board; so do all methods when the port is lost or answers stay away.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = 3_000_000,
        network: Network | None = None,
        board: str | None = None,
        timeout: float = 1.0,
        attempts: int = 5,
    ):
        if baud < 1:
            raise ValueError(f"baud must be positive, not {baud!r}")
        if not timeout > 0:
            raise ValueError(f"timeout must be positive, not {timeout!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts!r}")
        self._port = UdpPort(port) if port.startswith(SCHEME) else SerialPort(port, baud)
        try:
            self._exchange = Exchange(
                self._port,
                timeout=timeout,
                attempts=attempts,
                longest=longest_answer(MAX_CLASSES),
                sequence=random.randrange(256),  # an answer to a program before this one is not taken for ours
            )
            self._port.drain(QUIET_SECONDS)
            self.hello = self._greet()
            if network is not None:
                self._check(network)
            if board is not None and board != self.hello.board:
                raise UserError(f"{port} is board {self.hello.board}, not {board}")
        except BaseException:
            self._port.close()
            raise

    def _greet(self) -> Hello:
        name = self._port.name
        try:
            self._exchange.reset()
        except NoAnswer as error:
            raise UserError(f"{error}; {self._port.advice}") from None
        try:
            return Hello.unpack(self._ask(Kind.HELLO))
        except ProtocolError as error:
            raise UserError(f"{name}: {error}") from None

    def _check(self, network: Network) -> None:
        hello = self.hello
        if hello.digest != digest(network):
            raise UserError(
                f"{self._port.name} holds another network: {hello.network}, digest {hello.digest[:12]}, not "
                f"{network.name}, {digest(network)[:12]}; program the board anew, or name the network that it holds"
            )
        expected = (*network.image, network.colours), len(network.classes)
        if (hello.image_shape, hello.classes) != expected:
            raise UserError(f"{self._port.name} says that it takes {hello.image_shape}, its network {expected[0]}")

    def __enter__(self) -> "Accelerator":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._port.close()

    @property
    def baud(self) -> int | None:
        """None without a serial port."""
        return self._port.baud

    @property
    def statistics(self) -> Statistics:
        """Of the link, since it was opened."""
        return self._exchange.statistics

    def run(self, images: np.ndarray, *, progress: Callable[[int], None] | None = None) -> Answers:
        """Answers to uint8 images (n, height, width, colours), as many of them under way as the device holds.

        ``progress`` is called with the number of new answers. Raises TypeError or ValueError for other images.
        """
        self._check_images(images)
        count, classes = len(images), self.hello.classes
        logits, indices = np.empty((count, classes), np.int32), np.empty(count, np.int32)
        cycles, stamp, start = 0, None, time.monotonic()
        requests = (self._image(image, index=index) for index, image in enumerate(images))
        for request, result, _ in self._results(requests, self.hello.window):
            logits[request.index] = result.logits
            indices[request.index] = result.class_index
            cycles += 0 if stamp is None else (result.stamp - stamp) % (1 << 32)
            stamp = result.stamp
            if progress is not None:
                progress(1)
        return Answers(logits, indices, cycles, time.monotonic() - start)

    def measure(self, image: np.ndarray, *, frames: int = 16) -> Timing:
        """Times of the device, by letting one image go through it again and again.

        The interval is the mean of ``frames`` after those that the plan needs to settle.
        """
        self._check_images(image[None])
        settle = self.hello.settling_frames + 1
        spans, alone, trip = [], None, 0.0
        for repeat in (1, settle, settle + frames):
            for _, result, seconds in self._results([self._image(image, repeat)], 1):
                spans.append(result.span)
                if repeat == 1 and alone is None:
                    alone, trip = result.latency, seconds
        return Timing(alone, (spans[2] - spans[1]) / frames, trip)

    def counters(self) -> dict[str, int | list[int]]:
        """``frames`` and ``cycles`` since the last clearing or reset, ``stalls``, stalled cycles of every stage, and
        ``link_losses``: characters that came malformed or behind lost ones (UART), datagrams that found no room
        (UDP); each modulo 2^32."""
        addresses = [*range(len(FIRST_COUNTERS) + self.hello.stages), LINK_LOSSES]
        requests = [Request(Kind.COUNTER, bytes([address]), index) for index, address in enumerate(addresses)]
        values = [0] * len(addresses)
        for request, payload, _ in self._exchange.run(requests, self.hello.window):
            if len(payload) != 4:
                raise UserError(f"{self._port.name}: a counter has {len(payload)} bytes, not 4")
            values[request.index] = int.from_bytes(payload, "little")
        named = dict(zip(FIRST_COUNTERS, values, strict=False))
        return {**named, "stalls": values[len(FIRST_COUNTERS) : -1], "link_losses": values[-1]}

    def clear_counters(self) -> None:
        self._ask(Kind.CLEAR)

    def reset(self) -> None:
        """Empty the accelerator and all that waits for it."""
        self._exchange.reset()

    def _image(self, image: np.ndarray, repeat: int = 1, index: int = 0) -> Request:
        cycles = self.hello.latency + repeat * self.hello.frame_interval
        content = np.ascontiguousarray(image).tobytes()
        return Request(Kind.IMAGE, image_payload(content, repeat), index, cycles / self.hello.clock_hz)

    def _ask(self, kind: Kind) -> bytes:
        ((_, payload, _),) = self._exchange.run([Request(kind)])
        return payload

    def _results(self, requests, window: int) -> Iterator[tuple[Request, Result, float]]:
        """With the seconds from sending to answer."""
        for request, payload, now in self._exchange.run(requests, window):
            try:
                yield request, Result.unpack(payload, self.hello.classes), now - request.sent
            except ProtocolError as error:
                raise UserError(f"{self._port.name}: {error}") from None

    def _check_images(self, images: np.ndarray) -> None:
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images must be an array of uint8, not {kind}")
        if images.ndim != 4 or images.shape[1:] != self.hello.image_shape:
            wanted = ", ".join(map(str, self.hello.image_shape))
            raise ValueError(f"images must have shape (any, {wanted}), not {images.shape}")
