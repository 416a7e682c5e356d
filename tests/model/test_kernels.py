"""The C kernels against their torch form and against plain loops."""

import numpy as np
import pytest
import torch

from model import kernels

needs_kernels = pytest.mark.skipif(not kernels.kernels_available(), reason="no C compiler")


def _gradients(function, *inputs):
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = function(*inputs)
    weight = torch.arange(y.numel(), dtype=torch.float32).view_as(y).sin().to(y.dtype)
    return (y, *torch.autograd.grad(y, inputs, weight))


# 40 channels: one whole block of the kernel and a rest
@needs_kernels
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_interpolate(dtype, tolerance):
    torch.manual_seed(0)
    x = (3 * torch.randn(5, 7, 40)).to(dtype)
    grid = torch.randn(64, 40)
    got = _gradients(lambda x, grid: kernels.interpolate(x, grid, -4, 4), x, grid)
    expected = _gradients(lambda x, grid: kernels._interpolate_torch(x, grid, -4.0, 63 / 8), x, grid)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_interpolate_values():
    grid = torch.tensor([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0]])  # knots at -1, 0, 1
    x = torch.tensor([[-2.0, 0.3], [-0.5, 0.3], [0.0, 9.0], [0.5, 0.3], [2.0, 0.3]])
    expected = [-1.0, 0.5, 1.0, 2.5, 7.0]  # continued beyond the outermost knots
    assert kernels.interpolate(x, grid, -1, 1)[:, 0].tolist() == expected
    assert kernels.interpolate(x, grid, -1, 1)[:, 1].tolist() == [5.0] * 5


def test_interpolate_not_a_number():
    x = torch.tensor([[float("nan")], [float("inf")], [0.0]])
    y = kernels.interpolate(x, torch.linspace(-1, 1, 3)[:, None], -1, 1)
    assert y[0].isnan() and y[2] == 0


@pytest.mark.parametrize("available", [True, False])
def test_lookup_is_exact_at_every_code(monkeypatch, available):
    monkeypatch.setattr(kernels, "kernels_available", lambda: available and kernels._library() is not None)
    torch.manual_seed(1)
    table = (60 * torch.randn(256, 3)).clamp(-128, 127)
    x = torch.arange(-128.0, 128.0)[:, None].repeat(1, 3)
    y, dx, dtable = _gradients(kernels.lookup, x, table)
    assert torch.equal(y, table.round())
    weight = torch.arange(y.numel(), dtype=torch.float32).view_as(y).sin()
    slope = torch.cat((table.diff(dim=0), table[-1:] - table[-2:-1]))
    torch.testing.assert_close(dx, weight * slope, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dtable, weight, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("grid, kernel", [((3, 4), 3), ((2, 2), 5), ((4, 4), 1)])
def test_mix_local(grid, kernel, dtype, tolerance):
    torch.manual_seed(2)
    tokens = grid[0] * grid[1]
    x = torch.randn(tokens, 3, 40).to(dtype)
    weight = torch.randn(tokens, kernel**2, 40)
    got = _gradients(lambda x, w: kernels.mix_local(x, w, grid, kernel), x, weight)
    expected = _gradients(lambda x, w: kernels._mix_local_torch(x, w, *grid, kernel), x, weight)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_mix_local_against_loops():
    rng = np.random.default_rng(4)
    x, weight = rng.normal(size=(6, 2, 3)).astype(np.float32), rng.normal(size=(6, 9, 3)).astype(np.float32)
    expected = np.zeros_like(x)
    for n in range(6):
        for i in range(9):
            row, column = n // 3 + i // 3 - 1, n % 3 + i % 3 - 1
            if 0 <= row < 2 and 0 <= column < 3:
                expected[n] += weight[n, i] * x[row * 3 + column]
    got = kernels.mix_local(torch.from_numpy(x), torch.from_numpy(weight), (2, 3), 3)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)
