"""Builds a design and runs one of the cocotb tests of this package on it, in Verilator.

    report = run("build/vitis", "psahw_kernel", ["kernel.v", "accelerator.v"], "axi_testbench.kernel", request)

The request and the report are described at the tests, in `psahw.sim.axi_testbench` and `psahw.sim.pins_testbench`.
"""

import json
import os
import tempfile
from pathlib import Path

from . import building

__all__ = ["run"]


def _build(paths: list[Path], top: str, arguments: tuple[str, ...]) -> Path:
    """The directory of the simulator, from the cache if the Verilog is the same."""
    recipe = {
        "top": top,
        "parameters": {},
        "defines": {},
        "build_args": [*building.BUILD_ARGS, *arguments],
        "waves": None,
        "timescale": "1ns",
        "make": building.MAKE_FLAGS,
        "one_file": True,
        "versions": building.versions(),
    }

    def build(folder):
        ports = folder / "ports.vlt"  # for Python, which needs nothing else
        ports.write_text(f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n')
        recipe["build_args"].append(str(ports))
        building.with_cocotb(folder, paths, recipe)

    target, _ = building.kept(recipe, paths, top, build)
    return target


def run(
    directory: str | os.PathLike,
    top: str,
    sources: list[str | os.PathLike],
    test: str,
    request: dict,
    *,
    seed: int = 1,
    arguments: tuple[str, ...] = (),
) -> dict:
    """What ``test``, a module of this package and the name of a test in it, reports.

    ``sources`` are relative to ``directory``, which also holds the memory files; ``arguments`` are Verilator's,
    beside the usual ones. Raises UserError when the Verilog does not build, RuntimeError, with what cocotb says, when
    the test fails.
    """
    building.check_tools()
    directory = Path(directory).resolve()
    simulator = _build(building.with_models([directory / source for source in sources]), top, arguments)
    module, testcase = test.split(".")
    with tempfile.TemporaryDirectory(prefix="psahw-cocotb-") as folder:
        folder = Path(folder)
        for memory in directory.glob("*.mem"):
            (folder / memory.name).symlink_to(memory)
        (folder / "request.json").write_text(json.dumps(request))
        try:
            building.cocotb_runner().test(
                f"psahw.sim.{module}",
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                testcase=testcase,
                build_dir=simulator,
                test_dir=folder,
                seed=seed,
                plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{1 + seed % 2**31}"],
                extra_env={
                    **building.libraries(),
                    "PSAHW_TEST": str(folder),
                    "COCOTB_LOG_LEVEL": "WARNING",
                    "COCOTB_REWRITE_ASSERTION_FILES": "",
                },
                results_xml=str(folder / "results.xml"),
                log_file=folder / "simulation.log",
            )
        except (RuntimeError, SystemExit) as error:  # also what a model's $error makes of it
            raise RuntimeError(f"the simulation ended with {error}: {_last(folder)}") from None
        report = folder / "report.json"
        if not report.exists():
            raise RuntimeError(f"the simulation ended without a report: {_last(folder)}")
        return json.loads(report.read_text())


def _last(folder: Path) -> str:
    log = folder / "simulation.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else "no log"
