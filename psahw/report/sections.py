"""The sections of the report's page.

Each function takes results as the commands print them with ``--json``, or None for one that was not given. A section
whose result is missing names the command that makes it.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

import numpy as np

from ..display import counted, outputs_named, wrong_answers
from ..network.frontier import Candidate
from ..network.summary import outputs
from . import comparison as systems
from .accuracy import measured, worst_errors
from .comparison import Figure
from .curves import frontier_chart, training_charts
from .elements import card, cell, mark, missing, number, table
from .functions import Functions, functions_picture
from .markup import Markup, join, tag
from .pipeline import pipeline_picture

__all__ = [
    "accuracy", "cards", "comparison", "frontier", "functions", "network", "pipeline", "simulation", "training",
]  # fmt: skip

Result = Mapping[str, Any]

_RESOURCES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36"}
_COMPARED = ("system", "device", "accuracy, %", "FPS", "LUT", "DSP", "BRAM36", "FPS/LUT", "FPS/DSP", "MHz", "W")
_LEARNED = ("channel_mixing.table_in", "channel_mixing.table_hidden")


def _command(command: str, source: str, file: str, options: str = "") -> str:
    """Return the command line that writes a result about a network, given by path or name, into a file."""
    return f"psahw {command} {quote(source)} {options}--json > {file}.json"


def _board_option(plan: Result | None) -> str:
    """Return the option that names the board of a plan, or a board for an example."""
    return f"--board {(plan or {}).get('board') or 'marble'} "


def cards(info: Result, plan: Result | None, simulation: Result | None, evaluation: Result | None) -> Markup:
    """Return the most important figures as cards."""
    parts = []
    values = info["output"] == "values"
    score = "R²" if values else "accuracy"
    if evaluation:
        label = f"{score}, {counted(evaluation['images'], 'image')} of {evaluation['dataset']}"
        share = 100 * evaluation["r2"] if values else evaluation["accuracy"]
        parts.append(card(f"{share:.2f} %", label, "measured"))
    for name, value in info["accuracy"].items():
        parts.append(card(f"{value:.2f} %", f"{name} {score}, as recorded in the network", "measured"))
    if simulation:
        label = f"wrong {outputs_named(info['output'])} in {counted(simulation['images'], 'simulated image')}"
        parts.append(card(number(simulation["mismatched_logits"]), label, "measured"))
    if plan:
        interval, latency = plan["frame_interval"], plan["latency"] / plan["clock_hz"] * 1e6
        agrees = (simulation or {}).get("frame_interval") == interval
        label = "clock cycles between frames" + (", in plan and simulation" if agrees else "")
        supported = plan.get("clock", {}).get("highest_hz") or 0
        kind = {"routed": "measured"}.get(plan.get("clock", {}).get("how"), "estimated")
        kind = kind if supported >= plan["clock_hz"] else "target"
        parts += [
            card(number(int(plan["fps"])), f"frames per second at {plan['clock_hz'] / 1e6:g} MHz", kind),
            card(number(interval), label, "measured" if agrees else None),
            card(f"{latency:,.0f} µs", f"latency, {counted(plan['latency'], 'clock cycle')}", kind),
        ]
    parts += [
        card(f"{info['macs'] / 1e6:.2f} M", "multiply-accumulates per frame"),
        card(number(info["weights_nonzero"]), f"weights that are not zero, of {info['weights']:,}"),
        card(number(info["tables"]), f"tables, {info['tables_distinct']:,} of them distinct"),
    ]
    return tag("div", *parts, class_="cards")


def _meter(share: float) -> Markup:
    """Return a bar that is filled by a share."""
    return tag("span", tag("i", style=f"width: {min(100.0, 100 * share):.1f}%"), class_="meter")


def _resources(plan: Result, synth: Result | None) -> Markup:
    """Return the table of resources: planned, counted by Yosys, and allowed."""
    rows = []
    for key, name in _RESOURCES.items():
        amount, limit = plan["resources"].get(key), plan["limits"].get(key)
        if amount is None:
            continue
        counted = Figure(synth["resources"].get(key), "measured") if synth else Figure(None)
        share = amount / limit if limit else None
        percent, meter = ("–", "") if share is None else (f"{100 * share:.0f} %", _meter(share))
        rows.append([name, Figure(amount, "estimated"), counted, limit, percent, meter])
    return table(["", "plan", "Yosys", "limit", "share", ""], rows)


_SLOWEST = 10  # stages in the table of longest paths


def _timing(synth: Result | None) -> Markup | None:
    """Return the longest paths beside the clock, if the result of synthesis has them."""
    if not (synth and synth.get("timing")):
        return None
    timing = synth["timing"]
    timed = [stage for stage in synth["stages"] if stage.get("path_ns") is not None]
    timed.sort(key=lambda stage: -stage["path_ns"])
    rows = [
        [stage["name"], stage["path_ns"], stage["slack_ns"], stage["cause"], stage["path_from"]] for stage in timed
    ]
    return join(
        tag("h3", "Longest paths"),
        tag(
            "p",
            f"Estimated for speed grade {timing['grade']}, before anything is placed, with "
            f"{timing['allowance_ns']:g} ns for the skew and the jitter of the clock. The circuit supports "
            f"{timing['highest_mhz']:.0f} MHz; at {timing['clock_mhz']:g} MHz the longest path has a slack of "
            f"{timing['slack_ns']:+.2f} ns.",
        ),
        table(["stage", "ns", "slack, ns", "largest part", "path from"], rows[:_SLOWEST]),
        tag("p", f"{counted(len(rows) - _SLOWEST, 'faster stage')} not shown.") if len(rows) > _SLOWEST else None,
    )


def pipeline(source: str, plan: Result | None, synth: Result | None) -> Markup:
    """Return the pipeline of the plan as a picture, its resources, and its stages as a table."""
    if not plan:
        return missing("plan", _command("plan", source, "plan", "--board marble "))
    rows = [
        [stage.get("name"), stage.get("engine"), stage.get("interval"), *map(stage["resources"].get, _RESOURCES)]
        for stage in plan["stages"]
    ]
    total = ["total", "", plan["frame_interval"], *map(plan["resources"].get, _RESOURCES)]
    costs = [join(name, " ", mark("estimated")) for name in _RESOURCES.values()]
    return join(
        tag(
            "p",
            f"{plan.get('board', '')} ({plan.get('device', '')}), one frame every "
            f"{counted(plan['frame_interval'], 'clock cycle')}. The bar in a box shows the share of this time "
            "in which the component is busy. "
            f"Limited by: {plan.get('limited_by') or 'nothing stated'}. Costs with ≈ are ",
            mark("estimated"),
            ".",
        ),
        pipeline_picture(plan),
        tag("h3", "Resources"),
        _resources(plan, synth),
        _timing(synth),
        None if synth else missing("synthesis result", _command("synth", source, "synth", _board_option(plan))),
        tag(
            "details",
            tag("summary", "Every stage as a table"),
            table(["stage", "engine", "clock cycles per frame", *costs], rows, total=total),
        ),
    )


def simulation(info: Result, source: str, result: Result | None) -> Markup:
    """Return what the simulation measured, beside what was expected."""
    if not result:
        return missing("simulation result", _command("simulate", source, "simulation", "--images 20 "))
    stalls = "with random stalls on both ends" if result.get("stalls") else "back to back"
    speed = result.get("sim_cycles_per_second")
    rows = [
        *wrong_answers(info["output"], result["mismatched_logits"], result["mismatched_classes"]),
        ["clock cycles between frames", result["frame_interval"], result["frame_interval_predicted"]],
        ["latency in clock cycles", result["latency"], result["latency_predicted"]],
    ]
    return join(
        tag(
            "p",
            f"Verilator ran the Verilog on {counted(result['images'], 'image')}, {stalls}, and the results were "
            "compared with those of the integer model."
            + (f" The simulation ran {speed:,.0f} clock cycles per second." if speed else ""),
        ),
        table(
            ["", "measured", "expected"],
            [
                [name, Markup(number(measured)) if isinstance(measured, list) else measured, expected]
                for name, measured, expected in rows
            ],
        ),
    )


def network(info: Result) -> Markup:
    """Return the layers of the network as a table."""
    keys = ("vectors", "weights", "weights_nonzero", "weight_bits", "macs", "adder_luts")
    rows = [
        [layer["name"], f"{layer['inputs']} → {layer['outputs']}", *(layer[key] for key in keys)]
        for layer in info["layers"]
    ]
    total = ["total", "", None, *(info[key] for key in keys[1:])]
    grids = ", then ".join(
        f"{counted(len(list(layers)), 'layer')} with weights on {rows}×{columns} "
        f"{'token' if rows * columns == 1 else 'tokens'}"
        for (rows, columns), layers in itertools.groupby(info["layers"], lambda layer: layer["grid"])
    )
    first = info["graph"][0]
    windows = ""
    if first["kind"] == "Windows":
        (height, width), stride = first["size"], first["stride"]
        step = stride[0] if stride[0] == stride[1] else "×".join(map(str, stride))
        windows = f" in windows of {height}×{width} at stride {step}"
    height, width, colours = info["image"]
    columns = [
        *("layer", "inputs → outputs", "vectors", "weights", "non-zero", "bits", "MAC per frame"),
        join("adder LUTs ", mark("estimated")),
    ]
    return join(
        tag(
            "p",
            f"Images of {height}×{width}×{colours}{windows}; {grids}; {outputs(info)}.",
        ),
        table(columns, rows, total=total),
    )


def training(info: Result, runs: Mapping[str, list[dict[str, Any]]]) -> Markup:
    """Return the training curves of runs."""
    score = "R²" if info["output"] == "values" else "accuracy"
    charts = training_charts(dict(runs), score)
    accuracy = f" and {score} on the validation images" if len(charts) > 1 else ""
    text = f"Mean loss{accuracy} after each epoch, from the logs of the runs. "
    return join(tag("p", text, mark("measured")), *(tag("div", chart) for chart in charts))


def frontier(networks: Sequence[Candidate]) -> Markup:
    """Return the accuracy of networks over their cost, as a chart and as a table."""
    rows = [
        [c.network, Figure(c.luts, "estimated"), Figure(c.validation, "measured"), Figure(c.test, "measured"),
         c.weight_bits, c.weights_nonzero, "yes" if c.pareto else ""]
        for c in networks
    ]  # fmt: skip
    columns = ["network", "LUTs", "validation, %", "test, %", "bits", "non-zero weights", "Pareto set"]
    text = (
        "LUTs with every layer as a parallel adder graph, which takes a vector per clock cycle. No other network "
        "beats one of the Pareto set in LUTs or in validation accuracy without being worse in the other."
    )
    chart = frontier_chart(networks) if any(c.validation is not None for c in networks) else None
    return join(tag("p", text), chart, table(columns, rows))


def _place(name: str, functions: Functions) -> Markup:
    """Return the functions of one place; functions that are all alike are drawn once."""
    values = functions.values
    distinct = np.unique(values, axis=0)
    alike = len(distinct) == 1 and len(values) > 1
    title = f"{name}: {counted(len(values), 'function')}{', all alike' if alike else ''}"
    picture = functions_picture(functions._replace(values=distinct) if alike else functions)
    return tag("div", tag("h3", title), picture)


def _is_learned(name: str) -> bool:
    """Return whether a table holds functions that were trained, by its name in a network of `psahw.model`."""
    return name.endswith(_LEARNED) or (name.startswith("layers.") and not name.endswith(".rescale"))


def functions(tables: Mapping[str, Functions]) -> Markup:
    """Return pictures of all tables, the learned ones first."""
    if not tables:
        return tag("p", "This network has no tables.")
    learned = {name: values for name, values in tables.items() if _is_learned(name)}
    others = {name: values for name, values in tables.items() if name not in learned}
    parts = [
        tag(
            "p",
            "Every function of every neuron, as the entries of its table in the hardware: 256 of them for codes of "
            "8 bits. Codes in run from left to right, and codes out upwards. The grey lines are at 0.",
        )
    ]
    if learned:
        parts.append(tag("div", *(_place(name, values) for name, values in learned.items()), class_="places"))
    if others:
        text = f"{counted(len(others), 'other place')} with tables: scales, saturations and residual paths"
        pictures = tag("div", *(_place(name, values) for name, values in others.items()), class_="places")
        parts.append(tag("details", tag("summary", text), pictures))
    return join(*parts)


def accuracy(info: Result, source: str, evaluation: Result | None) -> Markup:
    """Return what the integer model gets right and wrong: figures, confusions or residuals, and the worst errors."""
    command = _command("evaluate", source, "evaluation")
    if not evaluation:
        return missing("evaluation", command)
    parts = [measured(info, evaluation)]
    if evaluation["images"] < systems.WHOLE_TEST_SET and systems.is_compared(info):
        text = "These images are a sample. This command evaluates the whole test set: "
        parts.append(tag("p", text, tag("code", command), class_="missing"))
    return join(*parts, worst_errors(evaluation))


def _compared(row: systems.ComparedSystem) -> Markup:
    """Return a row of the comparison. Our accuracy has two decimal places; our frame rate is rounded down."""
    fps = Figure(math.floor(row.fps.value), row.fps.kind) if row.ours and row.fps.value is not None else row.fps
    figures = [
        (row.accuracy, 2 if row.ours else 1),
        (fps, 0 if row.ours else 1),
        (row.lut, 0),
        (row.dsp, 0),
        (row.bram36, 1),
        (row.fps_per(row.lut), 2),
        (row.fps_per(row.dsp), 1),
        (row.mhz, 0),
        (row.watt, 1),
    ]
    columns = _COMPARED[2:]
    cells = [cell(figure, digits, name) for (figure, digits), name in zip(figures, columns, strict=True)]
    system = tag("b", row.system) if row.ours else row.system
    names = tag("td", system, data_label="system"), tag("td", row.device, data_label="device")
    return tag("tr", *names, *cells, class_="ours" if row.ours else None)


def comparison(
    info: Result,
    source: str,
    plan: Result | None,
    simulation: Result | None,
    evaluation: Result | None,
    synth: Result | None,
) -> Markup:
    """Return the table of published systems, with ours below them, if the network is for their images."""
    if not systems.is_compared(info):
        return tag(
            "p", "The published systems that psahw knows are for CIFAR-10, and this network is for other images."
        )
    rows = systems.published_systems()
    if plan:
        rows.append(systems.our_system(info, plan, simulation, evaluation, synth))
    head = [tag("th", name, class_="number" if i > 1 else None) for i, name in enumerate(_COMPARED)]
    return join(
        tag(
            "p",
            "Systems for CIFAR-10. Figures without a mark are published ones. Our frame interval is exact. The clock "
            "frequency is a target until place and route has met it, and so are the frames per second. No power is "
            "claimed without a measurement.",
        ),
        tag("table", tag("thead", tag("tr", *head)), tag("tbody", *map(_compared, rows)), class_="wide"),
        None if plan else missing("plan for a row of ours", _command("plan", source, "plan", "--board marble ")),
    )
