"""What a network computes: its layers as integers, its file, and its integer model."""

from .layers import Block, ChannelMixing, Linear, NamedLayer, Network, Patch, Stage, Table, TokenMixing

__all__ = ["Block", "ChannelMixing", "Linear", "NamedLayer", "Network", "Patch", "Stage", "Table", "TokenMixing"]
