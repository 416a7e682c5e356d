"""Package for Vivado: an IP, with the Tcl script that writes its ``component.xml``."""

from ..axi.registers import CORE, Register
from .contents import Contents, fill

__all__ = ["files", "register_list"]


def register_list(table: tuple[Register, ...]) -> str:
    """Return a register map as lines of a Tcl list, each with name, offset and description."""
    rows = [f"    {{{r.name} 0x{r.offset:03X} {{{r.description}}}}}" for r in table]
    return "\n".join(rows)


def files(contents: Contents) -> dict[str, str]:
    """Return the text of a Vivado package's files by name."""
    script = fill(
        "package_ip.tcl",
        network=contents.title,
        part=contents.part,
        top=contents.top,
        sources=" ".join(contents.sources),
        memories=" ".join(contents.memories),
        registers=register_list(CORE),
    )
    return {"package_ip.tcl": script, "clock.xdc": fill("clock.xdc", period=contents.clock_ns)}
