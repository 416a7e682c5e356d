"""What is computed: the layers of a quantised network as integers, its file, and its integer model."""

from .layers import Block, ChannelMixing, Linear, Network, Patch, Stage, Table, TokenMixing

__all__ = ["Block", "ChannelMixing", "Linear", "Network", "Patch", "Stage", "Table", "TokenMixing"]
