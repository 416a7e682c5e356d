"""What was found of modules, by the stages of a plan: cells, and the longest paths that end in them."""

from collections import defaultdict
from collections.abc import Iterable

from . import static_timing
from .yosys import Synthesis, resources_of

__all__ = ["by_stage", "stage_of"]

OTHER = "accelerator"
"""What belongs to no stage: the chain, counters, residual additions and the queues between stages."""


def stage_of(module: str, stages: Iterable[str]) -> str:
    """The stage that a module is part of, by its place in the hierarchy: ``...chain.stages_0_merge.ring`` is part of
    ``stages.0.merge``."""
    path = [part for part in module.split(".")[1:] if part not in ("chain", "branch")]
    place = "_".join(path) + "_"
    fitting = [stage for stage in stages if place.startswith(stage.replace(".", "_") + "_")]
    return max(fitting, key=len, default=OTHER)


def by_stage(found: Synthesis, stages: Iterable[str]) -> dict[str, dict]:
    """For each stage and `OTHER`: ``resources``, and for each unit of `psahw.synthesis.static_timing` that is known the longest
    path that ends there, as ``levels`` or ``ps``, with ``levels_from`` and ``ps_from``, the stage where it starts."""
    stages = list(stages)
    home = {module: stage_of(module, stages) for module in found.modules}
    cells: dict[str, dict[str, int]] = {stage: defaultdict(int) for stage in (*stages, OTHER)}
    for module, numbers in found.modules.items():
        for cell, count in numbers.items():
            cells[home[module]][cell] += count
    result = {stage: {"resources": resources_of(numbers).to_dict()} for stage, numbers in cells.items()}
    for unit in static_timing.UNITS:
        for module, path in found.longest(unit).items():
            entry = result[home[module]]
            if path.length >= entry.get(unit, 0):
                entry |= {unit: path.length, f"{unit}_from": home[path.start]}
    return result
