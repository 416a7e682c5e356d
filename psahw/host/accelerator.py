"""An accelerator on a board, at the other end of a link."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import CheckFailed, UserError
from ..network.file import digest
from ..network.graph import Network
from .exchange import Exchange, NoAnswer, Request, Statistics
from .port import Port
from .protocol import (
    FIRST_STALLS,
    LINK_LOSSES,
    MAX_CLASSES,
    MAX_REPEAT,
    SEQUENCES,
    Hello,
    Kind,
    ProtocolError,
    Result,
    image_payload,
    longest_answer,
)
from .serial_port import SerialPort
from .udp_port import SCHEME, UdpPort

__all__ = ["Accelerator", "Answers", "Timing"]

MAX_TIMEOUT = 3600  # seconds
QUIET_SECONDS = 0.02  # the line must be silent for this long before the first request


@dataclass(frozen=True, eq=False)
class Answers:
    """The device's answers to a batch of n images.

    Attributes
    ----------
    logits
        int32 (n, classes).
    classes
        int32 (n,): the index of the class that the device chose.
    cycles
        Clock cycles of the device from the first result to the last. It is right as long as two successive results
        are less than 2^32 cycles apart.
    seconds
        Time in seconds that the whole batch took on the host.
    """

    logits: np.ndarray
    classes: np.ndarray
    cycles: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Times that `Accelerator.measure` found.

    Attributes
    ----------
    latency
        Clock cycles from the first beat of an image to its result, in an accelerator that is otherwise empty.
    frame_interval
        Clock cycles between the results of two images that follow each other without a gap, or None if it is not
        measurable, because the device gives all results the same time.
    round_trip
        Seconds on the host from sending an image to receiving its answer.
    """

    latency: int
    frame_interval: float | None
    round_trip: float


