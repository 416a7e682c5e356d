"""``psahw export``."""

import click

from ..display import counted
from ..errors import UserError
from ..network.file import load
from . import output

__all__ = ["COMMANDS"]


@click.command("export")
@output.network_argument
@click.option("--onnx", metavar="FILE", help="Write the integer model in standard ONNX operators.")
@click.option("--qonnx", metavar="FILE", help="Write float operators with quantisers, for FINN and hls4ml.")
@click.option(
    "--check",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Compare the logits of N random images with the integer model; 0 for none.",
)
@output.json_option
def export_command(network, onnx, qonnx, check, as_json):
    """Write a network for other tools, as ONNX, QONNX or both.

    With --onnx, the file takes uint8 images and gives exactly the logits of the network, as int32, and the class. It
    has standard operators only. With --qonnx, the file takes the bytes of an image as float32, in the order (1,
    colours, rows, columns), and gives the logits as float32. A network that QONNX cannot express exactly is refused,
    with a list of its layers.

    Before a file is written, its logits are compared: onnxruntime computes --onnx, and qonnx' executor --qonnx.
    If one differs, nothing is written, and the exit status is 1.

    \b
    psahw export cifar10-psa --onnx cifar10-psa.onnx
    psahw export mnist-psa --qonnx mnist-psa.onnx --check 10
    psahw export runs/w5/w5.safetensors --onnx w5.onnx --check 1000 --json
    """
    from ..flow.exporting import export

    if onnx is None and qonnx is None:
        raise UserError("nothing to write: name a file with --onnx, --qonnx or both")
    loaded = load(network)
    with output.steps() as shown:
        result = export(loaded, onnx=onnx, qonnx=qonnx, check=check, step=shown.step, progress=shown.progress)
    if as_json:
        output.print_json(result.to_dict())
        return
    for entry in result.files:
        compared = f"logits equal on {counted(entry.images, 'random image')}" if entry.images else "not compared"
        nodes = counted(sum(entry.operators.values()), "node")
        output.print_line(f"{entry.file}: {loaded.name} in {nodes}, {entry.bytes:,} bytes, {compared}")


COMMANDS = [export_command]
