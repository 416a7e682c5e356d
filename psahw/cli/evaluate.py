"""``psahw evaluate``: accuracy on the test images, which nothing else looks at."""

import click

from . import output
from .data_options import data_options
from .training_output import print_result

__all__ = ["COMMANDS"]

_HEADINGS = {"precision": "precision, %", "recall": "recall, %", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}


@click.command()
@output.network_argument
@data_options()
@click.option("--images", type=click.IntRange(1), help="Only the first N test images.")
@click.option("--record", is_flag=True, help="Write the accuracy into the network file's metadata.")
@output.json_option
def evaluate(network, dataset, data, images, record, as_json):
    """Measure the accuracy of a network's integer model on the test images of a data set.

    NETWORK may also be a run directory of train or distill, or a model.safetensors: then the float model is
    measured. --json adds the confusion matrix, with true classes in rows and answers in columns.

    \b
    psahw evaluate cifar10-psa
    psahw evaluate runs/int8/mine.safetensors --dataset sample --json
    psahw evaluate runs/teacher
    psahw evaluate trained/pyramid.safetensors
    """
    from ..model import evaluation

    with output.progress("images") as progress:
        result = evaluation.evaluate(
            network, images=images, record=record, dataset=dataset, data=data, log=output.note, progress=progress
        )
    if as_json:
        output.print_json(result.to_dict())
        return
    figures = {name: value for name, value in result.to_dict().items() if not isinstance(value, list)}
    print_result({name: _shown(value) for name, value in figures.items()}, as_json=False)
    if result.outputs:
        headings = [_HEADINGS.get(name, name) for name in result.outputs[0]]
        output.print_table(headings, [[_shown(value) for value in each.values()] for each in result.outputs])


def _shown(value: object) -> object:
    """Return a value for a table, with four digits of a number that is below 10 and may be much smaller."""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10 else value


COMMANDS = [evaluate]
