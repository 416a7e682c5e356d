"""Regression with the PSA layer alone, without images or circuits.

A small network with PSA learns 1-D functions and a small table. It is compared with a plain MLP of at least as many
parameters, and with a linear model.

    python -m examples.regression        # in the checkout

This prints the share of the variance of noiseless test points that each model leaves unexplained, as the median of
three seeds. It takes seconds on one core.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from psahw.model.psa import PSA

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x and y for training, x and y for testing


def curve(function: Callable) -> Data:
    """Return 200 noisy points of a function on [-2, 2] for training, and exact ones for testing."""
    rng = np.random.default_rng(0)
    x, test = rng.uniform(-2, 2, (200, 1)), np.linspace(-2, 2, 401)[:, None]
    return x, function(x) + 0.02 * rng.normal(size=x.shape), test, function(test)


def friedman() -> Data:
    """Return points of Friedman #1, in which five of ten inputs matter.

    The function is from J. Friedman, "Multivariate adaptive regression splines", 1991.
    """
    rng = np.random.default_rng(0)
    x = rng.random((1500, 10))
    y = 10 * np.sin(np.pi * x[:, :1] * x[:, 1:2]) + 20 * (x[:, 2:3] - 0.5) ** 2 + 10 * x[:, 3:4] + 5 * x[:, 4:5]
    noisy = y + rng.normal(size=y.shape)
    x = 4 * x - 2
    return x[:500], noisy[:500], x[500:], y[500:]


TASKS = {
    "sin 4x": lambda: curve(lambda x: np.sin(4 * x)),
    "|x|, a step at 1": lambda: curve(lambda x: np.abs(x) + (x > 1)),
    "Friedman #1": friedman,
}


def psa_network(inputs: int, hidden: int = 8, segments: int = 4) -> nn.Module:
    """Return a network with learned functions of inputs and hidden neurons, as in the channel mixing of a ResMLP."""
    first, second = PSA(inputs, segments), PSA(hidden, segments, init="gelu")
    return nn.Sequential(first, nn.Linear(inputs, hidden), second, nn.Linear(hidden, 1))


def size(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def mlp(inputs: int, parameters: int) -> nn.Module:
    """Return the smallest network with one hidden layer that has at least ``parameters`` parameters."""
    hidden = -(-(parameters - 1) // (inputs + 2))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, 1))


def unexplained(answers: np.ndarray, y: np.ndarray) -> float:
    """Return the share of the variance that is not explained: 0 is perfect, 1 is no better than the mean."""
    return float(np.mean((answers - y) ** 2) / np.var(y))


def fit(model: nn.Module, data: Data, steps: int = 200) -> float:
    """Train a model on all points at once, and return the unexplained share on the test points."""
    x, y, test_x, test_y = (torch.from_numpy(part).float() for part in data)
    mean, spread = y.mean(), y.std()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), (y - mean) / spread).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return unexplained((model(test_x) * spread + mean).numpy(), test_y.numpy())


def linear(data: Data) -> float:
    """Return the unexplained share of the best linear model on the test points."""
    x, y, test_x, test_y = data
    weights = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    return unexplained(np.c_[test_x, np.ones(len(test_x))] @ weights, test_y)


def run(name: str, seeds: int = 3) -> dict[str, float]:
    """Return the unexplained share of each model, and the numbers of parameters of both networks."""
    data = TASKS[name]()
    inputs = data[0].shape[1]
    results: dict[str, list[float]] = {"mlp": [], "psa": []}
    for seed in range(seeds):
        torch.manual_seed(seed)
        psa = psa_network(inputs)
        plain = mlp(inputs, size(psa))
        results["mlp"].append(fit(plain, data))
        results["psa"].append(fit(psa, data))
    medians = {model: float(np.median(shares)) for model, shares in results.items()}
    return {"linear": linear(data)} | medians | {"mlp parameters": size(plain), "psa parameters": size(psa)}


if __name__ == "__main__":
    print(f"{'unexplained, %':<18}{'linear':>8}{'MLP':>8}{'PSA':>8}   parameters of MLP, PSA")
    for task in TASKS:
        result = run(task)
        shares = "".join(f"{100 * result[key]:8.2f}" for key in ("linear", "mlp", "psa"))
        print(f"{task:<18}{shares}   {result['mlp parameters']}, {result['psa parameters']}")
