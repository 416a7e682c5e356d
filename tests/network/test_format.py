"""A second implementation of the network format, in plain Python, gives the logits of `psahw.network.reference`.

It is written from docs/reference/network-format.md alone: without NumPy arithmetic, without safetensors, and with
psahw in the comparison only.
"""

import array
import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.published import convert
from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.network import reference, samples
from psahw.network.random import KINDS as STEPS
from psahw.network.random import StageShape, random_graph, random_images, random_network
from psahw.network.resmlp import Patch

KINDS = {"I8": ("b", "int8"), "U8": ("B", "uint8"), "U32": ("I", "uint32"), "I32": ("i", "int32")}


def nest(flat, shape):
    """Return a flat sequence as nested lists of the given shape, with the last index fastest."""
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def read(path):
    """Return the description, {name: nested lists} and {name: (dtype, shape, bytes)} of a network file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    text = header.pop("__metadata__")["psahw"]
    description = json.loads(text)
    shared = any(any(stage.get("shared", [])) for stage in description.get("stages", []))
    version = 3 if "layers" in description else 2 if shared else 1
    assert (description["format"], description["version"]) == ("psahw-network", version)
    tensors, raw = {}, {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        code, dtype = KINDS[entry["dtype"]]
        content = data[start + begin : start + end]
        tensors[name] = nest(array.array(code, content), entry["shape"])
        raw[name] = (dtype, tuple(entry["shape"]), content)
    stored = description.pop("sha256")
    state = hashlib.sha256(text.replace(stored, "0" * 64, 1).encode())
    hash_tensors(state, raw)
    assert state.hexdigest() == stored
    return description, tensors, raw


def hash_tensors(state, raw):
    """Add the tensors to a hash."""
    for name in sorted(raw):
        dtype, shape, content = raw[name]
        state.update(f"{name} {dtype} {shape}\n".encode("ascii"))
        state.update(content)


def digest(description, raw):
    """Return the digest of a network file."""
    hashed = {k: v for k, v in description.items() if k not in ("name", "classes", "names", "metadata")}
    state = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode("ascii"))
    hash_tensors(state, raw)
    return state.hexdigest()


def rshift(value, shift):
    return value if shift == 0 else (value + 2 ** (shift - 1)) // 2**shift


def sat(value, bits=8):
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


class Model:
    """Calculates the logits of versions 1 and 2 from the contents of a network file."""

    def __init__(self, description, tensors):
        self.description, self.tensors = description, tensors

    def linear(self, name, x, bits=8):
        weight, bias, shift = (self.tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        result = []
        for o in range(len(weight)):
            total = bias[o]
            for w, v in zip(weight[o], x, strict=True):
                total += w * v
            result.append(sat(rshift(total, shift[o]), bits))
        return result

    def table(self, name, x):
        if name not in self.tensors:
            return x
        table = self.tensors[name]
        return [table[c][x[c] + 128] for c in range(len(table))]

    def windows(self, image):
        size, stride, padding = (self.description["patch"][k] for k in ("size", "stride", "padding"))
        height, width = self.description["image"]
        table = self.tensors["input_table"]
        rows, columns = self.description["stages"][0]["grid"]
        for r in range(rows):
            for q in range(columns):
                values = []
                for y in range(r * stride - padding, r * stride - padding + size):
                    for x in range(q * stride - padding, q * stride - padding + size):
                        for colour in range(len(table)):
                            inside = 0 <= y < height and 0 <= x < width
                            values.append(table[colour][int(image[y][x][colour])] if inside else 0)
                yield values

    def merge(self, name, x, grid):
        rows, columns = grid
        result = []
        for r in range(rows):
            for q in range(columns):
                values = []
                for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    values += x[(2 * r + dy) * 2 * columns + 2 * q + dx]
                result.append(self.linear(name, values))
        return result

    def mix_tokens(self, name, x, grid, kernel, shared):
        weight, bias, shift = (self.tensors[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        rows, columns = grid
        tokens, channels, groups = rows * columns, len(x[0]), len(weight)
        result = [[0] * channels for _ in range(tokens)]
        for n in range(tokens):
            if kernel is None:
                taps = [(j, j) for j in range(tokens)]
            else:
                taps = []
                for j in range(kernel**2):
                    y = n // columns + j // kernel - kernel // 2
                    q = n % columns + j % kernel - kernel // 2
                    if 0 <= y < rows and 0 <= q < columns:
                        taps.append((j, y * columns + q))
            for c in range(channels):
                g = c // (channels // groups)
                i = 0 if shared else n
                row, total = weight[g][i], bias[g][i]
                for j, t in taps:
                    total += row[j] * x[t][c]
                result[n][c] = sat(rshift(total, shift[g][i]))
        return result

    def add(self, a, b):
        return [sat(v + w) for v, w in zip(a, b, strict=True)]

    def block(self, name, x, grid, kernel, shared):
        mixing, mlp = f"{name}.token_mixing", f"{name}.channel_mixing"
        z = [self.table(f"{mixing}.table_in", token) for token in x]
        z = self.mix_tokens(mixing, z, grid, kernel, shared)
        x = [
            self.add(self.table(f"{mixing}.table_residual", a), self.table(f"{mixing}.table_out", b))
            for a, b in zip(x, z, strict=True)
        ]
        result = []
        for token in x:
            hidden = self.linear(f"{mlp}.linear1", self.table(f"{mlp}.table_in", token))
            z = self.linear(f"{mlp}.linear2", self.table(f"{mlp}.table_hidden", hidden))
            result.append(self.add(self.table(f"{mlp}.table_residual", token), z))
        return result

    def logits(self, image):
        x = [self.linear("embed", values) for values in self.windows(image)]
        for s, stage in enumerate(self.description["stages"]):
            if s > 0:
                x = self.merge(f"stages.{s}.merge", x, stage["grid"])
            shared = stage["shared"] if self.description["version"] == 2 else [False] * len(stage["kernels"])
            for b, kernel in enumerate(stage["kernels"]):
                x = self.block(f"stages.{s}.blocks.{b}", x, stage["grid"], kernel, shared[b])
        shift = self.description["pool_shift"]
        pooled = [sat(rshift(sum(token[c] for token in x), shift)) for c in range(len(x[0]))]
        return self.linear("head", pooled, self.description["logit_bits"])


def least(codes):
    """Return the least code of a type (bits, signed)."""
    bits, signed = codes
    return -(2 ** (bits - 1)) if signed else 0


def clip(value, codes):
    """Return a value clipped to a type (bits, signed)."""
    return max(least(codes), min(least(codes) + 2 ** codes[0] - 1, value))


class Graph:
    """Calculates the outputs of version 3 from the contents of a network file."""

    def __init__(self, description, tensors, raw):
        self.description, self.tensors = description, tensors
        self.signed = {name: dtype == "int8" for name, (dtype, _, _) in raw.items()}

    def logits(self, image):
        """Return the outputs for an image."""
        height, width = self.description["image"]
        table = self.tensors["input_table"]
        pixels = [image[row][column] for row in range(height) for column in range(width)]
        codes = [[table[colour][int(value)] for colour, value in enumerate(pixel)] for pixel in pixels]
        (outputs,), grid, _ = self.series(self.description["layers"], codes, (height, width), (8, True))
        assert grid == (1, 1)
        return outputs

    def series(self, layers, x, grid, codes):
        """Return the tokens, the grid and the type (bits, signed) behind a series of layers."""
        for layer in layers:
            x, grid, codes = getattr(self, layer["kind"])(layer, x, grid, codes)
        return x, grid, codes

    def parts(self, name):
        """Return weights, biases, shifts, multipliers and offsets of a layer; the last two may be None."""
        return [self.tensors.get(f"{name}.{part}") for part in ("weight", "bias", "shift", "multiplier", "offset")]

    def sum(self, weight, values, bias, shift, multiplier, offset, codes):
        """Return a sum of products, requantised."""
        total = bias
        for w, v in zip(weight, values, strict=True):
            total += w * v
        return clip(rshift(multiplier * total + offset, shift), codes)

    def linear(self, layer, x, grid, codes):
        weight, bias, shift, multiplier, offset = self.parts(layer["name"])
        codes = layer["bits"], layer["signed"]
        scaling = multiplier or [1] * len(bias), offset or [0] * len(bias)
        rows = list(zip(weight, bias, shift, *scaling, strict=True))
        return [[self.sum(w, token, *row, codes) for w, *row in rows] for token in x], grid, codes

    def token_mixing(self, layer, x, grid, codes):
        weight, bias, shift, multiplier, offset = self.parts(layer["name"])
        codes = layer["bits"], layer["signed"]
        (rows, columns), channels = grid, len(x[0])
        y = [[0] * channels for _ in x]
        for n in range(len(x)):
            r = 0 if layer["shared"] else n
            places = [(j, j) for j in range(len(x))]
            if layer["kernel"] is not None:
                p, q = layer["kernel"]
                places = []
                for j in range(p * q):
                    row, column = n // columns + j // q - p // 2, n % columns + j % q - q // 2
                    if 0 <= row < rows and 0 <= column < columns:
                        places.append((j, row * columns + column))
            for c in range(channels):
                g = c // (channels // len(weight))
                scaling = multiplier[g][r] if multiplier else 1, offset[g][r] if offset else 0
                weights, values = [weight[g][r][j] for j, _ in places], [x[t][c] for _, t in places]
                y[n][c] = self.sum(weights, values, bias[g][r], shift[g][r], *scaling, codes)
        return y, grid, codes

    def table(self, layer, x, grid, codes):
        table, low = self.tensors[layer["name"]], least(codes)
        y = [[table[c][value - low] for c, value in enumerate(token)] for token in x]
        return y, grid, (layer["bits"], self.signed[layer["name"]])

    def thresholds(self, layer, x, grid, codes):
        values = self.tensors[layer["name"]]
        y = [
            [layer["offset"] + sum(1 for k in values[c] if k <= value) for c, value in enumerate(token)]
            for token in x
        ]
        return y, grid, (layer["bits"], layer["signed"])

    def cut(self, layer, x, grid):
        """Return the tokens of each window, with None for one outside the grid, and the grid of windows."""
        (height, width), size, stride = grid, layer["size"], layer["stride"]
        above, below, left, right = layer["padding"]
        rows = (height + above + below - size[0]) // stride[0] + 1
        columns = (width + left + right - size[1]) // stride[1] + 1
        windows = []
        for a in range(rows):
            for b in range(columns):
                covered = []
                for row in range(a * stride[0] - above, a * stride[0] - above + size[0]):
                    for column in range(b * stride[1] - left, b * stride[1] - left + size[1]):
                        inside = 0 <= row < height and 0 <= column < width
                        covered.append(x[row * width + column] if inside else None)
                windows.append(covered)
        return windows, (rows, columns)

    def windows(self, layer, x, grid, codes):
        windows, grid = self.cut(layer, x, grid)
        padding = [layer["code"]] * len(x[0])
        return [[v for token in covered for v in (token or padding)] for covered in windows], grid, codes

    def max_pool(self, layer, x, grid, codes):
        windows, grid = self.cut(layer, x, grid)
        inside = [[token for token in covered if token is not None] for covered in windows]
        return [[max(channel) for channel in zip(*tokens, strict=True)] for tokens in inside], grid, codes

    def mean_pool(self, layer, x, grid, codes):
        totals = [sum(channel) for channel in zip(*x, strict=True)]
        products = [layer["multiplier"] * v + layer.get("offset", 0) for v in totals]
        return [[clip(rshift(v, layer["shift"]), codes) for v in products]], (1, 1), codes

    def flatten(self, layer, x, grid, codes):
        return [[value for token in x for value in token]], (1, 1), codes

    def residual(self, layer, x, grid, codes):
        branch, after, _ = self.series(layer["branch"], x, grid, codes)
        shortcut, same, _ = self.series(layer["shortcut"], x, grid, codes)
        assert after == same
        codes = layer["bits"], layer["signed"]
        pairs = zip(branch, shortcut, strict=True)
        shift = layer.get("shift", 0)
        return (
            [[clip(rshift(a + b, shift), codes) for a, b in zip(*pair, strict=True)] for pair in pairs],
            after,
            codes,
        )


def compare(network, images, folder):
    """Check that the second implementation gives the same digest and logits."""
    path = folder / "network.safetensors"
    network_file.save(network, path)
    description, tensors, raw = read(path)
    assert digest(description, raw) == network_file.digest(network)
    model = Graph(description, tensors, raw) if description["version"] == 3 else Model(description, tensors)
    assert [model.logits(image) for image in images] == reference.run(network, images).tolist()


@st.composite
def shapes(draw):
    """Draw an image, a patch and stages that fit each other, with every option of the format."""
    size = draw(st.integers(1, 4))
    patch = Patch(size, draw(st.integers(1, size)), draw(st.integers(0, size - 1)))
    count = draw(st.integers(1, 2))
    side = st.sampled_from([2, 4, 6] if count == 2 else [1, 2, 3, 5])
    grid = draw(side), draw(side)
    # The last windows need not reach the edge of the image.
    slack = st.integers(0, patch.stride - 1)
    image = tuple((n - 1) * patch.stride + size - 2 * patch.padding + draw(slack) for n in grid)
    image = tuple(n if n > 0 else n + patch.stride * -(-(1 - n) // patch.stride) for n in image)
    if count == 2 and any(n % 2 for n in patch.grid(image)):
        count = 1
    stages = []
    for _ in range(count):
        groups = draw(st.integers(1, 3))
        kernel = draw(st.sampled_from([None, 1, 3, 5]))
        stages.append(
            StageShape(
                channels=groups * draw(st.integers(1, 3)),
                hidden=draw(st.integers(1, 6)),
                blocks=draw(st.integers(0, 2)),
                groups=groups,
                kernel=kernel,
                shared=kernel is not None and draw(st.booleans()),
            )
        )
    return {"image": image, "patch": patch, "stages": tuple(stages), "colours": draw(st.sampled_from([1, 3]))}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=shapes(),
    seed=st.integers(0, 2**32 - 1),
    tables=st.sampled_from([True, False, 0.5]),
    logit_bits=st.sampled_from([2, 8, 12, 24]),
    extremes=st.booleans(),
)
def test_random_networks(tmp_path, shape, seed, tables, logit_bits, extremes):
    rng = np.random.default_rng(seed)
    network = random_network(rng, tables=tables, logit_bits=logit_bits, extremes=extremes, **shape)
    compare(network, random_images(rng, network, 2), tmp_path)


def test_everything_at_once(tmp_path):
    """A network has overlapping padded windows, three stages, groups, all kinds of mixing, and wide logits."""
    rng = np.random.default_rng(0)
    stages = (
        StageShape(6, 6, 1, groups=6, kernel=3, shared=True),
        StageShape(8, 6, 2, groups=2, kernel=3),
        StageShape(12, 5, 2, groups=4),
    )
    network = random_network(rng, image=(16, 24), patch=Patch(3, 2, 1), stages=stages, logit_bits=12)
    compare(network, random_images(rng, network, 4), tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 6))
def test_random_graphs(tmp_path, seed, steps):
    rng = np.random.default_rng(seed)
    network = random_graph(rng, steps=steps)
    compare(network, random_images(rng, network, 2), tmp_path)


@pytest.mark.parametrize("kind", STEPS)
def test_graphs_of_one_kind(tmp_path, kind):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        network = random_graph(rng, steps=2, kinds=[kind])
        compare(network, random_images(rng, network, 2), tmp_path)


def entries(layers):
    """Yield the entries of all layers of a description, those of both paths of residual connections as well."""
    for entry in layers:
        yield entry
        yield from entries(entry.get("branch", ()))
        yield from entries(entry.get("shortcut", ()))


def test_changed_graphs(tmp_path):
    """A graph with a changed number in its description or in a tensor is refused, or computes what the page says."""
    counts = {True: 0, False: 0}
    for seed in range(120):
        rng = np.random.default_rng(seed)
        config, tensors = network_file.flatten(random_graph(rng, steps=3))
        config, tensors = json.loads(json.dumps(config)), dict(tensors)
        numbers = [
            (owner, key)
            for entry in entries(config["layers"])
            for owner in (entry, *(value for value in entry.values() if isinstance(value, list)))
            for key, value in (owner.items() if isinstance(owner, dict) else enumerate(owner))
            if type(value) is int
        ]
        if seed % 3 and numbers:
            owner, key = numbers[rng.integers(len(numbers))]
            owner[key] = int(rng.choice([0, 1, 2, 3, 7, 8, 9, 20, 31, -1, 255]))
        else:
            name = sorted(tensors)[rng.integers(len(tensors))]
            changed = np.array(tensors[name])
            limits = np.iinfo(changed.dtype)
            changed.reshape(-1)[rng.integers(changed.size)] = rng.choice([limits.min, limits.max, 0, 1])
            tensors[name] = changed
        path = tmp_path / "changed.safetensors"
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        safetensors.numpy.save_file(contiguous, path, metadata={"psahw": json.dumps(config)})
        try:
            network = network_file.load(path)
        except UserError:
            counts[False] += 1
            continue
        counts[True] += 1
        compare(network, random_images(rng, network, 1), tmp_path)
    assert min(counts.values()) > 20


def test_published_network(tmp_path):
    try:
        network, _ = convert("psa96")
    except FileNotFoundError as error:
        pytest.skip(f"published network absent: {error.filename}")
    images, _ = samples.load()
    compare(network, images[:3], tmp_path)


@pytest.mark.parametrize(
    ("value", "shift", "expected"),
    [
        (3, 1, 2),
        (-3, 1, -1),
        (-4, 3, 0),
        (-5, 3, -1),
        (4, 3, 1),
        (5, 0, 5),
        (2**30 - 1, 31, 0),
        (-(2**30), 31, 0),
    ],
)
def test_rshift(value, shift, expected):
    assert rshift(value, shift) == expected
    assert reference.rshift(np.array([value], np.int32), shift).tolist() == [expected]
