"""Network files are read as they were written, and a wrong one is refused in a line that names file and place."""

import dataclasses
import json
import os
import struct
import threading

import numpy as np
import pytest
import safetensors.numpy

from psahw.errors import UserError
from psahw.network import descriptions, reference
from psahw.network import file as network_file
from psahw.network.graph import Named, Network, Output, Residual
from psahw.network.layers import Flatten, MeanPool, Table, Windows
from psahw.network.random import StageShape, random_graph, random_images, random_linear, random_network
from psahw.network.resmlp import Patch

LAST = "stages.1.blocks.0.channel_mixing"


@pytest.fixture(scope="module")
def network():
    """Two stages; 4x4 tokens of 8 channels mixed locally, 2x2 tokens of 12."""
    rng = np.random.default_rng(0)
    stages = (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1))
    return random_network(rng, image=(8, 8), patch=Patch(4, 2, 1), stages=stages, logit_bits=12)


@pytest.fixture
def contents(network):
    """A description and tensors, for tests to spoil."""
    config, tensors = network_file.flatten(network)
    return json.loads(json.dumps(config)), dict(tensors)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spoiled.safetensors"


def write(path, config, tensors):
    text = config if isinstance(config, str) else json.dumps(config)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    safetensors.numpy.save_file(tensors, path, metadata={"psahw": text})


def complaint(path):
    """Return the message with which loading fails, without the name of the file at its beginning."""
    with pytest.raises(UserError) as caught:
        network_file.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_round_trip(network, tmp_path):
    path = tmp_path / "network.safetensors"
    network_file.save(network, path)
    again = network_file.load(path)
    config, tensors = network_file.flatten(network)
    config_again, tensors_again = network_file.flatten(again)
    assert config == config_again
    assert tensors.keys() == tensors_again.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, tensors_again[name], strict=True)
    images = random_images(np.random.default_rng(1), network, 5)
    np.testing.assert_array_equal(reference.run(network, images), reference.run(again, images))
    assert network_file.digest(network) == network_file.digest(again)
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]


def test_shared_kernels(tmp_path):
    """A shared kernel needs version 2; other networks keep their files and digests."""
    rng, path = np.random.default_rng(0), tmp_path / "network.safetensors"
    stages = (StageShape(8, 6, 2, groups=8, kernel=3, shared=True), StageShape(12, 5, 1, kernel=3))
    network = random_network(rng, image=(16, 16), stages=stages)
    network_file.save(network, path)
    again = network_file.load(path)
    (config, tensors), (config_again, tensors_again) = map(network_file.flatten, (network, again))
    assert config == config_again
    assert (config["version"], [stage["shared"] for stage in config["stages"]]) == (2, [[True, True], [False]])
    assert tensors["stages.0.blocks.1.token_mixing.weight"].shape == (8, 1, 9)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, tensors_again[name], strict=True)
    assert network_file.digest(network) == network_file.digest(again)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (None, "stages[0].shared must be a list, not null"),
        ([], "stages[0].shared: must have 1 entries, one per block, not 0"),
        ([1], "stages[0].shared[0] must be true or false, not 1"),
        ([True], "stages.0.blocks.0.token_mixing: weight must have shape (any, 1, any), not (2, 16, 9)"),
        ([False], "version: must be 1, the oldest that can describe this network, not 2"),
    ],
)
def test_wrong_shared(path, contents, shared, message):
    config, tensors = contents
    config["stages"][0]["shared"], config["stages"][1]["shared"] = shared, [False]
    write(path, config | {"version": 2}, tensors)
    assert complaint(path) == message


def test_dense_cannot_be_shared(path, contents):
    config, tensors = contents
    config["stages"][0]["shared"], config["stages"][1]["shared"] = [False], [True]
    write(path, config | {"version": 2}, tensors)
    assert complaint(path) == "stages.1.blocks.0.token_mixing: shared must be False without a kernel, not True"


