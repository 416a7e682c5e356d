"""The published accelerators for CIFAR-10, and our row beside them."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "ComparedSystem", "Figure", "our_system"]


@dataclass(frozen=True)
class Figure:
    """A number and how it was come by: published, measured, estimated or target."""

    value: float | None
    kind: str = "published"


@dataclass(frozen=True)
class ComparedSystem:
    """Accuracy in percent, clock in MHz, power in watts; None is not published."""

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
        """Frames a second for each unit of ``resource``; of the kind of the frames, which is the less certain."""
        if not resource.value or self.fps.value is None:
            return Figure(None)
        return Figure(self.fps.value / resource.value, self.fps.kind)


def _published(system, accuracy, device, fps, lut=None, dsp=None, bram36=None, mhz=None, watt=None) -> ComparedSystem:
    return ComparedSystem(system, device, *(Figure(value) for value in (accuracy, fps, lut, dsp, bram36, mhz, watt)))


PUBLISHED = (
    _published("FINN", 80.1, "ZC706 (XC7Z045)", 21_900, 46_253, None, 186, 200, 3.6),
    _published("FracBNN", 89.1, "ZU3EG", 2_806.9, 51_444, 126, 212, 250, 4.1),
    _published("ResMLP, GELU (MLP)", 86, "Alveo U250", 29_450.7, 62_025, 1_083, 84, 200, 5.7),
    _published("ResMLP, PSA", 85.9, "Alveo U250", 29_450.7, 66_462, 697, 140, 200, 4.7),
    _published("ResMLP, PSA", 85.9, "XC7K160T", 20_454.9, 75_655, 600, 212, 143, 2.0),
    _published("ResMLP, PSA, journal (H=96)", 88.1, "Alveo U50, co-simulation", 32_051, mhz=200),
    _published("ResNet8 W8A8 (nn2FPGA)", 88.7, "KV260", 30_153),
)
"""As published by their authors (papers: docs/results.md): accuracies in percent on CIFAR-10."""

DATASET = "cifar10"  # of the table
WHOLE_TEST_SET = 10_000


def _accuracy(info, evaluation) -> Figure:
    """Of the table's data set, all test images; else what `psahw evaluate --record` wrote into the network."""
    if evaluation and evaluation.get("dataset") == DATASET and evaluation.get("images", 0) >= WHOLE_TEST_SET:
        return Figure(evaluation["accuracy"], "measured")
    return Figure(info.get("accuracy", {}).get(f"{DATASET} test INT8"), "measured")


def our_system(
    info: dict, plan: dict, simulation: dict | None, evaluation: dict | None, synth: dict | None
) -> ComparedSystem:
    """Frames a second are the clock's over the frame interval: a target, since the clock is one."""
    interval = plan["frame_interval"]
    if simulation and not simulation.get("stalls") and isinstance(simulation.get("frame_interval"), int):
        interval = simulation["frame_interval"]
    kind = "measured" if synth else "estimated"
    resources = (synth or plan)["resources"]
    costs = [Figure(resources.get(name), kind) for name in ("lut", "dsp", "bram36")]
    clock = plan["clock_hz"]
    return ComparedSystem(
        f"psahw, {info['network']}",
        f"{plan.get('device', '').upper()} ({plan.get('board', '')})",
        _accuracy(info, evaluation),
        Figure(clock / interval, "target"),
        *costs,
        Figure(clock / 1e6, "target"),
        Figure(None),
        ours=True,
    )
