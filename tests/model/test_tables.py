"""The tables of a network equal the functions of its float model at all 256 codes."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from psahw.model.export import to_network
from psahw.model.functions import scales
from psahw.model.quant import QuantizedResMLP
from psahw.model.tables import compare, exact, functions, recorded_scales
from psahw.network import samples
from psahw.network.layers import Table
from psahw.network.resmlp import recognise
from tests.model.test_psa import _published
from tests.model.test_quant import CLASSES, SHAPES, _trained


def _quantised(shape):
    """Return a float network and what was quantised from it, with its scales recorded."""
    model = _trained(SHAPES[shape])
    quantized = QuantizedResMLP(model, samples.load()[0])
    return model, to_network(quantized, "test", CLASSES, {"scales": scales(quantized)})


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_every_activation(shape):
    model, network = _quantised(shape)
    compared, different = compare(network, functions(model, recorded_scales(network)))
    stages = recognise(network).stages
    tables = sum(len(stage.blocks) * (1 + (model.config.activation == "psa_both")) for stage in stages)
    assert compared >= tables * 8 * 256 and different == []


@pytest.mark.parametrize("shape", ["pyramid", "local"])
def test_dead_neuron(shape):
    """Its output is constant, so that its codes are finer than float32 can tell apart."""
    model = _trained(SHAPES[shape])
    with torch.no_grad():
        model.stages[0].blocks[0].channel_mixing.norm_hidden.bias[3] = -20
    quantized = QuantizedResMLP(model, samples.load()[0])
    network = to_network(quantized, "test", CLASSES, {"scales": scales(quantized)})
    assert compare(network, functions(model, recorded_scales(network)))[1] == []


def test_exact_is_the_published_formula_at_the_grid():
    """One code is one step of the grid, so that a table contains the values at all points of the grid."""
    model, _ = _quantised("local")
    layer = model.stages[0].blocks[0].channel_mixing
    name = "stages.0.blocks.0.channel_mixing"
    units = {f"{name}.{place}": [1.0] * 16 for place in ("table_in", "table_hidden")} | {name: [1.0] * 16}
    others = {key.replace("blocks.0", "blocks.1"): value for key, value in units.items()}
    step = [8 / 63] * 16
    units |= others | {f"stages.0.blocks.{b}.channel_mixing.linear1": step for b in range(2)}
    table = exact(model, units)[f"{name}.table_hidden"]
    # A code times the step lies half way between two points of the grid, so its value is their mean.
    for neuron in (0, 7):
        points = [_published(layer.act_hidden, neuron, (k - 0.5) * 8 / 63) for k in range(-31, 33)]
        middle = [(a + b) / 2 for a, b in itertools.pairwise(points)]
        np.testing.assert_allclose(table[neuron, 128 - 31 : 128 + 32], middle, atol=1e-9)


def test_wrong_entry_is_found():
    model, network = _quantised("local")
    form = recognise(network)
    block = form.stages[0].blocks[0]
    values = block.channel_mixing.table_hidden.values.copy()
    values[3, 77] ^= 2  # the entry of code -51
    mixing = dataclasses.replace(block.channel_mixing, table_hidden=Table(values))
    blocks = (dataclasses.replace(block, channel_mixing=mixing), *form.stages[0].blocks[1:])
    wrong = dataclasses.replace(form, stages=(dataclasses.replace(form.stages[0], blocks=blocks),)).network()
    (message,) = compare(wrong, functions(model, recorded_scales(wrong)))[1]
    assert message.startswith(f"stages.0.blocks.0.channel_mixing.table_hidden[3, -51] is {values[3, 77]}, not ")


def test_network_without_scales():
    _, network = _quantised("local")
    with pytest.raises(ValueError, match=r"^network 'test' does not record the scales of its codes$"):
        recorded_scales(dataclasses.replace(network, metadata={}))
