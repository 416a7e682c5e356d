"""A LiteX core: a Python module that instantiates the Verilog."""

from .contents import Contents, verbatim

__all__ = ["files"]


def files(contents: Contents) -> dict[str, str]:
    return {"psahw_litex.py": verbatim("psahw_litex.py"), "__init__.py": ""}
