"""The report's pictures, as inline SVG. Colours come from the page's style sheet, by class."""

from itertools import pairwise

import numpy as np

from .markup import Markup, join, tag

__all__ = ["confusion", "functions", "pipeline"]

# -- functions ------------------------------------------------------------------------------------------------

_CELL, _PITCH, _ACROSS = 64, 80, 16


def _curve(values: np.ndarray) -> str:
    """One table as a path in a cell of 64 x 64: every fourth code, steps of one slope drawn as one line."""
    heights = [64 - round((int(v) + 128) / 4) for v in (*values[::4], values[-1])]
    path, run = [f"M0 {heights[0]}"], [0, 0]
    for before, after in pairwise(heights):
        rise = after - before
        if run[0] and run[1] != rise:
            path.append(f"l{run[0]} {run[0] * run[1]}")
            run = [0, rise]
        run = [run[0] + 1, rise]
    return "".join([*path, f"l{run[0]} {run[0] * run[1]}"])


def functions(values: np.ndarray) -> Markup:
    """Small multiples of the functions of one place, int8 (functions, 256): code in to code out."""
    curves = []
    for index, row in enumerate(values):
        y, x = divmod(index, _ACROSS)
        place = f"translate({x * _PITCH} {y * _PITCH})"
        curves.append(
            tag(
                "g",
                tag("path", d=f"M0 32H{_CELL}M32 0V{_CELL}", class_="axis"),
                tag("path", tag("title", index), d=_curve(row), class_="curve"),
                transform=place,
            )
        )
    rows = -(-len(values) // _ACROSS)
    columns = min(_ACROSS, len(values))
    return tag(
        "svg",
        *curves,
        viewBox=f"-4 -4 {columns * _PITCH} {rows * _PITCH}",
        class_="functions",
        style=f"max-width: {columns * 34}px",
        role="img",
    )


# -- pipeline -------------------------------------------------------------------------------------------------

_BOX, _SMALL, _HEIGHT, _GAP, _LINE = 172, 66, 84, 22, 176


def _compact(value) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _cost(resources: dict) -> str:
    names = {"dsp": "DSP", "bram36": "BRAM", "lut": "LUT"}
    cost = "  ".join(f"{_compact(resources[k])} {name}" for k, name in names.items() if resources.get(k))
    return f"≈ {cost}" if cost else ""  # the plan's costs are estimates


def _shape(stage: dict) -> str:
    beside, shape = stage.get("slices", 1), _one_shape(stage)
    return " × ".join(filter(None, (str(beside), shape))) if beside > 1 else shape


def _one_shape(stage: dict) -> str:
    match stage:
        case {"engine": "MacArray", "inputs": inputs, "outputs": outputs, "rows": rows, "columns": columns}:
            return f"{outputs}×{inputs} on {rows}×{columns}"
        case {"engine": "GraphEngine", "inputs": inputs, "outputs": outputs, "digit": digit}:
            return f"{outputs}×{inputs}, {f'digit {digit}' if digit else 'parallel'}"
        case {"engine": "LocalMixing", "kernel": kernel, "lanes": lanes}:
            return f"{kernel}×{kernel} taps, {lanes} lanes"
        case {"engine": "Transpose", "rows": rows, "columns": columns}:
            return f"{rows}×{columns}"
        case {"engine": "TableRom", "channels": channels, "distinct": distinct}:
            return f"{channels} functions" if distinct else "one function"
        case {"engine": "Windows", "size": size, "stride": stride}:
            return f"{size}×{size}, stride {stride}"
        case {"engine": "Gather", "ratio": ratio}:
            return f"×{ratio}"
    return ""


def _text(x, y, content, class_=None, **attributes):
    return tag("text", content, x=x, y=y, class_=class_, **attributes)


def _box(stage: dict, label: str, x: float, y: float, interval: int) -> tuple[Markup, int]:
    """A stage as a box and its width. The bar is the share of the frame interval in which it is busy."""
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
        share = min(1.0, busy / interval)
        parts.append(tag("rect", x=x + 9, y=y + 75, width=width - 18, height=3, class_="idle"))
        parts.append(tag("rect", x=x + 9, y=y + 75, width=round((width - 18) * share, 1), height=3, class_="busy"))
    facts = f"{stage.get('name')}: {stage.get('engine')}"
    if busy:
        facts += f", busy {busy:,} of {interval:,} cycles"
    return tag("g", tag("title", facts), *parts), width


def _rows(stages: list[dict]) -> list[tuple[dict | None, list[dict]]]:
    """(residual or None, stages) a line: a residual with all that is named after it, else what is between."""
    rows: list[tuple[dict | None, list[dict]]] = []
    for stage in stages:
        name = str(stage.get("name", ""))
        if stage.get("engine") == "Residual":
            rows.append((stage, []))
        elif rows and (rows[-1][0] is None or name.startswith(f"{rows[-1][0]['name']}.")):
            rows[-1][1].append(stage)
        else:
            rows.append((None, [stage]))
    return rows


def _merging(stages: list[dict]) -> str:
    """The stage of the network that a line of merging begins."""
    name = stages[0]["name"]
    return name.partition(".merge")[0] if ".merge" in name else ""


def _line(residual, stages, y, interval) -> tuple[Markup, int]:
    """One line of the picture and its width: boxes from left to right, a residual's way round below them."""
    title = residual["name"] if residual else _merging(stages)
    prefix = f"{title}."
    bypass = [s for s in stages if residual and s["name"].removeprefix(prefix).startswith("table_residual")]
    branch = [s for s in stages if s not in bypass]
    x, middle, parts = (
        30,
        y + _HEIGHT / 2,
        [_text(0, y - 10, title, "row")],
    )
    if residual:
        parts.append(tag("circle", cx=x, cy=middle, r=4, class_="node"))
        x += 4
    start = x
    for stage in branch:
        parts.append(tag("path", d=f"M{x} {middle}h{_GAP}", class_="wire", marker_end="url(#tip)"))
        box, width = _box(stage, stage["name"].removeprefix(prefix), x + _GAP, y, interval)
        parts.append(box)
        x += _GAP + width
    parts.append(tag("path", d=f"M{x} {middle}h{_GAP}", class_="wire", marker_end="url(#tip)"))
    if residual:
        x += _GAP + 10
        below = y + _HEIGHT + 30
        parts.append(tag("path", d=f"M{start - 4} {middle}V{below}H{x}V{middle + 11}", class_="wire", fill="none"))
        parts.append(tag("circle", cx=x, cy=middle, r=10, class_="add"))
        parts.append(tag("path", d=f"M{x - 5} {middle}h10M{x} {middle - 5}v10", class_="wire"))
        parts.append(tag("path", d=f"M{x + 10} {middle}h{_GAP}", class_="wire", marker_end="url(#tip)"))
        notes = [f"queue of {residual.get('queue') or 0:,}"] + [
            f"{s['name'].removeprefix(prefix)}: {_shape(s)}, {_cost(s.get('resources', {}))}" for s in bypass
        ]
        notes[0] += f" beats, {_cost(residual.get('resources', {}))}"
        parts.append(_text(start + 20, below - 7, "   →   ".join(notes), "bypass"))
    return join(*parts), x + 2 * _GAP


def pipeline(plan: dict) -> Markup:
    """Every stage of the plan with engine, cost and share of time; a line for each sublayer."""
    interval = max(1, plan.get("frame_interval") or 1)
    lines, width, y = [], 0, 30
    for residual, stages in _rows(plan.get("stages", [])):
        line, extent = _line(residual, stages, y, interval)
        lines.append(line)
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
        *lines,
        viewBox=f"-4 0 {width + 8} {y}",
        class_="pipeline",
        style=f"min-width: {round(width * 0.8)}px; max-width: {width + 8}px",
        role="img",
        aria_label="pipeline",
    )


