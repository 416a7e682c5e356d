"""The constructors of `psahw.network` refuse what does not fit, with the whole message; the walk over the layers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from psahw.network.layers import Linear, Table, TokenMixing
from psahw.network.random import StageShape, random_network, random_table
from psahw.network.resmlp import ChannelSublayer, Patch, Stage, TokenSublayer, linear_names, recognise


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


@pytest.fixture
def form(network):
    """Return the same network in its short form."""
    return recognise(network)


def test_table_wrong_kind():
    with raises(TypeError, "values must be an array of int8, not list"):
        Table([0] * 256)
    with raises(TypeError, "values must be an array of int8, not int64"):
        Table(np.zeros((1, 256), np.int64))


@pytest.mark.parametrize("shape", [(256,), (0, 256), (1, 4, 256)])
def test_table_wrong_shape(shape):
    with raises(ValueError, f"values must have shape (any, any), not {shape}"):
        Table(np.zeros(shape, np.int8))


@pytest.mark.parametrize("columns", [1, 255, 257, 512])
def test_table_wrong_columns(columns):
    with raises(ValueError, f"values must have 2, 4, ... or 256 columns, one per code, not {columns}"):
        Table(np.zeros((4, columns), np.int8))


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


@pytest.mark.parametrize(("bits", "kind"), [(1, ValueError), (32, ValueError), (8.0, TypeError), (True, TypeError)])
def test_linear_wrong_out_bits(bits, kind):
    requirement = f"in [2, 31], not {bits}" if kind is ValueError else f"an integer, not {bits}"
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
    with raises(ValueError, "kernel must be odd, not (2, 2)"):
        TokenMixing(**mixing_zeros(1, 4, 4), kernel=2)
    with raises(ValueError, "kernel must be odd, not (3, 4)"):
        TokenMixing(**mixing_zeros(1, 4, 12), kernel=(3, 4))
    with raises(ValueError, "kernel[1] must be in [1, 15], not 17"):
        TokenMixing(**mixing_zeros(1, 4, 51), kernel=(3, 17))
    with raises(ValueError, "weight must have shape (1, 4, 15), not (1, 4, 9)"):
        TokenMixing(**mixing_zeros(1, 4, 9), kernel=(3, 5))
    with raises(ValueError, "kernel must be in [1, 15], not 17"):
        TokenMixing(**mixing_zeros(1, 4, 289), kernel=17)
    with raises(TypeError, "kernel must be a tuple of 2 integers, not '3'"):
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
    mixing = network.place("stages.0.blocks.0.token_mixing.linear").layer
    full = np.zeros((2, 12, 12), int)
    for n in range(12):
        for j in range(9):
            row, column = n // 4 + j // 3 - 1, n % 4 + j % 3 - 1
            if 0 <= row < 3 and 0 <= column < 4:
                full[:, n, row * 4 + column] = mixing.weight[:, 0 if shared else n, j]
    np.testing.assert_array_equal(mixing.dense(grid), full)


def with_block(form, **changes):
    """Return the network of a short form with another first block."""
    stage = form.stages[0]
    stages = (replace(stage, blocks=(replace(stage.blocks[0], **changes),)), *form.stages[1:])
    return replace(form, stages=stages).network()


def test_wrong_channel_mixing(form):
    name = "stages.0.blocks.0.channel_mixing"
    with raises(ValueError, f"{name}.linear2 must have 4 inputs, not 5"):
        with_block(form, channel_mixing=ChannelSublayer(Linear(**zeros(4, 8)), Linear(**zeros(8, 5))))
    paths = "branch and shortcut must give the same shape, not 4 x 4 x 2 int8 and 4 x 4 x 8 int8"
    with raises(ValueError, f"{name} {paths}"):
        with_block(form, channel_mixing=ChannelSublayer(Linear(**zeros(4, 8)), Linear(**zeros(2, 4))))
    with raises(ValueError, f"{name}.linear2 must come after codes of at most 8 bits, not int9"):
        with_block(form, channel_mixing=ChannelSublayer(Linear(**zeros(4, 8), out_bits=9), Linear(**zeros(8, 4))))
    with raises(ValueError, f"{name} branch must end with codes of at most 24 bits, not int25"):
        with_block(form, channel_mixing=ChannelSublayer(Linear(**zeros(4, 8)), Linear(**zeros(8, 4), out_bits=25)))


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
        ({"image": (16, 0)}, ValueError, "image[1] must be in [1, 1024], not 0"),
        ({"image": (16, 20)}, ValueError, "stages.0.blocks.0.token_mixing.linear must mix 20 tokens, not 16"),
        ({"image": (12, 16)}, ValueError, "stages.0.blocks.0.token_mixing.linear must mix 12 tokens, not 16"),
        ({"image": (3, 16)}, ValueError, "embed.windows a window of 4 rows must fit 3 with padding of 0 and 0"),
        ({"pool_shift": 32}, ValueError, "pool_shift must be in [0, 31], not 32"),
        ({"pool_shift": 1.0}, TypeError, "pool_shift must be an integer, not 1.0"),
        ({"stages": ()}, ValueError, "stages must not be empty"),
        ({"patch": Patch(5, 4)}, ValueError, "embed must have 75 inputs, not 48"),
        ({"classes": ("a", "b")}, ValueError, "head must have 2 outputs, one per class, not 5"),
        ({"head": Linear(**zeros(5, 8))}, ValueError, "head must have 12 inputs, not 8"),
        (
            {"embed": Linear(**zeros(8, 48), out_bits=9)},
            ValueError,
            "stages.0.blocks.0.token_mixing.table_in must come after codes of at most 8 bits, not int9",
        ),
        (
            {"input_table": np.zeros((3, 256), np.uint8)},
            TypeError,
            "input_table must be an array of int8, not uint8",
        ),
    ],
)
def test_network_wrong(form, changes, kind, message):
    with raises(kind, message):
        replace(form, **changes).network()


def test_network_too_large(form):
    """The memory that an image would take is said before anything is computed."""
    huge = "with which the integer model would need 0.8 GiB for one image"
    with raises(ValueError, f"image must have at most 134217728 codes, not 1024 x 1024 x 129, {huge}"):
        replace(form, image=(1024, 1024), input_table=np.zeros((129, 256), np.int8)).network()
    with raises(ValueError, f"embed must have at most 134217728 codes, not 256 x 256 x 2049, {huge}"):
        embed, head = Linear(**zeros(2049, 48)), Linear(**zeros(5, 2049))
        replace(form, image=(1024, 1024), embed=embed, stages=(Stage(()),), head=head).network()


def test_network_wrong_merge(form):
    first, second = form.stages
    with raises(ValueError, "stages.1.merge must be present in every stage but the first"):
        replace(form, stages=(first, replace(second, merge=None))).network()
    with raises(ValueError, "stages.0.merge must be present in every stage but the first"):
        replace(form, stages=(replace(first, merge=second.merge), second)).network()
    with raises(ValueError, "stages.1.merge must have 32 inputs, not 36"):
        replace(form, stages=(first, replace(second, merge=Linear(**zeros(12, 36))))).network()
    table_in = "stages.1.blocks.0.token_mixing.table_in"
    with raises(ValueError, f"{table_in} must come after codes of at most 8 bits, not int12"):
        replace(form, stages=(first, replace(second, merge=replace(second.merge, out_bits=12)))).network()


def test_network_odd_grid_before_merge():
    form = recognise(random_network(np.random.default_rng(0), image=(12, 8)))
    stages = (*form.stages, Stage((), Linear(**zeros(8, 32))))
    with raises(ValueError, "stages.1.merge.windows must follow a grid with even sides, not 3 x 2 x 8 int8"):
        replace(form, stages=stages).network()


def test_network_wrong_block(form):
    block = form.stages[0].blocks[0]
    name = "stages.0.blocks.0"

    def mixing(**parts):
        return TokenSublayer(TokenMixing(**parts))

    with raises(ValueError, f"{name}.token_mixing.linear must mix 16 tokens, not 4"):
        with_block(form, token_mixing=mixing(**mixing_zeros(1, 4, 4)))
    with raises(ValueError, f"{name}.token_mixing.linear groups must divide the 8 channels, not 3"):
        with_block(form, token_mixing=mixing(**mixing_zeros(3, 1, 9), kernel=3, shared=True))
    with raises(ValueError, f"{name}.token_mixing.linear groups must divide the 8 channels, not 3"):
        with_block(form, token_mixing=mixing(**mixing_zeros(3, 16, 16)))
    with raises(ValueError, f"{name}.channel_mixing.linear1 must have 8 inputs, not 7"):
        with_block(form, channel_mixing=ChannelSublayer(Linear(**zeros(4, 7)), Linear(**zeros(7, 4))))
    with raises(ValueError, f"{name}.channel_mixing.table_hidden must have 6 channels, not 8"):
        table = random_table(np.random.default_rng(0), 8)
        with_block(form, channel_mixing=replace(block.channel_mixing, table_hidden=table))
    with raises(ValueError, f"{name}.token_mixing.table_out must have 8 channels, not 6"):
        table = random_table(np.random.default_rng(0), 6)
        with_block(form, token_mixing=replace(block.token_mixing, table_out=table))


def test_network_weight_outside_grid(form):
    sublayer = form.stages[0].blocks[0].token_mixing
    weight = sublayer.linear.weight.copy()
    weight[1, 3, 2] = 1  # token 3 is the upper right corner
    with raises(ValueError, "stages.0.blocks.0.token_mixing.linear weight[1, 3, 2] must be 0 outside the grid"):
        with_block(form, token_mixing=replace(sublayer, linear=replace(sublayer.linear, weight=weight)))


def test_network_properties(network):
    assert network.colours == 3
    assert (network.logits.tokens, network.logits.channels, network.logits.codes.bits) == (1, 5, 8)
    assert network.place("head").input.channels == 12
    residuals = [place for place in network.places if place.name.endswith("token_mixing")]
    assert [place.name for place in residuals] == [f"stages.{s}.blocks.0.token_mixing" for s in range(2)]
    assert [place.output.tokens for place in residuals] == [16, 4]


PARTS = [
    "token_mixing", "token_mixing.table_in", "token_mixing.linear", "token_mixing.table_out",
    "token_mixing.table_residual", "channel_mixing", "channel_mixing.table_in", "channel_mixing.linear1",
    "channel_mixing.table_hidden", "channel_mixing.linear2", "channel_mixing.table_residual",
]  # fmt: skip


def test_places_in_data_order(network, form):
    blocks = [[f"stages.{s}.blocks.0.{part}" for part in PARTS] for s in range(2)]
    merge = ["stages.1.merge.windows", "stages.1.merge"]
    assert [place.name for place in network.places] == [
        "embed.windows", "embed", *blocks[0], *merge, *blocks[1], "pool", "head",
    ]  # fmt: skip
    grids = [(4, 4)] * 13 + [(2, 2)] * 13 + [(1, 1)] * 2
    assert [place.output.grid for place in network.places] == grids
    for place in network.places:
        if place.name.rpartition(".")[2] in ("windows", "pool", "token_mixing", "channel_mixing"):
            continue
        layer = form
        for part in place.name.split("."):
            layer = layer[int(part)] if part.isdecimal() else getattr(layer, part)
        assert layer is place.layer


def test_linears_and_tables(network):
    linears, tables = list(network.linears()), list(network.tables())
    assert [place.name for place in linears] == linear_names([1, 1])
    assert all(isinstance(place.layer, Table) for place in tables)
    weighted = [place for place in network.places if hasattr(place.layer, "weight")]
    assert [place.name for place in weighted] == [place.name for place in linears]
    assert len(tables) == 2 * 6


def test_places_leave_absent_tables_out():
    network = random_network(np.random.default_rng(0), tables=False)
    assert [place.name for place in network.linears()] == linear_names([1])
    assert not list(network.tables())


def test_place_of_a_layer(network, form):
    block = form.stages[1].blocks[0]
    assert network.place("embed").layer is form.embed
    assert network.place("stages.1.merge").layer is form.stages[1].merge
    assert network.place("stages.1.blocks.0.token_mixing.linear").layer is block.token_mixing.linear
    assert network.place("stages.1.blocks.0.channel_mixing.linear2").layer is block.channel_mixing.linear2
    assert network.place("stages.1.blocks.0.token_mixing.table_in").layer is block.token_mixing.table_in
    with raises(ValueError, "random has no layer 'stages.1.blocks.0.linear'"):
        network.place("stages.1.blocks.0.linear")
