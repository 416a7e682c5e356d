"""Published accelerators for CIFAR-10, and a plan of ours to compare with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import records
from ..network.samples import CLASSES
from ..records import Record

__all__ = ["DATASET", "WHOLE_TEST_SET", "ComparedSystem", "Figure", "is_compared", "our_system", "published_systems"]

DATASET = "cifar10"
"""Name of the data set that the comparison is about."""

WHOLE_TEST_SET = 10_000
"""Images in its test set."""


@dataclass(frozen=True)
class Figure:
    """A number and how it was obtained.

    Parameters
    ----------
    value
        The number, or None if it is not known.
    kind
        ``published``, ``measured``, ``estimated`` or ``target``.
    """

    value: float | None
    kind: str = "published"


@dataclass(frozen=True)
class ComparedSystem:
    """An accelerator in the comparison.

    Parameters
    ----------
    system, device
        Names.
    accuracy
        On the test images, in percent.
    fps
        Frames per second.
    lut, dsp, bram36
        Resources.
    mhz
        Clock frequency in MHz.
    watt
        Power in W.
    ours
        Whether this is a plan of ours.
    """

    system: str
    device: str
    accuracy: Figure
    fps: Figure
    lut: Figure
    dsp: Figure
    bram36: Figure
    mhz: Figure
    watt: Figure
    ours: bool = False

    def fps_per(self, resource: Figure) -> Figure:
        """Return the frames per second for each unit of a resource.

        It was obtained as the frames per second were, because those are the less certain of the two.
        """
        if not resource.value or self.fps.value is None:
            return Figure(None)
        return Figure(self.fps.value / resource.value, self.fps.kind)


def _published(record: Record) -> ComparedSystem:
    """Return a system with published figures only."""

    def figure(what: str) -> Figure:
        value = record.get(what)
        return Figure(value if isinstance(value, int | float) else None)

    return ComparedSystem(
        record.subject,
        record.device,
        accuracy=figure("accuracy"),
        fps=figure("throughput"),
        lut=figure("lut"),
        dsp=figure("dsp"),
        bram36=figure("bram36"),
        mhz=figure("clock"),
        watt=figure("power"),
    )


def published_systems() -> list[ComparedSystem]:
    """Return the systems whose figures their authors have published, in the order of their names."""
    return [_published(record) for record in records.load(records.PUBLISHED).values()]


def is_compared(info: Mapping[str, Any]) -> bool:
    """Return whether a network is for the data set that the comparison is about.

    Its classes must say so, and its metadata, unless they name no data set. The name alone does not suffice, because
    a folder of anyone's pictures may have it.
    """
    dataset = info["metadata"].get("dataset")
    is_named = not isinstance(dataset, str) or dataset == DATASET
    return is_named and info["output"] == "class" and tuple(info["classes"]) == CLASSES


def _accuracy(info: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> Figure:
    """Return the accuracy of an evaluation on the whole test set, or else what the network records of one."""
    if evaluation and evaluation.get("dataset") == DATASET and evaluation.get("images", 0) >= WHOLE_TEST_SET:
        return Figure(evaluation["accuracy"], "measured")
    return Figure(info.get("accuracy", {}).get(f"{DATASET} test INT8"), "measured")


def our_system(
    info: Mapping[str, Any],
    plan: Mapping[str, Any],
    simulation: Mapping[str, Any] | None,
    evaluation: Mapping[str, Any] | None,
    synth: Mapping[str, Any] | None,
) -> ComparedSystem:
    """Return a plan of ours for the comparison.

    The frames per second are the clock frequency divided by the frame interval. They are a target, because the clock
    frequency is one.

    Parameters
    ----------
    info
        Summary of the network.
    plan, simulation, evaluation, synth
        Results as the commands print them with ``--json``. A measured frame interval and counted resources replace
        those of the plan.
    """
    interval = plan["frame_interval"]
    if simulation and not simulation.get("stalls") and isinstance(simulation.get("frame_interval"), int):
        interval = simulation["frame_interval"]
    kind = "measured" if synth else "estimated"
    resources = (synth or plan)["resources"]
    clock = plan["clock_hz"]
    return ComparedSystem(
        f"psahw, {info['network']}",
        f"{plan.get('device', '').upper()} ({plan.get('board', '')})",
        accuracy=_accuracy(info, evaluation),
        fps=Figure(clock / interval, "target"),
        lut=Figure(resources.get("lut"), kind),
        dsp=Figure(resources.get("dsp"), kind),
        bram36=Figure(resources.get("bram36"), kind),
        mhz=Figure(clock / 1e6, "target"),
        watt=Figure(None),
        ours=True,
    )
