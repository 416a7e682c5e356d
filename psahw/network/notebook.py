"""The table that a notebook shows for a network."""

from ..display import html_table
from .graph import Network
from .summary import outputs, summarise

__all__ = ["html"]


def html(network: Network) -> str:
    """Return a table of the layers of a network, with image, classes and totals."""
    info = summarise(network)
    columns = ["layer", "inputs", "outputs", "vectors per frame", "weights", "non-zero", "bits", "MAC per frame"]
    keys = ("name", "inputs", "outputs", "vectors", "weights", "weights_nonzero", "weight_bits", "macs")
    totals = [info[key] for key in ("weights", "weights_nonzero", "weight_bits", "macs")]
    height, width, colours = info["image"]
    return html_table(
        columns,
        [[layer[key] for key in keys] for layer in info["layers"]],
        caption=f"{network.name}: images of {height} x {width} x {colours}, {outputs(info)} "
        f"({', '.join(network.classes)}), {info['tables']:,} tables",
        footer=["total", None, None, None, *totals],
    )
