"""The search for a plan: rates, budgets, rules, errors, and the order in which periods are tried."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from psahw.architecture.device import DEVICES, RESOURCES, Device, Resources
from psahw.errors import CheckFailed, UserError
from psahw.network.graph import Named, Network, Output
from psahw.network.layers import Flatten, Linear, Windows
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from psahw.planner.cost import cost
from psahw.planner.engines import Engines, Infeasible
from psahw.planner.optimiser import GAP, OutOfTime
from psahw.planner.rules import MAC_ONLY, Rules

pytestmark = pytest.mark.filterwarnings("error::scipy.optimize.OptimizeWarning")  # of options that it does not take

K160T = DEVICES["xc7k160t"]


@pytest.fixture(scope="module")
def network():
    stages = (StageShape(16, 16, blocks=2, groups=2), StageShape(24, 16, groups=4, kernel=3))
    return random_network(np.random.default_rng(3), image=(16, 16), stages=stages)


def test_smallest_for_a_rate(network):
    planned = search.make(network, K160T, clock_hz=100e6, fps=50_000)
    assert planned.fps >= 50_000
    assert planned.frame_interval <= 2000
    assert planned.frame_interval % network.place("embed").output.tokens == 0
    # A token period that is one cycle longer would be too slow.
    assert 100e6 / (planned.frame_interval + network.place("embed").output.tokens) < 50_000


def test_a_lower_rate_is_no_larger(network):
    amounts = [
        search.make(network, K160T, clock_hz=100e6, fps=fps).resources.dsp for fps in (200_000, 50_000, 10_000, 2_000)
    ]
    assert amounts == sorted(amounts, reverse=True)


def test_fastest_within_a_budget(network):
    free = search.make(network, K160T, clock_hz=100e6)
    tight = search.make(network, K160T, clock_hz=100e6, budget={"dsp": 60})
    assert tight.resources.dsp <= 60 < free.resources.dsp
    assert tight.fps < free.fps
    assert tight.limited_by.startswith("the next faster plan needs dsp ")


def test_two_products_in_a_dsp(network, monkeypatch):
    """A plan with pairs of products is faster within the same budget."""
    packed = search.make(network, K160T, clock_hz=100e6, budget={"dsp": 60})
    monkeypatch.setattr(Device, "multiplier", None)
    single = search.make(network, K160T, clock_hz=100e6, budget={"dsp": 60})
    assert packed.fps > 1.5 * single.fps
    for planned in (packed, single):
        stages = [stage for stage in planned.to_dict()["stages"] if stage["engine"] == "MacArray"]
        assert all(s["resources"]["dsp"] == s["rows"] * s["columns"] - s["pairs"] for s in stages)
        assert any(s["pairs"] for s in stages) == (planned is packed)


def test_a_rate_that_does_not_fit(network):
    with pytest.raises(
        CheckFailed, match=r"random at 1e\+06 FPS does not fit tiny: .*\(smallest overrun: \w+, [\d.]+x\)"
    ):
        search.make(network, dataclasses.replace(K160T, name="tiny", dsp=20), clock_hz=200e6, fps=1e6)


def test_a_rate_that_no_circuit_reaches(network):
    with pytest.raises(
        CheckFailed, match=r"random cannot reach 1e\+12 FPS at 999999 MHz on xc7k160t: .*at most one per clock cycle"
    ):
        search.make(network, K160T, clock_hz=999_999e6, fps=1e12)


def test_a_device_that_is_too_small(network):
    device = dataclasses.replace(K160T, name="tiny", bram36=1)
    with pytest.raises(
        CheckFailed, match=r"random does not fit tiny at any rate: bram36 .* \(smallest overrun: bram36"
    ):
        search.make(network, device, clock_hz=100e6)


def test_less_than_a_frame_per_second(network):
    assert search.make(network, K160T, clock_hz=100e6, fps=0.5).fps >= 0.5


@pytest.mark.parametrize("fps", [1e-9, 5e-324])
def test_a_rate_below_all_that_a_device_counts(network, fps):
    """The plan is one whose cycles have 32 bits, which reaches the rate, too."""
    planned = search.make(network, K160T, clock_hz=100e6, fps=fps)
    assert 1 << 27 < planned.frame_interval <= 1 << 28
    assert planned.latency < 1 << 32 and "FPS" in planned.summary


@pytest.mark.parametrize("name", ["clock_hz", "fps"])
@pytest.mark.parametrize("value", [0, -5.0, float("nan")])
def test_init_wrong_rates(network, name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, not "):
        search.make(network, K160T, **({"clock_hz": 100e6} | {name: value}))


def test_a_budget_beyond_the_device(network):
    """The device's limit holds if the user's is larger, and the user's if it is smaller."""
    plan = search.make(network, K160T, clock_hz=100e6, budget={"dsp": 1e6, "lut": 20_000})
    default = search.make(network, K160T, clock_hz=100e6)
    assert plan.limits == default.limits | {"lut": 20_000}
    # Four fifths of the LUTs and flip-flops of the XC7K160T, and all of its DSP slices and block RAMs.
    assert default.limits == {"lut": 81_120, "ff": 162_240, "dsp": 600, "bram36": 325}


