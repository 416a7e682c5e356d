"""Test arguments of `psahw.demo` that are refused before any long work."""

import os

import numpy as np
import pytest

import psahw
from psahw.errors import UserError
from psahw.network.random import random_network


@pytest.mark.parametrize("images", [1, 101])
def test_number_of_images(images, network, tmp_path):
    with pytest.raises(ValueError, match=rf"^images must be in \[2, 100\], not {images}$"):
        psahw.demo(network, tmp_path, images=images)


def test_other_images(tmp_path):
    pytest.importorskip("cocotb")
    small = random_network(np.random.default_rng(0), image=(8, 8), name="small")
    with pytest.raises(UserError, match=r"images are 32x32x3 in 10 classes; small takes 8x8x3 in 5 classes$"):
        psahw.demo(small, tmp_path)
    assert os.listdir(tmp_path) == []
