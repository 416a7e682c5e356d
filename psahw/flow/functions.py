"""Draw the learned functions of a network, of a float model, or of both on top of each other."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import writable_directory, write_whole
from ..model.run_directory import model_file
from ..network.file import shipped
from ..network.graph import Network

if TYPE_CHECKING:
    from ..model.graphs.network import GraphNet
    from ..model.resmlp import ResMLP
    from ..report.plot import Place

__all__ = ["draw_functions", "is_run"]

_LEGENDS = {  # by whether there are a network and a float model
    (True, False): "code in to code out",
    (True, True): "code in to code out; blue: table, orange: float function, dots: its grid while training",
    (False, True): "from -4 to 4; orange: the function, dots: its grid while training",
}


def is_run(path: str) -> bool:
    """Return whether ``path`` is a run directory with a float model, and not a network."""
    return path not in shipped() and Path(path).is_dir() and model_file(path).is_file()


def _float_model(run: str | os.PathLike) -> "ResMLP | GraphNet":
    """Return the float model of a run directory or a model file. Raises UserError if it has no learned functions."""
    from ..model import checkpoint
    from ..model.convnet import ConvNet

    model, _ = checkpoint.load_model(model_file(run))
    if isinstance(model, ConvNet):
        raise UserError(f"{run}: a convolutional teacher has no learned functions")
    return model


def _float_places(run: str | os.PathLike) -> list["Place"]:
    """Return the functions of a float model, in its own units."""
    from ..model.functions import float_curves
    from ..report.plot import Place

    curves = float_curves(_float_model(run))
    return [Place(name, None, curve, (-4, 4), (-4, 4)) for name, curve in curves.items()]


def _network_places(network: Network, run: str | os.PathLike | None) -> list["Place"]:
    """Return the functions of a network, in codes, with those of the float model that it was made from."""
    from ..report.plot import network_places

    if run is None:
        return network_places(network)
    from ..model.functions import code_curves

    if not isinstance(scales := network.metadata.get("scales"), dict):
        raise UserError(f"{network.name} does not record the scales of its codes: quantize it again")
    try:
        curves = code_curves(_float_model(run), scales)
    except ValueError as error:
        raise UserError(f"{network.name} was not made from {run}: {error}") from error
    places = network_places(network, curves)
    for place in places:
        if place.curves is not None and place.table is not None and place.curves[0].shape != place.table.shape:
            raise UserError(f"{network.name} was not made from {run}: {place.name} has another size")
    return places


def draw_functions(network: Network | None, path: str | os.PathLike, *, run: str | os.PathLike | None = None) -> None:
    """Draw every learned function into one picture, or into one SVG file per layer.

    Parameters
    ----------
    network
        The network whose tables are drawn, or None for a float model alone.
    path
        A file that ends in ``.png``, ``.svg`` or ``.pdf``, or a directory for one file per layer.
    run
        Run directory or model file of the float model whose functions are drawn on top, in codes, with the grid on
        which they were trained.

    Raises
    ------
    UserError
        If the name has another ending, the network was not made from ``run``, or there is nothing to draw.
    ValueError
        If neither a network nor a run is given.
    """
    from ..report.plot import FORMATS, plot_places

    target = Path(path)
    kind = target.suffix.removeprefix(".").lower()
    whole = bool(kind) and not target.is_dir()
    if whole and kind not in FORMATS:
        raise UserError(f"{path}: the name must end in .png, .svg or .pdf")
    if network is not None:
        places, name = _network_places(network, run), network.name
    elif run is not None:
        places, name = _float_places(run), f"{run} (float)"
    else:
        raise ValueError("a network or a run must be given")
    if not places:
        raise UserError(f"{name} has no functions to draw")
    legend = _LEGENDS[network is not None, run is not None]
    if whole:
        write_whole(target, plot_places(places, f"{name}: every function, {legend}", kind))
        return
    writable_directory(target)
    for place in places:
        write_whole(target / f"{place.name}.svg", plot_places([place], f"{name}, {legend}", "svg", across=1))
