"""Markdown tables from records, and the places in pages where they belong.

A page marks the place of a table by two comments::

    <!-- table: simulation -->
    <!-- end of table -->

`render_page` replaces what lies between them. A figure that is not measured carries a mark: ``~`` for an estimate and
``*`` for a target.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from html import escape

from ..errors import UserError
from ..network.file import shipped
from .schema import Record

__all__ = ["TABLES", "Records", "markdown", "render_page"]

Records = dict[str, dict[str, Record]]
"""Records by kind and name, as `psahw.records.load_all` returns them."""

_PLACE = re.compile(r"(?P<open><!-- table: (?P<name>[a-z-]+) -->\n).*?(?P<close><!-- end of table -->)", re.DOTALL)
_NOTHING = "–"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, text: Collection[int] = (0,)) -> str:
    """Return a Markdown table.

    Parameters
    ----------
    header
        Headings.
    rows
        Cells, as many in each row as there are headings.
    text
        Columns that are aligned left. The others, with numbers, are aligned right.
    """
    rule = ["---" if column in text else "--:" for column in range(len(header))]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _number(value: float | int | str | None, digits: int | None = None) -> str:
    """Return a value as text, grouped by thousands, or a dash for None."""
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        return value
    if digits is not None:
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}" if value < 1e5 else f"{value:,.0f}"


def _figure(record: Record | None, what: str, digits: int | None = None) -> str:
    """Return a figure of a record with its mark, or a dash if it is not known."""
    if record is None:
        return _NOTHING
    for value in record.values:
        if value.what == what:
            mark = {"estimated": "~", "target": "*"}.get(value.how, "")
            number = _number(value.value, digits)
            return f"{number}{mark}" if mark == "*" else f"{mark}{number}"
    return _NOTHING


def _named(record: Record) -> str:
    """Return the subject of a record, as code if it is the name of a network that ships with psahw."""
    return f"`{record.subject}`" if record.subject in shipped() else record.subject


def _published(record: Record) -> list[str]:
    """Return a row for a published system."""
    figures = ("throughput", "lut", "dsp", "bram36", "clock")
    return [
        record.subject,
        _figure(record, "accuracy"),
        record.device,
        *(_figure(record, what) for what in figures),
        "published",
        "published",
    ]


# A measured clock is one that place and route reports (`psahw.records.capture`).
_CLOCKS = {"measured": "routed", "estimated": "estimated", "target": "requested"}


def _clock(plan: Record) -> str:
    """Return how the clock of a plan is known, in a word."""
    return next((_CLOCKS.get(value.how, _NOTHING) for value in plan.values if value.what == "clock"), _NOTHING)


def _ours(records: Records, name: str) -> list[str]:
    """Return a row for one of our plans, with its network's accuracy and the images that were simulated."""
    plan = records["plan"][name]
    simulation = records["simulation"].get(name)
    images = f"{simulation['images']:,} images, {simulation['wrong logits']} wrong" if simulation else "not simulated"
    figures = ("throughput", "lut", "dsp", "bram36", "clock")
    return [
        f"**psahw** {_named(plan)}, {plan.configuration}",
        _figure(records["accuracy"].get(plan.subject), "accuracy", 2),
        plan.device,
        *(_figure(plan, what) for what in figures),
        _clock(plan),
        images,
    ]


_SYSTEMS = ("system", "accuracy, %", "device", "FPS", "LUT", "DSP", "BRAM36", "MHz", "clock", "checked by")
_README = {
    "published": ("finn", "fracbnn", "resmlp-psa-xc7k160t", "nn2fpga-resnet8"),
    "plan": (
        "cifar10-psa/marble-mac",
        "cifar10-psa/kintex-budget",
        "cifar10-psa-lean/kintex-budget",
        "cifar10-psa-small/kintex-budget",
    ),
}


