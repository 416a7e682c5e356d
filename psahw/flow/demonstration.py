"""The way from a network to a checked circuit and its report, on images that ship with psahw."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..boards import get
from ..callbacks import Log, Progress, silent
from ..display import counted
from ..errors import UserError
from ..files import real_path, writable_directory, write_whole
from ..network import samples
from ..network.evaluation import evaluate
from ..network.graph import Network
from ..network.summary import summarise
from .arguments import check_network
from .elaboration import elaborate
from .images import SHIPPED_IMAGES, LabelledImages
from .planning import BoardPlan, plan
from .reporting import fits_samples, write_report
from .simulation import SimulationResult, check_simulation, simulate

__all__ = ["DemoResult", "demo"]


@dataclass(frozen=True)
class DemoResult:
    """Results of `demo`.

    Parameters
    ----------
    network
        Name of the network.
    plan
        The plan.
    evaluation
        Accuracy of the integer model on the shipped images, as `psahw.network.evaluation.evaluate` returns it.
    simulation
        The simulation of the circuit.
    verilog
        Directory of the board's project.
    report
        The HTML page.
    """

    network: str
    plan: BoardPlan
    evaluation: dict[str, Any]
    simulation: SimulationResult
    verilog: Path
    report: Path

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw demo --json`` prints."""
        return {
            "network": self.network,
            "plan": self.plan.to_dict(),
            "evaluation": self.evaluation,
            "simulation": self.simulation.to_dict(),
            "verilog": str(self.verilog),
            "report": str(self.report),
        }

    def check(self) -> None:
        """Raise CheckFailed if the circuit differs from the integer model or from the plan."""
        self.simulation.check()


def demo(
    network: Network,
    directory: str | os.PathLike,
    *,
    board: str = "marble",
    images: int = 20,
    step: Log = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> DemoResult:
    """Plan a network with MAC arrays, write its Verilog, simulate it against the integer model, and draw the report.

    Parameters
    ----------
    network
        A network for images of 32x32x3 in 10 classes.
    directory
        Where to write: the board's project in ``verilog``, ``report.html``, and ``plan.json``, ``evaluation.json``
        and ``simulation.json``.
    board
        Name of the board to plan for.
    images
        Shipped images to simulate, 2 to 100.
    step, progress, log
        Callbacks (see `psahw.flow`).

    Returns
    -------
    DemoResult
        Plan, accuracy and simulation, and where project and report are.

    Raises
    ------
    UserError
        If the network takes other images, or the directory cannot be written.
    CheckFailed
        If the network does not fit the board, or the circuit stops.
    ValueError
        If ``images`` is out of range.
    """
    check_network(network)
    from ..boards.link.options import choose_link

    if not 2 <= images <= SHIPPED_IMAGES:
        raise ValueError(f"images must be in [2, {SHIPPED_IMAGES}], not {images}")
    check_simulation()
    target = get(board)
    if not fits_samples(network):
        shape = "x".join(map(str, (*network.image, network.colours)))
        answers = counted(len(network.classes), *network.output.words)
        raise UserError(f"the demo's images are 32x32x3 in 10 classes; {network.name} takes {shape} in {answers}")
    pixels, labels = samples.load()
    folder = real_path(writable_directory(directory))
    info = summarise(network)
    log(
        f"{network.name}: {info['macs'] / 1e6:.2f} M multiply-accumulates per frame, "
        f"{info['weights_nonzero']:,} non-zero weights, {info['tables']:,} tables"
    )
    step(f"integer model on the {len(pixels)} shipped images")
    evaluation = evaluate(network, pixels, labels, "the shipped sample")
    step(f"plan for {target.title}")
    planned = plan(network, target, engines="mac", link=choose_link(target))
    step("write Verilog and constraints")
    project = elaborate(network, planned, folder / "verilog")
    chosen = LabelledImages("sample", pixels[:images], labels[:images])
    simulation = simulate(network, project.directory, images=chosen, step=step, progress=progress)
    step("draw the report")
    page = folder / "report.html"
    result = DemoResult(network.name, planned, evaluation, simulation, project.directory, page)
    values = result.to_dict()
    parts = {name: values[name] for name in ("plan", "evaluation", "simulation")}
    write_report(network, page, **parts)
    for name, value in parts.items():
        write_whole(folder / f"{name}.json", json.dumps(value, indent=2) + "\n")
    return result
