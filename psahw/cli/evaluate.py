"""``psahw evaluate``: accuracy on the test images, which nothing else looks at."""

import click

from . import output
from .data_options import data_options
from .training_output import print_result

__all__ = ["COMMANDS"]


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
        ).to_dict()
    if not as_json:
        result = {name: value for name, value in result.items() if not isinstance(value, list)}
    print_result(result, as_json)


COMMANDS = [evaluate]
