"""Quantised networks: their layers as integers, their graph, their file, and their integer model."""

from ..architecture.codes import Codes
from .activations import Activations
from .graph import Named, Network, Output, Residual
from .layers import Flatten, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows

__all__ = [
    "Activations", "Codes", "Flatten", "Linear", "MaxPool", "MeanPool", "Named", "Network", "Output", "Residual",
    "Table", "Thresholds", "TokenMixing", "Windows",
]  # fmt: skip
