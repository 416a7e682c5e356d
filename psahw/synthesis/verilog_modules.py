"""A Verilog file as Amaranth writes it, taken apart into modules that can be synthesised one by one.

One module holds each component, instances carry no parameters, and memories are read from files.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Module", "batches", "split", "wrapper"]

_MODULE = re.compile(r"(?m)^module (\\\S+ |\w+)\s*\((.*?)\);$(.*?)^endmodule$", re.DOTALL)
_PORT = re.compile(r"(?m)^  (?:input|output|inout) [^;]*;$")
_INSTANCE = re.compile(r"(?m)^  (\\\S+ |\w+)\s+(?:\\\S+ |\w+)\s*\($")
_MEMORY = re.compile(r'\$readmem[bh]\("([^"]+)"')


@dataclass(frozen=True)
class Module:
    """One module: its name without a backslash, its text, and the names of the modules that it instantiates."""

    name: str
    text: str = field(repr=False)
    stub: str = field(repr=False)
    children: tuple[str, ...]

    @property
    def memories(self) -> list[str]:
        """The names of the files with the contents of its memories."""
        return _MEMORY.findall(self.text)

    def key(self, directory: Path, *settings: str) -> str:
        """A digest of the text, of the memory files in ``directory`` that it reads, of the children's ports' names
        (they stand in the text) and of ``settings``."""
        state = hashlib.sha256("\n".join(settings).encode())
        contents = _MEMORY.sub(
            lambda found: hashlib.sha256((directory / found[1]).read_bytes()).hexdigest(), self.text
        )
        state.update(contents.encode())
        return state.hexdigest()


def _plain(name: str) -> str:
    return name.strip().removeprefix("\\")


def split(source: str) -> dict[str, Module]:
    """The modules of a Verilog text by name. Raises ValueError if there are none."""
    found = list(_MODULE.finditer(source))
    if not found:
        raise ValueError("the text holds no Verilog module")
    names = {_plain(match[1]) for match in found}
    modules = {}
    for match in found:
        ports = "\n".join(_PORT.findall(match[3]))
        children = dict.fromkeys(name for name in map(_plain, _INSTANCE.findall(match[3])) if name in names)
        modules[_plain(match[1])] = Module(
            name=_plain(match[1]),
            text=match[0],
            stub=f"(* blackbox *)\nmodule {match[1]}({match[2]});\n{ports}\nendmodule",
            children=tuple(children),
        )
    return modules


def batches(modules: Iterable[Module], size: int) -> list[list[Module]]:
    """Modules in lots of ``size`` characters and a little more, a larger module by itself, the largest lot first.

    A synthesiser takes seconds to start, and longer than in proportion for very much text.
    """
    lots: list[list[Module]] = []
    room = 0
    for module in sorted(modules, key=lambda module: -len(module.text)):
        if room <= 0:
            lots.append([])
            room = size
        lots[-1].append(module)
        room -= len(module.text)
    return lots


def wrapper(lot: Iterable[Module], modules: dict[str, Module], top: str) -> str:
    """A text with the lot's modules, all others that they instantiate as black boxes, and a module ``top`` that
    instantiates each of the lot with nothing connected."""
    lot = list(lot)
    names = {module.name for module in lot}
    boxes = dict.fromkeys(child for module in lot for child in module.children if child not in names)
    inside = "\n".join(f"  (* keep *) \\{module.name} part_{n} ();" for n, module in enumerate(lot))
    texts = [module.text for module in lot] + [modules[name].stub for name in boxes]
    return "\n\n".join([*texts, f"module {top};\n{inside}\nendmodule\n"])
