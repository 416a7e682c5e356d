"""Multiplication by a constant matrix as a graph of shifts and additions."""

from .graph import Adder, Graph, Output
from .solver import solve, solve_all

__all__ = ["Adder", "Graph", "Output", "solve", "solve_all"]