def test_version_1_ignores_shared(path, contents):
    config, tensors = contents
    config["stages"][0]["shared"] = [True]
    write(path, config, tensors)
    assert not network_file.load(path).place("stages.0.blocks.0.token_mixing.linear").layer.shared


@pytest.fixture
def graph_contents():
    """A description and tensors of version 3, for tests to spoil."""
    config, tensors = network_file.flatten(graph())
    return json.loads(json.dumps(config)), dict(tensors)


def graph():
    """Return a residual connection with a table in its shortcut, a mean, and a head with multipliers."""
    rng = np.random.default_rng(0)
    table = Table(rng.integers(0, 16, (2, 256)).astype(np.uint8), 4)
    branch = (Named("sum.linear", random_linear(rng, 2, 2)),)
    head = random_linear(rng, 2, 2)
    head = dataclasses.replace(head, multiplier=np.array([3, 65535], np.uint32))
    layers = (
        Named("windows", Windows((2, 1), (2, 1), (1, 0, 0, 0), -7)),
        Named("narrow", random_linear(rng, 2, 4)),
        Named("sum", Residual(branch, (Named("sum.table", table),), 5, False)),
        Named("pool", MeanPool(3, 5)),
        Named("head", head),
    )
    input_table = np.tile(np.arange(-128, 128), (2, 1)).astype(np.int8)
    return Network("graph", (3, 2), input_table, layers, Output("values", ("a", "b"), (0.5, -2), (0, 1e-30)))


@pytest.mark.parametrize("seed", range(20))
def test_random_graph_round_trip(seed, tmp_path):
    """A graph comes back with the same layers, names, digest and outputs, and makes the same file again."""
    rng, path, second = np.random.default_rng(seed), tmp_path / "one", tmp_path / "two"
    network = random_graph(rng)
    network_file.save(network, path)
    again = network_file.load(path)
    (config, tensors), (config_again, tensors_again) = map(network_file.flatten, (network, again))
    assert config == config_again and config["version"] == 3
    assert tensors.keys() == tensors_again.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, tensors_again[name], strict=True)
    assert (again.output, again.metadata, again.image) == (network.output, network.metadata, network.image)
    for place, same in zip(network.places, again.places, strict=True):
        assert (place.name, place.input, place.output) == (same.name, same.input, same.output)
        assert type(place.layer) is type(same.layer)
    assert network_file.digest(network) == network_file.digest(again)
    images = random_images(rng, network, 3)
    np.testing.assert_array_equal(reference.run(network, images), reference.run(again, images))
    network_file.save(again, second)
    assert path.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("blocks", [0, 2])
def test_a_resmlp_has_the_oldest_version(path, shared, blocks):
    """It does not matter whether it is written in its short form or as a graph."""
    stages = (StageShape(8, 6, blocks, groups=2, kernel=3, shared=shared), StageShape(4, 5, 1))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, tables=0.5)
    parts = {field.name: getattr(network, field.name) for field in dataclasses.fields(network) if field.init}
    again = Network(**parts)
    assert network_file.flatten(again)[0]["version"] == (2 if shared and blocks else 1)
    assert network_file.digest(again) == network_file.digest(network)
    write(path, *descriptions.of_graph(network))
    oldest = 2 if shared and blocks else 1
    assert complaint(path) == f"version: must be {oldest}, the oldest that can describe this network, not 3"


def renamed(network):
    return {"layers": (*network.layers[:-1], network.layers[-1]._replace(name="last"))}


def with_layer(network, name, **changes):
    layers = [Named(n, dataclasses.replace(x, **changes) if n == name else x) for n, x in network.layers]
    return {"layers": tuple(layers)}