def readme(records: Records) -> str:
    """Return the README's table: four published systems and four of our plans."""
    rows = [_published(records["published"][name]) for name in _README["published"]]
    rows += [_ours(records, name) for name in _README["plan"]]
    return markdown(_SYSTEMS, rows, text=(0, 2, 8, 9))


def _plans(records: Records, cifar: bool) -> list[Record]:
    """Return our plans of networks for CIFAR-10, which the published systems are for, or those of all others."""
    for_cifar = {name for name, record in records["accuracy"].items() if record.configuration.startswith("CIFAR-10")}
    return [plan for plan in records["plan"].values() if (plan.subject in for_cifar) == cifar]


def comparison(records: Records) -> str:
    """Return the table of all published systems and all of our plans for CIFAR-10, by device and frame rate."""
    rows = [_published(record) for record in records["published"].values()]
    plans = sorted(_plans(records, True), key=lambda plan: (plan.device, float(plan["throughput"])))
    return markdown(_SYSTEMS, rows + [_ours(records, plan.name) for plan in plans], text=(0, 2, 8, 9))


def accuracy(records: Records) -> str:
    """Return the accuracies of the shipped networks on the test images and on the validation images."""
    header = (
        "network", "INT8, test images, %", "float, test images, %", "INT8, validation, %", "float, validation, %",
        "weights", "non-zero", "MAC per frame",
    )  # fmt: skip
    figures = (("accuracy", 2), ("float accuracy", 2), ("validation accuracy", 2), ("float validation accuracy", 2))
    counts = (("weights", None), ("non-zero weights", None), ("multiply-accumulates", None))
    rows = [
        [_named(record), *(_figure(record, what, digits) for what, digits in (*figures, *counts))]
        for record in records["accuracy"].values()
    ]
    return markdown(header, rows)


def plans(records: Records) -> str:
    """Return all plans: frame interval, latency and resources."""
    header = (
        "network", "configuration", "device", "frame interval", "latency", "MHz", "FPS",
        "LUT", "FF", "DSP", "BRAM36",
    )  # fmt: skip
    figures = ("frame interval", "latency", "clock", "throughput", "lut", "ff", "dsp", "bram36")
    rows = [
        [_named(plan), plan.configuration, plan.device, *(_figure(plan, what) for what in figures)]
        for plan in records["plan"].values()
    ]
    return markdown(header, rows, text=(0, 1, 2))


def simulations(records: Records) -> str:
    """Return all simulations: images, wrong logits, and measured against planned cadence."""
    header = (
        "network", "configuration", "mode", "images", "wrong logits", "frame interval", "planned",
        "latency", "planned", "commit",
    )  # fmt: skip
    figures = ("images", "wrong logits", "frame interval", "planned frame interval", "latency", "planned latency")
    rows = [
        [
            _named(record),
            record.configuration,
            str(record.get("mode", "")),
            *(_figure(record, what) for what in figures),
            record.commit,
        ]
        for record in records["simulation"].values()
    ]
    return markdown(header, rows, text=(0, 1, 2))


def synthesis(records: Records) -> str:
    """Return what Yosys makes of whole circuits beside the plan's estimate."""
    header = (
        "network", "configuration", "LUT", "estimate / Yosys", "FF", "estimate / Yosys", "DSP", "BRAM36",
        "highest clock, MHz", "commit",
    )  # fmt: skip
    rows = []
    for record in records["synthesis"].values():
        ratios = {key: f"{float(record[f'planned {key}']) / float(record[key]):.3f}" for key in ("lut", "ff")}
        row = [_named(record), record.configuration]
        row += [_figure(record, "lut"), ratios["lut"], _figure(record, "ff"), ratios["ff"]]
        row += [_figure(record, what) for what in ("dsp", "bram36", "highest clock")]
        rows.append([*row, record.commit])
    return markdown(header, rows, text=(0, 1))


