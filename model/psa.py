"""Personal self-attention (PSA): one learned 1-D function per neuron.

The function attends to h segments by the distance of the input x to their centres, as published by G. Singh and
K. Bazargan, "Compressing Neural Networks Using Learnable 1-D Non-Linear Functions" (ACM TRETS 18(2), 2025):

    f(x) = x + a * sum_e softmax_e(-(x - b_e)^2 / (w_e^2 + eps)) * v_e * x + c

In training the function is evaluated on a regular grid and interpolated linearly, so that its cost does not depend on
the number of segments. A network's tables hold this interpolation at every code, because that is what was trained.
The grid has 64 points or fewer (`config.GRID_SIZES`).
"""

import torch
from torch import Tensor, nn

from .config import GRID_SIZES
from .kernels import interpolate

__all__ = ["GRID_POINTS", "GRID_RANGE", "PSA", "grid_of"]

GRID_POINTS = GRID_SIZES[-1]  # the kernels always interpolate between this many points
GRID_RANGE = 4.0  # the grid spans [-4, 4]; the outermost straight lines continue beyond it
EPS = 1e-2  # eps of the published formula


def _evaluate(x: Tensor, centre: Tensor, width: Tensor, value: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Evaluate the published formula: [..., C] to [..., C]."""
    distance = (x[..., None] - centre) ** 2 / (width**2 + EPS)  # [..., C, h]
    attended = (torch.softmax(-distance, dim=-1) * value).sum(-1)  # [..., C]
    return x + gain * attended * x + offset


def grid_of(
    centre: Tensor, width: Tensor, value: Tensor, gain: Tensor, offset: Tensor, *, size: int = GRID_POINTS
) -> Tensor:
    """Return the values that are interpolated, [GRID_POINTS, C].

    The functions are evaluated at `size` points. If these are fewer than GRID_POINTS, the points between them are
    taken from the straight lines that connect them.

    Parameters
    ----------
    centre, width, value
        b, w and v of the formula, [C, h].
    gain, offset
        a and c of the formula, [C].
    size
        Number of points, one of `config.GRID_SIZES`.
    """
    points = torch.linspace(-GRID_RANGE, GRID_RANGE, size, device=gain.device)
    y = _evaluate(points[:, None].expand(-1, len(gain)), centre, width, value, gain, offset)  # [size, C]
    if size == GRID_POINTS:
        return y
    repeat = (GRID_POINTS - 1) // (size - 1)
    along = torch.arange(repeat, device=y.device, dtype=y.dtype)[:, None] / repeat  # [repeat, 1], from 0 to below 1
    lines = y[:-1, None] + (y[1:, None] - y[:-1, None]) * along  # [size - 1, repeat, C]
    return torch.cat((lines.flatten(0, 1), y[-1:]))


class PSA(nn.Module):
    """Learned functions of the neurons on the last axis, [..., C] to [..., C].

    Parameters
    ----------
    channels
        Number of neurons, C.
    segments
        Number of segments, h.
    init
        "identity" lets the functions start as f(x) = x, "gelu" near GELU. Since GELU is x·Φ(x), the values
        v_e = Φ(b_e) - 1 at the centres give it. Centres start evenly spaced over [-3, 3], each moved at random by up
        to a quarter of their distance, so that neurons differ.
    grid_size
        Points at which the functions are evaluated, one of `config.GRID_SIZES`.

    Raises
    ------
    ValueError
        If `init` or `grid_size` is not one of the above.
    """

    def __init__(self, channels: int, segments: int = 8, init: str = "identity", *, grid_size: int = GRID_POINTS):
        super().__init__()
        if grid_size not in GRID_SIZES:
            raise ValueError(f"grid_size must be one of {GRID_SIZES}, not {grid_size!r}")
        self.grid_size = grid_size
        if init not in ("identity", "gelu"):
            raise ValueError(f"init must be 'identity' or 'gelu', not {init!r}")
        spacing = 6.0 / max(segments - 1, 1)
        centre = torch.linspace(-3, 3, segments).repeat(channels, 1)
        centre = centre + (torch.rand(channels, segments) - 0.5) * spacing / 2
        value = torch.zeros(channels, segments)
        if init == "gelu":
            value = torch.special.ndtr(centre) - 1
        self.centre = nn.Parameter(centre)  # b [C, h]
        self.width = nn.Parameter(torch.full((channels, segments), spacing / 2**0.5))  # w [C, h]
        self.value = nn.Parameter(value)  # v [C, h]
        self.gain = nn.Parameter(torch.ones(channels))  # a [C]
        self.offset = nn.Parameter(torch.zeros(channels))  # c [C]

    def evaluate(self, x: Tensor) -> Tensor:
        """Evaluate the published formula itself, without the grid: [..., C] to [..., C]."""
        return _evaluate(x, self.centre, self.width, self.value, self.gain, self.offset)

    def grid(self) -> Tensor:
        """Return the values that the forward pass interpolates, [GRID_POINTS, C]; see `grid_of`."""
        return grid_of(self.centre, self.width, self.value, self.gain, self.offset, size=self.grid_size)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            grid = self.grid()
        return interpolate(x, grid, -GRID_RANGE, GRID_RANGE)
