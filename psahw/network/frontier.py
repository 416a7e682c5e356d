"""The Pareto set of several networks: accuracy against the estimated LUTs of their adder graphs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .graph import Network
from .summary import accuracies, summarise

__all__ = ["Candidate", "candidates", "pareto"]

_VALIDATION, _TEST = "validation INT8", "test INT8"


@dataclass(frozen=True)
class Candidate:
    """A network with its size, its cost, and the accuracies that its file records.

    Parameters
    ----------
    network
        Name of the network.
    path
        Path or name from which it was loaded.
    luts
        Estimated LUTs of all layers as parallel adder graphs.
    weights_nonzero, weight_bits, macs
        As in `psahw.network.summary.summarise`.
    validation, test
        INT8 accuracy on the validation and test images in percent, or None if the file records none.
    pareto
        Whether no other network is at least as good in both ``luts`` and ``validation`` and better in one of them.
        None without a validation accuracy.
    """

    network: str
    path: str
    luts: int
    weights_nonzero: int
    weight_bits: int
    macs: int
    validation: float | None
    test: float | None
    pareto: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return, for each pair of cost and value, whether no other pair is better in one and not worse in the other."""
    return [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points) for cost, value in points
    ]


def candidates(networks: Sequence[tuple[str, Network]]) -> list[Candidate]:
    """Return the candidates with the Pareto set marked, in order of their LUTs.

    Candidates are judged by their validation accuracy. The test accuracy is shown only, because a choice by it would
    spoil it as a measure. A network that records no validation accuracy is not judged.

    Parameters
    ----------
    networks
        Pairs of path and network.
    """
    unmarked = [_candidate(path, network) for path, network in networks]
    points = [(c.luts, c.validation) for c in unmarked if c.validation is not None]
    best = {point for point, mark in zip(points, pareto(points), strict=True) if mark}
    marked = [replace(c, pareto=None if c.validation is None else (c.luts, c.validation) in best) for c in unmarked]
    return sorted(marked, key=lambda candidate: (candidate.luts, candidate.path))


def _candidate(path: str, network: Network) -> Candidate:
    """Return the candidate for a network, not yet compared with others."""
    known, info = accuracies(network), summarise(network)
    return Candidate(
        network=network.name,
        path=path,
        luts=info["adder_luts"],
        weights_nonzero=info["weights_nonzero"],
        weight_bits=info["weight_bits"],
        macs=info["macs"],
        validation=known.get(_VALIDATION),
        test=next((value for name, value in known.items() if name.endswith(_TEST)), None),
        pareto=None,
    )
