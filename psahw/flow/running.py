"""Send images to a board, or to a simulated one, and compare its answers with the integer model."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .. import boards, documents
from ..boards import Board
from ..callbacks import Log, Progress, counter, silent
from ..display import counted, html_table, wrong_answers
from ..errors import CheckFailed, UserError
from ..files import temporary_directory
from ..network import reference
from ..network.evaluation import predictions
from ..network.graph import Network, Output
from ..planner.plan import Plan
from ..quoting import printable
from .arguments import check_network
from .designs import load_design
from .images import SHIPPED_IMAGES, LabelledImages, images_for
from .planning import BoardPlan

__all__ = ["SIMULATED", "RunResult", "check_simulated", "run", "simulated_board"]

SIMULATED = "sim"
"""The name of the port behind which a board is simulated."""

DEFAULT_BAUD = 3_000_000
"""Bits per second on a serial port if neither caller nor board says otherwise."""

SIMULATION_TIMEOUT = 600.0
"""Seconds to wait for a simulated board, which is slow and loses nothing."""

_FRAMES = 64  # over which the frame interval is averaged
_SIMULATED_FRAMES = 4  # in simulation every interval is the same


@dataclass(frozen=True, eq=False)
class RunResult:
    """Answers of a board, and what was measured.

    Parameters
    ----------
    port
        Where the board is reached.
    baud
        Bits per second of a serial port, or None.
    simulated
        Whether the board was simulated.
    dataset
        Name of the data set, or ``files``.
    network, board, build
        What the board says of itself.
    images
        Images that were sent.
    mismatched_logits, mismatched_classes
        Outputs that differ from the integer model, and indices of the greatest output that do.
    accuracy
        Images classified correctly, in percent; None without labels.
    clock_hz
        Clock of the accelerator, in Hz.
    fps_device
        Frames per second that the accelerator reaches by itself, or None if they are not measurable, because the
        board gives all results the same time.
    frame_interval, frame_interval_planned
        Clock cycles between the results of two frames, as the board measures them (None if they are not measurable),
        and as planned.
    latency, latency_planned
        Clock cycles from an image's first beat to its result, as the board measures them, and as planned.
    fps_link
        Frames per second over the link, or None for a single image, or if they are not measurable.
    fps_host
        Frames per second as the host sees them, or None if they took no time that the host can measure.
    round_trip_seconds
        Seconds from sending an image to its answer.
    frames_counted, stage_stalls, link_losses
        The board's counters: frames, stalled cycles of each stage, and characters or datagrams that were lost.
    resent, timeouts, broken_answers, reported_faults
        The host's counters of the link.
    logits, classes
        The answers: int32 (images, classes) and int32 (images,).
    meaning
        What the network's outputs stand for.
    files
        The file of each image, or None for a data set.
    """

    port: str
    baud: int | None
    simulated: bool
    dataset: str
    network: str
    board: str
    build: str
    images: int
    mismatched_logits: int
    mismatched_classes: int
    accuracy: float | None
    clock_hz: float
    fps_device: float | None
    frame_interval: float | None
    frame_interval_planned: int
    latency: int
    latency_planned: int
    fps_link: float | None
    fps_host: float | None
    round_trip_seconds: float
    frames_counted: int
    stage_stalls: list[int]
    link_losses: int
    resent: int
    timeouts: int
    broken_answers: int
    reported_faults: dict[str, int]
    logits: np.ndarray
    classes: np.ndarray
    meaning: Output
    files: tuple[Path, ...] | None = None

    def check(self) -> None:
        """Raise CheckFailed if any answer differs from the integer model."""
        if wrong := self.mismatched_logits or self.mismatched_classes:
            what = "logits or classes" if self.meaning.kind == "class" else "outputs"
            raise CheckFailed(f"{self.network} on {self.port}: {wrong} {what} differ from the integer model")

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw run --json`` prints."""
        arrays = ("logits", "classes", "meaning", "files")
        result = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in arrays}
        if self.files is None:
            return result
        answers = [
            {"file": str(path), **self._answer(index), "logits": self.logits[index].tolist()}
            for index, path in enumerate(self.files)
        ]
        return result | {"answers": answers}

    def _answer(self, index: int) -> dict[str, Any]:
        """Return the answer to an image: its class, its values by name, or the labels that hold."""
        if self.meaning.kind == "class":
            number = int(self.classes[index])
            return {"class": self.meaning.names[number], "class_index": number}
        answer = predictions(self.meaning, self.logits[index : index + 1])[0].tolist()
        named = zip(self.meaning.names, answer, strict=True)
        if self.meaning.kind == "labels":
            return {"labels": [name for name, holds in named if holds]}
        return {"values": dict(named)}

    def answer_table(self, most: int) -> tuple[list[str], list[list]]:
        """Return headings and rows of the answers to up to ``most`` files, for display.

        Of more than six values, the first six are shown.
        """
        kind, names = self.meaning.kind, self.meaning.names[:6]
        rows: list[list] = []
        for index, path in enumerate((self.files or ())[:most]):
            answer = self._answer(index)
            if kind == "class":
                rows.append([str(path), answer["class"], int(self.logits[index, answer["class_index"]])])
            elif kind == "labels":
                rows.append([str(path), ", ".join(answer["labels"]) or None])
            else:
                rows.append([str(path), *(answer["values"][name] for name in names)])
        headings = {"class": ["class", "logit"], "labels": ["labels"], "values": list(names)}
        return ["picture", *headings[kind]], rows

    @property
    def title(self) -> str:
        """Network, board and port, as the heading of a table."""
        where = f"{self.board} at {self.port}" + (", simulated" if self.simulated else "")
        return f"{self.network} on {where}: {counted(self.images, 'image')}"

    def table(self) -> tuple[list[str], list[list]]:
        """Return headings and rows of measured and expected values, for display."""
        # The simulated UART is as fast as simulation allows, so its rate is not that of the board.
        rate = f" at {self.baud / 1e6:g} Mbaud" if self.simulated and self.baud else ""
        own = None if self.fps_device is None else int(self.fps_device)
        link = self.fps_link if self.images < 2 else _measured(self.fps_link)
        rows: list[list] = [
            *wrong_answers(self.meaning.kind, self.mismatched_logits, self.mismatched_classes),
            ["frame interval, cycles", _measured(self.frame_interval), float(self.frame_interval_planned)],
            ["latency, cycles", self.latency, self.latency_planned],
            ["frames per second, the accelerator's own", _measured(own), None],
            [f"frames per second over the link{rate}", link, None],
        ]
        return ["", "measured", "expected"], rows

    def _repr_html_(self) -> str:
        """Return the table of measured and expected values for a notebook."""
        columns, rows = self.table()
        return html_table(columns, rows, caption=self.title)