@pytest.mark.parametrize(
    "changes",
    [
        renamed,
        lambda network: {"output": dataclasses.replace(network.output, kind="labels")},
        lambda network: with_layer(network, "pool", multiplier=2),
        lambda network: with_layer(network, "head", out_bits=25),
        lambda network: with_layer(network, "head", out_signed=False),
        lambda network: with_layer(network, "head", multiplier=np.ones(5, np.uint32)),
        lambda network: with_layer(network, "embed.windows", code=1),
        lambda network: with_layer(network, "embed.windows", padding=(1, 0, 0, 0)),
        lambda network: with_layer(network, "stages.0.blocks.0.token_mixing", out_bits=7),
        lambda network: {"layers": (*network.layers[:-2], Named("flat", Flatten()), network.layers[-1])},
    ],
    ids=range(10),
)
def test_what_is_no_resmlp_has_version_3(changes, path):
    stages = (StageShape(8, 6), StageShape(4, 5))
    network = random_network(np.random.default_rng(0), image=(8, 8), stages=stages, tables=False)
    other = dataclasses.replace(network, **changes(network))
    network_file.save(other, path)
    assert network_file.flatten(other)[0]["version"] == 3
    assert network_file.digest(network_file.load(path)) == network_file.digest(other)


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (
            0, {"kind": "lstm"},
            "layers[0].kind must be one of flatten, linear, max_pool, mean_pool, residual, table, thresholds, "
            "token_mixing, windows, not 'lstm'",
        ),
        (0, {"kind": 3}, "layers[0].kind must be a string, not 3"),
        (0, {"size": [2]}, "layers[0].size must be a list of length 2, not [2]"),
        (0, {"size": [2, 1.0]}, "layers[0].size[1] must be an integer, not 1.0"),
        (0, {"padding": [2, 0, 0, 0]}, "windows: padding[0] must be in [0, 1], not 2"),
        (0, {"code": -129}, "windows: code must be in [-128, 255], not -129"),
        (0, {"code": 200}, "network: windows code must be an int8, like the codes around it, not 200"),
        (0, {"name": "a b"}, "layers: the name of a layer must be letters, digits and underscores between dots, "),
        (0, {"name": "head"}, "network: the name head must belong to one layer, not to two"),
        (0, {"name": "sum_table"}, "network: the names sum_table and sum.table must differ also with underscores"),
        (1, {"bits": "8"}, "layers[1].bits must be an integer, not '8'"),
        (1, {"bits": 32}, "narrow: out_bits must be in [2, 31], not 32"),
        (1, {"bits": 9}, "network: sum.linear must come after codes of at most 8 bits, not int9"),
        (1, {"signed": None}, "layers[1].signed must be true or false, not null"),
        (1, {"kind": "table"}, "narrow: this tensor is missing"),
        (2, {"branch": [7]}, "layers[2].branch[0] must be an object, not 7"),
        (2, {"branch": []}, "sum.linear.bias: this tensor does not belong to the network described in the file"),
        (2, {"bits": 9}, "sum: out_bits must be in [1, 8], not 9"),
        (3, {"multiplier": 0}, "pool: multiplier must be in [1, 4194303], not 0"),
        (3, {"offset": 1 << 22}, "pool: offset must be in [-4194303, 4194303], not 4194304"),
        (3, {"offset": 0.5}, "layers[3].offset must be an integer, not 0.5"),
        (3, {"kind": "flatten"}, "network: head must have 8 inputs, not 2"),
        (4, {"kind": "token_mixing"}, "layers[4].kernel is missing"),
    ],
    ids=range(23),
)  # fmt: skip
def test_wrong_layer(path, graph_contents, index, changes, message):
    config, tensors = graph_contents
    config["layers"][index] |= changes
    write(path, config, tensors)
    problem = complaint(path)
    assert problem.startswith(message) and problem.isprintable() and len(problem) < 300


