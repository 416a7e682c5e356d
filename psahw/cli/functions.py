"""``psahw info --plot``: every learned function of a network, of a float run, or of both on top of each other."""

from pathlib import Path

from ..errors import UserError
from ..files import writable_directory, write_whole
from ..model.run_directory import model_file
from ..network import file as networkfile
from . import output

__all__ = ["draw", "is_run"]


def is_run(path: str) -> bool:
    """Whether this is a run directory with a float model, rather than a network."""
    return path not in networkfile.shipped() and (Path(path) / "model.safetensors").is_file()


def _float_model(run: str):
    from ..model import checkpoint
    from ..model.resmlp import ResMLP

    model, _ = checkpoint.load_model(model_file(run))
    if not isinstance(model, ResMLP):
        raise UserError(f"{run}: a convolutional teacher has no learned functions")
    return model


def _places(network, run: str | None):
    """What is to be drawn, and of what. Without a network the float model's own units, else codes."""
    from ..report.plot import Place, network_places

    if network is None:
        from ..model.functions import float_curves

        curves = float_curves(_float_model(run))
        return [Place(name, curves=found, low=-4, high=4) for name, found in curves.items()], f"{run} (float)"
    curves = None
    if run is not None:
        from ..model.functions import code_curves

        if not isinstance(scales := network.metadata.get("scales"), dict):
            raise UserError(f"--float: {network.name} does not say what its codes are worth: quantize it again")
        try:
            curves = code_curves(_float_model(run), scales)
        except ValueError as error:
            raise UserError(f"--float: {run} is not what {network.name} was made from: {error}") from error
    places = network_places(network, curves)
    for place in places:
        if place.curves is not None and place.curves[0].shape != place.table.shape:
            raise UserError(f"--float: {run} is not what {network.name} was made from: {place.name} has another size")
    return places, network.name


def draw(network, run: str | None, plot: str) -> None:
    """Writes one file, or into a directory an SVG file for each place."""
    from ..report.plot import FORMATS, plot_places

    path = Path(plot)
    kind = path.suffix.removeprefix(".").lower()
    whole = bool(kind) and not path.is_dir()
    if whole and kind not in FORMATS:
        raise UserError(f"--plot: {plot}: the name must end in .png, .svg or .pdf")
    places, name = _places(network, run)
    if not places:
        raise UserError(f"--plot: {name} has no functions to draw")
    lines = {
        (True, False): "code in (-128 .. 127) to code out",
        (True, True): "code in to code out; blue: table, orange: float function, dots: its grid while training",
        (False, True): "from -4 to 4; orange: the function, dots: its grid while training",
    }[network is not None, run is not None]
    if whole:
        write_whole(path, plot_places(places, f"{name}: every function, {lines}", kind))
    else:
        writable_directory(path)
        for place in places:
            picture = plot_places([place], f"{name}, {lines}", "svg", across=1)
            write_whole(path / f"{place.name}.svg", picture)
    output.note(f"functions drawn in {plot}")
