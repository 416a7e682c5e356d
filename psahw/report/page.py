"""One HTML page about a network and its circuit: no script, no external resource, nothing to install."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..network.frontier import Candidate
from . import comparison, drawing
from .comparison import Figure
from .curves import frontier_chart, training_charts
from .markup import Markup, join, tag

__all__ = ["render"]

_RESOURCES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36"}
_LEARNED = ("channel_mixing.table_in", "channel_mixing.table_hidden")


def _number(value, digits: int = 0) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return " to ".join(_number(v) for v in value)
    return (
        f"{value:,.{digits}f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def _kind(kind: str) -> Markup:
    return tag("span", kind, class_=f"kind {kind}")


def _cell(value, digits: int = 1) -> Markup:
    """A table's cell; a `Figure` shows how it was come by."""
    if isinstance(value, Figure):
        if value.value is None:
            return tag("td", "–", class_="number")
        shown = _number(float(value.value), digits).removesuffix(".0")
        return tag("td", shown, None if value.kind == "published" else _kind(value.kind), class_="number")
    number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return tag("td", value if isinstance(value, Markup) else _number(value, 1), class_="number" if number else None)


def _table(columns, rows, *, total=None) -> Markup:
    numeric = [any(isinstance(row[i], int | float | Figure) for row in rows) for i in range(len(columns))]
    head = [tag("th", name, class_="number" if n else None) for name, n in zip(columns, numeric, strict=True)]
    body = [tag("tr", *map(_cell, row)) for row in rows]
    if total is not None:
        body.append(tag("tr", *map(_cell, total), class_="total"))
    return tag("div", tag("table", tag("tr", *head), *body), class_="scroll")


def _missing(what: str, command: str) -> Markup:
    return tag("p", f"No {what} was given. This makes one: ", tag("code", command), class_="missing")


def _section(title: str, *content) -> Markup:
    return join(tag("h2", title), *content)


def _card(value, what, kind=None) -> Markup:
    label = tag("span", what, " ", kind and _kind(kind), class_="what")
    return tag("div", tag("b", value), label, class_="card")


def _cards(info, plan, simulation, evaluation, synth) -> Markup:
    cards = []
    if evaluation:
        shown = f"{evaluation['accuracy']:.2f} %"
        what = f"accuracy, {evaluation['images']:,} images of {evaluation['dataset']}"
        cards.append(_card(shown, what, "measured"))
    for name, value in info["accuracy"].items():
        cards.append(_card(f"{value:.2f} %", f"{name} accuracy, as recorded in the network", "measured"))
    if simulation:
        wrong = simulation["mismatched_logits"]
        cards.append(_card(_number(wrong), f"wrong logits in {simulation['images']:,} simulated images", "measured"))
    if plan:
        interval = plan["frame_interval"]
        agrees = bool(simulation) and simulation.get("frame_interval") == interval
        cards.append(_card(_number(int(plan["fps"])), f"frames a second at {plan['clock_hz'] / 1e6:g} MHz", "target"))
        what = "cycles between frames" + (", plan and simulation" if agrees else "")
        cards.append(_card(_number(interval), what, "measured" if agrees else None))
        latency = plan["latency"] / plan["clock_hz"] * 1e6
        cards.append(_card(f"{latency:,.0f} µs", f"latency, {plan['latency']:,} cycles", "target"))
    cards.append(_card(f"{info['macs'] / 1e6:.2f} M", "multiply-accumulates a frame"))
    cards.append(_card(_number(info["weights_nonzero"]), f"weights that are not zero, of {info['weights']:,}"))
    cards.append(_card(_number(info["tables"]), f"tables, {info['tables_distinct']:,} of them distinct"))
    return tag("div", *cards, class_="cards")


def _meter(share: float) -> Markup:
    return tag("span", tag("i", style=f"width: {min(100.0, 100 * share):.1f}%"), class_="meter")


def _resources(plan, synth) -> Markup:
    rows = []
    for key, name in _RESOURCES.items():
        amount, limit = plan["resources"].get(key), plan["limits"].get(key)
        if amount is None:
            continue
        measured = Figure(synth["resources"].get(key), "measured") if synth else Figure(None)
        share = amount / limit if limit else None
        meter = Markup("") if share is None else _meter(share)
        rows.append(
            [name, Figure(amount, "estimated"), measured, limit, f"{100 * share:.0f} %" if share else "–", meter]
        )
    columns = ["", "plan", "Yosys", "limit", "share", ""]
    return _table(columns, rows)


