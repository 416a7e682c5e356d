"""Write a network as ONNX or QONNX, and compare what other tools make of the file with the integer model."""

import collections
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks import Progress, counter, silent
from ..display import counted
from ..errors import CheckFailed, UserError
from ..files import real_path, write_whole, writing
from ..network import reference
from ..network.file import digest
from ..network.graph import Network
from ..network.random import random_images
from ..quoting import quote
from .arguments import check_network

if TYPE_CHECKING:
    import onnx as onnx_package

__all__ = ["ExportResult", "ExportedFile", "export"]

CHECKED = 100
"""Images that are compared unless the caller says otherwise."""

MAX_BYTES = (1 << 31) - 1
"""The largest file that protobuf reads."""


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Parameters
    ----------
    format
        ``onnx`` or ``qonnx``.
    file
        The file.
    bytes
        Its size.
    operators
        Number of nodes of each type.
    images
        Random images whose logits were compared, all of which were equal.
    """

    format: str
    file: Path
    bytes: int
    operators: dict[str, int]
    images: int


@dataclass(frozen=True)
class ExportResult:
    """The files of a network for other tools.

    Parameters
    ----------
    network, digest
        Name of the network, and the hash of everything that determines its logits.
    files
        The files.
    """

    network: str
    digest: str
    files: tuple[ExportedFile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw export --json`` prints."""
        files = [asdict(entry) | {"file": str(entry.file)} for entry in self.files]
        return {"network": self.network, "digest": self.digest, "files": files}


def _check_places(paths: list[str | os.PathLike]) -> None:
    """Raise UserError if a file could not be written, before it takes minutes to check what goes into it."""
    if len({real_path(path) for path in paths}) < len(paths):
        raise UserError(f"{paths[0]}: onnx and qonnx need two files")
    for path in map(Path, paths):
        with writing(path):
            if path.is_dir():
                raise UserError(f"cannot write {path}: it is a directory")
            if path.exists() and not path.is_file():  # a pipe or a device
                continue
            with tempfile.TemporaryFile(dir=real_path(path).parent, prefix=".psahw"):
                pass


def _serialised(model: "onnx_package.ModelProto", path: str | os.PathLike) -> bytes:
    """Return the bytes of a model's file."""
    if (size := model.ByteSize()) > MAX_BYTES:
        raise UserError(f"cannot write {path}: the model takes {size} bytes, and an ONNX file holds {MAX_BYTES}")
    return model.SerializeToString(deterministic=True)


def _compare(path: str | os.PathLike, network: Network, logits: np.ndarray, expected: np.ndarray) -> None:
    """Raise CheckFailed if the logits of a file differ from those of the integer model."""
    wrong = np.argwhere(logits != expected)
    if len(wrong):
        image, output = wrong[0].tolist()
        raise CheckFailed(
            f"{path} was not written: {counted(len(wrong), 'logit')} of {counted(len(expected), 'image')} differ "
            f"from the integer model; output {output} of image {image} is {logits[image, output]:.10g}, "
            f"not {expected[image, output]}"
        )


def export(
    network: Network,
    *,
    onnx: str | os.PathLike | None = None,
    qonnx: str | os.PathLike | None = None,
    check: int = CHECKED,
    step: Callable[[str], None] = silent,
    progress: Progress = silent,
) -> ExportResult:
    """Write a network for other tools, after comparing the logits of random images with the integer model.

    Parameters
    ----------
    network
        The network.
    onnx
        File for the integer model in standard ONNX operators (`psahw.exporting.onnx_writer.onnx_model`), which
        onnxruntime computes for the comparison.
    qonnx
        File for float operators with quantisers (`psahw.exporting.qonnx_writer.qonnx_model`), which qonnx' executor
        computes for the comparison.
    check
        Number of random images; 0 for no comparison.
    step, progress
        Called as described in `psahw.flow`.

    Returns
    -------
    ExportResult
        What was written.

    Raises
    ------
    UserError
        If neither file is named, one cannot be written, a package is not installed, or QONNX cannot express the
        network. Then nothing is written.
    CheckFailed
        If a logit differs. Then nothing is written.

    Examples
    --------
    >>> import psahw
    >>> result = psahw.export(psahw.load("mnist-psa"), onnx="mnist.onnx")  # doctest: +SKIP
    >>> result.files[0].images  # doctest: +SKIP
    100
    """
    check_network(network)
    if isinstance(check, bool) or not isinstance(check, int):
        raise TypeError(f"check must be a number of images, not {quote(check)}")
    if check < 0:
        raise UserError(f"check must be 0 images or more, not {check}")
    wanted = [(kind, path) for kind, path in (("onnx", onnx), ("qonnx", qonnx)) if path is not None]
    if not wanted:
        raise UserError("nothing to write: name a file for onnx, qonnx or both")
    _check_places([path for _, path in wanted])
    from ..exporting import onnx_model, qonnx_model
    from ..exporting.execution import onnx_logits, qonnx_logits

    models = {kind: onnx_model(network) if kind == "onnx" else qonnx_model(network) for kind, _ in wanted}
    contents = {kind: _serialised(models[kind], path) for kind, path in wanted}
    if check:
        images = random_images(np.random.default_rng(0), network, check)
        step("integer model")
        expected = reference.run(network, images, progress=counter(progress, check))
        for kind, path in wanted:
            step("onnxruntime" if kind == "onnx" else "qonnx' executor")
            report = counter(progress, check)
            if kind == "onnx":
                logits = onnx_logits(network, contents[kind], images, progress=report)
            else:
                logits = qonnx_logits(network, images, progress=report)
            _compare(path, network, logits, expected)
    for kind, path in wanted:
        write_whole(path, contents[kind])
    files = (
        ExportedFile(
            kind,
            Path(path),
            len(contents[kind]),
            dict(collections.Counter(node.op_type for node in models[kind].graph.node)),
            check,
        )
        for kind, path in wanted
    )
    return ExportResult(network.name, digest(network), tuple(files))