@pytest.mark.parametrize("field", ["image", "layers", "output", "names", "metadata"])
def test_missing_field_of_version_3(path, graph_contents, field):
    config, tensors = graph_contents
    del config[field]
    write(path, config, tensors)
    assert complaint(path) == f"{field} is missing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": {}}, "layers must be a list, not {}"),
        ({"layers": []}, "network: layers must not be empty"),
        ({"output": {"kind": "logits"}}, "output: output.kind must be one of class, values, labels, not 'logits'"),
        ({"output": {"kind": "values"}}, "output: output.scale must have 2 numbers, not 0"),
        (
            {"output": {"kind": "values", "scale": [1, "x"], "offset": [0, 0]}},
            "output.scale[1] must be a number, not 'x'",
        ),
        ({"output": {"kind": "values", "scale": [1, 0], "offset": [0, 0]}}, "output: output.scale[1] must not be 0"),
        ({"output": {"kind": "class"}, "names": ["a"]}, "network: head must have 1 outputs, one per class, not 2"),
        ({"image": [3, 3]}, "the file is fine"),
    ],
)
def test_wrong_description_of_version_3(path, graph_contents, changes, message):
    config, tensors = graph_contents
    write(path, config | changes, tensors)
    if message == "the file is fine":  # a graph with a mean does not determine the image
        assert network_file.load(path).image == (3, 3)
    else:
        assert complaint(path) == message


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("narrow.shift", None, "narrow.shift: this tensor is missing"),
        ("sum.table", None, "sum.table: this tensor is missing"),
        ("input_table", None, "input_table: this tensor is missing"),
        ("head.multiplier", np.ones(2, np.int32), "head: multiplier must be an array of uint32, not int32"),
        ("head.multiplier", np.ones(3, np.uint32), "head: multiplier must have shape (2), not (3,)"),
        ("sum.table", np.zeros((2, 256), np.int16), "sum.table: values must be an array of int8, not int16"),
        ("sum.table", np.full((2, 256), 16, np.uint8), "sum.table: values must fit uint4, unlike 16"),
        (
            "sum.table", np.zeros((2, 16), np.uint8),
            "network: sum.table must have 256 values per channel, one for each int8, not 16",
        ),
        ("narrow.multiplier", np.ones(2, np.uint32), None),
        ("head.offset", np.ones(2, np.uint32), "head: offset must be an array of int32, not uint32"),
        (
            "narrow.offset", np.ones(2, np.int32),
            "narrow: offset must be None without a multiplier, because the bias does the same",
        ),
        ("pool", np.zeros(1, np.int8), "pool: this tensor does not belong to the network described in the file"),
    ],
    ids=range(12),
)  # fmt: skip
def test_wrong_tensor_of_version_3(path, graph_contents, name, tensor, message):
    config, tensors = graph_contents
    tensors = {key: value for key, value in (tensors | {name: tensor}).items() if value is not None}
    write(path, config, tensors)
    if message is None:  # multipliers are optional
        assert network_file.load(path).place("narrow").layer.multiplier.tolist() == [1, 1]
    else:
        assert complaint(path) == message


def test_offsets(path, graph_contents):
    """They are read, and change the digest."""
    config, tensors = graph_contents
    offset = np.array([-7, 4194303], np.int32)
    config["layers"][3]["offset"] = -5
    write(path, config, tensors | {"head.offset": offset})
    network = network_file.load(path)
    assert network.place("head").layer.offset.tolist() == offset.tolist()
    assert network.place("pool").layer.offset == -5
    layers = (graph().layers, with_layer(graph(), "head", offset=offset)["layers"], network.layers)
    digests = {network_file.digest(dataclasses.replace(graph(), layers=some)) for some in layers}
    assert len(digests) == 3


def test_digest_of_version_3(path, graph_contents):
    """It depends on the meaning of the outputs, and not on their names or on how their numbers are written."""
    config, tensors = graph_contents
    digest = "18784c2a0f46a8c490064d39895d5315bd4ad6073ad008f565745c58182953ca"
    assert network_file.digest(graph()) == digest
    write(path, config | {"names": ["x", "y"], "name": "other", "metadata": {"a": 1}}, tensors)
    assert network_file.digest(network_file.load(path)) == digest
    numbers = config["output"] | {"scale": [0.5, -2], "offset": [0, 1e-30]}
    write(path, config | {"output": numbers}, tensors)
    assert network_file.digest(network_file.load(path)) == digest
    write(path, config | {"output": numbers | {"scale": [0.5, -3]}}, tensors)
    assert network_file.digest(network_file.load(path)) != digest
    write(path, config | {"output": {"kind": "class"}}, tensors)
    assert network_file.digest(network_file.load(path)) != digest


