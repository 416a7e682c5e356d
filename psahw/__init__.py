"""psahw: small neural networks as streaming FPGA circuits, bit-exact from training to Verilog.

The functions below are imported when they are first used, so that ``import psahw`` loads neither torch nor Amaranth::

    network = psahw.load("cifar10-psa-small")
    plan = psahw.plan(network, board="marble", fps=2000, engines="mac")
    result = psahw.simulate(network, plan, images=4)
    result.mismatched_logits
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .flow.building import build
    from .flow.demonstration import demo
    from .flow.elaboration import elaborate
    from .flow.exporting import export
    from .flow.frontier import frontier
    from .flow.functions import draw_functions
    from .flow.importing import import_model
    from .flow.initialising import init as init
    from .flow.packaging import package
    from .flow.planning import plan
    from .flow.programming import program
    from .flow.reporting import write_report
    from .flow.running import run
    from .flow.simulation import simulate
    from .flow.synthesis import synthesise
    from .model.evaluation import evaluate
    from .model.quantize import quantize as quantize
    from .model.teaching import teach as teach
    from .model.training import distill as distill
    from .model.training import train as train
    from .network.file import load, save, shipped
    from .network.summary import summarise

# Without distill, init, quantize, teach and train, which need torch: a star import works without it.
__all__ = [
    "build",
    "demo",
    "draw_functions",
    "elaborate",
    "evaluate",
    "export",
    "frontier",
    "import_model",
    "load",
    "package",
    "plan",
    "program",
    "run",
    "save",
    "shipped",
    "simulate",
    "summarise",
    "synthesise",
    "write_report",
]

_MODULES = {  # where each name is defined
    "build": "flow.building",
    "demo": "flow.demonstration",
    "distill": "model.training",
    "draw_functions": "flow.functions",
    "elaborate": "flow.elaboration",
    "evaluate": "model.evaluation",
    "export": "flow.exporting",
    "frontier": "flow.frontier",
    "import_model": "flow.importing",
    "init": "flow.initialising",
    "load": "network.file",
    "package": "flow.packaging",
    "plan": "flow.planning",
    "program": "flow.programming",
    "quantize": "model.quantize",
    "run": "flow.running",
    "save": "network.file",
    "shipped": "network.file",
    "simulate": "flow.simulation",
    "summarise": "network.summary",
    "synthesise": "flow.synthesis",
    "teach": "model.teaching",
    "train": "model.training",
    "write_report": "flow.reporting",
}


def __getattr__(name: str) -> Any:
    """Import a function of the library when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, with those that are not imported yet."""
    hidden = {"Any", "TYPE_CHECKING", "import_module"}
    return sorted({*globals(), *_MODULES} - hidden)
