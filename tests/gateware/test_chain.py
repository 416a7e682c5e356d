# amaranth: UnusedElaboratable=no
"""Chains of components: order, timing, and checks of their streams."""

import numpy as np
import pytest
from amaranth.hdl import Fragment

from psahw.architecture.codes import Codes
from psahw.gateware.chain import Chain
from psahw.gateware.stream import Gather, Queue, vector_signature
from psahw.gateware.table import TableRom
from tests.gateware.streams import run_stream


def table(seed):
    return np.random.default_rng(seed).permutation(np.arange(-128, 128)).astype(np.int8)[None]


def test_order():
    """The chain applies two permutations that do not commute, and then makes one beat from two."""
    a, b = table(1), table(2)
    chain = Chain(
        parts={
            "a": TableRom(values=a, lanes=1),
            "b": TableRom(values=b, lanes=1),
            "gather": Gather(lanes=1, ratio=2),
        }
    )
    x, first = np.arange(-128, 128), a[0].astype(int)
    outputs, i_cycles, o_cycles = run_stream(chain, x[:, None])
    assert not np.array_equal(b[0][first + 128], a[0][b[0].astype(int) + 128])
    assert np.array_equal(outputs, b[0][first + 128].reshape(-1, 2))
    assert np.array_equal(o_cycles, i_cycles[1::2] + 2 + 2 + 1)


@pytest.mark.parametrize("i_stalls, o_stalls", [([1, 0, 0], [0, 1]), ([0, 1], [1, 1, 0])])
def test_stalls_and_reset(i_stalls, o_stalls):
    a = table(1)
    queue = Queue(shape=vector_signature(1).members["payload"].shape, depth=3)
    chain = Chain(parts={"a": TableRom(values=a, lanes=1), "queue": queue})
    x = np.arange(-20, 20)
    outputs, *_ = run_stream(chain, x[:, None], i_stalls=i_stalls, o_stalls=o_stalls, reset_at=13)
    assert np.array_equal(outputs[:, 0], a[0][x + 128])


def test_one_part():
    chain = Chain(parts={"gather": Gather(lanes=2, ratio=3)})
    assert chain.i.signature == vector_signature(2).flip()
    assert chain.o.signature == vector_signature(6)


def test_payloads_differ():
    """Payloads of different shapes are refused, even if their widths are equal."""
    chain = Chain(parts={"a": Gather(lanes=2, ratio=2), "b": Gather(lanes=2, ratio=1, codes=Codes(16))})
    with pytest.raises(TypeError, match="source and sink must have the same payload shape"):
        Fragment.get(chain, None)


def test_no_parts():
    with pytest.raises(ValueError, match=r"^parts must not be empty$"):
        Chain(parts={})