def test_deep_residual_connections(path, graph_contents):
    config, tensors = graph_contents
    inner = config["layers"]
    for depth in range(40):
        inner = [
            {"name": f"r{depth}", "kind": "residual", "bits": 8, "signed": True, "branch": inner, "shortcut": []}
        ]
        write(path, config | {"layers": inner}, tensors)
        if depth == 16:
            assert complaint(path) == "network: residual connections must be at most 16 deep"
    assert complaint(path) == "the description: lists and objects are nested more than 64 deep"


def test_digest_depends_on_what_determines_the_logits(network, tmp_path, contents):
    path = tmp_path / "network.safetensors"
    config, tensors = contents
    write(path, config | {"name": "other", "metadata": {"a": 1}, "classes": list("abcde")}, tensors)
    assert network_file.digest(network_file.load(path)) == network_file.digest(network)
    bias = tensors["head.bias"].copy()
    bias[2] += 1
    write(path, config, tensors | {"head.bias": bias})
    assert network_file.digest(network_file.load(path)) != network_file.digest(network)
    write(path, config | {"pool_shift": config["pool_shift"] + 1}, tensors)
    assert network_file.digest(network_file.load(path)) != network_file.digest(network)


def test_save_replaces_whole_files(network, tmp_path):
    path = tmp_path / "network.safetensors"
    path.write_text("old")
    network_file.save(network, path)
    assert network_file.load(path).name == network.name


def test_save_where_nothing_can_be_written(network, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "network.safetensors"
    with pytest.raises(UserError) as caught:
        network_file.save(network, path)
    assert str(caught.value) == f"cannot write {path}: Not a directory"


@pytest.mark.parametrize("name", network_file.shipped())
def test_shipped(name):
    assert network_file.load(name).name == name


@pytest.mark.parametrize(
    "version, shape, digest",
    [
        (1, StageShape(groups=2, kernel=3), "f676dda4c3f039469056872a05ca48fb5bbb5ab01011c10443fda962fa195c52"),
        (
            2,
            StageShape(groups=8, kernel=3, shared=True),
            "86b1edddd8b093a1425c8195bbf141fea6b3d91952c7ae9c059656b95eab831a",
        ),
    ],
)
def test_digest(version, shape, digest, tmp_path):
    """Bitstreams carry the digest of their network, so no change of the format may change it."""
    network = random_network(np.random.default_rng(11), stages=(shape,))
    assert network_file.flatten(network)[0]["version"] == version
    network_file.save(network, tmp_path / "x.safetensors")
    assert network_file.digest(network_file.load(tmp_path / "x.safetensors")) == digest


def test_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        network_file.load("absent.safetensors")
    known = ", ".join(network_file.shipped()) or "none"
    assert str(caught.value) == (
        f"no network 'absent.safetensors': neither a file nor one that ships with psahw ({known})"
    )


@pytest.mark.parametrize("length", [0, 4, 8, 100, 0.5, 0.999, -1])
def test_truncated(network, path, length):
    network_file.save(network, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(length * len(data)) if isinstance(length, float) else length])
    assert complaint(path).startswith("not a complete safetensors file: ")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" * 100,
        b"{}" * 100,
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        bytes(1000),
    ],
)
def test_not_safetensors(path, data):
    path.write_bytes(data)
    assert complaint(path) == "not a safetensors file"


def test_too_large(network, path, monkeypatch):
    network_file.save(network, path)
    monkeypatch.setattr(network_file, "MAX_FILE_BYTES", 100)
    assert complaint(path) == "more than 100 bytes, which is too large"


