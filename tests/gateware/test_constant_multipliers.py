# amaranth: UnusedElaboratable=no
"""The multipliers by constants, a baseline for the engines, against NumPy."""

import numpy as np
import pytest

from calibration.constant_multipliers import ConstantMultipliers
from psahw.network.reference import requantise
from tests.gateware.streams import run_stream


def test_constant_multipliers():
    rng = np.random.default_rng(0)
    weight, bias, shift = rng.integers(-128, 128, (3, 5)), rng.integers(-9999, 9999, 3), np.array([0, 6, 9])
    x = rng.integers(-128, 128, (20, 5))
    dut = ConstantMultipliers(weight=weight, bias=bias, shift=shift)
    out, taken, left = run_stream(dut, x, o_stalls=[])
    np.testing.assert_array_equal(out, requantise(x @ weight.T + bias, shift))
    np.testing.assert_array_equal(left, taken + dut.latency)


def test_constant_multipliers_wrong():
    with pytest.raises(ValueError, match=r"^weight must be \(outputs, inputs\) without rows of zeros, not \(2, 3\)$"):
        ConstantMultipliers(weight=np.zeros((2, 3)), bias=[0, 0], shift=[0, 0])
    with pytest.raises(ValueError, match=r"^bias must have shape \(1,\), not \(2,\)$"):
        ConstantMultipliers(weight=[[1]], bias=[0, 0], shift=[0])
