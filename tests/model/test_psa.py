"""PSA equals its published formula, term by term."""

import math

import numpy as np
import pytest
import torch

from psahw.model.config import GRID_SIZES
from psahw.model.kernels import interpolate
from psahw.model.psa import EPS, GRID_RANGE, PSA


def _published(psa, channel, x):
    """Return x + a·sum_e softmax_e(-(x - b_e)^2 / (w_e^2 + eps))·v_e·x + c, computed in Python floats."""
    b, w, v = (getattr(psa, name)[channel].tolist() for name in ("centre", "width", "value"))
    scores = [math.exp(-((x - b_e) ** 2) / (w_e**2 + EPS)) for b_e, w_e in zip(b, w, strict=True)]
    attended = sum(s * v_e for s, v_e in zip(scores, v, strict=True)) / sum(scores)
    return x + psa.gain[channel].item() * attended * x + psa.offset[channel].item()


@pytest.fixture
def psa():
    torch.manual_seed(5)
    psa = PSA(6)
    with torch.no_grad():
        for parameter in psa.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return psa


def test_evaluate_is_the_published_formula(psa):
    x = torch.linspace(-5, 5, 41)[:, None].repeat(1, 6)
    y = psa.evaluate(x)
    for channel in range(6):
        expected = [_published(psa, channel, float(value)) for value in x[:, channel]]
        torch.testing.assert_close(y[:, channel], torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_interpolation_is_close_and_exact_at_the_grid(psa):
    points = torch.linspace(-GRID_RANGE, GRID_RANGE, 64)[:, None].repeat(1, 6)
    torch.testing.assert_close(psa(points), psa.evaluate(points), rtol=1e-4, atol=1e-4)
    x = 3 * (2 * torch.rand(1000, 6) - 1)
    error = (psa(x) - psa.evaluate(x)).abs()
    assert error.max() < 0.15 and error.mean() < 0.01


@pytest.mark.parametrize("size", GRID_SIZES)
def test_a_coarser_grid_is_straight_between_its_points(psa, size):
    coarse = PSA(6, grid_size=size)
    coarse.load_state_dict(psa.state_dict())
    x = torch.linspace(-GRID_RANGE, GRID_RANGE, size)[:, None].repeat(1, 6)
    exact = psa.evaluate(x).detach().numpy().astype(float)
    torch.testing.assert_close(coarse(x), psa.evaluate(x), rtol=1e-4, atol=1e-4)
    between = np.linspace(-GRID_RANGE, GRID_RANGE, 1001)
    y = coarse(torch.tensor(between, dtype=torch.float32)[:, None].repeat(1, 6)).detach().numpy()
    for channel in range(6):
        expected = np.interp(between, x[:, 0].numpy(), exact[:, channel])
        np.testing.assert_allclose(y[:, channel], expected, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_every_parameter(psa):
    x = torch.randn(200, 6, requires_grad=True)
    psa(x).square().sum().backward()
    for name, parameter in psa.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", ["centre", "width", "value", "gain", "offset"])
def test_gradient_against_finite_differences(psa, name):
    """Each parameter of one neuron is moved, in float64, through the grid and its interpolation."""
    psa.double()
    x = torch.linspace(-5, 5, 60, dtype=torch.float64)[:, None].repeat(1, 6)
    parameter = psa.get_parameter(name)

    def loss():
        return interpolate(x, psa.grid(), -GRID_RANGE, GRID_RANGE)[:, 2].square().sum()

    (gradient,) = torch.autograd.grad(loss(), parameter)
    for index in np.ndindex(parameter[2].shape):
        entry = parameter.detach()[2]
        before, step = entry[index].clone(), 1e-6
        values = []
        for moved in (before + step, before - step):
            entry[index] = moved
            values.append(loss().item())
        entry[index] = before
        assert gradient[2][index].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-6)
    assert gradient[:2].abs().sum() == 0


def test_initial_functions():
    x = torch.linspace(-4, 4, 101)[:, None].repeat(1, 32)
    assert torch.equal(PSA(32).evaluate(x), x)
    gelu = torch.nn.functional.gelu(x)
    assert (PSA(32, init="gelu").evaluate(x) - gelu).abs().max() < 0.25


def test_init_wrong_init():
    with pytest.raises(ValueError, match=r"^init must be 'identity' or 'gelu', not 'relu'$"):
        PSA(4, init="relu")


def test_init_wrong_grid_size():
    with pytest.raises(ValueError, match=r"^grid_size must be one of \(4, 8, 10, 22, 64\), not 32$"):
        PSA(4, grid_size=32)