def test_init_wrong_budget(network):
    with pytest.raises(ValueError, match=r"budget must name one of lut, ff, dsp, bram36, not 'uram'"):
        search.make(network, K160T, clock_hz=100e6, budget={"uram": 1})


def test_engines_that_do_not_fit_each_other(network):
    rules = Rules.parse("mac", ("embed=mac:16x48", "head=mac:1x1"))
    with pytest.raises(CheckFailed, match=r"random does not fit xc7k160t at any rate: "):
        search.make(network, K160T, clock_hz=100e6, rules=rules)


def test_a_layer_that_has_no_adder_graph(network):
    rules = Rules.parse("mac", ("stages.0.blocks.1.token_mixing.linear=parallel",))
    with pytest.raises(CheckFailed, match=r"token_mixing.linear: each group has a matrix of its own, which only a"):
        search.make(network, K160T, clock_hz=100e6, rules=rules)
    local = Rules.parse("mac", ("stages.1.blocks.0.token_mixing.linear=mac",))
    with pytest.raises(
        UserError, match=r"no layer with a choice of engines is called 'stages.1.blocks.0.token_mixing.linear'"
    ):
        search.make(network, K160T, clock_hz=100e6, rules=local)


@pytest.fixture
def search_where(network, monkeypatch):
    """Return a function that makes a search from ``fits(period, gap)``.

    ``fits`` returns whether the pipeline for a period fits, or None if there is no pipeline.
    """

    def search_with(fits):
        def arranged(self, period, gap):
            answer = fits(period, gap)
            if answer is None:
                raise Infeasible("no schedule")
            return search._Arrangement(period, object(), Resources(lut=1 if answer else 3))

        monkeypatch.setattr(search._Search, "_arranged", arranged)
        engines = Engines({}, MAC_ONLY, None)
        return search._Search(network, K160T, 4, dict.fromkeys(RESOURCES, 2.0), engines)

    return search_with


@pytest.mark.parametrize(
    ("fits", "period", "reason"),
    [
        (lambda period, gap: period >= 24, 24, "the next faster plan needs lut 3 of 2"),
        (lambda period, gap: True, 1, "a token period of one clock cycle"),
        # In place of 17 to 23, shorter periods than those before are tried.
        (lambda period, gap: None if 17 <= period <= 23 else period >= 24, 24, "no schedule"),
        (lambda period, gap: None if period == 11 else period >= 12, 12, "no schedule"),
        (lambda period, gap: None if period % 2 else period >= 10, 10, "no schedule"),
        # Up to five shorter periods are tried, although the next one does not fit.
        (lambda period, gap: period >= 62 or period == 57, 57, "the next faster plan needs lut 3 of 2"),
        (lambda period, gap: period >= 62 or period == 56, 62, "the next faster plan needs lut 3 of 2"),
        (lambda period, gap: period >= 3 or period == 1, 1, "a token period of one clock cycle"),
        # Periods that fit only with the solver's full precision
        (lambda period, gap: period >= (20 if gap > GAP else 19), 19, "the next faster plan needs lut 3 of 2"),
        (lambda period, gap: period >= 100 and gap <= GAP, 100, "the next faster plan needs lut 3 of 2"),
    ],
)
def test_fastest(fits, period, reason, search_where):
    made = search_where(fits)
    arrangement, limited_by = made.fastest()
    assert (arrangement.period, limited_by) == (period, reason)
    assert sum(gap > GAP for _, gap in made._outcomes) < 60, "bisection takes few attempts"


def test_room_for_buffers(network, monkeypatch):
    """A choice that fits only without its buffers is made again with less room: by their size, or little more."""
    asked, programme = [], search.Programme

    class Recorded(programme):
        def cheapest(self, *, limits, **options):
            nodes = super().cheapest(limits=limits, **options)
            asked.append((limits["ff"], cost(nodes, "xc7").ff))
            return nodes

    monkeypatch.setattr(search, "Programme", Recorded)

    def planned(limit):
        asked.clear()
        return search.make(network, K160T, clock_hz=100e6, period=20, budget={"ff": limit}).resources.ff

    wanted = planned(8500)
    ((_, alone),) = asked
    limit = wanted - 1
    assert planned(limit) <= limit
    (first, again), (room, _) = asked
    assert (first, again) == (limit, alone)
    assert limit - 1.02 * (wanted - alone) <= room <= limit - (wanted - alone)