def efficiency(records: Records) -> str:
    """Return frames per second for each LUT and each DSP, for published systems and our plans."""
    rows = []
    for record in (*records["published"].values(), *_plans(records, True)):
        throughput, luts, dsps = (record.get(what) for what in ("throughput", "lut", "dsp"))
        if not isinstance(throughput, int | float) or not isinstance(luts, int | float):
            continue
        per_dsp = f"{throughput / dsps:.1f}" if isinstance(dsps, int | float) and dsps else _NOTHING
        name = record.subject if record.source else f"{_named(record)}, {record.configuration}"
        rows.append([name, record.device, _figure(record, "throughput"), f"{throughput / luts:.3f}", per_dsp])
    return markdown(("system", "device", "FPS", "FPS per LUT", "FPS per DSP"), rows, text=(0, 1))


def others(records: Records) -> str:
    """Return our plans of networks for other data than CIFAR-10, with the accuracy of the network.

    Resources are those that Yosys counts, or estimates if the circuit was not synthesised.
    """
    header = (
        "network", "data", "accuracy, %", "configuration", "device", "LUT", "FF", "DSP", "BRAM36",
        "MHz", "frame interval", "latency", "FPS",
    )  # fmt: skip
    resources, cadence = ("lut", "ff", "dsp", "bram36"), ("clock", "frame interval", "latency", "throughput")
    rows = [
        [
            _named(plan),
            records["accuracy"][plan.subject].configuration,
            _figure(records["accuracy"][plan.subject], "accuracy", 2),
            plan.configuration,
            plan.device,
            *(_figure(records["synthesis"].get(plan.name, plan), what) for what in resources),
            *(_figure(plan, what) for what in cadence),
        ]
        for plan in _plans(records, False)
        if plan.subject in records["accuracy"]
    ]
    return markdown(header, rows, text=(0, 1, 3, 4))


def imports(records: Records) -> str:
    """Return how far imported models are from other tools, and what became of them in simulation."""
    header = (
        "model", "compared", "inputs", "same answer", "equal outputs, %", "largest difference, codes", "device",
        "simulated", "wrong outputs", "frame interval", "latency", "LUT", "FF", "DSP", "BRAM36",
    )  # fmt: skip
    compared = ("inputs", "same answers", "outputs that are equal", "largest difference")
    simulated = (
        "inputs of each simulation", "wrong outputs", "frame interval", "latency", "lut", "ff", "dsp", "bram36",
    )  # fmt: skip
    verification, rows = records["verification"], []
    for record in verification.values():
        if record.name.startswith("imports/compare/"):
            simulation = verification.get(record.name.replace("compare", "simulate"))
            device = _NOTHING if simulation is None else simulation.device
            figures = [_figure(record, what, 2 if "equal" in what else None) for what in compared]
            rows.append(
                [
                    record.subject,
                    record.configuration,
                    *figures,
                    device,
                    *(_figure(simulation, what) for what in simulated),
                ]
            )
    return markdown(header, rows, text=(0, 1, 6))


def sources(records: Records) -> str:
    """Return where each published row comes from."""
    rows = [[record.subject, record.device, record.source] for record in records["published"].values()]
    return markdown(("system", "device", "source"), rows, text=(0, 1, 2))


def _components(prefix: str, first: str, columns: Sequence[tuple[str, str]]) -> Callable[[Records], str]:
    """Return a function that renders the component records whose names begin with a prefix, one per row."""

    def table(records: Records) -> str:
        chosen = [record for record in records["component"].values() if record.name.startswith(prefix)]
        rows = [[record.configuration, *(_figure(record, what) for _, what in columns)] for record in chosen]
        return markdown((first, *(heading for heading, _ in columns)), rows)

    return table


def _listing(kind: str) -> Callable[[Records], str]:
    """Return a function that renders the table of a kind of records."""

    def table(records: Records) -> str:
        """Return every figure of every record of a kind, one record per row."""
        rows = []
        for record in records[kind].values():
            figures = "; ".join(
                f"{value.what} {_figure(record, value.what)}{f' {value.unit}' if value.unit else ''}"
                for value in record.values
            )
            subject = f"{_named(record)}, {record.configuration}" if record.configuration else _named(record)
            rows.append([subject, figures, f"`{record.command}`", f"{record.commit}, {record.date}"])
        return markdown(("what", "figures", "command", "commit, date"), rows, text=(0, 1, 2, 3))

    return table


