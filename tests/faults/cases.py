"""The commands into which faults are injected, on the smallest inputs that each accepts."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch

from ..importing.onnx_models import two_layers
from .running import Command

__all__ = ["CASES", "GROUPS", "Case", "networks", "prepare"]

PLAN = ("--engines", "mac", "--fps", "1000")
SMALL_PLAN = ("--engines", "mac", "--fps", "100000")
RANDOM = ("--dataset", "random")
TRAINING = ("--dataset", "sample", "--batch", "16", "--set", "compile=false", "--set", "bf16=false")


@dataclass(frozen=True)
class Case:
    """A command line.

    Parameters
    ----------
    name
        Name of the case.
    arguments
        The command line; ``{NAME}`` stands for the path of a material of `prepare`.
    outputs
        Files and directories that the command writes, relative to its directory.
    variant
        Arguments with which it writes other outputs, if it may replace them.
    resumes
        True if an unfinished output is a valid state, from which the next run continues.
    inputs
        Names of the materials that are files or directories given by a user.
    environment
        Environment variables.
    runs_others
        True if the command runs others. If one of them fails, its status is 1.
    once
        True if the command refuses to run again once its outputs are complete.
    cached
        Kinds of entries of the cache that are there from the beginning. Another case makes them under faults, and to
        make them takes most of the time of this one.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    resumes: bool = False
    inputs: tuple[str, ...] = ("network",)
    environment: tuple[tuple[str, str], ...] = ()
    runs_others: bool = False
    once: bool = False
    cached: tuple[str, ...] = ()

    def command_line(self, materials: dict[str, Path]) -> list[str]:
        """Return the arguments with the paths of the materials."""
        return [argument.format(**materials) for argument in self.arguments]


CASES = (
    Case("info", ("info", "{network}", "--plot", "functions.svg"), ("functions.svg",)),
    Case("frontier", ("frontier", "{network}", "{other}", "--plot", "frontier.svg"), ("frontier.svg",),
         inputs=("network", "other")),
    Case("plan", ("plan", "{network}", "--board", "marble", *PLAN, "-o", "plan.json"), ("plan.json",),
         variant=("--clock", "100e6")),
    Case("plan, adder graphs", ("plan", "{network}", "--board", "marble", "--fps", "1000", "--engines", "serial,mac",
                                "--engine", "embed=mac", "-o", "plan.json"), ("plan.json",),
         variant=("--clock", "100e6")),
    Case("plan, template", ("plan", "{network}", "--board", "marble", "--plan", "{plan}", "-o", "plan.json"),
         ("plan.json",), inputs=("network", "plan")),
    Case("elaborate", ("elaborate", "{network}", "--board", "marble", *PLAN, "-o", "design"), ("design",),
         variant=("--clock", "100e6")),
    Case("build", ("build", "{network}", "--board", "ulx3s-85f", "--toolchain", "native", *PLAN, "-o", "built"),
         ("built",), variant=("--seed", "5"), resumes=True, environment=(("AMARANTH_USE_YOSYS", "builtin"),)),
    Case("program", ("program", "{built}", "--tool", "openfpgaloader"), inputs=("built",)),
    Case("package", ("package", "{network}", "--for", "fusesoc", "--board", "marble", *PLAN, "-o", "part"),
         ("part",), variant=("--clock", "100e6")),
    Case("export", ("export", "{network}", "--onnx", "network.onnx", "--check", "3"), ("network.onnx",)),
    Case("import", ("import", "{model}", "-o", "imported.safetensors", "--inputs", "{rows}"),
         ("imported.safetensors",), variant=("--task", "values"), inputs=("model", "rows")),
    Case("simulate", ("simulate", "{small}", *SMALL_PLAN, *RANDOM, "--images", "3", "--keep", "kept"), ("kept",),
         resumes=True, inputs=("small",)),
    Case("simulate, design", ("simulate", "{small}", "--design", "{design}", *RANDOM, "--images", "2"),
         inputs=("small", "design"), cached=("sim-runtime",)),
    Case("run", ("run", "{small}", "--port", "sim", *SMALL_PLAN, *RANDOM, "--images", "1"), inputs=("small",),
         cached=("sim-runtime",)),
    Case("synth", ("synth", "{small}", "--board", "marble", *SMALL_PLAN, "--jobs", "1"), inputs=("small",)),
    Case("report", ("report", "{network}", "--plan", "{plan}", "--run", "{float}", "-o",
                    "report.html"), ("report.html",), inputs=("network", "plan", "float")),
    Case("demo", ("demo", "{network}", "--images", "2", "-o", "demo"), ("demo",), resumes=True,
         cached=("sim-runtime",)),
    Case("init", ("init", "digits", "-o", "begun"), ("begun",), inputs=(), once=True),
    Case("train", ("train", "--config", "tiny", "--epochs", "6", *TRAINING, "-o", "run"), ("run",), resumes=True,
         inputs=()),
    Case("teach", ("teach", "--teacher", "{float}", "--views", "3", "--dataset", "sample", "--set", "compile=false",
                   "-o", "answers"), ("answers",), resumes=True, inputs=("float",)),
    Case("distill", ("distill", "--teacher", "{float}", "--config", "tiny", "--epochs", "4", *TRAINING, "-o", "run"),
         ("run",), resumes=True, inputs=("float",), cached=("kernels",)),
    Case("quantize", ("quantize", "{float}", "--name", "small", "--epochs", "3", *TRAINING, "-o", "run"), ("run",),
         resumes=True, inputs=("float",), cached=("kernels",)),
    Case("evaluate", ("evaluate", "own", "--dataset", "sample", "--record"), ("own",), inputs=()),
    Case("evaluate, file", ("evaluate", "{network}", "--dataset", "sample")),
    Case("sweep", ("sweep", "{recipe}", "-o", "sweep"), ("sweep",), resumes=True, inputs=("recipe",),
         runs_others=True, cached=("kernels",)),
)  # fmt: skip
"""One or more for each command. ``own`` in a case's directory is a copy of the network."""

