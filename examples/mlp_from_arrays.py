"""From integer weights in NumPy arrays to a network file: an MLP with a learned scale in front of each layer."""

import numpy as np

import psahw
from psahw.importing import inputs

rng = np.random.default_rng(1)  # stands for the training that made the weights
weight1, bias1 = rng.integers(-7, 8, (32, 64)), rng.normal(size=32)
weight2, bias2 = rng.integers(-7, 8, (10, 32)), rng.normal(size=10)

x = inputs(64, scale=1 / 16, bits=4)  # bytes 0 to 15 stand for 0, 1/16, ..., 15/16
x = x.dense(weight1, bias1, scale=0.02).relu().quantise(1 / 32, bits=6, signed=False)
x = x.dense(weight2, bias2, scale=0.05)
network = x.network("mlp")
psahw.save(network, "mlp.safetensors")
