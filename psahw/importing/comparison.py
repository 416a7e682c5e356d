"""Compare an imported network with what another tool computes, tensor by tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..network.evaluation import predictions
from ..network.graph import Network
from ..network.layers import Linear
from .lowering import Grid, Lowered

__all__ = ["Comparison", "TensorDifference", "compare"]

_NOISE = 1 / 16
"""Differences in codes that count as none: other tools compute in float32."""

_FLOAT32 = 2.0**-24  # its largest relative rounding


@dataclass(frozen=True)
class TensorDifference:
    """How far a tensor is from that of another tool.

    Parameters
    ----------
    tensor, layer
        Name of the tensor in the model, and the layer that computes it in the network.
    values
        Number of values that were compared.
    different
        How many of them differ.
    largest
        The largest difference, in codes.
    """

    tensor: str
    layer: str
    values: int
    different: int
    largest: float

    def __add__(self, other: "TensorDifference") -> "TensorDifference":
        """Return the differences of the same tensor for the inputs of both."""
        return replace(
            self,
            values=self.values + other.values,
            different=self.different + other.different,
            largest=max(self.largest, other.largest),
        )


@dataclass(frozen=True)
class Comparison:
    """How far an imported network is from another tool's computation of the model.

    Parameters
    ----------
    tool
        Name of the tool.
    inputs
        Number of inputs that were compared.
    task
        What the network says: ``"class"``, ``"values"`` or ``"labels"``.
    same_answers
        Inputs with the same class or with the same labels; for values, those whose outputs are all equal.
    outputs
        The outputs.
    tensors
        The tensors that both compute, in the order of the layers.
    """

    tool: str
    inputs: int
    task: str
    same_answers: int
    outputs: TensorDifference
    tensors: tuple[TensorDifference, ...]

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return the comparison of the same network for the inputs of both."""
        return replace(
            self,
            inputs=self.inputs + other.inputs,
            same_answers=self.same_answers + other.same_answers,
            outputs=self.outputs + other.outputs,
            tensors=tuple(a + b for a, b in zip(self.tensors, other.tensors, strict=True)),
        )

    @property
    def equal(self) -> bool:
        """Return whether all outputs are equal."""
        return self.outputs.different == 0

    @property
    def first_different(self) -> TensorDifference | None:
        """The first tensor that differs, or None."""
        return next((each for each in (*self.tensors, self.outputs) if each.different), None)


def _difference(
    tensor: str, layer: str, ours: np.ndarray, theirs: np.ndarray, noise: float = _NOISE
) -> TensorDifference:
    """Compare codes with real numbers in units of codes."""
    distance = np.abs(theirs - ours)
    different = distance > noise
    largest = float(distance.max(initial=0.0))
    return TensorDifference(tensor, layer, distance.size, int(different.sum()), largest if different.any() else 0.0)


def _in_codes(grid: Grid, theirs: np.ndarray) -> np.ndarray:
    return theirs / grid.scale + grid.zero


def _noise_of_outputs(network: Network) -> float:
    """Return which differences of the outputs count as none: more for large sums, which float32 rounds."""
    layer, given = network.layers[-1].layer, network.places[-1].input
    if not isinstance(layer, Linear) or layer.multiplier is not None or layer.shift.any():
        return _NOISE
    sums = np.abs(layer.weight.astype(np.int64)).sum(1) * (given.high - given.low)
    return max(_NOISE, _FLOAT32 * float((sums + np.abs(layer.bias.astype(np.int64))).max()))


def compare(
    lowered: Lowered,
    logits: np.ndarray,
    activations: Mapping[str, np.ndarray],
    tool: str,
    tensors: Mapping[str, np.ndarray],
    output: str,
) -> Comparison:
    """Return how far a network is from what another tool computes.

    Parameters
    ----------
    lowered
        The network, and which tensors its layers compute.
    logits, activations
        The outputs of the network, and the outputs of its layers: what `psahw.network.reference.run` returns, and
        what it taps.
    tool
        Name of the other tool.
    tensors
        float64 of shape (images, rows, columns, channels), by the names of the model's tensors: what the other tool
        computes for the same images.
    output
        Name of the model's output, which must be one of them.
    """
    network = lowered.network
    compared = [
        _difference(name, layer, activations[layer].reshape(tensors[name].shape), _in_codes(grid, tensors[name]))
        for name, (layer, grid) in lowered.tensors.items()
        if name in tensors and name != output
    ]
    given = tensors[output].reshape(logits.shape)
    last = network.layers[-1].name
    if network.output.kind == "labels":
        ours, labels = predictions(network.output, logits), given > 0
        difference = _difference(output, last, ours.astype(np.float64), labels.astype(np.float64))
        same = (ours == labels).all(1)
    else:
        noise, codes = _noise_of_outputs(network), (given - lowered.offset) / lowered.scale
        difference = _difference(output, last, logits, codes, noise)
        equal = np.abs(codes - logits) <= noise
        same = logits.argmax(1) == given.argmax(1) if network.output.kind == "class" else equal.all(1)
    return Comparison(tool, len(logits), network.output.kind, int(same.sum()), difference, tuple(compared))
