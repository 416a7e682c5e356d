"""HTML and SVG by construction: text is escaped unless it is markup already."""

from html import escape

__all__ = ["Markup", "join", "tag"]

_VOID = {"meta", "br"}


class Markup(str):
    """A string that is HTML already."""


def _render(child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escape(str(child))


def join(*children) -> Markup:
    return Markup("".join(map(_render, children)))


def tag(name: str, /, *children, **attributes) -> Markup:
    """``tag("td", 5, class_="number")``; an attribute's trailing underscore falls away, other underscores become
    hyphens. None leaves a child or an attribute out."""
    inside = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{inside}>")
    return Markup(f"<{name}{inside}>{join(*children)}</{name}>")