class _Link(msgspec.Struct):
    """The link of a project."""

    kind: str


class _Project(msgspec.Struct):
    """The entries of ``project.json`` that matter here."""

    board: str
    link: _Link


def _measured(value: float | None) -> float | str:
    """Return a measured value, or what a table shows in its place."""
    return "not measurable" if value is None else value


def _ratio(numerator: float, denominator: float | None) -> float | None:
    """Return a quotient, or None if the denominator is zero or None."""
    return numerator / denominator if denominator else None


def _written_for(directory: Path) -> dict[str, str]:
    """Return board and link of a project; empty for a directory that holds the accelerator alone."""
    from ..boards.tools.project import MARKER

    path = directory / MARKER
    if not path.is_file():
        return {}
    project = documents.read(path, _Project, hint="psahw elaborate writes it")
    return {"board": project.board, "link": project.link.kind}


def simulated_board(
    design: Plan | str | os.PathLike | None = None, board: str | None = None, link: str | None = None
) -> tuple[Board, str]:
    """Return the board to simulate, and the kind of its link.

    Parameters
    ----------
    design
        A plan, a directory with a design, or None for a plan that is yet to be made.
    board, link
        Names that the caller asks for.

    Raises
    ------
    UserError
        If the design is for another board or link, if no board is known, or if the board has no such link.
    """
    from ..boards.link.options import UartOptions, check_link

    if board is not None:
        board = boards.get(board).name  # as it is written, and not as the caller wrote it
    wanted = {name: value for name, value in (("board", board), ("link", link)) if value is not None}
    known: dict[str, str] = {}
    if isinstance(design, BoardPlan):
        known = {"board": design.board.name} | ({"link": design.link.kind} if design.link else {})
    elif design is not None and not isinstance(design, Plan):
        known = _written_for(Path(design))
    for name in known.keys() & wanted.keys():
        if wanted[name] != known[name]:
            subject = "the plan" if isinstance(design, Plan) else design
            raise UserError(f"{subject} is for {name} {printable(known[name], 80)}, not {wanted[name]}")
    chosen = {"link": UartOptions.kind} | wanted | known
    if "board" not in chosen:
        raise UserError(f"{design} does not say which board it is for: give --board, or what psahw elaborate wrote")
    target = boards.get(chosen["board"])
    check_link(target, chosen["link"])
    return target, chosen["link"]


