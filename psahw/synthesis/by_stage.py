"""Results of synthesis by the stages of a plan: resources, and the longest paths that end in each stage."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from . import static_timing
from .yosys import Synthesis, resources_of

__all__ = ["OTHER", "by_stage", "stage_of"]

OTHER = "accelerator"
"""Stands for all that belongs to no stage: the chain, the counters, and the queues between stages."""


def stage_of(module: str, stages: Mapping[str, str]) -> str:
    """Return the innermost stage that a module is part of, or `OTHER`.

    Parameters
    ----------
    module
        Name of a Verilog module, which is its place in the hierarchy, with dots.
    stages
        The module of each stage, as `psahw.generate.module_names` gives them.
    """
    containing = [stage for stage, own in stages.items() if f"{module}.".startswith(f"{own}.")]
    return max(containing, key=lambda stage: len(stages[stage]), default=OTHER)


def by_stage(
    synthesis: Synthesis, stages: Mapping[str, str], delays: static_timing.Delays
) -> dict[str, dict[str, Any]]:
    """Return the results of synthesis for each stage and for `OTHER`.

    Parameters
    ----------
    synthesis
        Results by module.
    stages
        The module of each stage, as `psahw.generate.module_names` gives them.
    delays
        Delays at the speed grade of the device.

    Returns
    -------
    dict
        For each stage its ``resources``, the longest ``path`` that ends in it (a `static_timing.Path`), and the stage
        where that path starts (``path_from``). A stage without registers has no path.
    """
    home = {module: stage_of(module, stages) for module in synthesis.modules}
    cells: dict[str, dict[str, int]] = {stage: defaultdict(int) for stage in (*stages, OTHER)}
    for module, numbers in synthesis.modules.items():
        for cell, count in numbers.items():
            cells[home[module]][cell] += count
    results: dict[str, dict[str, Any]] = {
        stage: {"resources": resources_of(numbers).to_dict()} for stage, numbers in cells.items()
    }
    for module, path in synthesis.longest(delays).items():
        result = results[home[module]]
        if "path" not in result or path.ps > result["path"].ps:
            result |= {"path": path, "path_from": home[path.start]}
    return results