def test_a_limit_that_is_reached_is_kept(search_where):
    arrangement = search._Arrangement(20, object(), Resources(lut=2, ff=3))
    assert search_where(None).overrun(arrangement) == {"ff": 1.5}


def test_rough_attempts(network, monkeypatch):
    """Only those ask the solver for a rough answer."""
    asked, programme = [], search.Programme

    class Recorded(programme):
        def nearest(self, limits, *, rough):
            asked.append(rough)
            return super().nearest(limits, rough=rough)

    monkeypatch.setattr(search, "Programme", Recorded)
    made = search._Search(network, K160T, 4, dict.fromkeys(RESOURCES, 1e6), Engines({}, MAC_ONLY, None))
    made.attempt(20)
    made.attempt(21, search._ROUGH_GAP)
    assert asked == [False, True]


def test_an_error_waits_for_no_thread(search_where):
    def fits(period, gap):
        if threading.current_thread() is threading.main_thread():
            if period < 1000:
                raise KeyboardInterrupt
            return True
        time.sleep(2)
        return True

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        search_where(fits).fastest()
    assert time.monotonic() - begun < 1


def out_of_time(undecided, fits):
    """Return a ``fits`` that finds no answer in time where ``undecided(period, gap)``."""

    def answer(period, gap):
        if undecided(period, gap):
            raise OutOfTime("no choice of engines found within 60 s")
        return fits(period, gap)

    return answer


@pytest.mark.parametrize(
    ("undecided", "period", "reason"),
    [
        # A period at which a shorter one fits, too, does not matter.
        (lambda period, gap: (period, gap) == (20, GAP), 19, "the next faster plan needs lut 3 of 2"),
        # The bisection goes on above it, and the best plan is kept.
        (lambda period, gap: period <= 30, 31, "no choice of engines found within 60 s"),
        (lambda period, gap: period <= 30 and gap > GAP, 19, "the next faster plan needs lut 3 of 2"),
        # The solver's full precision finds nothing where a rough answer fits.
        (lambda period, gap: gap <= GAP, 20, "no choice of engines found within 60 s"),
    ],
)
def test_the_solver_runs_out_of_time(undecided, period, reason, search_where):
    """A period without an answer counts as one that does not fit, and the search goes on."""
    made = search_where(out_of_time(undecided, lambda period, gap: period >= (20 if gap > GAP else 19)))
    arrangement, limited_by = made.fastest()
    assert (arrangement.period, limited_by) == (period, reason)
    assert all(type(made._outcomes[key]) is search._Impossible for key in made._outcomes if undecided(*key))
    assert len(made._outcomes) < 60


def test_no_time_for_any_plan(search_where):
    """Nothing is said about what fits, and no shorter period is tried."""
    for find in (
        lambda made: made.fastest(),
        lambda made: made.of_period(20),
        lambda made: made.for_rate(1000, 1e6),
    ):
        made = search_where(out_of_time(lambda period, gap: True, None))
        with pytest.raises(CheckFailed, match=r"^no choice of engines found within 60 s$"):
            find(made)
        assert len(made._outcomes) <= 2


def test_no_time_to_make_room_for_buffers(network, monkeypatch):
    """The plan is the last choice, which fits but for its buffers."""
    first, programme = [], search.Programme

    class Impatient(programme):
        def cheapest(self, *, limits, **options):
            found = None if first else super().cheapest(limits=limits, **options)
            first.append(found)
            return found

        def nearest(self, limits, **options):
            assert options == {"rough": False}
            if first:
                raise OutOfTime("no choice of engines found within 60 s")
            return super().nearest(limits, **options)

    engines = Engines({}, MAC_ONLY, None)
    limits = dict.fromkeys(RESOURCES, 1e6)
    chosen = search._Search(network, K160T, 4, limits, engines)._programme(20).cheapest(worth=limits, limits=limits)
    monkeypatch.setattr(search, "Programme", Impatient)
    made = search._Search(network, K160T, 4, limits | {"lut": cost(chosen, "xc7").lut + 1}, engines)
    arrangement = made.attempt(20)
    assert [found is None for found in first] == [False, True]
    assert made.overrun(arrangement).keys() == {"lut"}


def test_the_next_few_periods(search_where):
    """If a period has no pipeline, the seven shorter ones are tried, down to one cycle."""
    for period, tried in ((20, range(13, 21)), (3, range(1, 4))):
        made = search_where(lambda period, gap: None)
        made.at_most(period)
        assert sorted(attempted for attempted, _ in made._outcomes) == list(tried)


