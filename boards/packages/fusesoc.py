"""Package for FuseSoC: Verilog with a core description (CAPI2)."""

from collections.abc import Iterable

from .contents import FILES, Contents, fill

__all__ = ["files"]

WAIVERS = "waivers.vlt"
SIMULATORS = ("verilator", "icarus", "modelsim")


def _fileset(name: str, entries: Iterable[str], *, file_type: str | None = None, comment: str | None = None) -> str:
    """Return a fileset in YAML, or no text if it has no files, because CAPI2 does not allow empty filesets."""
    lines = [f"      - {entry}\n" for entry in entries]
    if not lines:
        return ""
    remark = f"  # {comment}\n" if comment else ""
    kind = f"    file_type: {file_type}\n" if file_type else ""
    return f"{remark}  {name}:\n    files:\n{''.join(lines)}{kind}"


def files(contents: Contents) -> dict[str, str]:
    """Return the text of a FuseSoC package's files by name.

    FuseSoC copies the memory files into the directory where the tools run, because ``$readmemb`` has relative paths.
    """
    filesets = {
        "rtl": _fileset("rtl", contents.sources, file_type="verilogSource"),
        "memories": _fileset(
            "memories", (f"{name}: {{file_type: user, copyto: {name}}}" for name in contents.memories)
        ),
        "models": _fileset(
            "models",
            contents.models,
            file_type="verilogSource",
            comment="Models of primitives for simulators. Synthesis tools have their own.",
        ),
        "lint": _fileset("lint", [f"{WAIVERS}: {{file_type: vlt}}"]),
    }
    names = [name for name, text in filesets.items() if text]
    models = [f'"tool_{tool}? (models)"' for tool in SIMULATORS] if "models" in names else []
    text = fill(
        "psahw.core",
        network=contents.title,
        filesets="".join(filesets.values()),
        default=", ".join([*(name for name in names if name not in ("models", "lint")), *models]),
        lint=", ".join(name for name in ("lint", "models", "rtl", "memories") if name in names),
        top=contents.top,
    )
    return {"psahw.core": text, WAIVERS: (FILES.parents[1] / "lint" / WAIVERS).read_text()}