# -- confusion matrix -----------------------------------------------------------------------------------------


def confusion(matrix: list[list[int]], classes: list[str]) -> Markup:
    """Rows are the true classes, columns the answers; shaded by the share of the row."""
    cell, left, top = 46, 110, 84
    parts = []
    for i, row in enumerate(matrix):
        total = max(1, sum(row))
        parts.append(_text(left - 8, top + i * cell + 28, classes[i], "label", text_anchor="end"))
        corner = f"translate({left + i * cell + 27} {top - 8}) rotate(-45)"
        parts.append(tag("text", classes[i], transform=corner, class_="label"))
        for j, count in enumerate(row):
            x, y = left + j * cell, top + i * cell
            share = count / total
            kind = "right" if i == j else "wrong"
            cell_title = tag("title", f"{classes[i]} taken for {classes[j]}: {count}")
            parts.append(tag("rect", x=x, y=y, width=cell - 2, height=cell - 2, rx=3, class_="empty"))
            if count:
                opacity = round(min(1, 0.12 + (0.88 if i == j else 2.5) * share), 3)
                parts.append(
                    tag("rect", cell_title, x=x, y=y, width=cell - 2, height=cell - 2, rx=3, class_=kind,
                        fill_opacity=opacity)
                )  # fmt: skip
                strong = "strong" if opacity > 0.55 else "count"
                parts.append(_text(x + cell / 2 - 1, y + 27, count, strong, text_anchor="middle"))
    size = left + len(matrix) * cell + 60, top + len(matrix) * cell + 4
    return tag(
        "svg", *parts, viewBox=f"0 0 {size[0]} {size[1]}", class_="confusion",
        style=f"max-width: {size[0]}px", role="img", aria_label="confusion matrix",
    )  # fmt: skip
