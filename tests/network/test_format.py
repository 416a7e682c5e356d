"""A second implementation of the network format, in plain Python, gives the logits of `psahw.network.reference`.

It is written from docs/reference/network-format.md alone: without NumPy arithmetic, without safetensors, and with
psahw in the comparison only.
"""

import array
import hashlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.published import convert
from psahw.network import file as network_file
from psahw.network import reference, samples
from psahw.network.layers import Patch
from psahw.network.random import StageShape, random_images, random_network

KINDS = {"I8": ("b", "int8"), "U8": ("B", "uint8"), "I32": ("i", "int32")}


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
    shared = any(any(stage.get("shared", [])) for stage in description["stages"])
    assert (description["format"], description["version"]) == ("psahw-network", 2 if shared else 1)
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
    hashed = {k: v for k, v in description.items() if k not in ("name", "classes", "metadata")}
    state = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode("ascii"))
    hash_tensors(state, raw)
    return state.hexdigest()


def rshift(value, shift):
    return value if shift == 0 else (value + 2 ** (shift - 1)) // 2**shift


def sat(value, bits=8):
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


class Model:
    """Calculates logits from the contents of a network file."""

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


def compare(network, images, folder):
    """Check that the second implementation gives the same digest and logits."""
    path = folder / "network.safetensors"
    network_file.save(network, path)
    description, tensors, raw = read(path)
    assert digest(description, raw) == network_file.digest(network)
    model = Model(description, tensors)
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
