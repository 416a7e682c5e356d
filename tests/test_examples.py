"""The examples run, and their claims hold."""

import importlib.util
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def _load(name):
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def regression():
    pytest.importorskip("torch")
    return _load("regression")


def test_friedman_is_the_published_function(regression):
    x, y, test_x, test_y = regression.friedman()
    assert x.shape == (500, 10) and test_y.shape == (1000, 1)
    for row, value in zip(test_x[:20].tolist(), test_y[:20, 0].tolist(), strict=True):
        a, b, c, d, e = ((entry + 2) / 4 for entry in row[:5])
        assert value == pytest.approx(10 * math.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e)
    assert 0.5 < np.std(y) / np.std(test_y) < 1.5


@pytest.mark.parametrize(("task", "bound"), [("sin 4x", 0.1), ("Friedman #1", 0.15)])
def test_psa_is_better_than_a_linear_model(regression, task, bound):
    """It leaves less than a bound unexplained, which is a fraction of what the linear model leaves."""
    result = regression.run(task, seeds=1)
    assert result["psa"] < bound and result["psa"] < result["linear"]
    assert result["psa parameters"] <= result["mlp parameters"] <= result["psa parameters"] + 13


def test_linear_model_solves_the_normal_equations(regression):
    x, y, test_x, test_y = data = regression.friedman()
    a, b = np.c_[np.ones(len(x)), x], np.c_[np.ones(len(test_x)), test_x]
    error = b @ np.linalg.solve(a.T @ a, a.T @ y) - test_y
    assert regression.linear(data) == pytest.approx((error**2).mean() / test_y.var())


class _Task:
    """A stand-in for a remote function of Ray, which runs at once."""

    def __init__(self, function):
        self.function = function

    def options(self, **resources):
        assert resources == {"num_cpus": 2.0, "num_gpus": 0}
        return self

    def remote(self, *arguments):
        return self.function(*arguments)


def test_ray_sweep(tmp_path, monkeypatch, capsys):
    """A job that fails holds up only those that need it."""
    ray = types.SimpleNamespace(
        remote=lambda **options: _Task, init=lambda: None, get=lambda results: results, ObjectRef=bool
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    module = _load("ray_sweep")
    jobs = {
        "test": {"command": "evaluate", "arguments": ["cifar10-psa", "--dataset", "sample", "--images", "5"]},
        "bad": {"command": "train", "arguments": ["--config", "nonsense"]},
        "rest": {"command": "quantize", "arguments": ["{bad}"]},
    }
    (tmp_path / "recipe.json").write_text(json.dumps({"jobs": jobs}))
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "recipe.json"), str(tmp_path / "out"), "--cpus", "2"])
    assert module.main() == 1
    out = capsys.readouterr().out
    assert "test: done\n" in out and "bad: failed" in out and "rest: failed" in out
    assert json.loads((tmp_path / "out" / "test.json").read_text())["result"]["images"] == 5
    assert not (tmp_path / "out" / "rest.log").exists()
