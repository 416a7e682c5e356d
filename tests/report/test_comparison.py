"""Frames per second for each unit of a resource, and the figures that represent our plan."""

import dataclasses

from psahw.network.summary import summarise
from psahw.report.comparison import Figure, our_system, published_systems


def test_frames_for_each_unit():
    by_name = {row.system: row for row in published_systems()}
    finn, fracbnn = by_name["FINN"], by_name["FracBNN"]
    assert finn.fps_per(finn.lut) == Figure(21_900 / 46_253) and finn.fps_per(finn.dsp) == Figure(None)
    assert fracbnn.fps_per(fracbnn.dsp) == Figure(2_806.9 / 126)
    ours = dataclasses.replace(finn, fps=Figure(50_000, "target"), lut=Figure(20_000, "measured"), dsp=Figure(0))
    assert ours.fps_per(ours.lut) == Figure(2.5, "target") and ours.fps_per(ours.dsp) == Figure(None)


def test_our_system_prefers_measurements(network, results):
    info = summarise(network)
    plan = results["plan"]
    row = our_system(info, plan, None, None, None)
    assert (row.accuracy.value, row.accuracy.kind) == (82.5, "measured")
    assert (row.lut.value, row.lut.kind) == (plan["resources"]["lut"], "estimated")
    assert row.fps.kind == row.mhz.kind == "target"
    whole = {"dataset": "cifar10", "images": 10_000, "accuracy": 91.0}
    row = our_system(info, plan, {"frame_interval": 1000}, whole, results["synth"])
    assert (row.accuracy.value, row.fps.value) == (91.0, plan["clock_hz"] / 1000)
    assert (row.lut.value, row.lut.kind) == (1234.0, "measured")
    stalled = {"frame_interval": 1000, "stalls": True}
    for other in ({"dataset": "cifar10", "images": 100}, {"dataset": "svhn", "images": 26_032}):
        row = our_system(info | {"accuracy": {"svhn test INT8": 1.0}}, plan, stalled, whole | other, None)
        assert row.accuracy.value is None
        assert row.fps.value == plan["fps"]
