"""The solver's choices against all choices of small random trees."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from psahw.architecture.nodes import Gather, Residual, TableRom
from psahw.errors import CheckFailed
from psahw.planner.cost import cost
from psahw.planner.optimiser import All, Leaf, OneOf, Path, Programme, ResidualChoice

pytestmark = pytest.mark.filterwarnings("error::scipy.optimize.OptimizeWarning")  # of options that it does not take

WORTH = {"lut": 1000.0, "ff": 2000.0, "dsp": 10.0, "bram36": 10.0}
FREE = dict.fromkeys(WORTH, 1e9)


def leaf(rng, name):
    """Return a node of random cost: few LUTs and block RAM, or many LUTs."""
    channels = int(rng.choice([8, 16, 32, 64]))
    style = "block" if rng.random() < 0.5 else "distributed"
    return Leaf((TableRom(name, channels, int(rng.choice([1, 2, 4])), True, style),))


def options(rng, name, count):
    return OneOf(tuple(leaf(rng, f"{name}.{n}") for n in range(count)))


def share(nodes):
    amounts = cost(nodes, "xc7")
    return sum(getattr(amounts, name) / worth for name, worth in WORTH.items())


def within(nodes, limits):
    amounts = cost(nodes, "xc7")
    return all(getattr(amounts, name) <= most + 1e-6 for name, most in limits.items())


def every(tree):
    """Yield every possible choice, as a tuple of nodes."""
    match tree:
        case Leaf(nodes):
            yield nodes
        case All(parts):
            for chosen in itertools.product(*[list(every(part)) for part in parts]):
                yield tuple(itertools.chain(*chosen))
        case OneOf(options):
            for option in options:
                yield from every(option)
        case ResidualChoice(residual, branch, bypass):
            for paths in itertools.product(every(branch), every(bypass)):
                yield (Residual(residual.name, residual.i_lanes, residual.o_lanes, *paths),)
        case Path(states, links):
            for taken in itertools.product(*map(range, map(len, states))):
                pairs = list(zip((0, *taken), taken, strict=False))
                if all(pair in between for pair, between in zip(pairs, links, strict=True)):
                    steps = zip(links, pairs, states, taken, strict=True)
                    parts = [part for between, pair, offered, b in steps for part in (between[pair], offered[b])]
                    yield from every(All(tuple(parts)))


def tree(seed):
    rng = np.random.default_rng(seed)
    states = tuple(tuple(options(rng, f"state{n}{b}", 2) for b in range(width)) for n, width in enumerate((2, 3, 1)))
    links = []
    for n, (before, after) in enumerate(zip((1, 2, 3), (2, 3, 1), strict=True)):
        pairs = [(a, b) for a in range(before) for b in range(after)]
        linked = [pair for pair in pairs if rng.random() < 0.8] or pairs
        links.append({pair: leaf(rng, f"link{n}{pair}") for pair in linked})
    branch = All((options(rng, "p", 3), options(rng, "q", 2)))
    residual = ResidualChoice(Residual("sum", 2, 2, (), ()), branch, options(rng, "r", 2))
    return All((residual, Path(states, tuple(links)), Leaf((Gather("g", 2, 2),))))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tight", [1.0, 0.8, 0.3])
def test_against_every_choice(seed, tight):
    """The choice is as cheap as the cheapest one within the limits, up to the gap at which the solver stops."""
    offered = tree(seed)
    all_of_them = list(every(offered))
    assert all_of_them
    luts = [cost(nodes, "xc7").lut for nodes in all_of_them]
    limits = FREE | {"lut": min(luts) + tight * (max(luts) - min(luts)) if tight < 1 else max(luts)}
    if tight == 0.3:
        limits["bram36"] = float(np.median([cost(nodes, "xc7").bram36 for nodes in all_of_them]))
    allowed = [nodes for nodes in all_of_them if within(nodes, limits)]
    programme = Programme(offered, "xc7")
    chosen = programme.cheapest(worth=WORTH, limits=limits)
    assert (programme.nearest(limits)[0] == 0) == bool(allowed)
    if not allowed:
        assert chosen is None
        return
    assert chosen in allowed
    assert share(chosen) <= 1.005 * min(map(share, allowed))


@pytest.mark.parametrize("seed", range(8))
def test_least_overrun(seed):
    """No choice exceeds the limits, which are out of reach, by less."""
    offered = tree(seed)
    all_of_them = list(every(offered))
    assert all_of_them
    limits = FREE | {"lut": min(cost(nodes, "xc7").lut for nodes in all_of_them) / 2, "bram36": 1.0}

    def overrun(nodes):
        amounts = cost(nodes, "xc7")
        return max(getattr(amounts, name) / most - 1 for name, most in limits.items())

    programme = Programme(offered, "xc7")
    assert programme.cheapest(worth=WORTH, limits=limits) is None
    share, chosen = programme.nearest(limits)
    assert share == pytest.approx(overrun(chosen), rel=1e-3)
    assert share <= 1.05 * min(map(overrun, all_of_them)) + 1e-3
    share, chosen = programme.nearest(limits, rough=True)
    assert share == pytest.approx(overrun(chosen), rel=1e-3)
    assert 0 < share <= 2 * min(map(overrun, all_of_them)) + 1e-3


def test_precision_of_the_overrun(monkeypatch):
    """After a proof that nothing fits, a better choice is searched for in 100 nodes, up to a gap of a twentieth."""
    offered = tree(0)
    limits = FREE | {"lut": min(cost(nodes, "xc7").lut for nodes in every(offered)) / 2, "bram36": 1.0}
    programme = Programme(offered, "xc7")
    asked, solve = [], programme._solve

    def recorded(*arguments, **options):
        asked.append((options["gap"] if "gap" in options else arguments[3], options.get("node_limit")))
        return solve(*arguments, **options)

    monkeypatch.setattr(programme, "_solve", recorded)
    programme.nearest(limits)
    assert asked == [(0.5, None), (0.05, 100), (0.05, 100)]
    asked.clear()
    programme.nearest(limits, rough=True)
    assert asked == []  # it is proven
    programme.nearest(limits | {"bram36": 2.0}, rough=True)
    assert asked == [(0.5, 100)]


@pytest.mark.parametrize(("percent", "asked"), [(1, 1), (3, 3)])
def test_small_overruns_are_not_improved(monkeypatch, percent, asked):
    """Up to a fiftieth above a limit, the first answer is taken."""
    options = tuple(Leaf((TableRom("t", 32, lanes, True, "block"),)) for lanes in (4, 8))
    programme = Programme(OneOf(options), "xc7")
    limits = FREE | {"ff": min(cost(option.nodes, "xc7").ff for option in options) / (1 + percent / 100)}
    answers, solve = [], programme._solve
    monkeypatch.setattr(programme, "_solve", lambda *args, **kwargs: answers.append(0) or solve(*args, **kwargs))
    overrun, _ = programme.nearest(limits)
    assert overrun == pytest.approx(percent / 100)
    assert len(answers) == asked


def test_the_other_limits_are_exceeded_by_little():
    """The fewest LUTs would take twice the block RAMs. Of choices that are as near, the sum of all overruns is least.

    Four hundred gatherings take twice the LUTs in any case. A table with four lanes takes one more than with eight.
    """
    many, few = (Leaf((TableRom("t", 16, lanes, True, "block"),)) for lanes in (8, 4))
    options = [OneOf((many, few)), OneOf((few, many))] * 3
    programme = Programme(All((Leaf((Gather("g", 2, 2),) * 400), *options)), "xc7")
    overrun, chosen = programme.nearest(FREE | {"lut": 1200, "bram36": 12})
    assert overrun == pytest.approx(1, abs=0.05)
    assert [node.lanes for node in chosen if isinstance(node, TableRom)] == [4] * 6


@pytest.mark.parametrize("offered", [Leaf((Gather("g", 2, 2),)), tree(0)])
def test_a_limit_below_zero_counts_as_zero(offered):
    """Nothing here takes a multiplier, and everything takes flip-flops."""
    programme = Programme(offered, "xc7")
    limits = FREE | {"dsp": -3}
    assert programme.cheapest(worth=WORTH, limits=limits) == programme.cheapest(worth=WORTH, limits=FREE) is not None
    assert programme.nearest(limits)[0] == 0
    assert programme.nearest(FREE | {"ff": -3}) == programme.nearest(FREE | {"ff": 0})
    assert programme.cheapest(worth=WORTH, limits=FREE | {"ff": -3}) is None


def test_a_path_with_a_gap():
    """Neighbouring stages have links, but no links that follow each other."""
    one = Leaf((Gather("g", 2, 2),))
    states = ((one, one), (one, one), (one,))
    gap = Path(states, ({(0, 0): one}, {(1, 1): one}, {(0, 0): one, (1, 0): one}))
    programme = Programme(gap, "xc7")
    assert programme.cheapest(worth=WORTH, limits=FREE) is None
    assert programme.nearest(FREE) is None


def test_tree_without_choices():
    only = Leaf((Gather("g", 2, 2),))
    programme = Programme(only, "xc7")
    assert programme.cheapest(worth=WORTH, limits=FREE) == only.nodes
    assert programme.nearest(FREE) == (0, only.nodes)
    tight = FREE | {"ff": 1}
    assert programme.cheapest(worth=WORTH, limits=tight) is None
    assert programme.nearest(tight) == (cost(only.nodes, "xc7").ff - 1, only.nodes)


@pytest.mark.parametrize(
    ("worth", "lanes"), [({"lut": 1, "ff": 0}, 8), ({"lut": 1, "ff": 1}, 4), ({"lut": 0, "ff": 1}, 4)]
)
def test_a_resource_that_is_worth_nothing_is_free(worth, lanes):
    """A table with eight lanes has one LUT less than with four, but more flip-flops."""
    options = OneOf(tuple(Leaf((TableRom("t", 16, lanes, True, "block"),)) for lanes in (4, 8)))
    (chosen,) = Programme(options, "xc7").cheapest(worth={"dsp": 0, "bram36": 0} | worth, limits=FREE)
    assert chosen.lanes == lanes


def test_limits_that_are_kept_exactly():
    only = Leaf((Gather("g", 2, 2),))
    amounts = cost(only.nodes, "xc7")
    limits = {name: getattr(amounts, name) for name in FREE}
    for tree in (only, OneOf((only,))):
        programme = Programme(tree, "xc7")
        assert programme.cheapest(worth=WORTH, limits=limits) == only.nodes
        assert programme.nearest(limits) == (0, only.nodes)


def test_time_is_up(monkeypatch):
    """An overrun is returned only if it is proven that nothing fits."""
    programme = Programme(tree(0), "xc7")
    unproven = SimpleNamespace(x=np.zeros(99), fun=0.1, mip_dual_bound=0.0, status=1)
    monkeypatch.setattr(programme, "_solve", lambda *arguments, **options: unproven)
    with pytest.raises(CheckFailed, match="no choice of engines found within 60 s; allow fewer with --engines"):
        programme.nearest(FREE)
