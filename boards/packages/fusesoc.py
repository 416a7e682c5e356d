"""Package for FuseSoC: Verilog with a core description (CAPI2)."""

from .contents import FILES, Contents, fill

__all__ = ["files"]


def files(contents: Contents) -> dict[str, str]:
    """Return the text of a FuseSoC package's files by name.

    FuseSoC copies the memory files into the directory where the tools run, because ``$readmemb`` has relative paths.
    """
    memories = "".join(f"      - {name}: {{file_type: user, copyto: {name}}}\n" for name in contents.memories)
    text = fill(
        "psahw.core",
        network=contents.title,
        sources="".join(f"      - {name}\n" for name in contents.sources).rstrip("\n"),
        models="".join(f"      - {name}\n" for name in contents.models).rstrip("\n") or "      []",
        memories=memories.rstrip("\n") if memories else "      []",
        top=contents.top,
        part=contents.part,
        waivers="waivers.vlt",
    )
    return {"psahw.core": text, "waivers.vlt": (FILES.parents[1] / "lint" / "waivers.vlt").read_text()}
