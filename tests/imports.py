"""Import the models that others have trained, and check them at length.

    python -m tests.imports compare [MODEL ...] [--inputs N] [--record]
    python -m tests.imports simulate [MODEL ...] [--record]
    python -m tests.imports accuracy [--record]
    python -m tests.imports plans [PLAN ...] [--record]

The models are those of MLPerf Tiny, hls4ml and FINN. They are no part of this project: --models names the directory
that has them, by default ../shared/models. ``compare`` compares random inputs with LiteRT or qonnx. ``simulate``
sends random inputs through the circuit, back to back and then with stalls. ``accuracy`` classifies the test images of
CIFAR-10 with ResNet8, and ``plans`` makes plans like those of published accelerators.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import psahw
from psahw.architecture.device import DEVICES
from psahw.flow.images import LabelledImages
from psahw.flow.importing import ImportResult
from psahw.importing.lowering import InputFormat
from psahw.network.graph import Network
from psahw.planner import search
from psahw.planner.plan import Plan
from psahw.planner.rules import Rules
from psahw.records import Value
from psahw.records.capture import add_record

__all__ = ["MODELS", "Trained"]

ROOT = Path(__file__).resolve().parents[1]
CLOCK = 200e6  # Hz, a target, as most published designs have it


class Trained(NamedTuple):
    """A model of others, and how it is imported and simulated.

    Parameters
    ----------
    file
        Name of its file.
    options
        Keyword arguments of `psahw.import_model`.
    images
        Inputs of each simulation.
    bus_bytes
        Bytes of the input that enter per clock cycle.
    engines
        Engines that the circuit may have.
    device
        The device that the circuit is planned for, as fast as it fits.
    """

    file: str
    options: dict
    images: int
    bus_bytes: int
    engines: str = "mac"
    device: str = "xc7k160t"


_JETS, _TFC = {"input_format": InputFormat(-4, 4)}, {"input_format": InputFormat(-1, 1), "flat": True}
_GRAPHS = {"thresholds": True}  # so that every layer can be an adder graph
_EVERY_CYCLE = ("mac,parallel", "xcu250")
MODELS = {
    "resnet8": Trained("pretrainedResnet_quant.tflite", {}, 200, 4),
    "kws": Trained("kws_ref_model.tflite", {}, 20, 2),
    "ad01": Trained("ad01_int8.tflite", {"task": "values"}, 20, 4),
    "jets": Trained("qkeras_jettagging.onnx", _JETS, 1000, 16, *_EVERY_CYCLE),
    "jets-exact": Trained("qkeras_jettagging.onnx", _JETS | {"exact": True}, 1000, 16, *_EVERY_CYCLE),
    "intrusion": Trained("unsw_nb15-mlp-w2a2.onnx", _GRAPHS, 1000, 600, *_EVERY_CYCLE),
    "tfc": Trained("TFC_2W2A.onnx", _TFC | _GRAPHS, 1000, 784, *_EVERY_CYCLE),
}
"""The models by the names that records have."""


class Planned(NamedTuple):
    """A plan that is compared with a published circuit.

    Parameters
    ----------
    model, device
        Names of the model and of the device.
    clock
        Clock frequency in Hz, a target.
    bus_bytes
        Bytes of the input that enter per clock cycle.
    fps
        Frames per second to reach; None for the most that fit.
    """

    model: str
    device: str
    clock: float = CLOCK
    bus_bytes: int = 4
    fps: float | None = None


PLANNED = {
    "resnet8/xc7k160t": Planned("resnet8", "xc7k160t"),
    "resnet8/xc7z045": Planned("resnet8", "xc7z045"),  # of fpgaConvNet's circuit
    "resnet8/xczu5ev": Planned("resnet8", "xczu5ev"),  # of nn2FPGA's circuit
    "intrusion/xc7k160t": Planned("intrusion", "xc7k160t", 100e6, 8, 1.25e6),  # at the rate of FINN's circuit
}
"""The plans by the names that records have."""


def imported(name: str, folder: Path, directory: Path, **options) -> tuple[ImportResult, Network]:
    """Return the result of an import, and the network."""
    model = MODELS[name]
    result = psahw.import_model(directory / model.file, folder / name, name=name, **model.options, **options)
    return result, psahw.load(folder / name)


def compare(name: str, folder: Path, directory: Path, inputs: int) -> tuple[list[Value], str, bool]:
    """Compare random inputs; return the figures, their configuration, and whether they are as good as required."""
    result, _ = imported(name, folder, directory, check=inputs, seed=1)
    comparison = result.comparison
    assert comparison is not None
    outputs = comparison.outputs
    within = 100 * (1 - outputs.different / outputs.values)
    values = [
        Value("inputs", comparison.inputs, "inputs", "measured"),
        Value("outputs", outputs.values, "values", "measured"),
        Value("outputs that differ", outputs.different, "values", "measured"),
        Value("outputs that are equal", within, "%", "measured"),
        Value("largest difference", outputs.largest, "codes", "measured"),
    ]
    if comparison.task != "values":
        values.insert(1, Value("same answers", comparison.same_answers, "inputs", "measured"))
    good = comparison.task == "values" or comparison.same_answers >= 0.99 * inputs
    rounded = "every operator exact" if result.exact else "some operators rounded, as psahw import reports"
    return values, f"random inputs, against {comparison.tool}; {rounded}", good


def planned(name: str, network: Network) -> Plan:
    """Return the fastest plan of a network for its device."""
    model = MODELS[name]
    return search.make(
        network, DEVICES[model.device], clock_hz=CLOCK, bus_bytes=model.bus_bytes, rules=Rules.parse(model.engines)
    )


def _resources(plan: Plan) -> list[Value]:
    """Return the estimated resources of a plan, in the order and units of records."""
    units = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "RAMB36"}
    return [Value(name, amount, units[name], "estimated") for name, amount in plan.resources.to_dict().items()]


def simulate(name: str, folder: Path, directory: Path) -> tuple[list[Value], str, bool]:
    """Simulate random inputs; return the figures, their configuration, and whether nothing is wrong."""
    model = MODELS[name]
    result, network = imported(name, folder, directory, check=0)
    assert result.input_format is not None
    plan = planned(name, network)
    shape = (model.images, *network.image, network.colours)
    pixels = np.random.default_rng(2).integers(0, result.input_format.count, shape).astype(np.uint8)
    images = LabelledImages("random", pixels)
    wrong, good = 0, True
    for options in ({}, {"stalls": True, "resets": 5}):
        result = psahw.simulate(network, plan, images=images, **options)
        wrong += result.mismatched_logits
        good &= result.images == model.images and result.mismatched_logits == 0
        if not options:
            result.check()
    values = [
        Value("inputs of each simulation", model.images, "inputs", "measured"),
        Value("wrong outputs", wrong, "outputs", "measured"),
        Value("frame interval", plan.frame_interval, "cycles", "measured"),
        Value("latency", plan.latency, "cycles", "measured"),
        *_resources(plan),
    ]
    return values, f"{model.engines}; back to back, then with stalls and 5 resets", good


def accuracy(folder: Path, directory: Path) -> tuple[list[Value], str, bool]:
    """Return the accuracies of ResNet8 on the test images of CIFAR-10, and whether they are as good as required."""
    result, _ = imported("resnet8", folder, directory, check=0, dataset="cifar10")
    figures = result.accuracy
    assert figures is not None
    values = [
        Value("test images", figures.images, "images", "measured"),
        Value("accuracy", figures.network, "%", "measured"),
        Value("accuracy of LiteRT", figures.model, "%", "measured"),
        Value("same class", figures.same, "%", "measured"),
    ]
    good = abs(figures.network - figures.model) <= 0.2 and figures.same >= 99
    return values, "CIFAR-10, int8 model imported from TensorFlow Lite", good


def plan_values(name: str, folder: Path, directory: Path) -> tuple[list[Value], str, bool]:
    """Return the figures of a plan, which is the fastest or smallest one that fits, and its configuration."""
    wanted = PLANNED[name]
    result, network = imported(wanted.model, folder, directory, check=0)
    plan = search.make(
        network, DEVICES[wanted.device], clock_hz=wanted.clock, bus_bytes=wanted.bus_bytes, fps=wanted.fps
    )
    values = [
        Value("frame interval", plan.frame_interval, "cycles", "calculated"),
        Value("latency", plan.latency, "cycles", "calculated"),
        Value("clock", wanted.clock / 1e6, "MHz", "target"),
        Value("throughput", int(plan.fps), "FPS", "target"),
        *_resources(plan),
    ]
    return values, f"imported from {result.source}, MAC arrays", True


def _device(check: str, name: str) -> str:
    """Return the device of a record, or nothing if there is none."""
    return {"plans": PLANNED, "simulate": MODELS}[check][name].device if check in ("plans", "simulate") else ""


def _record_name(check: str, name: str) -> str:
    """Return the name of a record; tables find accuracies by the network."""
    return name if check in ("accuracy", "plans") else f"imports/{check}/{name}"


def main(arguments: list[str]) -> int:
    """Check models, and return 0 if everything is as it must be, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.imports", description=__doc__.partition("\n")[0])
    parser.add_argument("check", choices=["compare", "simulate", "accuracy", "plans"])
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"of {', '.join(MODELS)}, or for plans of {', '.join(PLANNED)}; all by default",
    )  # fmt: skip
    parser.add_argument("--models", default=ROOT.parent / "shared" / "models", type=Path, metavar="DIR")
    parser.add_argument("--inputs", default=1000, type=int, metavar="N", help="inputs to compare")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="write the figures to results/")
    options = parser.parse_args(arguments)
    known = {"accuracy": ["resnet8"], "plans": list(PLANNED)}.get(options.check, list(MODELS))
    if unknown := set(options.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if not options.models.is_dir():
        parser.error(f"{options.models} is no directory: name the one that has the models")
    kinds = {"compare": "verification", "simulate": "verification", "accuracy": "accuracy", "plans": "plan"}
    outcomes, all_good = {}, True
    for name in options.names or known:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="psahw-imports-") as temporary:
            folder = Path(temporary)
            match options.check:
                case "compare":
                    values, configuration, good = compare(name, folder, options.models, options.inputs)
                case "simulate":
                    values, configuration, good = simulate(name, folder, options.models)
                case "accuracy":
                    values, configuration, good = accuracy(folder, options.models)
                case _:
                    values, configuration, good = plan_values(name, folder, options.models)
        all_good &= good
        outcomes[name] = {value.what: value.value for value in values}
        shown = ", ".join(f"{value.what} {value.value:,g} {value.unit}".strip() for value in values)
        seconds = time.monotonic() - start
        print(f"{name}: {shown}; {'good' if good else 'WRONG'}, {seconds:.0f} s", file=sys.stderr, flush=True)
        if options.record and good:
            add_record(
                ROOT / "results", kinds[options.check], _record_name(options.check, name), values,
                command=f"python -m tests.imports {options.check} {name}",
                subject=name.partition("/")[0], configuration=configuration, device=_device(options.check, name),
            )  # fmt: skip
    if options.json:
        print(json.dumps(outcomes, indent=2))
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
