"""Package for LiteX: a Python module that instantiates the Verilog."""

from .contents import Contents, verbatim

__all__ = ["files"]


def files(contents: Contents) -> dict[str, str]:
    """Return the text of a LiteX package's files by name."""
    return {"psahw_litex.py": verbatim("psahw_litex.py"), "__init__.py": ""}
