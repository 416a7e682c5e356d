"""``psahw evaluate``: accuracy on the test images, which nothing else looks at."""

import click

from . import output
from .data_options import data_options
from .training_output import print_result

__all__ = ["COMMANDS"]

_COLUMNS = {
    "class": {"name": "class", "images": "images", "precision": "precision, %", "recall": "recall, %"},
    "labels": {"name": "label", "images": "images", "precision": "precision, %", "recall": "recall, %"},
    "values": {"name": "value", "rmse": "RMSE", "mae": "MAE", "r2": "R²"},
}  # headings by task and key


@click.command()
@output.network_argument
@data_options()
@click.option("--images", type=output.COUNT, help="Only the first N test images.")
@click.option("--record", is_flag=True, help="Write the accuracy into the network file's metadata.")
@output.json_option
def evaluate(network, dataset, data, images, record, as_json):
    """Measure the accuracy of a network's integer model on the test images of a data set.

    NETWORK may also be a run directory of train or distill, or a model.safetensors: then the float model is
    measured. Accuracy is printed with the precision and recall of each class or label, or R² with the errors of each
    value. --json adds the confusion matrix, with true classes in rows and answers in columns, the worst errors with
    their images, and for values right and predicted ones.

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
    print_result(figures, as_json=False, task=result.task)
    columns = _COLUMNS[result.task]
    rows = [[_shown(one[key], result.task) for key in columns] for one in result.outputs]
    output.print_beginning(list(columns.values()), rows)


def _shown(value: object, task: str) -> object:
    """Return a value for a table. Errors of values may be of any magnitude, and have four digits."""
    return f"{value:.4g}" if isinstance(value, float) and task == "values" else value


COMMANDS = [evaluate]
