"""Personal self-attention (PSA): one learned 1-D function per neuron.

An attention over `h` segments by the distance of the input to their centres, as published by G. Singh and
K. Bazargan, "Compressing Neural Networks Using Learnable 1-D Non-Linear Functions" (ACM TRETS 18(2), 2025):

    f(x) = x + a * sum_e softmax_e(-(x - b_e)^2 / (w_e^2 + eps)) * v_e * x + c

While training the function is evaluated on a regular grid and interpolated, so that its cost does not depend
on the number of segments; a network's tables hold what was trained, the interpolation at every code. The grid has 64
points, or fewer (`config.GRID_SIZES`).
"""

import torch
from torch import Tensor, nn

from .config import GRID_SIZES
from .kernels import interpolate

__all__ = ["GRID_POINTS", "GRID_RANGE", "PSA", "grid_of"]

GRID_POINTS = GRID_SIZES[-1]  # of the straight lines that the kernels interpolate
GRID_RANGE = 4.0  # the grid spans [-4, 4]; beyond it the outermost pieces continue
EPS = 1e-2


def _evaluate(x: Tensor, centre: Tensor, width: Tensor, value: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    distance = (x[..., None] - centre) ** 2 / (width**2 + EPS)
    attended = (torch.softmax(-distance, dim=-1) * value).sum(-1)
    return x + gain * attended * x + offset


def grid_of(
    centre: Tensor, width: Tensor, value: Tensor, gain: Tensor, offset: Tensor, *, size: int = GRID_POINTS
) -> Tensor:
    """Functions given by their parameters (as in `PSA`), evaluated at `size` points and along the straight lines
    between them: [GRID_POINTS, C]."""
    points = torch.linspace(-GRID_RANGE, GRID_RANGE, size, device=gain.device)
    y = _evaluate(points[:, None].expand(-1, len(gain)), centre, width, value, gain, offset)
    if size == GRID_POINTS:
        return y
    repeat = (GRID_POINTS - 1) // (size - 1)
    along = torch.arange(repeat, device=y.device, dtype=y.dtype)[:, None] / repeat
    lines = y[:-1, None] + (y[1:, None] - y[:-1, None]) * along
    return torch.cat((lines.flatten(0, 1), y[-1:]))


class PSA(nn.Module):
    """Learned functions of `channels` neurons, applied to the last axis.

    With `init` "identity" the functions start as f(x) = x, with "gelu" near GELU: since GELU is
    x·Phi(x), the values v_e = Phi(b_e) - 1 at the centres give it. Centres start evenly over [-3, 3], each
    moved by up to a quarter of their distance so that neurons differ. `grid_size` is one of `config.GRID_SIZES`.
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
        """The functions exactly: `x` [..., C] to [..., C]."""
        return _evaluate(x, self.centre, self.width, self.value, self.gain, self.offset)

    def grid(self) -> Tensor:
        """What is interpolated, [GRID_POINTS, C]: see `grid_of`."""
        return grid_of(self.centre, self.width, self.value, self.gain, self.offset, size=self.grid_size)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            grid = self.grid()
        return interpolate(x, grid, -GRID_RANGE, GRID_RANGE)
