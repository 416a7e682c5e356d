"""Results of simulations: the dictionary that describes one, and what it proves wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .design import Design

__all__ = ["make_result", "problems"]


def make_result(
    design: Design,
    report: dict[str, Any],
    *,
    images: int,
    labels: Sequence[int] | np.ndarray | None,
    stalls: bool,
    resets: int,
    gap: tuple[int, int],
    seed: int,
    build_seconds: float,
) -> dict[str, Any]:
    """Return the result of a simulation, with values that JSON can represent.

    Measured cycles (``frame_interval``, ``latency``) are None if nothing was measured, one integer if all
    measurements agree, and otherwise a list of the smallest and the largest.

    Parameters
    ----------
    design
        The simulated design.
    report
        Report of the test in the simulator, see `psahw.sim.testbench`.
    images
        Number of images that were compared.
    labels
        Expected class of each image, or None. ``accuracy`` is in percent.
    stalls, resets, gap, seed
        Options of `psahw.sim.runner.simulate`.
    build_seconds
        Time that building the simulator took, in seconds.
    """
    accuracy = correct = None
    if labels is not None:
        correct = int(np.sum(np.array(report["predictions"]) == np.asarray(labels)))
        accuracy = round(100 * correct / images, 2)
    return {
        "network": design.network,
        "images": images,
        "mismatched_logits": report["mismatched_logits"],
        "mismatched_classes": report["mismatched_classes"],
        "correct": correct,
        "accuracy": accuracy,
        "frame_interval": _measured(report, "frame_interval"),
        "frame_interval_predicted": design.frame_interval,
        "settling_frames": design.settling_frames,
        "draining_frames": design.draining_frames,
        "latency": _measured(report, "first_latency"),
        "latency_predicted": design.latency if images > 1 and gap == (0, 0) else design.lone_latency,
        "latency_all": [report["latency_min"], report["latency_max"]],
        "sim_cycles_per_second": round(report["cycles"] / report["seconds"]),
        "cycles": report["cycles"],
        "seconds": round(report["seconds"], 3),
        "build_seconds": round(build_seconds, 1),
        "results": report["results"],
        "stalls": stalls,
        "resets": resets,
        "gap": list(gap),
        "seed": seed,
        "frames_counted": report["counters"][0] if report["counters"] else None,
        "stage_stalls": dict(zip(design.stages, report["counters"][2:], strict=False)),
        "mismatches": report["mismatches"],
    }


def _measured(report: dict[str, Any], name: str) -> int | list[int] | None:
    """Return the only measured value, None if there is none, or else the smallest and the largest."""
    smallest, largest = report[f"{name}_min"], report[f"{name}_max"]
    return largest if smallest == largest else [smallest, largest]


def problems(result: dict[str, Any]) -> list[str]:
    """Return everything in a result that differs from the integer model or from the plan, in words.

    The list is empty if the circuit behaves as predicted. The frame interval is compared only if frames follow each
    other without gaps and stalls, the latency only if there were no stalls. In a gap that is shorter than the
    latency, the next frame may come early enough to delay a result, so that the latency has only a lower limit.

    Parameters
    ----------
    result
        A result of `psahw.sim.runner.simulate` or `psahw.sim.batches.simulate`, with the ``output`` ``"values"`` or
        ``"labels"`` if the network does not choose a class.
    """
    complaints = []
    are_classes = result.get("output", "class") == "class"
    named = ("logits", "classes") if are_classes else ("outputs", "indices of the greatest output")
    for key, name in zip(("mismatched_logits", "mismatched_classes"), named, strict=True):
        if count := result[key]:
            complaints.append(f"{count} {name} differ from the integer model")
    if complaints:
        complaints[-1] += f" ({result['mismatches'][0]})"
    if result["frames_counted"] not in (None, result["images"]):
        complaints.append(f"the accelerator counted {result['frames_counted']} frames, not {result['images']}")
    timed = []
    if not result["stalls"]:
        latency, predicted, gap = result["latency"], result["latency_predicted"], result["gap"]
        is_exact = list(gap) == [0, 0] or gap[0] >= predicted or latency is None
        if is_exact or np.min(latency) < predicted:
            timed.append(("latency", "latency"))
    if not result["stalls"] and result["gap"] == [0, 0] and result["frame_interval"] is not None:
        timed.append(("frame_interval", "frame interval"))
    for key, name in timed:
        if result[key] != result[f"{key}_predicted"]:
            measured = " to ".join(map(str, result[key])) if isinstance(result[key], list) else result[key]
            complaints.append(f"the {name} is {measured} cycles, not {result[f'{key}_predicted']} as planned")
    return complaints