def test_overrun_of_a_resource_that_may_not_be_used(search_where):
    """There is no factor by which 3 exceeds 0."""
    found = search_where(lambda period, gap: False)
    found.limits["lut"] = 0.0
    with pytest.raises(CheckFailed, match=r"lut 3 of 0 \(smallest overrun: lut, of which none may be used\)"):
        found.fastest()


def test_nothing_fits(search_where):
    with pytest.raises(
        CheckFailed, match=r"does not fit xc7k160t at any rate: lut 3 of 2 \(smallest overrun: lut, 1\.50x"
    ):
        search_where(lambda period, gap: False).fastest()


def test_a_graph_that_cannot_fit_is_not_solved(monkeypatch):
    """The matrix of 256 x 256 weights would take 700,000 LUTs as a parallel graph, and the device has 20,736."""
    network = random_network(np.random.default_rng(0), image=(16, 16), patch=Patch(1, 1), stages=(StageShape(2, 2),))
    solved = []
    monkeypatch.setattr(search, "graph_options", lambda layers, **options: solved.extend(layers) or {})
    planned = search.make(network, DEVICES["gw2a-18c"], clock_hz=27e6, rules=Rules.parse("mac,serial,parallel"))
    assert "stages.0.blocks.0.token_mixing.linear" not in solved and "embed" in solved
    engines = {stage["name"]: stage["engine"] for stage in planned.to_dict()["stages"]}
    assert engines["stages.0.blocks.0.token_mixing.linear"] == "MacArray"


@pytest.mark.parametrize(("luts", "solved"), [(16, True), (16 + 1e-9, False)])
def test_graphs_of_sixteen_times_the_device(luts, solved, monkeypatch):
    """A bit-serial graph takes a sixteenth of the LUTs of a parallel one, or more."""
    network = random_network(np.random.default_rng(0), image=(4, 4), stages=(StageShape(2, 2),))
    called, device = [], DEVICES["gw2a-18c"]
    monkeypatch.setattr(search, "graph_options", lambda layers, **options: called.extend(layers) or {})
    monkeypatch.setattr(search, "layer_luts", lambda weight: luts * device.lut)
    search.make(network, device, clock_hz=27e6, rules=Rules.parse("mac,serial"), period=100)
    assert bool(called) == solved


def test_no_progress_without_adder_graphs(network):
    """A plan of MAC arrays alone solves none, so that no bar for them appears."""
    calls = []
    search.make(network, K160T, clock_hz=100e6, fps=10_000, progress=lambda *call: calls.append(call))
    assert calls == []


@pytest.mark.parametrize("image", [(8, 16), (16, 8)])
def test_an_image_that_is_not_square(image):
    """A row of 16 or 8 pixels has 48 or 24 bytes, and the eight windows of 4 x 4 pixels take 96 input beats."""
    network = random_network(np.random.default_rng(0), image=image, stages=(StageShape(4, 4),))
    with pytest.raises(CheckFailed, match="input: 4 bytes a cycle do not bring an image in 88 cycles"):
        search.make(network, K160T, clock_hz=100e6, period=11)
    planned = search.make(network, K160T, clock_hz=100e6, period=12)
    assert (planned.image_bytes, planned.frame_interval) == (384, 96)
    with pytest.raises(ValueError, match=f"bus_bytes must divide the {3 * image[1]} bytes of an image's row, not 5"):
        search.make(network, K160T, clock_hz=100e6, bus_bytes=5)


def test_a_slow_input():
    """One pixel of 64 is used, so that the input takes longer than one multiplier would take for any layer."""

    def linear(outputs, inputs):
        return Linear(np.ones((outputs, inputs), np.int8), np.zeros(outputs, np.int32), np.zeros(outputs, np.uint8))

    layers = (Windows((1, 1), (8, 8)), linear(1, 1), Flatten(), linear(3, 4))
    series = tuple(Named(f"layer{n}", layer) for n, layer in enumerate(layers))
    table = np.arange(-128, 128, dtype=np.int8)[None]
    network = Network("slow", (16, 16), table, series, Output("class", ("a", "b", "c")))
    planned = search.make(network, K160T, clock_hz=100e6, bus_bytes=1)
    assert (planned.period, planned.frame_interval) == (64, 256)


@pytest.mark.parametrize(("most", "widest"), [(1, 1), (4, 4), (5, 4), (7, 6), (23, 12), (24, 24), (64, 24)])
def test_widest_bus(most, widest):
    """It divides the 24 bytes of a row."""
    assert search.widest_bus(random_network(np.random.default_rng(0), image=(4, 8)), most) == widest