def _pipeline(info, plan, synth) -> Markup:
    if not plan:
        return _missing("plan", f"psahw plan {info['network']} --board marble --json > plan.json")
    rows = [
        [s.get("name"), s.get("engine"), s.get("interval"), *(s["resources"].get(k) for k in _RESOURCES)]
        for s in plan["stages"]
    ]
    total = ["total", "", plan["frame_interval"], *(plan["resources"].get(k) for k in _RESOURCES)]
    costs = [join(name, " ", _kind("estimated")) for name in _RESOURCES.values()]
    columns = ["stage", "engine", "cycles a frame", *costs]
    return join(
        tag(
            "p",
            f"{plan.get('board', '')} ({plan.get('device', '')}), a frame every {plan['frame_interval']:,} cycles. "
            "The bar in a box is the share of that time in which the component is busy. "
            f"Limited by: {plan.get('limited_by') or 'nothing stated'}. Costs with ≈: ",
            _kind("estimated"),
        ),
        tag("div", drawing.pipeline(plan), class_="scroll"),
        tag("h3", "Resources"),
        _resources(plan, synth),
        None if synth else _missing("synthesis result", _again("synth", info, plan)),
        tag("details", tag("summary", "Every stage as a table"), _table(columns, rows, total=total)),
    )


def _again(command, info, plan) -> str:
    board = (plan or {}).get("board") or "marble"
    return f"psahw {command} {info['network']} --board {board} --json > {command}.json"


def _simulation(info, plan, simulation) -> Markup:
    if not simulation:
        return _missing("simulation result", f"psahw simulate {info['network']} --images 20 --json > simulation.json")
    rows = [
        ["wrong logits", simulation["mismatched_logits"], 0],
        ["wrong classes", simulation["mismatched_classes"], 0],
        ["cycles between frames", simulation["frame_interval"], simulation["frame_interval_predicted"]],
        ["latency, cycles", simulation["latency"], simulation["latency_predicted"]],
    ]
    stalls = " with random stalls on both ends" if simulation.get("stalls") else " back to back"
    speed = simulation.get("sim_cycles_per_second")
    return join(
        tag(
            "p",
            f"The Verilog, run by Verilator on {simulation['images']:,} images{stalls}, against the integer model"
            + (f"; {speed:,.0f} clock cycles a second." if speed else "."),
        ),
        _table(
            ["", "measured", "expected"],
            [
                [name, Markup(_number(found)) if isinstance(found, list) else found, wanted]
                for name, found, wanted in rows
            ],
        ),
    )


def _network(info) -> Markup:
    keys = ("vectors", "weights", "weights_nonzero", "weight_bits", "macs", "adder_luts")
    layers = [
        [layer["name"], f"{layer['inputs']} → {layer['outputs']}", *(layer[k] for k in keys)]
        for layer in info["layers"]
    ]
    total = ["total", "", None, *(info[k] for k in keys[1:])]
    stages = "; then ".join(
        f"{s['blocks']} blocks on {s['grid'][0]}×{s['grid'][1]} tokens of {s['channels']} channels"
        for s in info["stages"]
    )
    height, width, colours = info["image"]
    patch = info["patch"]
    return join(
        tag(
            "p",
            f"Images of {height}×{width}×{colours}, windows of {patch['size']}×{patch['size']} at stride "
            f"{patch['stride']}; {stages}; {len(info['classes'])} classes.",
        ),
        _table(
            [
                *("layer", "inputs → outputs", "vectors", "weights", "non-zero", "bits", "MAC a frame"),
                join("LUTs as an adder graph ", _kind("estimated")),
            ],
            layers,
            total=total,
        ),
    )


def _training(runs: Mapping[str, list[dict]]) -> Markup:
    charts = training_charts(dict(runs))
    accuracy = " and accuracy on the validation images" if len(charts) > 1 else ""
    text = f"Mean loss{accuracy} after each epoch, from the runs' logs. "
    return join(tag("p", text, _kind("measured")), *(tag("div", one) for one in charts))


def _frontier(found: Sequence[Candidate]) -> Markup:
    rows = [
        [c.network, Figure(c.luts, "estimated"), Figure(c.validation, "measured"), Figure(c.test, "measured"),
         c.weight_bits, c.weights_nonzero, "yes" if c.pareto else ""]
        for c in found
    ]  # fmt: skip
    columns = ["network", "LUTs", "validation, %", "test, %", "bits", "non-zero weights", "Pareto set"]
    text = "Every layer as a parallel adder graph, a vector a clock. No network beats one of the Pareto set in both."
    drawn = frontier_chart(found) if any(c.validation is not None for c in found) else None
    return join(tag("p", text), drawn, _table(columns, rows))


def _place(name: str, values: np.ndarray) -> Markup:
    distinct = np.unique(values, axis=0)
    alike = len(distinct) == 1 and len(values) > 1
    title = f"{name}: {'all ' if alike else ''}{len(values)} functions{' alike' if alike else ''}"
    return tag("div", tag("h3", title), drawing.functions(distinct if alike else values))


