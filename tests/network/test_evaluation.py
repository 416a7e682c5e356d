"""The accuracy and the confusion matrix of the integer model."""

import numpy as np

from psahw.network.evaluation import evaluate
from psahw.network.random import random_images, random_network


def test_evaluate():
    rng = np.random.default_rng(1)
    network = random_network(rng)
    images, labels = random_images(rng, network, 40), rng.integers(0, 5, 40)
    result = evaluate(network, images, labels, "some")
    assert sum(map(sum, result["confusion"])) == 40
    assert sum(result["confusion"][i][i] for i in range(5)) == result["correct"]
    assert result["accuracy"] == 100 * result["correct"] / 40
    assert [sum(row) for row in result["confusion"]] == np.bincount(labels, minlength=5).tolist()
