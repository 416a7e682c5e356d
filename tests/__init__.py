"""Tests mirror the tree; `psahw.network.random` makes small networks for all of them."""
