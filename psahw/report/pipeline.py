"""The pipeline of a plan as inline SVG. Colours come from the style sheet, by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from .markup import Markup, join, tag

__all__ = ["pipeline_picture"]

_BOX, _SMALL, _HEIGHT, _GAP, _LINE = 172, 66, 84, 22, 176

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
        case {"engine": "GraphEngine", "inputs": inputs, "outputs": outputs, "digit": digit}:
            return f"{outputs}×{inputs}, {f'digit {digit}' if digit else 'parallel'}"
        case {"engine": "LocalMixing", "kernel": kernel, "lanes": lanes}:
            return f"{kernel}×{kernel} taps, {lanes} lane{'' if lanes == 1 else 's'}"
        case {"engine": "Transpose", "rows": rows, "columns": columns}:
            return f"{rows}×{columns}"
        case {"engine": "TableRom", "channels": channels, "distinct": distinct}:
            return f"{channels} functions" if distinct else "one function"
        case {"engine": "Windows", "size": size, "stride": stride}:
            return f"{size}×{size}, stride {stride}"
        case {"engine": "Gather", "ratio": ratio}:
            return f"×{ratio}"
    return ""


def _text(x: float, y: float, content: str, class_: str | None = None) -> Markup:
    """Return a line of text at a place."""
    return tag("text", content, x=x, y=y, class_=class_)


def _box(stage: Stage, label: str, x: float, y: float, frame_interval: int) -> tuple[Markup, int]:
    """Return a stage as a box, and the width of the box.

    The bar in the box is the share of the frame interval in which the stage is busy.
    """
    small = stage.get("engine") == "Gather"
    width = _SMALL if small else _BOX
    parts = [
        tag("rect", x=x, y=y, width=width, height=_HEIGHT, rx=6, class_=f"box engine-{stage.get('engine', '')}"),
        _text(x + 9, y + 19, label.rpartition(".")[2] if small else label, "name"),
        _text(x + 9, y + 36, stage.get("engine", "")),
        _text(x + 9, y + 52, _shape(stage)),
    ]
    if not small:
        parts.append(_text(x + 9, y + 68, _cost(stage.get("resources", {})), "cost"))
    if busy := stage.get("interval"):
        share = min(1.0, busy / frame_interval)
        parts.append(tag("rect", x=x + 9, y=y + 75, width=width - 18, height=3, class_="idle"))
        parts.append(tag("rect", x=x + 9, y=y + 75, width=round((width - 18) * share, 1), height=3, class_="busy"))
    title = f"{stage.get('name')}: {stage.get('engine')}"
    if busy:
        title += f", busy in {busy:,} of {frame_interval:,} cycles"
    return tag("g", tag("title", title), *parts), width


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


def _wire(x: float, y: float) -> Markup:
    """Return an arrow to the next box."""
    return tag("path", d=f"M{x} {y}h{_GAP}", class_="wire", marker_end="url(#tip)")


def _bypass(
    residual: Stage, stages: Sequence[Stage], prefix: str, start: float, end: float, middle: float, below: float
) -> list[Markup]:
    """Return the way around a branch, from ``start`` to the adder at ``end``, with its queue and its tables."""
    notes = [f"queue of {residual.get('queue') or 0:,} beats, {_cost(residual.get('resources', {}))}"]
    notes += [f"{s['name'].removeprefix(prefix)}: {_shape(s)}, {_cost(s.get('resources', {}))}" for s in stages]
    return [
        tag("path", d=f"M{start} {middle}V{below}H{end}V{middle + 11}", class_="wire", fill="none"),
        tag("circle", cx=end, cy=middle, r=10, class_="add"),
        tag("path", d=f"M{end - 5} {middle}h10M{end} {middle - 5}v10", class_="wire"),
        _text(start + 24, below - 7, "   →   ".join(notes), "bypass"),
    ]


def _line(residual: Stage | None, stages: Sequence[Stage], y: float, frame_interval: int) -> tuple[Markup, float]:
    """Return one line of the picture and its width: boxes from left to right, and a bypass below them."""
    title = residual["name"] if residual else _merging(stages)
    prefix = f"{title}."
    bypass = [s for s in stages if residual and s["name"].removeprefix(prefix).startswith("table_residual")]
    branch = [s for s in stages if s not in bypass]
    start, middle = 30, y + _HEIGHT / 2
    parts = [_text(0, y - 10, title, "row")]
    x: float = start
    if residual:
        parts.append(tag("circle", cx=x, cy=middle, r=4, class_="node"))
        x += 4
    for stage in branch:
        box, width = _box(stage, stage["name"].removeprefix(prefix), x + _GAP, y, frame_interval)
        parts += [_wire(x, middle), box]
        x += _GAP + width
    parts.append(_wire(x, middle))
    if residual:
        x += _GAP + 10
        parts += _bypass(residual, bypass, prefix, start, x, middle, y + _HEIGHT + 30)
        parts.append(_wire(x + 10, middle))
    return join(*parts), x + 2 * _GAP


def pipeline_picture(plan: Mapping[str, Any]) -> Markup:
    """Return a picture of every stage of a plan with its engine, its cost and its share of the time.

    Each sublayer of the network is a line.
    """
    frame_interval = max(1, plan.get("frame_interval") or 1)
    parts: list[Markup] = []
    width: float = 0
    y = 30
    for residual, stages in _lines(plan.get("stages", [])):
        line, extent = _line(residual, stages, y, frame_interval)
        parts.append(line)
        width, y = max(width, extent), y + (_LINE if residual else _LINE - 40)
    tip = tag(
        "marker",
        tag("path", d="M0 0L7 3.5L0 7z", class_="tip"),
        id="tip",
        viewBox="0 0 7 7",
        refX=7,
        refY=3.5,
        markerWidth=7,
        markerHeight=7,
        orient="auto",
        markerUnits="userSpaceOnUse",
    )
    return tag(
        "svg",
        tag("defs", tip),
        *parts,
        viewBox=f"-4 0 {width + 8} {y}",
        class_="pipeline",
        style=f"min-width: {round(width * 0.8)}px; max-width: {width + 8}px",
        role="img",
        aria_label="pipeline",
    )
