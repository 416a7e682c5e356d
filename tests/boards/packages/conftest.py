"""Fixtures that write one package for each tool, for a small network that uses only MAC arrays."""

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
    """Return a function that returns a tool's package: its directory and the content of ``package.json``.

    The board is that of `BOARDS`, unless another is given.
    """
    packages = {}

    def get(tool, board=None):
        board = board or BOARDS[tool]
        if (tool, board) not in packages:
            directory = tmp_path_factory.mktemp(tool) / f"{tool} b [ü] $x"
            command = ["package", network_path, "--for", tool, "--board", board, "--engines", "mac"]
            assert main([*command, "-o", str(directory)]) == 0
            packages[tool, board] = directory, json.loads((directory / "package.json").read_text())
        return packages[tool, board]

    return get