_PROPERTIES = ("stable", "offers", "counts", "order", "live")


def proofs(records: Records) -> str:
    """Return the table of the proofs: a row for each component and size, a column for each property."""
    record = records["verification"].get("proofs")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for value in record.values if record else ():
        component, _, rest = value.what.partition(": ")
        size, _, properties = rest.partition(": ")
        for name in properties.split(", ") if properties else ():
            rows.setdefault((component, size), {})[name] = str(value.value)
    cells = ([*place, *(row.get(name, _NOTHING) for name in _PROPERTIES)] for place, row in rows.items())
    return markdown(("component", "size", *_PROPERTIES), cells, text=range(len(_PROPERTIES) + 2))


def mutations(records: Records) -> str:
    """Return the table of the mutants: a row for each group of modules."""
    figures = (
        "mutants", "noticed", "stopped because the tests took too long", "equivalent", "survivors",
        "survivors among those that are not equivalent",
    )  # fmt: skip
    header = ("group", "sample", "mutants", "noticed", "stopped", "equivalent", "survivors", "survivors, %", "commit")
    rows = [
        [
            record.name.removeprefix("mutation/"),
            record.configuration,
            *(_figure(record, figure) for figure in figures),
            record.commit,
        ]
        for record in records["verification"].values()
        if record.name.startswith("mutation/")
    ]
    return markdown(header, rows, text=(0, 1, 8))


def survivors(records: Records) -> str:
    """Return the table of the mutants that no test has noticed: places, changed lines, and reasons."""
    rows = []
    for record in records["verification"].values():
        for value in record.values:
            if value.what.startswith("survivor "):
                place = value.what.removeprefix("survivor ").partition(",")[0]
                line, _, reason = str(value.value).rpartition("  # ")
                rows.append([f"`{place}`", f"<code>{escape(line).replace('|', '&#124;')}</code>", reason])
    return markdown(("place", "faulty line", "why"), rows, text=(0, 1, 2))


TABLES: dict[str, Callable[[Records], str]] = {
    "readme": readme,
    "comparison": comparison,
    "others": others,
    "accuracy": accuracy,
    "plans": plans,
    "simulations": simulations,
    "synthesis": synthesis,
    "efficiency": efficiency,
    "imports": imports,
    "sources": sources,
    "adder-graphs": _components(
        "adder-graph/",
        "outputs x inputs, bits",
        (
            ("adders", "adders"),
            ("adder bits", "adder bits"),
            ("LUT", "lut"),
            ("estimate", "planned lut"),
            ("FF", "ff"),
            ("estimate", "planned ff"),
            ("latency, cycles", "latency"),
        ),
    ),
    "adder-graph-blocks": _components(
        "adder-graph-blocks/",
        "matrix, rows at a time",
        (("solved in, s", "time"), ("adder bits", "adder bits")),
    ),
    "training-steps": _components(
        "training-step/",
        "shape",
        (
            ("GELU, ms", "gelu"),
            ("PSA at input and hidden, ms", "psa"),
            ("PSA compiled by torch, ms", "psa compiled"),
        ),
    ),
    "routing": _listing("routing"),
    "training": _listing("training"),
    "boards": _listing("board"),
    "times": _listing("time"),
    "proofs": proofs,
    "mutations": mutations,
    "survivors": survivors,
}
"""The tables by the names that pages use for them."""


def render_page(text: str, records: Records) -> str:
    """Return a page with its tables rendered anew.

    Raises
    ------
    UserError
        If the page asks for a table that does not exist.
    """

    def table(place: re.Match) -> str:
        name = place["name"]
        if name not in TABLES:
            raise UserError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        return f"{place['open']}{TABLES[name](records)}\n{place['close']}"

    return _PLACE.sub(table, text)
