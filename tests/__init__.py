"""Tests mirror the tree; `tests.networks` makes small networks for all of them."""