GROUPS = {
    "simulation": ("simulate", "simulate, design", "run", "demo"),
    "training": ("train", "teach", "distill", "quantize", "evaluate", "evaluate, file", "sweep"),
    "hardware": ("info", "frontier", "plan", "plan, adder graphs", "plan, template", "elaborate", "build", "program",
                 "package", "import", "export", "synth", "report", "init"),
}  # fmt: skip
"""The names of all cases, in groups of which each is checked in about an hour or more."""

_TOOL = """#!{python}
import json, sys, time
from pathlib import Path
arguments, name = sys.argv[1:], Path(sys.argv[0]).name
time.sleep(0.2)
if name == "yosys":
    Path("top.json").write_text("netlist")
elif name == "nextpnr-ecp5":
    Path("top.config").write_text("routed")
    fmax = {{"clk": {{"achieved": 45.0, "constraint": 40.0}}}}
    report = {{"fmax": fmax, "utilization": {{"DP16KD": {{"used": 5, "available": 208}}}}}}
    Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps(report))
elif name == "ecppack":
    Path(arguments[arguments.index("--bit") + 1]).write_text("bits")
"""


def _tools(folder: Path) -> None:
    """Write stand-ins for the programs that a board's build and a board's programming run."""
    folder.mkdir()
    for name in ("yosys", "nextpnr-ecp5", "ecppack", "openFPGALoader"):
        (folder / name).write_text(_TOOL.format(python=sys.executable))
        (folder / name).chmod(0o755)


def networks(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write two networks for images of the shipped size, and yield their names and paths."""
    for name, seed in (("network", 0), ("other", 1)):
        network = random_network(
            np.random.default_rng(seed), image=(32, 32), patch=Patch(16, 16), stages=(StageShape(8, 4),), classes=10,
            name=name,
        )  # fmt: skip
        network.metadata["accuracy"] = {"validation INT8": 50.0 + seed}
        network_file.save(network, folder / f"{name}.safetensors")
        yield name, folder / f"{name}.safetensors"


def prepare(folder: Path) -> dict[str, Path]:
    """Write the inputs of all cases below a directory, and return their paths by name.

    The directory ``bin`` among them belongs in front of the PATH.
    """
    materials = dict(networks(folder))
    materials["model"] = two_layers(folder / "model.onnx")
    materials["rows"] = folder / "rows.npy"
    np.save(materials["rows"], np.random.default_rng(0).integers(-128, 128, (9, 4)))
    _tools(folder / "bin")
    smoke = {"command": "train", "arguments": ["--config", "tiny", "--epochs", "2", *TRAINING]}
    jobs = {"float": smoke, "test": {"command": "evaluate", "arguments": ["{float}", "--dataset", "sample"]}}
    (folder / "recipe.json").write_text(json.dumps({"jobs": jobs}))
    path = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "AMARANTH_USE_YOSYS": "builtin"}
    network, small = materials["network"], folder / "small.safetensors"
    for name, *arguments in (
        (small.name, "import", materials["model"], "-o", small),
        ("plan", "plan", network, "--board", "marble", *PLAN, "-o", folder / "plan"),
        ("design", "elaborate", small, "--board", "marble", *SMALL_PLAN, "-o", folder / "design"),
        ("built", "build", network, "--board", "ulx3s-85f", "--toolchain", "native", *PLAN, "-o", folder / "built"),
        ("float", "train", "--config", "tiny", "--epochs", "2", *TRAINING, "-o", folder / "float"),
    ):
        ended = Command(folder, *arguments, environment=path).finish()
        if ended.status:
            raise RuntimeError(f"{arguments} ended with status {ended.status}: {ended.err}")
        materials[name] = folder / name
    return materials | {"small": small, "recipe": folder / "recipe.json", "bin": folder / "bin"}
