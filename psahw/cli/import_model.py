"""``psahw import``."""

from typing import TYPE_CHECKING

import click

from ..display import counted
from ..errors import UserError
from ..quoting import quote
from . import output
from .data_options import data_options

if TYPE_CHECKING:
    from ..flow.importing import ImportResult
    from ..importing.lowering import InputFormat

__all__ = ["COMMANDS"]


def _input_format(text: str | None) -> "InputFormat | None":
    """Return the format that ``LOW:HIGH[:COUNT]`` stands for. Raises UserError for any other text."""
    from ..importing.lowering import InputFormat

    if text is None:
        return None
    low, _, rest = text.partition(":")
    high, _, count = rest.partition(":")
    try:
        return InputFormat(float(low), float(high), int(count) if count else 256)
    except ValueError as error:
        reason = str(error) if str(error).startswith("the ") else "it must be two numbers and perhaps a count"
        raise UserError(f"--input must be LOW:HIGH or LOW:HIGH:COUNT, not {quote(text)}: {reason}") from None


def _codes(difference: float) -> str:
    """Return a difference with its unit."""
    return "1 code" if difference == 1 else f"{difference:.4g} codes"


def _show_comparison(result: "ImportResult") -> None:
    """Print how far the network is from the other tool."""
    comparison = result.comparison
    if comparison is None:
        return
    what = {"class": "the same class", "labels": "the same labels", "values": "the same values"}[comparison.task]
    inputs = counted(comparison.inputs, "input")
    output.print_line(f"{comparison.tool}: {what} for {comparison.same_answers:,} of {inputs}")
    if comparison.equal:
        output.print_line("all outputs are equal")
        return
    outputs, first = comparison.outputs, comparison.first_different
    assert first is not None
    share = 100 * outputs.different / outputs.values
    output.print_line(f"outputs: {share:.3g} % differ, by at most {_codes(outputs.largest)}")
    share = 100 * first.different / first.values
    output.print_line(
        f"the first tensor that differs is that of layer {first.layer}: {share:.2g} % of its values, by at most "
        f"{_codes(first.largest)}"
    )


@click.command("import")
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", "path", required=True, metavar="NETWORK", help="The network file to write.")
@click.option("--name", metavar="NAME", help="Name of the network; by default that of the file.")
@click.option(
    "--input",
    "form",
    metavar="LOW:HIGH[:COUNT]",
    help="The numbers of the first and the last of COUNT input bytes (256), if the model does not state them.",
)
@click.option(
    "--inputs", metavar="FILE", help="Compare these inputs, a .npy array, in place of random ones. Their least and "
    "greatest number are the default of --input.",
)  # fmt: skip
@click.option("--flat", is_flag=True, help="Take the input as one row, for a model that flattens a grid at once.")
@click.option("--exact", is_flag=True, help="Compute every step as the model does, by thresholds where it must be.")
@click.option(
    "--thresholds", is_flag=True, help="Use thresholds in place of multipliers, so that adder graphs fit every layer."
)
@click.option(
    "--task", type=click.Choice(["class", "values", "labels"]), help="What the outputs are; by default a class."
)
@click.option("--outputs", metavar="NAME,...", help="A name for each output.")
@click.option(
    "--check", type=click.IntRange(0, 1_000_000), default=100, show_default=True, metavar="N",
    help="Compare N inputs with what LiteRT, onnxruntime or qonnx computes; 0 for none.",
)  # fmt: skip
@click.option("--images", type=output.COUNT, metavar="N", help="Only the first N test images of the data set.")
@data_options(optional="Its test images give the accuracies of both; a float model needs it.")
@click.option(
    "--calibration", type=output.COUNT, default=500, show_default=True, metavar="N",
    help="Training images that choose the scales of a float model.",
)  # fmt: skip
@click.option(
    "--bits", type=click.IntRange(2, 8), default=8, show_default=True, help="Bits of a float model's weights."
)
@click.option(
    "--keep", "float_directory", metavar="DIR", help="Keep a float model in DIR, where psahw quantize fine-tunes it."
)
@output.json_option
def import_command(model, path, form, outputs, as_json, **options):
    """Turn a model of another tool into a network file.

    MODEL is a TensorFlow Lite model with int8 or uint8 codes, or an ONNX model with quantised weights and
    activations: QDQ, integer operators, or QONNX, as onnxruntime, Brevitas, QKeras and FINN write them. What becomes
    of each operator is printed, and whether that is exact or what is rounded. The network is compared with what the
    other tool's interpreter computes. If operators are not supported, all are listed, and the exit status is 2.

    MODEL may also be a float model of TensorFlow Lite or ONNX. Then training images of --dataset choose the scales,
    and test images compare the two.

    \b
    psahw import resnet8_int8.tflite -o resnet8.safetensors --dataset cifar10
    psahw import jets.onnx -o jets.safetensors --input -4:4 --exact
    psahw import jets.onnx -o jets.safetensors --inputs jets.npy --check 1000
    psahw import autoencoder.tflite -o ad.safetensors --task values --json
    psahw import resnet8_float.onnx -o resnet8.safetensors --dataset cifar10 --keep runs/resnet8
    psahw quantize runs/resnet8 --epochs 2 --name resnet8 -o runs/resnet8-int8
    """
    from ..flow.importing import import_model

    with output.steps() as shown:
        result = import_model(
            model,
            path,
            input_format=_input_format(form),
            outputs=None if outputs is None else outputs.split(","),
            step=shown.step,
            progress=shown.progress,
            log=output.note,
            **options,
        )
    if as_json:
        output.print_json(result.to_dict())
        return
    rows = [[line.operator, line.kind, ", ".join(line.layers) or "–", line.note] for line in result.lines]
    output.print_table(["operator", "kind", "layers", "how"], rows, title=f"{result.network}, from {result.source}")
    for line in result.dropped:
        output.print_line(f"left out: {line}")
    if (form := result.input_format) is None:
        output.print_line("input bytes stand for the numbers of the table's columns")
    else:
        output.print_line(f"input bytes 0 to {form.count - 1} stand for {form.low:.6g} to {form.high:.6g}")
    if (chosen := result.calibration) is not None and chosen.validation_int8 is not None:
        output.print_line(
            f"scales by {counted(chosen.images, 'training image')}: {chosen.validation_int8:.2f} % on the validation "
            f"images, the float model {chosen.validation_float:.2f} %"
        )
    _show_comparison(result)
    if result.accuracy is not None:
        figures = result.accuracy
        output.print_line(
            f"{figures.dataset}, {counted(figures.images, 'test image')}: {figures.network:.2f} % right, the model "
            f"{figures.model:.2f} %; {figures.same:.2f} % have the same class"
        )
    output.print_line(f"wrote {result.file}")


COMMANDS = [import_command]
