"""The integer model gives published logits, and its own in any batches.

The published networks are read from their authors' files (see `calibration.published`), and CIFAR-10 from psahw's
cache. Tests that need them skip without; `pytest -rs` lists those.
"""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from calibration.published import convert
from psahw.network import reference, samples
from psahw.network.graph import Named, Network, Output
from psahw.network.layers import Linear, MaxPool, MeanPool, Thresholds, TokenMixing, Windows
from psahw.network.random import StageShape, random_graph, random_images, random_linear, random_network
from psahw.network.resmlp import Patch, recognise
from tests.network.test_format import compare


def published(name):
    """Return a published network and its logits, or skip the test."""
    try:
        return convert(name)
    except FileNotFoundError as error:
        pytest.skip(f"published network absent: {error.filename} (PSAHW_REFERENCE names its directory)")


@pytest.fixture(scope="module")
def cifar10():
    """Return CIFAR-10 if an earlier command has put it into the cache, because a test downloads nothing."""
    from psahw.model import cache, data

    path = cache.cache_directory() / "cifar10.safetensors"
    if not path.exists():
        pytest.skip(f"CIFAR-10 is not in the cache: {path} (`psahw evaluate` fetches it)")
    return data.load("cifar10")


@pytest.mark.parametrize("name", ["psa96", "relu96"])
def test_published_logits_on_shipped_images(name):
    """The shipped images are the first hundred of the test set."""
    network, expected = published(name)
    images, _ = samples.load()
    np.testing.assert_array_equal(reference.run(network, images), expected[:100])


@pytest.mark.parametrize("name", ["psa96", "relu96"])
def test_published_logits(name, cifar10):
    network, expected = published(name)
    assert len(expected) == 1000
    np.testing.assert_array_equal(reference.run(network, cifar10.test_images[:1000]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "correct"), [("psa96", 8804), ("relu96", 8602)])
def test_published_accuracy(name, correct, cifar10):
    network, _ = published(name)
    classes = reference.run(network, cifar10.test_images).argmax(1)
    assert (classes == cifar10.test_labels).sum() == correct


@pytest.fixture(scope="module")
def network():
    stages = (StageShape(8, 6, 2, groups=2, kernel=3), StageShape(12, 5, 1, groups=4))
    rng = np.random.default_rng(0)
    return random_network(rng, image=(16, 12), patch=Patch(4, 2, 1), stages=stages, logit_bits=12)


def test_batches_do_not_matter(network):
    images = random_images(np.random.default_rng(1), network, 2 * reference.BATCH + 7)
    batches = []
    logits = reference.run(network, images, progress=batches.append)
    assert batches == [reference.BATCH, reference.BATCH, 7]
    one_by_one = np.concatenate([reference.run(network, images[n : n + 1]) for n in range(len(images))])
    np.testing.assert_array_equal(logits, one_by_one)
    assert logits.dtype == np.int32


@pytest.mark.parametrize("chunk", [1, 50, 3000])
def test_parts_do_not_matter(tmp_path, monkeypatch, chunk):
    """The second implementation computes each image at once. The first grid has more tokens than a band."""
    stages = (StageShape(4, 3, 1, 2, 3), StageShape(4, 5, 1, 2), StageShape(4, 3, 1, 2, 3, shared=True))
    rng = np.random.default_rng(chunk)
    network = random_network(rng, image=(24, 24), patch=Patch(3, 2, 1), stages=stages, logit_bits=12)
    monkeypatch.setattr(reference, "CHUNK", chunk)
    compare(network, random_images(rng, network, 3), tmp_path)


