"""The way from a network to a checked circuit and its report, on images that ship with psahw or on other data."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..boards import get
from ..callbacks import Log, Progress, silent
from ..display import counted
from ..files import real_path, writable_directory, write_whole
from ..network import samples
from ..network.evaluation import evaluate
from ..network.graph import Network
from ..network.summary import summarise
from .arguments import check_network
from .elaboration import elaborate
from .images import RANDOM, SHIPPED_IMAGES, load_test_images, load_test_set
from .planning import BoardPlan, plan
from .reporting import write_report
from .simulation import SimulationResult, check_simulation, simulate

if TYPE_CHECKING:
    from ..model.data import Data

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
        Accuracy of the integer model on up to a hundred test images, as `psahw.network.evaluation.evaluate` returns
        it; None for random images.
    simulation
        The simulation of the circuit.
    verilog
        Directory of the board's project.
    report
        The HTML page.
    """

    network: str
    plan: BoardPlan
    evaluation: dict[str, Any] | None
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
    dataset: "Data | None" = None,
    data: str | os.PathLike | None = None,
    step: Log = silent,
    progress: Progress = silent,
    log: Log = silent,
) -> DemoResult:
    """Plan a network with MAC arrays, write its Verilog, simulate it against the integer model, and draw the report.

    Parameters
    ----------
    network
        A network. By default, it must be for images of 32x32x3 in 10 classes, which ship with psahw.
    directory
        Where to write: the board's project in ``verilog``, ``report.html``, and ``plan.json``, ``evaluation.json``
        (``null`` for random images) and ``simulation.json``.
    board
        Name of the board to plan for.
    images
        Images to simulate, 2 to 100; fewer if there are not so many.
    dataset, data
        Other data, as `psahw.flow.images.load_test_images` takes them. ``"random"`` fits every network.
    step, progress, log
        Callbacks (see `psahw.flow`).

    Returns
    -------
    DemoResult
        Plan, accuracy and simulation, and where project and report are.

    Raises
    ------
    UserError
        If the network takes images of another form, or the directory cannot be written.
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
    if dataset is None and data is not None:
        dataset = "cifar10"
    if dataset is not None and dataset != RANDOM:
        dataset = load_test_set(network, dataset, data, log)
    chosen = load_test_images(network, most=images, dataset=dataset, log=log)
    folder = real_path(writable_directory(directory))
    info = summarise(network)
    log(
        f"{network.name}: {info['macs']:,} multiply-accumulates per frame, "
        f"{info['weights_nonzero']:,} non-zero weights, {info['tables']:,} tables"
    )
    evaluation = _evaluate(network, dataset, step)
    step(f"plan for {target.title}")
    planned = plan(network, target, engines="mac", link=choose_link(target))
    step("write Verilog and constraints")
    project = elaborate(network, planned, folder / "verilog")
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


def _evaluate(network: Network, dataset: "Data | None", step: Log) -> dict[str, Any] | None:
    """Return the accuracy on the first test images of a data set, or on the shipped ones; None for random images."""
    if dataset == RANDOM:
        return None
    if dataset is None:
        pixels, labels = samples.load()
        step(f"integer model on the {len(pixels)} shipped images")
        return evaluate(network, pixels, labels, "the shipped sample")
    from ..model import data as datasets
    from ..model import evaluation

    test = datasets.load(dataset)
    count = min(SHIPPED_IMAGES, len(test.test_images))
    step(f"integer model on {counted(count, 'test image')} of {test.name}")
    return evaluation.evaluate(network, images=count, dataset=test).to_dict()
