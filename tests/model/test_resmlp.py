"""The float network equals plain NumPy, and its operation counts equal those worked out by hand."""

import numpy as np
import pytest
import torch

from psahw.model.config import ACTIVATIONS, ModelConfig, StageConfig
from psahw.model.presets import PRESETS
from psahw.model.resmlp import ChannelNorm, PatchMerging, ResMLP, TokenMixing, extract_patches
from psahw.network import reference
from psahw.network.resmlp import Patch


@pytest.mark.parametrize("size, stride, padding", [(4, 4, 0), (6, 4, 1), (4, 2, 1)])
def test_patches_equal_the_integer_models(size, stride, padding):
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (3, 16, 12, 3), dtype=np.int8)
    expected = reference.im2col(Patch(size, stride, padding).windows, (16, 12), codes.reshape(3, 16 * 12, 3))
    patches = extract_patches(torch.from_numpy(codes).float(), size, stride, padding)
    np.testing.assert_array_equal(patches.permute(1, 0, 2).numpy(), expected)


def test_merging_gathers_two_by_two():
    merging = PatchMerging(3, 5, (4, 6))
    x = torch.arange(24.0)[:, None, None].expand(24, 2, 3)  # each value is the number of its token
    gathered = merging.gather(x)
    assert gathered.shape == (6, 2, 12)
    assert gathered[4, 0].view(4, 3)[:, 0].tolist() == [14, 15, 20, 21]


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("kernel, shared", [(None, False), (3, False), (3, True)])
def test_token_mixing_against_numpy(groups, kernel, shared):
    torch.manual_seed(1)
    mixing = TokenMixing(StageConfig(8, 8, 1, groups=groups, kernel=kernel, shared=shared), (3, 4))
    with torch.no_grad():
        for parameter in mixing.parameters():
            parameter.normal_()
    x = torch.randn(12, 5, 8)
    mixing.eval()
    z = x.numpy() * mixing.norm.weight.detach().numpy() + mixing.norm.bias.detach().numpy()
    weight = mixing.matrices().detach().numpy()
    assert weight.shape[1] == (1 if shared else 12)
    expected = x.numpy().copy()
    for c in range(8):
        g = c // (8 // groups)
        for n in range(12):
            row = 0 if shared else n
            expected[n, :, c] += mixing.bias[g, row].item()
            for m in range(12):
                dy, dx = m // 4 - n // 4, m % 4 - n % 4
                if kernel is None:
                    expected[n, :, c] += weight[g, n, m] * z[m, :, c]
                elif abs(dy) <= 1 and abs(dx) <= 1:
                    expected[n, :, c] += weight[g, row, 3 * (dy + 1) + dx + 1] * z[m, :, c]
    np.testing.assert_allclose(mixing(x).detach().numpy(), expected, rtol=1e-3, atol=1e-3)


def test_norm_equals_batch_norm():
    torch.manual_seed(2)
    ours, theirs = ChannelNorm(6), torch.nn.BatchNorm1d(6)
    x = 3 * torch.randn(4, 50, 6) + 1
    torch.testing.assert_close(ours(x), theirs(x.flatten(0, 1)).view_as(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.mean, theirs.running_mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.var, theirs.running_var, rtol=1e-2, atol=1e-4)  # ours is biased
    scale, offset = ours.affine()
    torch.testing.assert_close(ours.eval()(x), x * scale + offset)


@pytest.mark.parametrize("activation, shared", [*((name, False) for name in ACTIVATIONS), ("psa_both", True)])
def test_every_activation_trains(activation, shared):
    torch.manual_seed(3)
    stage = StageConfig(8, 8, 1, groups=2, kernel=3, shared=shared)
    model = ResMLP(ModelConfig((stage,), activation=activation))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    model(images).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_counts():
    # 64 tokens of 4x4 patches, 96 channels, four blocks: the sizes in the README of the published networks.
    plain = PRESETS["plain"].model
    assert plain.macs() == 6_587_328
    assert plain.weights() == 95_680
    half = PRESETS["plain-half"].model
    assert half.macs() == 4_227_072 + 960
    # Local mixing by hand: a line of 8 tokens has 22 pairs of neighbours, hence the grid of 8x8 tokens has 22^2.
    psa = PRESETS["psa"].model
    assert psa.macs() == 64 * 108 * 96 + 4 * (484 * 96 + 2 * 64 * 96 * 96) + 960
    assert psa.weights() == 108 * 96 + 4 * (484 * 8 + 2 * 96 * 96) + 960
