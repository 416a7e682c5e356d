"""Types of codes against loops over their bit patterns, and the description of activations."""

import numpy as np
import pytest

from psahw.architecture.codes import INT8, Codes
from psahw.network.activations import Activations, output_codes
from tests.network.test_layers import raises


@pytest.mark.parametrize("bits", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("signed", [True, False])
def test_codes_are_all_bit_patterns(bits, signed):
    if bits == 1 and signed:
        with raises(ValueError, "bits must be in [2, 31], not 1"):
            Codes(bits, signed)
        return
    codes = Codes(bits, signed)
    patterns = [n - (1 << bits) if signed and n >> bits - 1 else n for n in range(1 << bits)]
    assert (codes.low, codes.high, codes.count) == (min(patterns), max(patterns), len(patterns))
    assert {np.iinfo(codes.dtype).min <= n <= np.iinfo(codes.dtype).max for n in patterns} == {True}
    assert str(codes) == f"{'int' if signed else 'uint'}{bits}"
    values = np.arange(-600, 600)
    saturated = codes.saturate(values)
    assert saturated.dtype == codes.dtype
    assert saturated.tolist() == [min(max(n, min(patterns)), max(patterns)) for n in values]


@pytest.mark.parametrize(
    ("codes", "dtype"),
    [
        (INT8, np.int8), (Codes(7, False), np.int8), (Codes(8, False), np.int16), (Codes(16), np.int16),
        (Codes(15, False), np.int16), (Codes(16, False), np.int32), (Codes(31), np.int32),
        (Codes(31, False), np.int32),
    ],
)  # fmt: skip
def test_narrowest_type(codes, dtype):
    assert codes.dtype == dtype


@pytest.mark.parametrize(
    ("bits", "signed", "kind", "message"),
    [
        (0, False, ValueError, "bits must be in [1, 31], not 0"),
        (32, True, ValueError, "bits must be in [2, 31], not 32"),
        (8.0, True, TypeError, "bits must be an integer, not 8.0"),
        (True, True, TypeError, "bits must be an integer, not True"),
        (8, 1, TypeError, "signed must be True or False, not 1"),
    ],
)
def test_wrong_codes(bits, signed, kind, message):
    with raises(kind, message):
        Codes(bits, signed)
    with raises(kind, f"out_{message}"):
        output_codes(bits, signed)


def test_most_bits_of_outputs():
    assert output_codes(8, False, 8) == Codes(8, False)
    with raises(ValueError, "out_bits must be in [1, 8], not 9"):
        output_codes(9, False, 8)


def test_activations():
    shape = Activations((3, 5), 4, Codes(4, False), 2, 9)
    assert (shape.tokens, shape.size, str(shape)) == (15, 60, "3 x 5 x 4 uint4")
    assert (shape.including(0).low, shape.including(0).high) == (0, 9)
    assert (shape.including(15).low, shape.including(15).high) == (2, 15)
    assert shape.including(5) == shape
