"""Build a wheel, install it into an empty environment outside of the checkout, and run it there.

    python scripts/check_wheel.py [NETWORK]

In the environment, ``psahw demo NETWORK`` and the six-line program of the README must succeed, and all packages,
data files and recipes must be there. NETWORK is cifar10-psa-small unless another one is named.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONTENTS = """
import pkgutil
from importlib.resources import files
from importlib.util import find_spec
import psahw
from psahw import sweep

assert "site-packages" in psahw.__file__, psahw.__file__
for package in ("model", "sim", "boards", "boards.link", "boards.tools", "boards.axi", "records", "flow"):
    assert find_spec(f"psahw.{package}"), package
for package, name in (
    ("psahw.model", "fused.c"),
    ("psahw.sim", "harness.sv"),
    ("psahw.sim", "board_udp.cpp"),
    ("psahw.sim", "cells/xc7.v"),
    ("psahw.boards", "tools/program.tcl"),
    ("psahw.boards", "packages/files/psahw.core"),
    ("psahw.boards", "primitives/xilinx.v"),
    ("psahw.boards", "lint/waivers.vlt"),
    ("psahw.gateware", "multipliers.v"),
    ("psahw.report", "style.css"),
    ("psahw.recipes", "cifar10.json"),
):
    assert files(package).joinpath(name).is_file(), (package, name)
assert len(psahw.shipped()) == 9
assert all(sweep.load(name, "runs").jobs for name in sweep.shipped()) and "cifar10" in sweep.shipped()
names = {module.name for module in pkgutil.walk_packages(psahw.__path__, "psahw.", onerror=lambda name: None)}
assert {"psahw.gateware.check", "psahw.boards.axi.kernel", "psahw.sim.testbench", "psahw.cli.demo"} <= names
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command and raise CalledProcessError if it fails; the checkout is not on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, env=environment, check=True)


def main(arguments: list[str]) -> int:
    """Check the wheel; return 0, or the status of the first command that fails."""
    network = arguments[0] if arguments else "cifar10-psa-small"
    with tempfile.TemporaryDirectory(prefix="psahw-wheel-") as folder:
        here = Path(folder)
        pip = ("-m", "pip", "--disable-pip-version-check", "-q")
        try:
            run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", here, ROOT, cwd=here)
            (wheel,) = here.glob("psahw-*.whl")
            venv.create(here / "environment", with_pip=True)
            python = here / "environment" / "bin" / "python"
            run(python, *pip, "install", f"{wheel}[sim]", cwd=here)
            run(python, "-c", CONTENTS, cwd=here)
            run(here / "environment" / "bin" / "psahw", "demo", network, "-o", here / "demo", cwd=here)
            run(python, "-c", (ROOT / "examples" / "six_lines.py").read_text(), cwd=here)
        except subprocess.CalledProcessError as error:
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
