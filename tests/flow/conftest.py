"""A small random network for images of the shipped size."""

import numpy as np
import pytest

from psahw.network.random import StageShape, random_network


@pytest.fixture(scope="session")
def network():
    """Return a network that is planned and elaborated in seconds."""
    return random_network(
        np.random.default_rng(3),
        image=(32, 32),
        stages=(StageShape(channels=8, hidden=4, groups=8, kernel=3),),
        classes=10,
        name="tiny",
    )
