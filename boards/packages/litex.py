"""A LiteX core: a Python module that instantiates the Verilog."""

from psahw.gateware.dsp48 import MODELS

from .contents import Contents, verbatim

__all__ = ["files"]


def files(contents: Contents) -> dict[str, str]:
    models = {MODELS.name: MODELS.read_text()} if contents.board.device.multiplier else {}
    return {"psahw_litex.py": verbatim("psahw_litex.py"), "__init__.py": ""} | models
