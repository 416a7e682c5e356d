"""The one place that refuses numbers which no model may hold: NaN, infinity, and magnitudes beyond `LIMIT`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LIMIT", "BadNumber", "find_bad_number", "require"]

LIMIT = 1e15
"""Largest magnitude of a parameter or a statistic. A million squares of it still add up to a float32."""


@dataclass(frozen=True)
class BadNumber:
    """A number that no model may hold.

    Attributes
    ----------
    tensor
        Name of its tensor.
    index
        Its position, one number for each axis; empty for a scalar.
    value
        The number.
    problem
        What it must be.
    """

    tensor: str
    index: tuple[int, ...]
    value: float
    problem: str

    def __str__(self) -> str:
        """Return "TENSOR[INDEX] must be ..., not VALUE"."""
        index = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{self.tensor}{index} must be {self.problem}, not {self.value:g}"


def _is_variance(name: str) -> bool:
    """Return whether a tensor holds the running variances of a norm, which divide by their roots."""
    return name.rpartition(".")[2] in ("var", "running_var")


@torch.no_grad()
def find_bad_number(tensors: Mapping[str, Tensor], *, unlimited: Iterable[str] = ()) -> BadNumber | None:
    """Return the first number that no model may hold, or None if there is none.

    Parameters
    ----------
    tensors
        Tensors by name, on any device. Those of integers are not looked at, and those that end in ``var`` or
        ``running_var`` hold variances, which must not be negative.
    unlimited
        Prefixes of names whose numbers may exceed `LIMIT`, as the squares that an optimiser sums.
    """
    prefixes = tuple(unlimited)
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    if not floats:
        return None
    # NaN is the least and the greatest number of its tensor. All tensors are reduced before the only wait for a GPU.
    extremes = torch.stack([torch.stack(tensor.float().aminmax()) for tensor in floats.values()]).tolist()
    for (name, tensor), (low, high) in zip(floats.items(), extremes, strict=True):
        limit = math.inf if name.startswith(prefixes) else LIMIT
        least = 0.0 if _is_variance(name) else -limit
        if math.isfinite(low) and math.isfinite(high) and least <= low and high <= limit:
            continue
        values = tensor.detach().cpu().float()
        good = values.isfinite() & (values >= least) & (values <= limit)
        index = tuple((~good).nonzero()[0].tolist())
        value = float(values[index])
        if not math.isfinite(value):
            problem = "finite"
        elif abs(value) > limit:
            problem = f"at most {limit:g} in magnitude"
        else:
            problem = "0 or more"
        return BadNumber(name, index, value, problem)
    return None


def require(
    where: str,
    tensors: Mapping[str, Tensor],
    *,
    error: type[Exception],
    unlimited: Iterable[str] = (),
) -> None:
    """Raise `error` with a message that begins with `where`, if a tensor holds a number that no model may hold.

    `tensors` and `unlimited` are those of `find_bad_number`.
    """
    if (bad := find_bad_number(tensors, unlimited=unlimited)) is not None:
        raise error(f"{where}: {bad}")