class Accelerator:
    """A device on a serial port or in the network.

    Opening it empties the device and asks it what it is. It is a context manager, which closes the port at its end.

    Parameters
    ----------
    port
        ``/dev/ttyUSB1``, ``COM3``, a pseudo-terminal, ``udp://ADDRESS`` or ``udp://ADDRESS:PORT``, or a URL that
        pyserial opens, such as ``socket://host:port``.
    baud
        Bits per second of a serial port; not used for UDP.
    network
        The network that the device must hold, or None to accept any.
    board
        The name of the board that the device must have, or None to accept any.
    timeout
        Seconds to wait for an answer, in addition to the time that bytes take on the line and images in the circuit.
        Nothing that the device sends except the answers prolongs this.
    attempts
        Number of times that a request is sent before it is given up.

    Attributes
    ----------
    hello
        What the device says about itself.

    Raises
    ------
    ValueError
        If ``baud``, ``timeout`` or ``attempts`` is not positive, or ``timeout`` is more than an hour.
    UserError
        If the port cannot be opened, nothing answers, or the device speaks another version of the protocol, holds
        another network or is another board. All methods raise it, too, when the port is lost or answers do not come.
        The message is one line.

    Examples
    --------
    >>> with Accelerator("/dev/ttyUSB1", network=network) as device:  # doctest: +SKIP
    ...     print(device.hello.board, device.run(images).classes)
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
        if not 0 < timeout <= MAX_TIMEOUT:
            raise ValueError(f"timeout must be above 0 and at most {MAX_TIMEOUT}, not {timeout!r}")
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts!r}")
        self._port: Port = UdpPort(port) if port.startswith(SCHEME) else SerialPort(port, baud)
        try:
            self._exchange = Exchange(
                self._port,
                timeout=timeout,
                attempts=attempts,
                longest=longest_answer(MAX_CLASSES),
                sequence=random.randrange(SEQUENCES),  # so that late answers to an earlier program are not ours
            )
            self._port.drain(QUIET_SECONDS)
            self.hello = self._greet()
            self._exchange.open()
            if network is not None:
                self._check(network)
            if board is not None and board != self.hello.board:
                raise UserError(f"{port} is board {self.hello.board}, not {board}")
        except BaseException:
            self._port.close()
            raise

    def _greet(self) -> Hello:
        """Empty the device and return what it says about itself."""
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
        """Raise UserError unless the device holds ``network``."""
        hello = self.hello
        if hello.digest != digest(network):
            raise UserError(
                f"{self._port.name} holds another network, {hello.network} with digest {hello.digest[:12]}, not "
                f"{network.name} with digest {digest(network)[:12]}; program the board again, or name the network "
                "that it holds"
            )
        shape, classes = (*network.image, network.colours), len(network.classes)
        if (hello.image_shape, hello.classes) != (shape, classes):
            raise UserError(
                f"{self._port.name} must take images of shape {shape} and have {classes} classes, as network "
                f"{network.name}, not {hello.image_shape} and {hello.classes}"
            )

    def __enter__(self) -> "Accelerator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    @property
    def baud(self) -> int | None:
        """Bits per second of the serial port, or None for UDP."""
        return self._port.baud

    @property
    def statistics(self) -> Statistics:
        """Counts of events on the link since it was opened."""
        return self._exchange.statistics

    def run(self, images: np.ndarray, *, progress: Callable[[int], None] | None = None) -> Answers:
        """Classify images, with as many of them under way as the device can hold.

        Parameters
        ----------
        images
            uint8 (n, height, width, colours), in the shape of ``hello.image_shape``.
        progress
            Called with the number of new answers.

        Raises
        ------
        TypeError
            If ``images`` is not a uint8 array.
        ValueError
            If ``images`` has another shape.
        CheckFailed
            If a result contradicts itself: a logit does not fit ``hello.logit_bits``, or the class is not that of the
            first of the greatest logits.
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
        """Measure the device's times, by sending one image through it again and again.

        Parameters
        ----------
        image
            uint8 (height, width, colours).
        frames
            Number of results whose mean interval is measured, after those that the plan needs to settle.

        Raises
        ------
        TypeError, ValueError
            If the image does not fit, as in `run`, or if ``frames`` is less than 1 or more than a request allows.
        CheckFailed
            As in `run`.
        """
        self._check_images(image[None])
        settle = self.hello.settling_frames + 1
        if not 1 <= frames <= MAX_REPEAT - settle:
            raise ValueError(f"frames must be in [1, {MAX_REPEAT - settle}], not {frames!r}")
        single, settled, longer = (self._repeated(image, repeat) for repeat in (1, settle, settle + frames))
        cycles = (longer[0].span - settled[0].span) % (1 << 32)
        return Timing(single[0].latency, cycles / frames if cycles else None, single[1])

    def _repeated(self, image: np.ndarray, repeat: int) -> tuple[Result, float]:
        """Return the result of an image that goes through the device repeatedly, and its round trip in seconds."""
        ((_, result, seconds),) = self._results([self._image(image, repeat)], 1)
        return result, seconds

    def counters(self) -> dict[str, int | list[int]]:
        """Return the device's counters, each modulo 2^32.

        Returns
        -------
        dict
            ``frames`` and ``cycles`` since they were last cleared or the device was reset; ``stalls``, a list of the
            stalled clock cycles of each stage; and ``link_losses``: over a UART the characters that were malformed or
            came after lost ones, over UDP the datagrams for which there was no room.
        """
        addresses = [*range(FIRST_STALLS + self.hello.stages), LINK_LOSSES]
        requests = [Request(Kind.COUNTER, bytes([address]), index) for index, address in enumerate(addresses)]
        values: dict[int, int] = {}
        for request, payload, _ in self._exchange.run(requests, self.hello.window):
            if len(payload) != 4:
                raise UserError(f"{self._port.name}: a counter must have 4 bytes, not {len(payload)}")
            values[request.index] = int.from_bytes(payload, "little")
        frames, cycles, *stalls, link_losses = (values[index] for index in range(len(addresses)))
        return {"frames": frames, "cycles": cycles, "stalls": stalls, "link_losses": link_losses}

    def clear_counters(self) -> None:
        """Set all counters to zero."""
        self._ask(Kind.CLEAR)

    def reset(self) -> None:
        """Empty the accelerator, and discard all requests that wait for it."""
        self._exchange.reset()

    def _image(self, image: np.ndarray, repeat: int = 1, index: int = 0) -> Request:
        """Return a request to send an image through the device, once or repeatedly."""
        content = np.ascontiguousarray(image).tobytes()
        return Request(Kind.IMAGE, image_payload(content, repeat), index, self.hello.seconds(repeat))

    def _ask(self, kind: Kind) -> bytes:
        """Send a request without a payload, and return the payload of its answer."""
        ((_, payload, _),) = self._exchange.run([Request(kind)])
        return payload

    def _results(self, requests: Iterable[Request], window: int) -> Iterator[tuple[Request, Result, float]]:
        """Yield each request with its result and the seconds from sending to answer."""
        for request, payload, now in self._exchange.run(requests, window):
            try:
                result = Result.unpack(payload, self.hello.classes)
            except ProtocolError as error:
                raise UserError(f"{self._port.name}: {error}") from None
            if (reason := result.contradiction(self.hello.logit_bits)) is not None:
                raise CheckFailed(f"{self._port.name}: a result contradicts itself: {reason}")
            yield request, result, now - request.sent

    def _check_images(self, images: np.ndarray) -> None:
        """Raise TypeError or ValueError for images that the device does not take."""
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images must be an array of uint8, not {kind}")
        if images.ndim != 4 or images.shape[1:] != self.hello.image_shape:
            wanted = ", ".join(map(str, self.hello.image_shape))
            raise ValueError(f"images must have shape (any, {wanted}), not {images.shape}")
