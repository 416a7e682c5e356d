"""The cause of a path, in words."""

from psahw.synthesis.static_timing import GRADES, Path, Step, cause, levels

KINTEX = GRADES["xc7"]["2"]


def path(*steps):
    return Path(sum(ps + net for _, ps, net, _ in steps), tuple(Step(*step) for step in steps))


def test_causes():
    flip_flop, end = ("FDRE", 223, 0, 0), ("FDRE", 66, 400, 1)
    assert cause(path(flip_flop, ("LUT6", 43, 2400, 89), end), KINTEX) == "net with 89 loads"
    assert cause(path(("RAMB36E1", 1800, 0, 0), ("CARRY4", 250, 500, 2), end), KINTEX) == "block RAM"
    assert cause(path(("DSP48E1", 1631, 0, 0), ("LUT2", 43, 500, 2), end), KINTEX) == "multiplier"
    lut = ("LUT6", 43, 450, 2)
    assert cause(path(flip_flop, lut, lut, lut, end), KINTEX) == "3 LUTs in a row"
    assert levels(path(flip_flop, lut, lut, lut, end), KINTEX) == 3
