"""A Verilog file as Amaranth writes it, split into modules that can be synthesised one by one.

Each component is one module, instances have no parameters, and memories are read from files.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Module", "batches", "split", "wrapper"]

_MODULE = re.compile(r"(?m)^module (\\\S+ |\w+)\s*\((.*?)\);$(.*?)^endmodule$", re.DOTALL)
_PORT = re.compile(r"(?m)^  (?:input|output|inout) [^;]*;$")
_INSTANCE = re.compile(r"(?m)^  (\\\S+ |\w+)\s+(?:\\\S+ |\w+)\s*\($")
_MEMORY = re.compile(r'\$readmem[bh]\("([^"]+)"')


@dataclass(frozen=True)
class Module:
    """A module of a Verilog file.

    Parameters
    ----------
    name
        Its name, without a backslash.
    text
        Its Verilog.
    stub
        Its Verilog as a black box.
    children
        Names of the modules that it instantiates.
    """

    name: str
    text: str = field(repr=False)
    stub: str = field(repr=False)
    children: tuple[str, ...]

    @property
    def memories(self) -> list[str]:
        """Names of the files with the contents of the memories."""
        return _MEMORY.findall(self.text)

    def key(self, directory: Path, *settings: str) -> str:
        """Return a hash of everything that determines the result of synthesis.

        That is the text, in which the ports of the children have their names, the memory files in ``directory`` that
        it reads, and ``settings``.
        """
        state = hashlib.sha256("\n".join(settings).encode())
        contents = _MEMORY.sub(
            lambda match: hashlib.sha256((directory / match[1]).read_bytes()).hexdigest(), self.text
        )
        state.update(contents.encode())
        return state.hexdigest()


def _plain(name: str) -> str:
    """Return a name without its backslash."""
    return name.strip().removeprefix("\\")


def split(source: str) -> dict[str, Module]:
    """Return the modules of a Verilog text by name. Raises ValueError if there are none."""
    matches = list(_MODULE.finditer(source))
    if not matches:
        raise ValueError("the text holds no Verilog module")
    names = {_plain(match[1]) for match in matches}
    modules = {}
    for match in matches:
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
    """Return modules in batches of about ``size`` characters, the largest modules first.

    A batch ends with the module that reaches ``size``. A synthesiser takes seconds to start, and more than
    proportional time for very large texts.
    """
    result: list[list[Module]] = []
    room = 0
    for module in sorted(modules, key=lambda module: -len(module.text)):
        if room <= 0:
            result.append([])
            room = size
        result[-1].append(module)
        room -= len(module.text)
    return result


def wrapper(batch: Sequence[Module], modules: dict[str, Module], top: str) -> str:
    """Return a Verilog text for the synthesis of a batch.

    It holds the modules of the batch, all others that they instantiate as black boxes, and a module ``top`` that
    instantiates each module of the batch with nothing connected.

    Parameters
    ----------
    batch
        The modules.
    modules
        All modules by name.
    top
        Name of the module that holds the instances.
    """
    names = {module.name for module in batch}
    boxes = dict.fromkeys(child for module in batch for child in module.children if child not in names)
    instances = "\n".join(f"  (* keep *) \\{module.name} part_{n} ();" for n, module in enumerate(batch))
    texts = [module.text for module in batch] + [modules[name].stub for name in boxes]
    return "\n\n".join([*texts, f"module {top};\n{instances}\nendmodule\n"])
