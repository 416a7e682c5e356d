"""Build a design and run one of this package's cocotb tests on it, in Verilator.

    report = run("build/vitis", "psahw_kernel", ["kernel.v", "accelerator.v"], "axi_testbench.kernel", request)

The tests in `psahw.sim.axi_testbench` and `psahw.sim.pins_testbench` describe their requests and reports.
"""

import json
import os
from pathlib import Path
from typing import Any

from psahw.files import temporary_directory

from . import building

__all__ = ["run"]


def _build(paths: list[Path], top: str, arguments: tuple[str, ...]) -> Path:
    """Return the directory of the simulator, which is built only if it is not in the cache."""
    recipe = {
        "top": top,
        "parameters": {},
        "defines": {},
        "build_args": [*building.BUILD_ARGS, *arguments],
        "ports": f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n',  # all that Python needs
        "waves": None,
        "headers": {},
        "timescale": "1ns",
        "make": building.MAKE_FLAGS,
        "one_file": True,
        "versions": building.versions(),
    }

    def build(folder: Path) -> None:
        ports = folder / "ports.vlt"
        ports.write_text(recipe["ports"])
        build_args = [*recipe["build_args"], str(ports)]
        building.build_with_cocotb(folder, paths, recipe | {"build_args": build_args})

    target, _ = building.cached_build(recipe, paths, top, build)
    return target


def run(
    directory: str | os.PathLike,
    top: str,
    sources: list[str | os.PathLike],
    test: str,
    request: dict[str, Any],
    *,
    seed: int = 1,
    arguments: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Run a cocotb test on a design, and return the test's report.

    Parameters
    ----------
    directory
        Directory with the memory files.
    top
        Name of the top-level module.
    sources
        Verilog files, relative to ``directory``.
    test
        A module of this package and the name of a test in it, such as ``"axi_testbench.kernel"``.
    request
        The test's request.
    seed
        Seed of the test, and of values without initialisation.
    arguments
        Additional arguments of Verilator.

    Raises
    ------
    UserError
        If the Verilog does not build.
    RuntimeError
        If the test fails. The message contains the end of cocotb's log.
    """
    building.check_tools()
    directory = Path(directory).resolve()
    simulator = _build(building.with_models([directory / source for source in sources]), top, arguments)
    module, testcase = test.split(".")
    with temporary_directory("psahw-cocotb-") as folder:
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
        except (RuntimeError, SystemExit) as error:  # an $error in a model also leads to these
            raise RuntimeError(f"the simulation ended with {error}: {_end_of_log(folder)}") from None
        report = folder / "report.json"
        if not report.exists():
            raise RuntimeError(f"the simulation ended without a report: {_end_of_log(folder)}")
        return json.loads(report.read_text())


def _end_of_log(folder: Path) -> str:
    """Return the last 40 lines of the simulation's log."""
    log = folder / "simulation.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else "no log"
