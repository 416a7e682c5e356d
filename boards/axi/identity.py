"""What the registers say of the circuit, from the manifest that `psahw.generate` writes."""

from .registers import ID, VERSION

__all__ = ["identity_values", "record_bytes"]


def record_bytes(manifest: dict) -> int:
    """Of a result, as `psahw.boards.axi.records` sends it."""
    return 4 * (1 + manifest["classes"])


def identity_values(manifest: dict) -> dict[str, int]:
    """Value of every register of `psahw.boards.axi.registers.identity` by name."""
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
    if wrong := [name for name, value in values.items() if not 0 <= value < 1 << 32]:
        raise ValueError(f"manifest must have a {wrong[0]} of 32 bits, not {values[wrong[0]]}")
    return values
