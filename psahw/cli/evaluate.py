"""``psahw evaluate``: accuracy on the test images, and nothing else looks at them."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import click

from ..errors import UserError
from ..network.evaluation import score
from . import output
from .runs import data_options, is_float, model_file, show

__all__ = ["COMMANDS"]


@click.command()
@output.network_argument
@data_options
@click.option("--images", type=click.IntRange(1), help="Only the first N test images.")
@click.option("--record", is_flag=True, help="Write the accuracy into the network file's metadata.")
@output.json_option
def evaluate(network, dataset, data, images, record, as_json):
    """Accuracy of a network's integer model on the test images of a data set.

    NETWORK may also be a run directory of train or distill, or a model.safetensors: then it is the float model's
    accuracy. With --json the confusion matrix comes along: true classes in rows, answers in columns.

    \b
    psahw evaluate cifar10-psa
    psahw evaluate runs/int8/mine.safetensors --dataset sample --json
    psahw evaluate runs/teacher
    psahw evaluate trained/pyramid.safetensors
    """
    from ..model import data as datasets
    from ..network import file as networkfile

    in_float = is_float(network)
    if record and (in_float or images is not None):
        raise UserError("--record needs a network file and all test images: no float model, no --images")
    if record and network in networkfile.shipped():
        raise UserError(f"--record: {network} ships with psahw; to record into it, give {networkfile.find(network)}")
    loaded = _load_float(network) if in_float else _load_integer(network)
    test = datasets.load(dataset, data, log=output.note)
    test.check(loaded.shape, loaded.classes, network)
    if images is not None and images > len(test.test_images):
        raise UserError(f"--images: {dataset} has {len(test.test_images)} test images, not {images}")
    pixels, labels = test.test_images[:images], test.test_labels[:images]
    with output.progress("images", len(pixels)) as advance:
        logits = loaded.run(pixels, advance)
    result = score(loaded.name, dataset, logits, labels)
    if record:
        _record(network, f"{dataset} test INT8", result["accuracy"])
    if as_json:
        output.print_json(result)
    else:
        show({key: value for key, value in result.items() if key != "confusion"}, as_json)


def _record(name: str, what: str, accuracy: float) -> None:
    from ..network import file as networkfile

    network = networkfile.load(name)
    known = network.metadata.get("accuracy")
    recorded = (known if isinstance(known, dict) else {}) | {what: accuracy}
    metadata = network.metadata | {"accuracy": recorded}
    path = networkfile.find(name)
    networkfile.save(dataclasses.replace(network, metadata=metadata), path)
    output.note(f"recorded {what} {accuracy:g} % in {path}")


class _Loaded(NamedTuple):
    """A network of either kind: `run(images, progress)` returns logits."""

    name: str
    shape: tuple[int, ...]
    classes: int
    run: Callable


def _load_integer(name: str) -> _Loaded:
    from ..network import file as networkfile
    from ..network import reference

    network = networkfile.load(name)
    return _Loaded(
        network.name,
        (*network.image, network.colours),
        len(network.classes),
        lambda images, progress: reference.run(network, images, progress=progress),
    )


def _load_float(path: str) -> _Loaded:
    from ..model import checkpoint
    from ..model.train import predict

    model, _ = checkpoint.load_model(model_file(path))
    config = model.config
    return _Loaded(
        f"{path} (float)",
        (*config.image, 3),
        config.classes,
        lambda images, progress: predict(model, images, progress=progress),
    )


COMMANDS = [evaluate]