def test_someone_elses_safetensors(path):
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, path)
    assert complaint(path) == "no 'psahw' entry in the metadata: this is not a psahw network"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the description must be JSON: "),
        ("{", "the description must be JSON: "),
        ("not json", "the description must be JSON: "),
        ("[" * 100_000, "the description: lists and objects are nested more than 64 deep"),
        ('{"format": NaN}', "the description: NaN is not JSON: numbers must be finite"),
        ('{"name": "a", "name": "b"}', "the description: the key 'name' appears twice"),
        ('{"name": "\\ud800"}', "the description: '\\ud800' has a NUL character or half of a surrogate pair"),
    ],
    ids=range(7),
)
def test_not_json(path, contents, text, message):
    write(path, text, contents[1])
    assert complaint(path).startswith(message)


@pytest.mark.parametrize("config", [[], 1, None, {}, {"format": "other"}])
def test_other_format(path, contents, config):
    write(path, json.dumps(config), contents[1])
    assert complaint(path) == "format must be 'psahw-network': this is not a psahw network"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (4, "format version must be 1 to 3, not 4: update psahw"),
        (0, "format version must be 1 to 3, not 0"),
        ("1", "format version must be 1 to 3, not '1'"),
        (None, "format version must be 1 to 3, not None"),
    ],
)
def test_other_version(path, contents, version, message):
    config, tensors = contents
    write(path, config | {"version": version}, tensors)
    assert complaint(path) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual_bits": 12}, "residual_bits: must be 8 in version 1, not 12"),
        ({"residual_bits": None}, "residual_bits must be an integer, not null"),
        ({"name": 3}, "name must be a string, not 3"),
        ({"image": [8]}, "image must be a list of length 2, not [8]"),
        ({"image": [8, 8.0]}, "image[1] must be an integer, not 8.0"),
        ({"image": [8, 4096]}, "network: image[1] must be in [1, 1024], not 4096"),
        ({"patch": None}, "patch must be an object, not null"),
        ({"patch": {"size": 4, "stride": 2}}, "patch.padding is missing"),
        (
            {"patch": {"size": 4, "stride": 5, "padding": 0}},
            "patch: patch.stride must be in [1, 4], not 5",
        ),
        ({"pool_shift": -1}, "network: pool_shift must be in [0, 31], not -1"),
        ({"pool_shift": True}, "pool_shift must be an integer, not true"),
        ({"logit_bits": 99}, "head: logit_bits must be in [2, 24], not 99"),
        ({"classes": ["a"]}, "network: head must have 1 outputs, one per class, not 5"),
        ({"classes": [1, 2, 3, 4, 5]}, "classes[0] must be a string, not 1"),
        ({"metadata": "text"}, "metadata must be an object, not 'text'"),
        ({"stages": {}}, "stages must be a list, not {}"),
        ({"stages": [7]}, "stages[0] must be an object, not 7"),
        ({"stages": []}, "network: stages must not be empty"),
    ],
)
def test_wrong_description(path, contents, changes, message):
    config, tensors = contents
    write(path, config | changes, tensors)
    assert complaint(path) == message


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (0, {"grid": [4]}, "stages[0].grid must be a list of length 2, not [4]"),
        (0, {"grid": [4, 3]}, "network: stages.0.grid must be (4, 4), not (4, 3)"),
        (0, {"grid": [4, 0]}, "stages.0: grid[1] must be in [1, 256], not 0"),
        (
            0,
            {"kernels": [5]},
            "stages.0.blocks.0.token_mixing: weight must have shape (2, 16, 25), not (2, 16, 9)",
        ),
        (0, {"kernels": [2]}, "stages.0.blocks.0.token_mixing: kernel must be odd, not (2, 2)"),
        (0, {"kernels": ["3"]}, "stages[0].kernels[0] must be an integer or null, not '3'"),
        (
            1,
            {"kernels": [None, None]},
            "stages.1.blocks.1.token_mixing.weight: this tensor is missing",
        ),
        (
            1,
            {"kernels": []},
            f"{LAST}.linear1.bias: this tensor does not belong to the network described in the file",
        ),
    ],
)
def test_wrong_stage(path, contents, stage, changes, message):
    config, tensors = contents
    config["stages"][stage] |= changes
    write(path, config, tensors)
    assert complaint(path) == message


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("embed.weight", np.zeros((8, 47), np.int8), "network: embed must have 48 inputs, not 47"),
        ("embed.weight", np.zeros((8, 48), np.float32), "embed: weight must be an array of int8, not float32"),
        ("embed.weight", np.zeros((8, 48, 1), np.int8), "embed: weight must have shape (any, any), not (8, 48, 1)"),
        ("embed.bias", np.zeros(9, np.int32), "embed: bias must have shape (8), not (9,)"),
        ("embed.bias", np.zeros(8, np.int64), "embed: bias must be an array of int32, not int64"),
        ("embed.shift", np.full(8, 32, np.uint8), "embed: shift[0] must be at most 31, not 32"),
        ("head.weight", np.zeros((5, 11), np.int8), "network: head must have 12 inputs, not 11"),
        (
            "head.bias",
            np.array([0, 0, 0, 1 << 30, 0], np.int32),
            "head: row [3] can exceed the 31-bit accumulator: |bias| + 128·sum|weight| must be below "
            "1073741824, not ",
        ),
        (
            "stages.1.merge.weight",
            np.zeros((12, 31), np.int8),
            "network: stages.1.merge must have 32 inputs, not 31",
        ),
        (
            "stages.0.blocks.0.token_mixing.weight",
            np.ones((2, 16, 9), np.int8),
            "network: stages.0.blocks.0.token_mixing.linear weight[0, 0, 0] must be 0 outside the grid",
        ),
        (
            f"{LAST}.linear2.weight",
            np.zeros((12, 6), np.int8),
            f"network: {LAST}.linear2 must have 5 inputs, not 6",
        ),
        (
            f"{LAST}.table_hidden",
            np.zeros((5, 128), np.int8),
            f"{LAST}.table_hidden: values must have shape (any, 256), not (5, 128)",
        ),
        (
            f"{LAST}.table_in",
            np.zeros((12, 256), np.uint8),
            f"{LAST}.table_in: values must be an array of int8, not uint8",
        ),
        (
            f"{LAST}.table_in",
            np.zeros((11, 256), np.int8),
            f"network: {LAST}.table_in must have 12 channels, not 11",
        ),
        (
            "input_table",
            np.zeros((3, 256), np.uint8),
            "network: input_table must be an array of int8, not uint8",
        ),
        (
            "stages.2.merge.weight",
            np.zeros((1, 1), np.int8),
            "stages.2.merge.weight: this tensor does not belong to the network described in the file",
        ),
    ],
)
def test_wrong_tensor(path, contents, name, tensor, message):
    config, tensors = contents
    write(path, config, tensors | {name: tensor})
    assert complaint(path).startswith(message)