@contextlib.contextmanager
def _simulation(
    network: Network, design: Plan | str | os.PathLike, board: Board, link: str, step: Log
) -> Iterator[tuple[str, int | None]]:
    """Yield the port of a simulated board, and its baud rate if it is a serial port."""
    from ..boards import simulated
    from ..boards.core import AcceleratorInterface
    from ..boards.link.options import WINDOWS, UdpOptions
    from ..sim import board as simulation
    from ..sim import building

    loaded = load_design(network, design, step)
    with temporary_directory("psahw-run-") as folder:
        for pattern in ("accelerator*", building.MODELS, "*.hex"):
            for path in loaded.directory.glob(pattern):
                (folder / path.name).symlink_to(path)
        path = loaded.directory / "manifest.json"
        manifest = documents.read(path, dict[str, Any])  # load_design has checked the types of its entries
        if (clock_hz := loaded.clock_hz) is None:
            raise UserError(f"{path}: clock_hz is missing; elaborate again")
        interface = AcceleratorInterface.from_manifest(
            manifest, board=board.name, clock_hz=clock_hz, verilog=folder / "accelerator.v", window=WINDOWS[link]
        )
        step(f"compile {board.name}, behind its pins, with Verilator")
        baud: int | None = None
        line: simulation.Uart | simulation.Udp
        if link == UdpOptions.kind:
            UdpOptions(simulated.IDENTITY).check_clock(clock_hz)
            simulated.write_udp(interface, folder, clock_hz=clock_hz)
            line = simulation.Udp(clock_hz, simulated.IDENTITY.address, simulated.IDENTITY.port)
        else:
            cycles = simulated.UART_CYCLES
            baud = simulated.write(interface, folder, clock_hz=clock_hz, uart_cycles=cycles)
            line = simulation.Uart(simulated.CYCLES_PER_BIT, uart_cycles=cycles)
        simulation.build(folder, line)
        with simulation.running(folder, line) as port:
            yield port, baud


def check_simulated(
    design: Plan | str | os.PathLike | None = None, board: str | None = None, link: str | None = None
) -> None:
    """Raise UserError if the tools are not installed, or if `simulated_board` would."""
    from ..sim import building

    building.check_tools()
    simulated_board(design, board, link)


