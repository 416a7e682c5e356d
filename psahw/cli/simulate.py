"""``psahw simulate``."""

from typing import TYPE_CHECKING

import click

from ..errors import UserError
from ..network.file import load
from . import output
from .data_options import data_options
from .planning import make_plan, plan_options

if TYPE_CHECKING:
    from ..flow.simulation import SimulationResult

__all__ = ["COMMANDS"]

RESETS = 5
IMAGES = 20


def _show(result: "SimulationResult") -> None:
    """Print what was measured beside what was planned."""
    columns, rows = result.table()
    output.print_table(columns, rows, title=result.title)
    accuracy = "" if result.accuracy is None else f"accuracy {result.accuracy:g} %, "
    output.print_line(
        f"{accuracy}{result.cycles:,} cycles at {result.sim_cycles_per_second:,} cycles/s, seed {result.seed}"
    )
    if result.batches is not None:
        output.print_line(f"{result.batches} batches, {result.batches_kept} of them from earlier runs")
    if result.frame_interval is None:
        output.print_line(
            f"the frame interval needs at least {result.settling_frames + result.draining_frames + 2} images in a "
            "run, because the pipeline fills first"
        )
    for line in result.mismatches:
        output.print_line(line)


@click.command("simulate")
@output.network_argument
@plan_options(default_board="marble")
@click.option("--design", metavar="DIR", help="Simulate what psahw elaborate wrote there, instead of a new plan.")
@click.option("--netlist", is_flag=True, help="Simulate the netlist that Yosys makes, cell by cell; takes minutes.")
@click.option("--images", type=output.COUNT, metavar="N", help=f"Test images; up to {IMAGES} unless given.")
@data_options(default=None)
@click.option("--stalls", is_flag=True, help="Stall both ends at random; the cadence is then not compared.")
@click.option("--reset-test", is_flag=True, help=f"Reset {RESETS} times in mid-frame before the frames that count.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N")
@click.option(
    "--waves",
    metavar="FILE",
    help="Write all signals to an .fst file, which is large, or how often each changes to a .saif file.",
)
@click.option("--jobs", type=output.COUNT, metavar="N", help="Runs at once; by default one per processor.")
@click.option(
    "--batch",
    type=output.COUNT,
    metavar="N",
    help="Images per run; by default chosen by the length of the simulation, and at most 500.",
)
@click.option("--keep", metavar="DIR", help="Keep the result of each run in DIR; results in DIR are not made again.")
@click.option(
    "--no-loops",
    is_flag=True,
    help="Give Verilator the Verilog of digit-serial adder graphs as it is, not as loops in C++; takes much longer.",
)
@output.json_option
def simulate_command(
    network,
    design,
    netlist,
    images,
    dataset,
    data,
    stalls,
    reset_test,
    seed,
    waves,
    jobs,
    batch,
    keep,
    no_loops,
    as_json,
    **options,
):
    """Simulate the circuit on images, and compare it with the integer model.

    This counts logits and classes, or other outputs, that differ, and measures frame interval and latency, which must
    be those of the plan. Verilog and simulator are kept in a cache, so that only the first run of a design compiles.

    Long simulations are split into batches, each a run of its own that begins with a reset, of which several run at
    once. With --keep a simulation that was interrupted continues.

    With --netlist the circuit after synthesis is simulated: LUTs, flip-flops, DSP slices and block RAMs of a 7 series
    or ECP5 device, as the models of Yosys and of this project describe them.

    \b
    psahw simulate cifar10-psa --images 20
    psahw simulate cifar10-psa --images 200 --stalls --json
    psahw simulate cifar10-psa-small --clock 200e6 --max-lut 75655 --max-dsp 600 --max-bram 212
    psahw simulate cifar10-psa --design build/marble --images 2 --waves two.fst
    psahw simulate cifar10-psa --design build/marble --images 10 --waves activity.saif
    psahw simulate cifar10-psa-small --fps 2000 --netlist --images 4
    psahw simulate cifar10-psa-small --images 10000 --keep build/all
    """
    from ..flow.images import load_test_images
    from ..flow.simulation import check_simulation, simulate

    loaded = load(network)
    check_simulation(waves=waves, jobs=jobs, batch=batch, keep=keep)
    if design is not None and any(value not in (None, ()) for name, value in options.items() if name != "board"):
        raise UserError("--design is a circuit already: it takes none of the options of a plan")
    chosen = load_test_images(loaded, images, most=IMAGES, dataset=dataset, data=data, log=output.note)
    circuit = make_plan(loaded, **options) if design is None else design
    with output.steps() as shown:
        result = simulate(
            loaded,
            circuit,
            images=chosen,
            netlist=netlist,
            stalls=stalls,
            resets=RESETS if reset_test else 0,
            seed=seed,
            waves=waves,
            jobs=jobs,
            batch=batch,
            keep=keep,
            loops=not no_loops,
            step=shown.step,
            progress=shown.progress,
        )
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show(result)
    result.check()


COMMANDS = [simulate_command]
