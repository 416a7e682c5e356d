"""Register values that identify the circuit, from the manifest that `psahw.generate` writes."""

from .registers import ID, VERSION

__all__ = ["identity_values", "record_bytes"]


def record_bytes(manifest: dict) -> int:
    """Return the length of a result in bytes, as `psahw.boards.axi.records` sends it."""
    return 4 * (1 + manifest["classes"])


def identity_values(manifest: dict) -> dict[str, int]:
    """Return the values of the registers of `psahw.boards.axi.registers.identity`, by name.

    Raises
    ------
    ValueError
        If a value does not fit into 32 bits.
    """
    height, width = manifest["image"]
    digest = manifest["digest"]
    values = {
        "ID": ID,
        "VERSION": VERSION,
        "IMAGE": height << 16 | width,
        "SHAPE": manifest["colours"] << 16 | manifest["classes"],
        "FRAME_BYTES": height * width * manifest["colours"],
        "RECORD_BYTES": record_bytes(manifest),
        "FRAME_INTERVAL": manifest["frame_interval"],
        "LATENCY": manifest["latency"],
        "CLOCK_HZ": round(manifest["clock_hz"]),
    }
    values |= {f"HASH_{k}": int(digest[8 * k : 8 * k + 8], 16) for k in range(8)}
    for name, value in values.items():
        if not 0 <= value < 1 << 32:
            raise ValueError(f"manifest must have a {name} of 32 bits, not {value}")
    return values