def run(
    network: Network,
    port: str,
    *,
    images: int | LabelledImages = SHIPPED_IMAGES,
    design: Plan | str | os.PathLike | None = None,
    board: str | None = None,
    link: str | None = None,
    baud: int | None = None,
    timeout: float | None = None,
    step: Log = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> RunResult:
    """Send images to a board, and compare its answers with the integer model.

    This function does not raise an error if answers are wrong: see ``RunResult.check``.

    Parameters
    ----------
    network
        The network that the board must hold.
    port
        ``/dev/ttyUSB1``, ``udp://ADDRESS``, a URL for pyserial, or ``sim`` for a simulated board.
    images
        So many test images, or images from `psahw.flow.images`.
    design
        For a simulated board, its plan, or a directory that `psahw.elaborate` wrote.
    board
        Name of the board that must answer; for a simulated board, the board to simulate if the design does not tell.
    link
        For a simulated board, ``uart`` or ``udp``. By default the design's link, or the UART.
    baud
        Bits per second of the board's UART; the board's own, or 3,000,000, by default.
    timeout
        Seconds to wait for an answer: 1 by default, or 600 for a simulated board.
    step, progress, log
        Callbacks (see `psahw.flow`); the items are images.

    Returns
    -------
    RunResult
        The answers, how many of them are wrong, and the measured times.

    Raises
    ------
    UserError
        If the port cannot be opened, the board does not answer, or it holds another network.
    CheckFailed
        If a result contradicts itself (see `psahw.host.Accelerator.run`), or a simulated board breaks the rules of
        its link.
    ValueError
        If a simulated board has no ``design``, or another one has a ``design`` or a ``link``.
    """
    check_network(network)
    from ..host import Accelerator

    simulated = port == SIMULATED
    if not simulated and (design is not None or link is not None):
        raise ValueError(f"design and link must not be given for {port}: a board has its circuit already")
    chosen = images_for(network, images, log)
    with contextlib.ExitStack() as stack:
        if simulated:
            if design is None:
                raise ValueError("design must be given for a simulated board")
            check_simulated(design, board, link)
            target, kind = simulated_board(design, board, link)
            port, baud = stack.enter_context(_simulation(network, design, target, kind, step))
            board = target.name
        elif baud is None:
            baud = boards.get(board).baud if board else DEFAULT_BAUD
        if board is not None:
            board = boards.get(board).name
        device = Accelerator(
            port,
            baud=baud or DEFAULT_BAUD,
            network=network,
            board=board,
            timeout=timeout or (SIMULATION_TIMEOUT if simulated else 1.0),
        )
        stack.enter_context(device)
        expected = reference.run(network, chosen.pixels)
        step("measure the frame interval")
        timing = device.measure(chosen.pixels[0], frames=_SIMULATED_FRAMES if simulated else _FRAMES)
        device.clear_counters()
        step(f"send {counted(len(chosen), 'image')}")
        answers = device.run(chosen.pixels, progress=counter(progress, len(chosen)))
        counters: dict[str, Any] = device.counters()
        hello, statistics = device.hello, device.statistics
    accuracy = None if chosen.labels is None else 100 * float(np.mean(answers.classes == chosen.labels))
    return RunResult(
        port=port,
        baud=device.baud,
        simulated=simulated,
        dataset=chosen.dataset,
        network=hello.network,
        board=hello.board,
        build=hello.build,
        images=len(chosen),
        mismatched_logits=int((answers.logits != expected).sum()),
        mismatched_classes=int((answers.classes != expected.argmax(1)).sum()),
        accuracy=accuracy,
        clock_hz=hello.clock_hz,
        fps_device=_ratio(hello.clock_hz, timing.frame_interval),
        frame_interval=timing.frame_interval,
        frame_interval_planned=hello.frame_interval,
        latency=timing.latency,
        latency_planned=hello.latency,
        fps_link=_ratio(hello.clock_hz * (len(chosen) - 1), answers.cycles),
        fps_host=_ratio(len(chosen), answers.seconds),
        round_trip_seconds=timing.round_trip,
        frames_counted=counters["frames"],
        stage_stalls=counters["stalls"],
        link_losses=counters["link_losses"],
        resent=statistics.resent,
        timeouts=statistics.timeouts,
        broken_answers=statistics.broken,
        reported_faults=statistics.reported,
        logits=answers.logits,
        classes=answers.classes,
        meaning=network.output,
        files=chosen.files,
    )
