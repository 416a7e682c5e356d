"""HTML and SVG by construction: text is escaped unless it is markup already."""

from html import escape

__all__ = ["Markup", "join", "tag"]

_VOID = {"meta", "br", "img"}


class Markup(str):
    """A string that is HTML already."""


def _render(child: object) -> str:
    """Return a child of an element as HTML; None renders as nothing."""
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escape(str(child))


def join(*children: object) -> Markup:
    """Return children side by side. Text is escaped, and None is left out."""
    return Markup("".join(map(_render, children)))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element, such as ``tag("td", 5, class_="number")``.

    Parameters
    ----------
    name
        Name of the element.
    children
        Markup or text, which is escaped. None is left out.
    attributes
        A trailing underscore is removed from a name, and other underscores become hyphens. None leaves an attribute
        out.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{join(*children)}</{name}>")
