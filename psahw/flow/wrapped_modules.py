"""Write stages of a planned accelerator between registers, as netlists that a router elsewhere can time."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..callbacks import Log, Progress, silent
from ..display import counted
from ..errors import UserError
from ..files import temporary_directory, writable_directory, write_whole, writing
from ..network.graph import Network
from ..quoting import quote
from .arguments import check_network
from .planning import BoardPlan
from .synthesis import check_synthesis

__all__ = ["export_modules"]


def _chosen(stages: list[str], patterns: tuple[str, ...]) -> list[str]:
    """Return the stages that match any pattern. Raises UserError for a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(stage, pattern) for stage in stages):
            raise UserError(f"no stage matches {quote(pattern)}; psahw plan lists the stages, such as {stages[0]}")
    return [stage for stage in stages if any(fnmatchcase(stage, pattern) for pattern in patterns)]


def export_modules(
    network: Network,
    plan: BoardPlan,
    directory: str | os.PathLike,
    *,
    stages: tuple[str, ...] = ("*",),
    jobs: int | None = None,
    step: Log = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a netlist of each of some stages, in which the stage stands between registers.

    Each stage gets a folder with ``module.v`` and its memory files, before synthesis, and with Yosys' ``netlist.v``
    and ``netlist.json``, in cells of the board's device. The module at the top is ``psahw_wrapped``, with the ports
    ``clk``, ``i`` and ``o`` (`psahw.synthesis.wrapping`). The folder's name is that of the stage. Files that are
    there already are replaced.

    Parameters
    ----------
    network
        The network.
    plan
        Its plan, from `psahw.plan`.
    directory
        Where to write. ``modules.json`` there lists the folders.
    stages
        Names of stages, or patterns with ``*`` and ``?``.
    jobs
        Processes at once; one per core if None.
    step, progress
        Callbacks (see `psahw.flow`); the items are stages.

    Returns
    -------
    dict
        What ``modules.json`` holds: network, board, device, speed grade, the requested clock in Hz, the name of the
        top module, and the folder of each stage.

    Raises
    ------
    UserError
        If there is no synthesis flow for the plan's device, no stage matches a pattern, or a file cannot be written.
    """
    check_network(network)
    check_synthesis(plan.board)
    from .. import generate
    from ..synthesis import verilog_modules, wrapping, yosys

    names = generate.module_names(plan.accelerator)
    chosen = _chosen(list(names), stages)
    folder = Path(directory)
    writable_directory(folder)
    with temporary_directory("psahw-modules-") as design:
        step("elaborate")
        generate.write(network, plan.accelerator, design)
        modules = verilog_modules.split((design / "accelerator.v").read_text())
        step(f"synthesise {counted(len(chosen), 'stage')}")
        progress(0, len(chosen))

        def export(stage: str) -> None:
            with temporary_directory("psahw-module-") as part:
                wrapping.export(design, names[stage], modules, part / "module.v")
                written = {*part.iterdir(), part / yosys.NETLIST, part / yosys.JSON_NETLIST}
                yosys.netlist(part, wrapping.TOP, plan.device.family, source="module.v", flat=True)
                with writing(folder):
                    (folder / stage).mkdir(parents=True, exist_ok=True)
                    for path in written:
                        shutil.copyfile(path, folder / stage / path.name)

        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            exports = [pool.submit(export, stage) for stage in chosen]
            try:
                for count, future in enumerate(as_completed(exports), 1):
                    future.result()
                    progress(count, len(chosen))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    listing = {
        "network": network.name,
        "board": plan.board.name,
        "device": plan.device.name,
        "grade": plan.board.grade,
        "clock_hz": plan.clock_hz,
        "top": wrapping.TOP,
        "stages": chosen,
    }
    write_whole(folder / "modules.json", json.dumps(listing, indent=2) + "\n")
    return listing