@pytest.mark.parametrize(
    "name",
    ["input_table", "embed.shift", "head.weight", "stages.1.merge.bias", f"{LAST}.linear1.weight"],
)
def test_missing_tensor(path, contents, name):
    config, tensors = contents
    del tensors[name]
    write(path, config, tensors)
    assert complaint(path) == f"{name}: this tensor is missing"


def test_missing_table_is_the_identity(path, contents):
    config, tensors = contents
    del tensors[f"{LAST}.table_hidden"]
    write(path, config, tensors)
    names = [name for name, _ in network_file.load(path).place(LAST).layer.branch]
    assert names == [f"{LAST}.{part}" for part in ("table_in", "linear1", "linear2")]


def test_changed_bytes_are_noticed(network, path):
    """Every byte of every tensor is covered by the checksum, and so are the names of the classes."""
    network_file.save(network, path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(2)
    for place in [*rng.integers(start, len(data), 50).tolist(), data.index(b"class 3") + 6, len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << int(rng.integers(3))]) + data[place + 1 :])
        assert complaint(path) == "the file is damaged: its content does not match its checksum; copy it again"
    path.write_bytes(data)
    assert network_file.digest(network_file.load(path)) == network_file.digest(network)


def test_files_without_a_checksum_load(network, path, contents):
    """Files of psahw 0.1 have none."""
    write(path, *contents)
    assert network_file.digest(network_file.load(path)) == network_file.digest(network)
    write(path, {"sha256": "0" * 63} | contents[0], contents[1])
    assert complaint(path).startswith("sha256 must be 64 hexadecimal digits in lower case, not '000")


