"""The pipeline of a plan as boxes in lines. Their look comes from the style sheet, by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..display import counted
from .markup import Markup, tag

__all__ = ["pipeline_picture"]

Stage = Mapping[str, Any]  # an entry of ``stages`` in a plan's JSON


def _compact(value: float) -> str:
    """Return a number with one decimal place, unless that is zero."""
    return f"{value:,.1f}".removesuffix(".0")


def _cost(resources: Mapping[str, float]) -> str:
    """Return the resources of a stage as text, marked as the estimates that they are."""
    names = {"dsp": "DSP", "bram36": "BRAM", "lut": "LUT"}
    cost = "  ".join(f"{_compact(resources[key])} {name}" for key, name in names.items() if resources.get(key))
    return f"≈ {cost}" if cost else ""


def _shape(stage: Stage) -> str:
    """Return the size of a stage as text; how many stand side by side comes first."""
    slices, shape = stage.get("slices", 1), _shape_of_one(stage)
    return " × ".join(filter(None, (str(slices), shape))) if slices > 1 else shape


def _shape_of_one(stage: Stage) -> str:
    """Return the size of one of the components that stand side by side in a stage, as text."""
    match stage:
        case {"engine": "MacArray", "inputs": inputs, "outputs": outputs, "rows": rows, "columns": columns}:
            return f"{outputs}×{inputs} on {rows}×{columns}"
        case {"engine": "GraphEngine", "inputs": inputs, "outputs": outputs, "digit": None}:
            additions = stage.get("additions", 1)
            return f"{outputs}×{inputs}, parallel" + (f", {additions} additions deep" if additions > 1 else "")
        case {"engine": "GraphEngine", "inputs": inputs, "outputs": outputs, "digit": digit}:
            return f"{outputs}×{inputs}, digit {digit}"
        case {"engine": "LocalMixing", "kernel": kernel, "lanes": lanes}:
            return f"{_extent(kernel)} taps, {counted(lanes, 'lane')}"
        case {"engine": "Transpose", "rows": rows, "columns": columns}:
            return f"{rows}×{columns}"
        case {"engine": "TableRom", "channels": channels, "distinct": distinct}:
            return counted(channels, "function") if distinct else "one function"
        case {"engine": "Windows", "size": size, "stride": stride}:
            return f"{_extent(size)}, stride {stride[0] if stride[0] == stride[1] else _extent(stride)}"
        case {"engine": "Gather", "ratio": ratio}:
            return f"×{ratio}"
    return ""


def _extent(lengths: Sequence[int]) -> str:
    """Return rows and columns as text."""
    return "×".join(map(str, lengths))


def _box(stage: Stage, label: str, frame_interval: int) -> Markup:
    """Return a stage as a box.

    The bar in the box is the share of the frame interval in which the stage is busy.
    """
    lines = [stage.get("engine", ""), _shape(stage)]
    parts = [tag("b", label), *(tag("span", line) for line in lines if line)]
    if cost := _cost(stage.get("resources", {})):
        parts.append(tag("span", cost, class_="cost"))
    title = f"{stage.get('name')}: {stage.get('engine')}"
    if busy := stage.get("interval"):
        share = min(1.0, busy / frame_interval)
        parts.append(tag("span", tag("i", style=f"width: {100 * share:.1f}%"), class_="busy"))
        title += f", busy in {busy:,} of {frame_interval:,} cycles"
    return tag("div", *parts, title=title, class_=f"box engine-{stage.get('engine', '')}")


def _lines(stages: Sequence[Stage]) -> list[tuple[Stage | None, list[Stage]]]:
    """Return the stages line by line: a residual connection with its stages, or the stages between two of them."""
    lines: list[tuple[Stage | None, list[Stage]]] = []
    for stage in stages:
        name = str(stage.get("name", ""))
        if stage.get("engine") == "Residual":
            lines.append((stage, []))
            continue
        if lines:
            residual, members = lines[-1]
            if residual is None or name.startswith(f"{residual['name']}."):
                members.append(stage)
                continue
        lines.append((None, [stage]))
    return lines


def _merging(stages: Sequence[Stage]) -> str:
    """Return the stage of the network whose patch merging begins a line, or the empty string."""
    name = stages[0]["name"]
    return name.partition(".merge")[0] if ".merge" in name else ""


def _bypass(residual: Stage, stages: Sequence[Stage], prefix: str) -> Markup:
    """Return the way around a branch to its adder, with its queue and its tables."""
    beats = counted(residual.get("queue") or 0, "beat")
    notes = [f"queue of {beats}, {_cost(residual.get('resources', {}))}".removesuffix(", ")]
    notes += [f"{s['name'].removeprefix(prefix)}: {_shape(s)}, {_cost(s.get('resources', {}))}" for s in stages]
    return tag("div", "around it: ", " → ".join(notes), class_="bypass")


def _line(residual: Stage | None, stages: Sequence[Stage], frame_interval: int) -> Markup:
    """Return one line of the picture: boxes from left to right, and a bypass below them."""
    title = residual["name"] if residual else _merging(stages)
    prefix = f"{title}."
    bypass = [s for s in stages if residual and s["name"].removeprefix(prefix).startswith("table_residual")]
    boxes = [_box(s, s["name"].removeprefix(prefix), frame_interval) for s in stages if s not in bypass]
    if residual:
        boxes.append(tag("div", "+", title="adder of the residual connection", class_="adder"))
    arrow = tag("span", "→", class_="arrow")
    chain = [part for box in boxes for part in (box, arrow)][:-1]
    return tag(
        "div",
        tag("h4", title) if title else None,
        tag("div", *chain, class_="branch"),
        _bypass(residual, bypass, prefix) if residual else None,
        class_="line",
    )


def pipeline_picture(plan: Mapping[str, Any]) -> Markup:
    """Return a picture of every stage of a plan with its engine, its cost and its share of the time.

    Each sublayer of the network is a line, which breaks where the page ends.
    """
    frame_interval = max(1, plan.get("frame_interval") or 1)
    lines = [_line(residual, stages, frame_interval) for residual, stages in _lines(plan.get("stages", []))]
    return tag("div", *lines, class_="pipeline")
