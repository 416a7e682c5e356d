"""The constructors of `psahw.network` refuse what does not fit, with the whole message; the walk over the layers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from psahw.network.layers import ChannelMixing, Linear, Patch, Stage, Table, TokenMixing, linear_names
from psahw.network.random import StageShape, random_network, random_table


def raises(kind, message):
    """Expect an error with exactly this message."""
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def zeros(outputs, inputs):
    return {
        "weight": np.zeros((outputs, inputs), np.int8),
        "bias": np.zeros(outputs, np.int32),
        "shift": np.zeros(outputs, np.uint8),
    }


def mixing_zeros(groups, tokens, terms):
    return {
        "weight": np.zeros((groups, tokens, terms), np.int8),
        "bias": np.zeros((groups, tokens), np.int32),
        "shift": np.zeros((groups, tokens), np.uint8),
    }


@pytest.fixture
def network():
    """Two stages: 4x4 tokens of 8 channels, 2x2 of 12."""
    stages = (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1))
    return random_network(np.random.default_rng(0), image=(16, 16), stages=stages)


def test_table_wrong_kind():
    with raises(TypeError, "values must be an array of int8, not list"):
        Table([0] * 256)
    with raises(TypeError, "values must be an array of int8, not int64"):
        Table(np.zeros((1, 256), np.int64))


@pytest.mark.parametrize("shape", [(256,), (4, 255), (0, 256), (1, 4, 256)])
def test_table_wrong_shape(shape):
    with raises(ValueError, f"values must have shape (any, 256), not {shape}"):
        Table(np.zeros(shape, np.int8))


def test_table_cannot_be_changed():
    table = random_table(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match="read-only"):
        table.values[0, 0] = 1


def test_linear_wrong_weight():
    with raises(TypeError, "weight must be an array of int8, not float32"):
        Linear(**zeros(2, 3) | {"weight": np.zeros((2, 3), np.float32)})
    with raises(ValueError, "weight must have shape (any, any), not (2, 3, 1)"):
        Linear(**zeros(2, 3) | {"weight": np.zeros((2, 3, 1), np.int8)})


def test_linear_wrong_bias():
    with raises(TypeError, "bias must be an array of int32, not int64"):
        Linear(**zeros(2, 3) | {"bias": np.zeros(2, np.int64)})
    with raises(ValueError, "bias must have shape (2), not (3,)"):
        Linear(**zeros(2, 3) | {"bias": np.zeros(3, np.int32)})


def test_linear_wrong_shift():
    with raises(TypeError, "shift must be an array of uint8, not int8"):
        Linear(**zeros(2, 3) | {"shift": np.zeros(2, np.int8)})
    with raises(ValueError, "shift[1] must be at most 31, not 32"):
        Linear(**zeros(2, 3) | {"shift": np.array([31, 32], np.uint8)})


@pytest.mark.parametrize(("bits", "kind"), [(1, ValueError), (25, ValueError), (8.0, TypeError), (True, TypeError)])
def test_linear_wrong_out_bits(bits, kind):
    requirement = f"in [2, 24], not {bits}" if kind is ValueError else f"an integer, not {bits}"
    with raises(kind, f"out_bits must be {requirement}"):
        Linear(**zeros(2, 3), out_bits=bits)


def test_linear_accumulator():
    """The largest bias beside one weight of -128 is accepted, and one more is not."""
    parts = zeros(2, 3)
    parts["weight"][1, 2] = -128
    room = (1 << 30) - 1 - 128 * 128
    for bias in (room, -room):
        Linear(**parts | {"bias": np.array([0, bias], np.int32)})
    with raises(
        ValueError,
        "row [1] can exceed the 31-bit accumulator: |bias| + 128·sum|weight| must be below 1073741824, "
        "not 1073741824",
    ):
        Linear(**parts | {"bias": np.array([0, -room - 1], np.int32)})


def test_linear_bias_at_the_end_of_int32():
    with raises(
        ValueError,
        "row [0] can exceed the 31-bit accumulator: |bias| + 128·sum|weight| must be below 1073741824, "
        "not 2147483648",
    ):
        Linear(**zeros(1, 1) | {"bias": np.array([-(1 << 31)], np.int32)})


def test_token_mixing_wrong_weight():
    with raises(ValueError, "weight must have shape (1, 4, 4), not (1, 4, 5)"):
        TokenMixing(**mixing_zeros(1, 4, 5))
    with raises(ValueError, "weight must have shape (2, 4, 9), not (2, 4, 4)"):
        TokenMixing(**mixing_zeros(2, 4, 4), kernel=3)


def test_token_mixing_wrong_bias():
    with raises(ValueError, "bias must have shape (2, 4), not (4,)"):
        TokenMixing(**mixing_zeros(2, 4, 4) | {"bias": np.zeros(4, np.int32)})


def test_token_mixing_wrong_shift():
    with raises(ValueError, "shift[1, 2] must be at most 31, not 40"):
        parts = mixing_zeros(2, 4, 4)
        parts["shift"][1, 2] = 40
        TokenMixing(**parts)


def test_token_mixing_wrong_kernel():
    with raises(ValueError, "kernel must be odd, not 2"):
        TokenMixing(**mixing_zeros(1, 4, 4), kernel=2)
    with raises(ValueError, "kernel must be in [1, 15], not 17"):
        TokenMixing(**mixing_zeros(1, 4, 289), kernel=17)
    with raises(TypeError, "kernel must be an integer, not '3'"):
        TokenMixing(**mixing_zeros(1, 4, 9), kernel="3")


def test_token_mixing_wrong_shared():
    with raises(ValueError, "weight must have shape (any, 1, any), not (2, 4, 9)"):
        TokenMixing(**mixing_zeros(2, 4, 9), kernel=3, shared=True)
    with raises(ValueError, "weight must have shape (2, 1, 9), not (2, 1, 25)"):
        TokenMixing(**mixing_zeros(2, 1, 25), kernel=3, shared=True)
    with raises(ValueError, "bias must have shape (2, 1), not (2, 4)"):
        TokenMixing(**mixing_zeros(2, 1, 9) | {"bias": np.zeros((2, 4), np.int32)}, kernel=3, shared=True)
    with raises(ValueError, "shared must be False without a kernel, not True"):
        TokenMixing(**mixing_zeros(2, 4, 4), shared=True)
    with raises(TypeError, "shared must be True or False, not 1"):
        TokenMixing(**mixing_zeros(2, 1, 9), kernel=3, shared=1)


@pytest.mark.parametrize("shared", [False, True])
def test_token_mixing_dense_equals_local(shared):
    """`dense` puts each weight where the offsets lead that are calculated here."""
    rng = np.random.default_rng(0)
    grid = (3, 4)
    stages = (StageShape(4, 4, 1, groups=2, kernel=3, shared=shared),)
    network = random_network(rng, image=(12, 16), stages=stages)
    mixing = network.stages[0].blocks[0].token_mixing
    full = np.zeros((2, 12, 12), int)
    for n in range(12):
        for j in range(9):
            row, column = n // 4 + j // 3 - 1, n % 4 + j % 3 - 1
            if 0 <= row < 3 and 0 <= column < 4:
                full[:, n, row * 4 + column] = mixing.weight[:, 0 if shared else n, j]
    np.testing.assert_array_equal(mixing.dense(grid), full)


def test_channel_mixing_wrong_linear2():
    with raises(ValueError, "linear2 must have 4 inputs, linear1's outputs, not 5"):
        ChannelMixing(Linear(**zeros(4, 3)), Linear(**zeros(3, 5)))
    with raises(ValueError, "linear2 must have 3 outputs, linear1's inputs, not 2"):
        ChannelMixing(Linear(**zeros(4, 3)), Linear(**zeros(2, 4)))


def test_channel_mixing_wrong_out_bits():
    with raises(ValueError, "linear1.out_bits must be 8, not 9"):
        ChannelMixing(Linear(**zeros(4, 3), out_bits=9), Linear(**zeros(3, 4)))


def test_stage_wrong_grid():
    with raises(ValueError, "grid must be in [1, 256], not 0"):
        Stage((0, 4), ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "patch.size must be in [1, 64], not 0"),
        ((4, 5), "patch.stride must be in [1, 4], not 5"),
        ((4, 0), "patch.stride must be in [1, 4], not 0"),
        ((4, 4, 4), "patch.padding must be in [0, 3], not 4"),
        ((4, 4, -1), "patch.padding must be in [0, 3], not -1"),
    ],
)
def test_patch_wrong(arguments, message):
    with raises(ValueError, message):
        Patch(*arguments)


def test_patch_grid():
    assert Patch(4, 4).grid((32, 32)) == (8, 8)
    assert Patch(4, 2, 1).grid((32, 32)) == (16, 16)
    assert Patch(3, 2).grid((8, 9)) == (3, 4)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"image": (16, 0)}, ValueError, "image must be in [1, 1024], not 0"),
        ({"image": (16, 20)}, ValueError, "stages.0.grid must be (4, 5), not (4, 4)"),
        ({"pool_shift": 32}, ValueError, "pool_shift must be in [0, 31], not 32"),
        ({"pool_shift": 1.0}, TypeError, "pool_shift must be an integer, not 1.0"),
        ({"stages": ()}, ValueError, "stages must not be empty"),
        ({"patch": Patch(5, 4)}, ValueError, "embed must have 75 inputs, a patch's values, not 48"),
        ({"classes": ("a", "b")}, ValueError, "head must have 2 outputs, one per class, not 5"),
        ({"head": Linear(**zeros(5, 8))}, ValueError, "head must have 12 inputs, not 8"),
        (
            {"embed": Linear(**zeros(8, 48), out_bits=9)},
            ValueError,
            "embed.out_bits must be 8, not 9",
        ),
        (
            {"input_table": np.zeros((3, 256), np.uint8)},
            TypeError,
            "input_table must be an array of int8, not uint8",
        ),
    ],
)
def test_network_wrong(network, changes, kind, message):
    with raises(kind, message):
        replace(network, **changes)


def test_network_too_large(network):
    """The memory that an image would take is said before anything is computed."""
    huge = "with which the integer model would need 0.8 GiB for one image"
    with raises(ValueError, f"image must have at most 134217728 codes, not 1024 x 1024 x 129, {huge}"):
        replace(network, image=(1024, 1024), input_table=np.zeros((129, 256), np.int8))
    codes = "stages.0 must have at most 134217728 codes, not 256 x 256 x 2049"
    with raises(ValueError, f"{codes}, {huge}"):
        stages = (Stage((256, 256), ()),)
        embed, head = Linear(**zeros(2049, 48)), Linear(**zeros(5, 2049))
        replace(network, image=(1024, 1024), embed=embed, stages=stages, head=head)


def test_network_wrong_merge(network):
    first, second = network.stages
    with raises(ValueError, "stages.1.merge must be present in every stage but the first"):
        replace(network, stages=(first, replace(second, merge=None)))
    with raises(ValueError, "stages.0.merge must be present in every stage but the first"):
        replace(network, stages=(replace(first, merge=second.merge), second))
    with raises(ValueError, "stages.1.merge must have 32 inputs, not 36"):
        replace(network, stages=(first, replace(second, merge=Linear(**zeros(12, 36)))))
    with raises(ValueError, "stages.1.merge.out_bits must be 8, not 12"):
        replace(network, stages=(first, replace(second, merge=replace(second.merge, out_bits=12))))


def test_network_odd_grid_before_merge():
    network = random_network(np.random.default_rng(0), image=(12, 8))
    stages = (*network.stages, Stage((1, 1), (), Linear(**zeros(8, 32))))
    with raises(ValueError, "stages.1.merge must follow a grid with even sides, not (3, 2)"):
        replace(network, stages=stages)


def with_block(network, **changes):
    stage = network.stages[0]
    return replace(network, stages=(replace(stage, blocks=(replace(stage.blocks[0], **changes),)), network.stages[1]))


def test_network_wrong_block(network):
    block = network.stages[0].blocks[0]
    name = "stages.0.blocks.0"
    with raises(ValueError, f"{name}.token_mixing must mix 16 tokens, not 4"):
        with_block(network, token_mixing=TokenMixing(**mixing_zeros(1, 4, 4)))
    with raises(ValueError, f"{name}.token_mixing.groups must divide the 8 channels, not 3"):
        with_block(network, token_mixing=TokenMixing(**mixing_zeros(3, 1, 9), kernel=3, shared=True))
    with raises(ValueError, f"{name}.token_mixing.groups must divide the 8 channels, not 3"):
        with_block(network, token_mixing=TokenMixing(**mixing_zeros(3, 16, 16)))
    with raises(ValueError, f"{name}.channel_mixing must have 8 channels, not 7"):
        with_block(network, channel_mixing=ChannelMixing(Linear(**zeros(4, 7)), Linear(**zeros(7, 4))))
    with raises(ValueError, f"{name}.channel_mixing.table_hidden must have 6 channels, not 8"):
        table = random_table(np.random.default_rng(0), 8)
        with_block(network, channel_mixing=replace(block.channel_mixing, table_hidden=table))
    with raises(ValueError, f"{name}.token_mixing.table_out must have 8 channels, not 6"):
        table = random_table(np.random.default_rng(0), 6)
        with_block(network, token_mixing=replace(block.token_mixing, table_out=table))


def test_network_weight_outside_grid(network):
    mixing = network.stages[0].blocks[0].token_mixing
    weight = mixing.weight.copy()
    weight[1, 3, 2] = 1  # token 3 is the upper right corner
    with raises(ValueError, "stages.0.blocks.0.token_mixing.weight[1, 3, 2] must be 0 outside the grid"):
        with_block(network, token_mixing=replace(mixing, weight=weight))


def test_network_properties(network):
    assert (network.colours, network.channels) == (3, 12)
    assert [name for name, _, _ in network.blocks()] == ["stages.0.blocks.0", "stages.1.blocks.0"]
    assert [stage.tokens for stage in network.stages] == [16, 4]


PARTS = [
    "token_mixing.table_in", "token_mixing", "token_mixing.table_out", "token_mixing.table_residual",
    "channel_mixing.table_in", "channel_mixing.linear1", "channel_mixing.table_hidden", "channel_mixing.linear2",
    "channel_mixing.table_residual",
]  # fmt: skip


def test_layers_in_data_order(network):
    entries = list(network.layers())
    blocks = [[f"stages.{s}.blocks.0.{part}" for part in PARTS] for s in range(2)]
    assert [entry.name for entry in entries] == ["embed", *blocks[0], "stages.1.merge", *blocks[1], "head"]
    assert [entry.grid for entry in entries] == [(4, 4)] * 10 + [(2, 2)] * 10 + [(1, 1)]
    for name, layer, _ in entries:
        place = network
        for part in name.split("."):
            place = place[int(part)] if part.isdecimal() else getattr(place, part)
        assert layer is place


def test_linears_and_tables_divide_the_layers(network):
    linears, tables = list(network.linears()), list(network.tables())
    assert [entry.name for entry in linears] == linear_names([1, 1])
    assert not any(isinstance(entry.layer, Table) for entry in linears)
    assert all(isinstance(entry.layer, Table) for entry in tables)
    assert {*linears, *tables} == {*network.layers()}


def test_layers_leave_absent_tables_out():
    network = random_network(np.random.default_rng(0), tables=False)
    assert [entry.name for entry in network.layers()] == linear_names([1])
    assert not list(network.tables())


def test_layer_of_a_component(network):
    block = network.stages[1].blocks[0]
    assert network.layer("embed") is network.embed
    assert network.layer("stages.1.merge") is network.stages[1].merge
    assert network.layer("stages.1.blocks.0.token_mixing.linear") is block.token_mixing
    assert network.layer("stages.1.blocks.0.channel_mixing.linear2") is block.channel_mixing.linear2
    assert network.layer("stages.1.blocks.0.token_mixing.table_in") is block.token_mixing.table_in
    with raises(ValueError, "component must be the name of a layer of random, not 'stages.1.blocks.0.token_mixing'"):
        network.layer("stages.1.blocks.0.token_mixing")
