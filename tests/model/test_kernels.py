"""The C kernels equal their torch form, and plain loops."""

import numpy as np
import pytest
import torch

from psahw.model import kernels

needs_kernels = pytest.mark.skipif(not kernels.kernels_available(), reason="no C compiler")


def _gradients(function, *inputs):
    """Return the value of a function, and the gradients of a weighted sum of it."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = function(*inputs)
    weight = torch.arange(y.numel(), dtype=torch.float32).view_as(y).sin().to(y.dtype)
    return (y, *torch.autograd.grad(y, inputs, weight))


# 40 channels are one whole block of the kernel and a part of another.
@needs_kernels
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_interpolate(dtype, tolerance):
    torch.manual_seed(0)
    x = (3 * torch.randn(5, 7, 40)).to(dtype)
    grid = torch.randn(64, 40)
    results = _gradients(lambda x, grid: kernels.interpolate(x, grid, -4, 4), x, grid)
    expected = _gradients(lambda x, grid: kernels._interpolate_torch(x, grid, -4.0, 63 / 8), x, grid)
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_interpolate_values():
    grid = torch.tensor([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0]])  # knots at -1, 0, 1
    x = torch.tensor([[-2.0, 0.3], [-0.5, 0.3], [0.0, 9.0], [0.5, 0.3], [2.0, 0.3]])
    expected = [-1.0, 0.5, 1.0, 2.5, 7.0]  # the lines continue beyond the outermost knots
    assert kernels.interpolate(x, grid, -1, 1)[:, 0].tolist() == expected
    assert kernels.interpolate(x, grid, -1, 1)[:, 1].tolist() == [5.0] * 5


@pytest.fixture(params=["kernels", "torch"])
def either(request, monkeypatch):
    """Run a test with the C kernels and with their torch form."""
    if request.param == "torch":
        monkeypatch.setattr(kernels, "kernels_available", lambda: False)
    elif not kernels.kernels_available():
        pytest.skip("no C compiler")


def test_interpolate_nan(either):
    x = torch.tensor([[float("nan")], [float("inf")], [0.0]])
    y = kernels.interpolate(x, torch.linspace(-1, 1, 3)[:, None], -1, 1)
    assert y[0].isnan() and y[2] == 0
    assert kernels.lookup(x, torch.linspace(-128, 127, 256)[:, None])[0].isnan()


@needs_kernels
@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("_interpolate", ((2, 4), (64, 3), 0.0, 1.0), r"grid must be torch.float32 \(64, 4\) .*not.* \(64, 3\)"),
        ("_interpolate", ((2, 4), (1, 4), 0.0, 1.0), r"grid must be .* two points or more, not \(1, 4\)"),
        ("_interpolate_backward", ((2, 4), (64, 4), (1, 4), 0.0, 1.0), r"dy must be .* \(2, 4\) .*not.* \(1, 4\)"),
        ("_mix_local", ((6, 2, 4), (6, 9, 3), 2, 3, 3, False), r"weight must be .* \(6, 9, 4\) .*not.* \(6, 9, 3\)"),
        ("_mix_local", ((6, 2, 4), (6, 9, 4), 3, 3, 3, False), r"x must be .* \[9, batch, channels\], not .*"),
        ("_mix_local", ((6, 2, 4), (6, 121, 4), 2, 3, 11, False), r"kernel must be odd and at most 9, not 11"),
        ("_mix_local_weight", ((6, 2, 4), (6, 1, 4), 2, 3, 3), r"dy must be .* \(6, 2, 4\) .*not.* \(6, 1, 4\)"),
    ],
)
def test_wrong_shapes(name, arguments, message):
    arguments = [torch.zeros(a) if isinstance(a, tuple) else a for a in arguments]
    with pytest.raises(ValueError, match=message):
        getattr(kernels, name)(*arguments)


@needs_kernels
def test_wrong_type():
    with pytest.raises(ValueError, match=r"grid must be torch.float32 .*, not torch.float64"):
        kernels._interpolate(torch.zeros(2, 4), torch.zeros(64, 4, dtype=torch.float64), 0.0, 1.0)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Provide an empty cache directory, with no library loaded yet."""
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path))
    kernels._library.cache_clear()
    yield tmp_path
    kernels._library.cache_clear()


def _compiler(path, script):
    """Write a shell script to use in place of the C compiler, and return its path."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@needs_kernels
def test_compiler_that_does_not_know_the_flags(fresh, tmp_path_factory, monkeypatch):
    script = 'case "$*" in *-mprefer*) echo "unknown flag" >&2; exit 1;; esac; exec cc "$@"'
    monkeypatch.setenv("CC", _compiler(tmp_path_factory.mktemp("bin") / "cc", script))
    assert kernels._library() is not None
    assert len(list(fresh.glob("kernels/*"))) == 1


@needs_kernels
def test_damaged_library_is_compiled_again(fresh, caplog):
    """An emptied library would end the process when it is loaded."""
    assert kernels._library() is not None
    (library,) = fresh.rglob("*.so")
    library.unlink()  # it is in use
    library.write_bytes(bytes(1000))
    kernels._library.cache_clear()
    assert kernels._library() is not None
    assert len(caplog.messages) == 1 and "kernels.so has another digest" in caplog.messages[0]


@pytest.mark.parametrize(
    "script, message",
    [
        ("echo 'no such luck' >&2; exit 1", "no such luck"),
        ('while [ $# -gt 1 ]; do shift; done; echo x > "$1"', "file too short|invalid ELF header"),
    ],
)
def test_no_kernels(fresh, tmp_path_factory, monkeypatch, script, message):
    """With a compiler that fails, or whose library cannot be loaded, there is one warning and the torch form."""
    monkeypatch.setenv("CC", _compiler(tmp_path_factory.mktemp("bin") / "cc", script))
    with pytest.warns(RuntimeWarning, match=f"no C kernels, training is slower: .*({message})") as caught:
        assert kernels._library() is None
        assert not kernels.kernels_available()
    assert len(caught) == 1
    assert kernels.interpolate(torch.zeros(1, 1), torch.linspace(-1, 1, 3)[:, None], -1, 1) == 0


def test_lookup_is_exact_at_every_code(either):
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
    results = _gradients(lambda x, w: kernels.mix_local(x, w, grid, kernel), x, weight)
    expected = _gradients(lambda x, w: kernels._mix_local_torch(x, w, *grid, kernel), x, weight)
    for a, b in zip(results, expected, strict=True):
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
    y = kernels.mix_local(torch.from_numpy(x), torch.from_numpy(weight), (2, 3), 3)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)