def _functions(tables: Mapping[str, np.ndarray]) -> Markup:
    learned = {k: v for k, v in tables.items() if k.endswith(_LEARNED)}
    others = {k: v for k, v in tables.items() if k not in learned}
    parts = [
        tag(
            "p",
            "Every function of every neuron, as the 256 entries that the hardware holds: code in, -128 to 127, from "
            "left to right, code out upwards.",
        )
    ]
    if learned:
        parts.append(tag("div", *(_place(k, v) for k, v in learned.items()), class_="places"))
    if others:
        inside = tag("div", *(_place(k, v) for k, v in others.items()), class_="places")
        text = f"The {len(others)} other places with tables: scales, saturations and residual paths"
        parts.append(tag("details", tag("summary", text), inside))
    if not tables:
        parts = [tag("p", "This network has no tables.")]
    return join(*parts)


def _accuracy(info, evaluation) -> Markup:
    command = f"psahw evaluate {info['network']} --json > evaluation.json"
    if not evaluation:
        return _missing("evaluation", command)
    line = (
        f"The integer model answers {evaluation['correct']:,} of {evaluation['images']:,} images of "
        f"{evaluation['dataset']} rightly: {evaluation['accuracy']:.2f} %"
    )
    parts = [tag("p", line, " ", _kind("measured"))]
    if matrix := evaluation.get("confusion"):
        parts.append(tag("p", "True classes in rows, answers in columns.", class_="soft"))
        parts.append(drawing.confusion(matrix, info["classes"]))
    if evaluation["images"] < comparison.WHOLE_TEST_SET:
        parts.append(
            tag("p", "A sample, not the whole test set. The whole: ", tag("code", command), class_="missing")
        )
    return join(*parts)


def _comparison(info, plan, simulation, evaluation, synth) -> Markup:
    rows = list(comparison.PUBLISHED)
    if plan:
        rows.append(comparison.our_system(info, plan, simulation, evaluation, synth))
    columns = ["system", "device", "accuracy, %", "FPS", "LUT", "DSP", "BRAM36", "FPS/LUT", "FPS/DSP", "MHz", "W"]
    head = [tag("th", name, class_="number" if i > 1 else None) for i, name in enumerate(columns)]
    body = []
    for row in rows:
        figures = [(row.accuracy, 2 if row.ours else 1), (row.fps, 0 if row.ours else 1), (row.lut, 0), (row.dsp, 0)]
        figures += [
            (row.bram36, 1),
            (row.fps_per(row.lut), 2),
            (row.fps_per(row.dsp), 1),
            (row.mhz, 0),
            (row.watt, 1),
        ]
        cells = [_cell(figure, digits) for figure, digits in figures]
        body.append(
            tag("tr", tag("td", row.system), tag("td", row.device), *cells, class_="ours" if row.ours else None)
        )
    return join(
        tag(
            "p",
            "CIFAR-10. Figures without a mark are published ones. Our frame interval is exact; the clock is a target "
            "until place and route has met it, and so are frames a second. No watt is claimed without a measurement.",
        ),
        tag("div", tag("table", tag("tr", *head), *body), class_="scroll"),
        None
        if plan
        else _missing("plan, so our row", f"psahw plan {info['network']} --board marble --json > plan.json"),
    )


def render(
    info: dict,
    tables: Mapping[str, np.ndarray],
    *,
    plan: dict | None = None,
    simulation: dict | None = None,
    evaluation: dict | None = None,
    synth: dict | None = None,
    runs: Mapping[str, list[dict]] | None = None,
    frontier: Sequence[Candidate] | None = None,
) -> str:
    """The page. ``info`` is `psahw.network.summary.summarise`'s, ``tables`` int8 (functions, 256) by place; ``runs`` are
    the epochs of runs by name (`curves.read_run`), ``frontier`` networks to compare; the others are what ``psahw
    plan``, ``simulate``, ``evaluate`` and ``synth`` print with ``--json``."""
    name = info["network"]
    kinds = [
        ("measured", "by running the model, the simulation or the synthesis"),
        ("estimated", "by the plan's cost model"),
        ("target", "to be met by place and route"),
    ]
    legend = [join(_kind(kind), f" {what}; ") for kind, what in kinds]
    body = tag(
        "main",
        tag("h1", name),
        tag(
            "p",
            f"A psahw network, digest {info['digest'][:16]}. Marks: ",
            *legend,
            "unmarked: exact counts.",
            class_="soft",
        ),
        _cards(info, plan, simulation, evaluation, synth),
        _section("Pipeline", _pipeline(info, plan, synth)),
        _section("Simulation", _simulation(info, plan, simulation)),
        _section("Accuracy", _accuracy(info, evaluation)),
        _section("Comparison", _comparison(info, plan, simulation, evaluation, synth)),
        _section("Network", _network(info)),
        _section("Frontier", _frontier(frontier)) if frontier else None,
        _section("Training", _training(runs)) if runs else None,
        _section("Learned functions", _functions(tables)),
        tag("footer", tag("p", f"psahw {version('psahw')}")),
    )
    style = Markup((Path(__file__).parent / "style.css").read_text())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{name} – psahw"),
        tag("style", style),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"
