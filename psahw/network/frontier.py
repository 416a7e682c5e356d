"""Which of several networks are worth having: accuracy against the estimated LUTs of their adder graphs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from .layers import Network
from .summary import accuracies, summarise

__all__ = ["Candidate", "candidates", "pareto"]

_VALIDATION, _TEST = "validation INT8", "test INT8"


@dataclass(frozen=True)
class Candidate:
    """A network with what its file says of its accuracy, in percent; `luts` are estimated. `pareto` is whether no
    other has fewer LUTs and more validation accuracy, one of them possibly equal; None without that accuracy."""

    network: str
    path: str
    luts: int
    weights_nonzero: int
    weight_bits: int
    macs: int
    validation: float | None
    test: float | None
    pareto: bool | None

    def to_dict(self) -> dict:
        return asdict(self)


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, value): whether no other costs at most as much and is at least as good, and differs."""
    return [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points) for cost, value in points
    ]


def candidates(networks: Sequence[tuple[str, Network]]) -> list[Candidate]:
    """Of (path, network), by their LUTs. The test accuracy is shown only: choices are made by the validation images,
    and a network without that accuracy is not judged."""
    found = [_candidate(path, network) for path, network in networks]
    judged = [candidate for candidate in found if candidate.validation is not None]
    best = pareto([(candidate.luts, candidate.validation) for candidate in judged])
    marked = [replace(candidate, pareto=mark) for candidate, mark in zip(judged, best, strict=True)]
    rest = [candidate for candidate in found if candidate.validation is None]
    return sorted(marked + rest, key=lambda candidate: (candidate.luts, candidate.path))


def _candidate(path: str, network: Network) -> Candidate:
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