@pytest.mark.parametrize("chunk", [1, 40, 500])
def test_parts_of_graphs_do_not_matter(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(reference, "CHUNK", chunk)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        network = random_graph(rng)
        compare(network, random_images(rng, network, 3), tmp_path)


def _mixed(layer, grid, x):
    """Return the sums of a token mixing of one image, int64 (N, C), entry by entry."""
    height, width = grid
    x = x.astype(np.int64).reshape(height, width, -1)
    weight = layer.weight.astype(np.int64).repeat(x.shape[2] // layer.groups, 0)  # (C, N, kernel²)
    rows, columns = layer.kernel
    padded = np.pad(x, ((rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    total = layer.bias.repeat(x.shape[2] // layer.groups, 0).T.astype(np.int64).reshape(x.shape)
    for i in range(rows * columns):
        dy, dx = divmod(i, columns)
        total = total + weight[..., i].T.reshape(x.shape) * padded[dy : dy + height, dx : dx + width]
    return total.reshape(height * width, -1)


@pytest.mark.parametrize(("side", "kernel"), [(256, 1), (100, 5)])
def test_memory_of_local_mixing_in_large_grids(side, kernel):
    """The matrices over all tokens would take 16 GiB and 381 MiB."""
    rng = np.random.default_rng(0)
    stages = (StageShape(4, 4, 1, 2, kernel),)
    network = random_network(rng, image=(side, side), patch=Patch(1, 1), stages=stages)
    image, taps = random_images(rng, network, 1), {}
    tracemalloc.start()
    reference.run(network, image, taps=taps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 128 << 20
    _, layer, shape, _ = network.place("stages.0.blocks.0.token_mixing.linear")
    expected = _mixed(layer, shape.grid, taps["stages.0.blocks.0.token_mixing.table_in"][0])
    shift = layer.shift.repeat(2, 0).T.astype(np.int64)
    expected = np.floor(expected / 2.0**shift + 0.5).clip(-128, 127)
    np.testing.assert_array_equal(taps["stages.0.blocks.0.token_mixing.linear"][0], expected)


def test_memory_of_dense_mixing_in_large_grids():
    """The matrix takes 16 MiB in the file; in floating point it would take 64 MiB or 128 MiB."""
    rng = np.random.default_rng(0)
    network = random_network(rng, image=(128, 32), patch=Patch(1, 1), stages=(StageShape(2, 2, 1),))
    image, taps = random_images(rng, network, 1), {}
    tracemalloc.start()
    reference.run(network, image, taps=taps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 << 20
    layer = network.place("stages.0.blocks.0.token_mixing.linear").layer
    x = taps["stages.0.blocks.0.token_mixing.table_in"][0].astype(np.int64)
    rows = rng.choice(4096, 50, replace=False)
    total = layer.weight[0, rows].astype(np.int64) @ x + layer.bias[0, rows, None]
    expected = np.floor(total / 2.0 ** layer.shift[0, rows, None] + 0.5).clip(-128, 127)
    np.testing.assert_array_equal(taps["stages.0.blocks.0.token_mixing.linear"][0, rows], expected)


def test_memory_of_shared_kernels(monkeypatch):
    """The sums of all channels take 1 MiB, and so do the padded codes. Those of three at a time take 48 KiB."""
    monkeypatch.setattr(reference, "CHUNK", 1 << 14)
    rng = np.random.default_rng(0)
    weight, zeros = rng.integers(-9, 10, (64, 1, 9)).astype(np.int8), np.zeros((64, 1), np.int32)
    layer = TokenMixing(weight, zeros, zeros.astype(np.uint8), kernel=(3, 3), shared=True)
    codes = rng.integers(-128, 128, (1, 64 * 64, 64)).astype(np.int8)
    tracemalloc.start()
    reference._mix_tokens(layer, (64, 64), codes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_memory_of_convolutions():
    """All windows take 64 MiB, and the accumulators of all tokens 16 MiB."""
    rng = np.random.default_rng(0)
    parts = rng.integers(-9, 10, (16, 256)).astype(np.int8), np.zeros(16, np.int32), np.zeros(16, np.uint8)
    values = np.sort(rng.integers(-9999, 10_000, (16, 7)), axis=1).astype(np.int32)
    layers = (
        Named("windows", Windows((8, 8), (1, 1), (4, 3, 4, 3))),
        Named("accumulators", Linear(*parts, out_bits=22)),
        Named("thresholds", Thresholds(values, 3, False)),
        Named("greatest", MaxPool((15, 15), (1, 1), (7, 7, 7, 7))),
        Named("mean", MeanPool(16)),
        Named("head", random_linear(rng, 1, 16)),
    )
    table = np.tile(np.arange(-128, 128), (4, 1)).astype(np.int8)
    network = Network("large", (512, 512), table, layers, Output("class", ("a",)))
    image = random_images(rng, network, 1)
    tracemalloc.start()
    reference.run(network, image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20


def test_no_images(network):
    assert reference.run(network, np.empty((0, 16, 12, 3), np.uint8)).shape == (0, 5)


def test_sums_beyond_single_precision():
    """The embedding's sum is odd and above 2^24, which float32 cannot hold; the bias leaves only its low bits."""
    form = recognise(
        random_network(
            np.random.default_rng(0), image=(26, 26), patch=Patch(26, 26), stages=(StageShape(1, 1),), logit_bits=12
        )
    )
    inputs = 26 * 26 * 3
    total = 127 * 127 * (inputs - 1) + 127 * 126
    assert total > 1 << 24
    assert total % 2
    embed = Linear(np.full((1, inputs), 127, np.int8), np.array([5 - total], np.int32), np.zeros(1, np.uint8))
    table = np.full((3, 256), 127, np.int8)
    table[:, 0] = 126
    network = dataclasses.replace(form, embed=embed, input_table=table).network()
    image = np.ones((1, 26, 26, 3), np.uint8)
    image[0, 12, 7, 1] = 0
    taps = {}
    reference.run(network, image, taps=taps)
    assert taps["embed"].tolist() == [[[5]]]


@pytest.mark.parametrize("chunk", [reference.CHUNK, 60])
def test_taps_follow_the_layers(network, monkeypatch, chunk):
    """Taps hold the output of every layer under its name, in data order, also if it is computed in parts."""
    monkeypatch.setattr(reference, "CHUNK", chunk)
    images = random_images(np.random.default_rng(1), network, 3)
    taps = {}
    logits = reference.run(network, images, taps=taps)
    assert list(taps)[:3] == ["input", "embed.windows", "embed"]
    assert list(taps)[-2:] == ["pool", "head"]
    np.testing.assert_array_equal(taps["head"][:, 0], logits)
    assert taps.keys() == {"input", *(place.name for place in network.places)}
    for place in network.places:
        assert taps[place.name].shape[1:] == (place.output.tokens, place.output.channels)
        assert taps[place.name].min() >= place.output.low and taps[place.name].max() <= place.output.high
    for name in ("stages.0.blocks.0", "stages.0.blocks.1", "stages.1.blocks.0"):
        mixing = f"{name}.token_mixing"
        mlp = f"{name}.channel_mixing"
        table = network.place(f"{mlp}.table_residual").layer.values
        residual = np.take_along_axis(table.T, taps[mixing].reshape(-1, table.shape[0]).astype(int) + 128, 0).reshape(
            taps[mixing].shape
        )
        total = residual.astype(int) + taps[f"{mlp}.linear2"]
        np.testing.assert_array_equal(taps[mlp], np.clip(total, -128, 127))


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_shared_kernel_equals_its_dense_matrix(groups, kernel):
    """The grids include some that are smaller than the kernel. `dense` has a test of its own."""
    rng = np.random.default_rng(groups)
    stages = (StageShape(8, 4, 1, groups, kernel, shared=True), StageShape(8, 4, 2, groups, kernel, shared=True))
    network = random_network(rng, image=(16, 24), stages=stages, extremes=groups == 4)
    taps = {}
    reference.run(network, random_images(rng, network, 3), taps=taps)
    for name in ("stages.0.blocks.0", "stages.1.blocks.0", "stages.1.blocks.1"):
        _, layer, shape, _ = network.place(f"{name}.token_mixing.linear")
        x = taps[f"{name}.token_mixing.table_in"].astype(np.int64).reshape(3, shape.tokens, groups, -1)
        total = np.einsum("gnm,bmgc->bngc", layer.dense(shape.grid).astype(np.int64), x)
        expected = reference.requantise(total + layer.bias.T[..., None], layer.shift.T[..., None])
        mixed = taps[f"{name}.token_mixing.linear"]
        np.testing.assert_array_equal(mixed, expected.reshape(mixed.shape))


@pytest.mark.parametrize("inputs", [1024, 4096])
def test_exact_at_the_accumulator_limit(inputs):
    """Sums of 2^24 = 128·128·1024 and more, which float32 would round, are exact."""
    weight = np.full((2, inputs), -128, np.int8)
    weight[1, ::2] = 127
    bias = np.array([1, -1], np.int32)
    layer = Linear(weight, bias, np.zeros(2, np.uint8), out_bits=24)
    x = np.full((1, inputs), -128, np.int8)
    expected = weight.astype(np.int64) @ x[0].astype(np.int64) + bias
    result = reference._exact_product(x, layer.weight) + layer.bias
    np.testing.assert_array_equal(result, expected[None])


@pytest.mark.parametrize("leading", [(), (1,)])
@pytest.mark.parametrize(
    ("kind", "x", "weight", "total"),
    [
        (np.int8, [-128] * 1024 + [1], [-128] * 1024 + [1], (1 << 24) + 1),
        (np.int16, [255] * 515 + [2], [-128] * 514 + [-1, -1], -(1 << 24) - 1),
    ],
)
def test_the_least_sum_that_single_precision_rounds(leading, kind, x, weight, total):
    """It is 2^24 + 1, in the second of two rows, of a matrix or of one matrix of several."""
    weight = np.array([[0] * len(x), weight], np.int8)
    result = reference._exact_product(np.array(x, kind).reshape(*leading, 1, -1), weight.reshape(*leading, 2, -1))
    assert result.tolist() == np.reshape([0, total], (*leading, 1, 2)).tolist()


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        ([[0]], TypeError, "images must be an array of uint8, not list"),
        (np.zeros((1, 16, 12, 3)), TypeError, "images must be an array of uint8, not float64"),
        (
            np.zeros((1, 12, 16, 3), np.uint8),
            ValueError,
            r"images must have shape \(any, 16, 12, 3\), not \(1, 12, 16, 3\)",
        ),
        (
            np.zeros((16, 12, 3), np.uint8),
            ValueError,
            r"images must have shape \(any, 16, 12, 3\), not \(16, 12, 3\)",
        ),
    ],
)
def test_wrong_images(network, images, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        reference.run(network, images)
