"""Quantised networks: their layers as integers, their file, and their integer model."""

from .layers import Block, ChannelMixing, Linear, NamedLayer, Network, Patch, Stage, Table, TokenMixing

__all__ = ["Block", "ChannelMixing", "Linear", "NamedLayer", "Network", "Patch", "Stage", "Table", "TokenMixing"]
