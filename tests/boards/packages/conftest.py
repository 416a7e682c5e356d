"""One package of each kind, of a small network with MAC arrays alone."""

import json

import numpy as np
import pytest

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.random import random_network

BOARDS = {"vivado": "marble", "vitis": "alveo-u250", "fusesoc": "marble", "litex": "marble"}


@pytest.fixture(scope="session")
def network():
    return random_network(np.random.default_rng(5), name='tiny "$[net]"\\')


@pytest.fixture(scope="session")
def network_path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(network, path)
    return str(path)


@pytest.fixture(scope="session")
def package(network_path, tmp_path_factory):
    """``package(tool)``: directory and content of ``package.json``."""
    made = {}

    def get(tool):
        if tool not in made:
            directory = tmp_path_factory.mktemp(tool) / tool
            command = ["package", network_path, "--for", tool, "--board", BOARDS[tool], "--engines", "mac"]
            assert main([*command, "-o", str(directory)]) == 0
            made[tool] = directory, json.loads((directory / "package.json").read_text())
        return made[tool]

    return get