def test_the_same_network_makes_the_same_file(network, path):
    network_file.save(network, path)
    first = path.read_bytes()
    network_file.save(network_file.load(path), path)
    assert path.read_bytes() == first


def test_a_network_comes_through_a_pipe(network, tmp_path):
    network_file.save(network, tmp_path / "network.safetensors")
    data = (tmp_path / "network.safetensors").read_bytes()
    os.mkfifo(pipe := tmp_path / "pipe")
    threading.Thread(target=lambda: pipe.write_bytes(data)).start()
    assert network_file.digest(network_file.load(pipe)) == network_file.digest(network)


def test_reading_ends_at_the_largest_size(path, monkeypatch):
    path.symlink_to("/dev/zero")
    monkeypatch.setattr(network_file, "MAX_FILE_BYTES", 1 << 20)
    assert complaint(path) == "more than 1048576 bytes, which is too large"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "network: name must have 1 to 100 characters, not 0: ''"),
        ({"name": "n" * 100_000}, "network: name must have 1 to 100 characters, not 100000: 'nnn"),
        ({"name": "a\x1b[31mb"}, "network: name must consist of characters that print, unlike 'a\\x1b[31mb'"),
        ({"name": "a\u202eb"}, "network: name must consist of characters that print, unlike 'a\\u202eb'"),
        ({"classes": ["a", "b", "c\n", "d", "e"]}, "network: classes[2] must consist of characters that print"),
        ({"classes": ["a", "b", "c" * 101, "d", "e"]}, "network: classes[2] must have 1 to 100 characters, not 101"),
        ({"metadata": {"accuracy": -1}}, "network: the accuracy int8 must be in percent, 0 to 100, not -1"),
        ({"metadata": {"accuracy": {"a": 100.5}}}, "network: the accuracy a must be in percent, 0 to 100, not 100.5"),
        (
            {"metadata": {"accuracy": {"a\x07": 1}}},
            "network: the name of an accuracy must consist of characters that",
        ),
        ({"metadata": {"accuracy": {"a": 10**400}}}, "the description: an integer of 401 digits is too large"),
    ],
    ids=range(10),
)
def test_wrong_names_and_accuracies(path, contents, changes, message):
    config, tensors = contents
    write(path, config | changes, tensors)
    found = complaint(path)
    assert found.startswith(message) and found.isprintable() and len(found) < 200


def test_a_network_with_a_wrong_name_cannot_be_made(network):
    with pytest.raises(ValueError, match=r"^name must consist of characters that print"):
        dataclasses.replace(network, name="a\tb")
    with pytest.raises(TypeError, match=r"^name must be a string, not 7$"):
        dataclasses.replace(network, name=7)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {"a": 1 << 64}, "x" * (1 << 20)], ids=range(4))
def test_metadata_that_could_not_be_read_is_not_written(network, path, value):
    with pytest.raises(UserError, match=r"^cannot write .*spoiled\.safetensors: the (metadata|description) of "):
        network_file.save(dataclasses.replace(network, metadata={"note": value}), path)
    assert not path.exists()


def test_dtype_that_numpy_lacks(path, contents):
    """The header of a sound file is changed to say bfloat16."""
    config, tensors = contents
    write(path, config, tensors | {"head.bias": tensors["head.bias"].astype(np.float16)})
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"BF16"', 1)[:])
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    path.write_bytes(struct.pack("<Q", length + 1) + data[8:])
    complaint(path)
